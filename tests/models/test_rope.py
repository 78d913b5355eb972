"""Rotary frequencies, plain and scaled."""

from __future__ import annotations

import numpy as np
import pytest

from lutmac.errors import CheckpointError
from lutmac.graph.operations.rope_angles import Rope, RopeStyle
from lutmac.models.config_gguf import scaling_from_gguf
from lutmac.models.metadata import MetadataReader
from lutmac.models.rope import RopeConfig, RopeScaling


def make_rope(
    style: RopeStyle,
    dim: int,
    theta: float,
    scaling: RopeScaling,
    factors: tuple[float, ...] = (),
    context: int = 8192,
) -> Rope:
    return RopeConfig(style, dim, theta, scaling, factors).rope(context)


PLAIN = 10000.0 ** (-np.arange(0, 64, 2) / 64)


def test_plain_frequencies() -> None:
    np.testing.assert_allclose(make_rope("half_split", 64, 10000.0, RopeScaling()).inverse_frequency, PLAIN)


def test_linear_scaling_divides_all_frequencies() -> None:
    rope = make_rope("half_split", 64, 10000.0, RopeScaling("linear", 4.0))
    np.testing.assert_allclose(rope.inverse_frequency, PLAIN / 4)
    assert rope.attention_factor == 1


def test_factors_divide_frequencies_one_by_one() -> None:
    factors = tuple(np.linspace(1, 8, 32))
    np.testing.assert_allclose(
        make_rope("interleaved", 64, 1e4, RopeScaling(), factors).inverse_frequency, PLAIN / factors
    )


def test_yarn_keeps_high_frequencies_and_divides_low_ones() -> None:
    rope = make_rope("half_split", 64, 10000.0, RopeScaling("yarn", 16.0, original_context=4096))
    share = np.array(rope.inverse_frequency) / PLAIN
    assert share[0] == 1  # turns 652 times in 4096 positions
    assert share[-1] == pytest.approx(1 / 16)  # turns a tenth of once
    assert (np.diff(share) < 1e-12).all()
    assert rope.attention_factor == pytest.approx(1 + 0.1 * np.log(16))


def test_scaling_from_metadata() -> None:
    metadata = {"x.rope.scaling.type": "yarn", "x.rope.scaling.factor": 4.0}
    scaling = scaling_from_gguf(MetadataReader(metadata, "x"), 8192)
    assert scaling == RopeScaling("yarn", 4.0, 8192, attention_factor=1 + 0.1 * np.log(4.0))
    assert scaling_from_gguf(MetadataReader({}, "x"), 8192) == RopeScaling()
    assert scaling_from_gguf(MetadataReader({"x.rope.scale_linear": 2.0}, "x"), 8192) == RopeScaling("linear", 2.0)


def test_longrope_has_factors_for_short_and_for_long_contexts() -> None:
    short, long = tuple(np.linspace(1, 2, 32)), tuple(np.linspace(1, 32, 32))
    scaling = RopeScaling("longrope", 1.0, 4096, short_factors=short, long_factors=long)
    np.testing.assert_allclose(make_rope("half_split", 64, 1e4, scaling, context=4096).inverse_frequency, PLAIN / short)
    np.testing.assert_allclose(make_rope("half_split", 64, 1e4, scaling, context=4097).inverse_frequency, PLAIN / long)


def test_what_people_are_told_of_it() -> None:
    longrope = RopeScaling("longrope", 1.0, 4096)
    assert longrope.describe(4096) == "longrope: its short factors, good for 4096 positions"
    assert longrope.describe(4097) == "longrope: its long factors, as more than 4096 positions are in use"
    assert RopeScaling("yarn", 4.0, 8192).describe(100) == "yarn by 4, from 8192 positions"
    assert RopeScaling("linear", 2.5).describe(100) == "linear by 2.5"
    assert RopeScaling().describe(100) == "none"


@pytest.mark.parametrize("factors", [(1.0,) * 31, (1.0,) * 31 + (0.0,)])
def test_factors_that_do_not_fit_are_an_error(factors: tuple[float, ...]) -> None:
    with pytest.raises(CheckpointError, match="rope needs 32 factors above 0"):
        make_rope("half_split", 64, 1e4, RopeScaling(), factors)
