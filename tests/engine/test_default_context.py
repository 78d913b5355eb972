"""The longest sequence where nobody says how long it is to be."""

from __future__ import annotations

from dataclasses import replace

import pytest

import lutmac
from lutmac.engine.default_context import default_context
from lutmac.engine.loading.opened import open_model
from lutmac.graph.compile import Limits
from lutmac.models.rope import RopeScaling
from tiny_llama import make_tiny_llama

LIMITS = Limits(512, 16, 8192)
TRAINED = 131072


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return make_tiny_llama(tmp_path_factory.mktemp("long") / "long.gguf", "Q4_0", context_length=TRAINED).path


def test_it_is_what_the_model_was_trained_for(path, tiny):
    assert lutmac.load(path).context == TRAINED
    assert lutmac.load(tiny.path).context == 512


def test_it_is_what_the_cache_holds_where_that_is_less(path):
    whole = lutmac.load(path).info().sequence_cache_bytes
    model = lutmac.load(path, kv_cache_memory=whole // 3)
    assert TRAINED // 3 - 2048 < model.context <= TRAINED // 3
    assert model.context % 1024 == 0
    assert model.info().sequence_cache_bytes <= whole // 3
    assert lutmac.load(path, kv_cache_memory=whole // 3, kv_cache="int8").context > 1.8 * model.context


def test_it_is_8192_at_least(path):
    with pytest.raises(lutmac.InvalidRequestError, match="one sequence takes"):
        lutmac.load(path, kv_cache_memory=1000)
    with open_model(path) as opened:
        assert default_context(opened, "f16", LIMITS, 1000) == 8192


def test_ropes_of_two_lengths_stay_short(path):
    """Phi's "longrope" has other frequencies for all positions once the context is long."""
    with open_model(path) as opened:
        ones = (1.0,) * (opened.config.rope.rotary_dim // 2)
        for original, expected in ((32768, 32768), (4096, TRAINED)):
            scaling = RopeScaling("longrope", 1.0, original, 1.0, short_factors=ones, long_factors=ones)
            config = replace(opened.config, rope=replace(opened.config.rope, scaling=scaling))
            assert default_context(replace(opened, config=config), "f16", LIMITS, 1 << 40) == expected


def test_the_tokenizer_is_told_of_behind_the_weights(path):
    told = []
    lutmac.load(path, progress=lambda done, total, what: told.append((done == total, what)))
    assert told[-1] == (True, "reading the tokenizer")
    assert told[-2] == (True, "loading")
