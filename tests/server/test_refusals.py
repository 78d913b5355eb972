"""How soon a client is told no."""

from __future__ import annotations

import pytest

from lutmac.server import refusals
from lutmac.server.refusals import BURST_SECONDS, LONGEST_SECONDS, PER_SECOND, Refusals


def test_a_client_that_is_refused_again_and_again_waits_and_others_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(refusals, "monotonic", lambda: now)
    counted = Refusals()
    at_once = int(PER_SECOND * BURST_SECONDS)
    assert not any(counted.delay("a") for _ in range(at_once))
    delays = [counted.delay("a") for _ in range(100)]
    assert delays == sorted(delays)
    assert 0 < delays[0] < 0.1
    assert delays[-1] == LONGEST_SECONDS
    assert counted.delay("b") == 0
    now += BURST_SECONDS + LONGEST_SECONDS
    assert counted.delay("a") == 0


def test_refusals_at_the_rate_that_is_let_pass_never_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(refusals, "monotonic", lambda: now)
    counted = Refusals()
    for _ in range(1000):
        assert counted.delay("a") == pytest.approx(0)
        now += 1 / PER_SECOND
