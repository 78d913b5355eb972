"""Ctrl-C leaves a step between two operations: at once, and with everything as it was before the step."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import numpy as np
import pytest

import lutmac


@pytest.fixture(scope="module")
def model() -> lutmac.Model:
    return lutmac.load("smollm2", threads=2, context=2048)


@pytest.fixture
def alarm() -> Iterator[None]:
    """SIGALRM is Ctrl-C."""
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("alarm")
def test_what_is_asked_for_next_has_the_same_bits(model: lutmac.Model, isa_target: str) -> None:
    prompt = [1 + i % 900 for i in range(50 if isa_target == "portable" else 700)]  # seconds
    expected = lutmac.load("smollm2", threads=2, context=2048).logits(prompt)[-1]
    interrupted = 0
    for seconds in (0.05, 0.15):
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            model.logits(prompt)
        except KeyboardInterrupt:
            interrupted += 1
        signal.setitimer(signal.ITIMER_REAL, 0)
    assert interrupted
    np.testing.assert_array_equal(model.logits(prompt)[-1], expected)
