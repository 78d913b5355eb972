"""What generation gives back: text, reasons to stop, limits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lutmac
from lutmac.engine.generating.stop_strings import StopMatcher
from lutmac.errors import ContextOverflowError, InvalidRequestError
from tiny_llama import CONTEXT, END, IM_END, IM_START, VOCAB

PROMPT = "Once upon a time"


def test_a_stream_is_the_completion_in_pieces(tiny_model: lutmac.Model) -> None:
    chunks = list(tiny_model.stream(PROMPT, max_tokens=20, seed=1))
    completion = chunks[-1].completion
    assert completion is not None
    assert completion.text == "".join(chunk.text for chunk in chunks)
    assert completion.token_ids == tiny_model.generate(PROMPT, max_tokens=20, seed=1).token_ids
    assert [chunk.finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)


def test_max_tokens_ends_with_length(tiny_model: lutmac.Model) -> None:
    completion = tiny_model.generate(PROMPT, max_tokens=5, seed=1, ignore_eos=True)
    assert (len(completion.token_ids), completion.finish_reason) == (5, "length")
    assert completion.prompt_tokens == len(PROMPT)
    assert completion.timings.prefill_tokens + completion.cached_tokens == len(PROMPT)
    assert completion.timings.decode_tokens == 4


@pytest.mark.parametrize("end", [IM_END, END])
def test_an_end_token_ends_with_stop_and_is_no_text(tiny_model: lutmac.Model, end: int) -> None:
    completion = tiny_model.generate(PROMPT, logit_bias={end: 500.0})
    assert (completion.text, completion.token_ids, completion.finish_reason) == ("", (), "stop")


def test_the_context_ends_with_length(tiny_model: lutmac.Model) -> None:
    completion = tiny_model.generate([65] * (CONTEXT - 3), max_tokens=None, ignore_eos=True)
    assert (len(completion.token_ids), completion.finish_reason) == (3, "length")


def test_a_prompt_that_fills_the_context_is_an_error_with_both_numbers(tiny_model: lutmac.Model) -> None:
    with pytest.raises(ContextOverflowError, match=f"{CONTEXT + 10} tokens.*{CONTEXT}"):
        tiny_model.stream([65] * (CONTEXT + 10))


def test_a_stop_string_across_tokens_is_not_in_the_text(tiny_model: lutmac.Model) -> None:
    """Every token is one byte here, so every longer stop string crosses tokens."""
    whole = tiny_model.generate(PROMPT, max_tokens=40, temperature=0, ignore_eos=True).text
    stop = whole[10:14]
    completion = tiny_model.generate(PROMPT, max_tokens=40, temperature=0, ignore_eos=True, stop=[stop, "never this"])
    assert completion.text == whole[: whole.index(stop)]
    assert completion.finish_reason == "stop"


@given(st.lists(st.text("ab", min_size=1, max_size=4), max_size=3), st.lists(st.text("ab", max_size=3), max_size=12))
def test_stop_strings_cut_at_the_first_match_however_the_text_arrives(stops: list[str], pieces: list[str]) -> None:
    matcher, text, seen, passed = StopMatcher(stops), "".join(pieces), "", ""
    for piece in pieces:
        if not matcher.matched:
            seen += piece
            passed += matcher.push(piece)
    passed += matcher.flush()
    places = [seen.index(stop) for stop in stops if stop in seen]
    assert matcher.matched == bool(places)
    assert passed == seen[: min(places)] if places else passed == text


def test_thousands_of_stop_strings_cost_little_and_are_bounded(tiny_model: lutmac.Model) -> None:
    whole = tiny_model.generate(PROMPT, max_tokens=40, temperature=0, ignore_eos=True).text
    stops = [f"never {n}" for n in range(5000)] + [whole[20:23]]
    completion = tiny_model.generate(PROMPT, max_tokens=40, temperature=0, ignore_eos=True, stop=stops)
    assert completion.text == whole[: whole.index(whole[20:23])]
    with pytest.raises(InvalidRequestError, match=r"100001 characters.*100000"):
        tiny_model.generate(PROMPT, stop="x" * 100_001)


@pytest.mark.parametrize("prompt", ["", [], [0.5], [[1]], [-1], [10**6], None])
def test_a_wrong_prompt_is_an_error(tiny_model: lutmac.Model, prompt: object) -> None:
    with pytest.raises(InvalidRequestError):
        tiny_model.stream(prompt)  # type: ignore[arg-type]


def test_control_tokens_in_a_raw_prompt_are_tokens_and_in_a_text_to_embed_are_text(tiny_model: lutmac.Model) -> None:
    assert tiny_model.generate("a<|im_end|>b", max_tokens=1).prompt_tokens == 3
    of_text = tiny_model.embed([list(b"a<|im_end|>b")])
    assert np.array_equal(tiny_model.embed(["a<|im_end|>b"]), of_text)


@pytest.mark.parametrize("stop", ["<|im_start|>", "<|im_start|>q", "b<|im_start|>"])
@pytest.mark.parametrize("written", ["ab<|im_start|>q", [97, 98, IM_START, 113]], ids=["as text", "as a token"])
def test_a_stop_string_matches_control_tokens(stop: str, written: str | list[int], tiny_model: lutmac.Model) -> None:
    tokenizer = tiny_model.tokenizer
    ids = list(written.encode()) if isinstance(written, str) else written
    matcher, text = StopMatcher([stop, "never"], tokenizer.split_control), ""
    for id in ids:
        text += matcher.push(id if tokenizer.is_special(id) else tokenizer.decode([id]))
    assert matcher.stop == stop
    assert text == ("a" if stop.startswith("b") else "ab")


def test_a_control_token_does_not_part_the_text_around_it(tiny_model: lutmac.Model) -> None:
    matcher = StopMatcher(["<|im_start|><|im_start|>x", "bc"], tiny_model.tokenizer.split_control)
    assert "".join(map(matcher.push, ["ab", *[IM_START] * 1000, "cd"])) == "a"
    assert matcher.stop == "bc"


def test_a_reply_ends_at_a_control_token_that_is_a_stop_string(tiny_model: lutmac.Model) -> None:
    options = {"max_tokens": 40, "temperature": 0, "logit_bias": {IM_START: 1000.0}}
    completion = tiny_model.generate(PROMPT, stop="<|im_start|>", **options)
    assert (completion.text, completion.finish_reason, completion.stop_string) == ("", "stop", "<|im_start|>")
    assert completion.token_ids == (IM_START,)


def test_an_end_token_that_is_a_stop_string_is_told(tiny_model: lutmac.Model) -> None:
    options = {"max_tokens": 40, "temperature": 0, "logit_bias": {IM_END: 1000.0}}
    assert tiny_model.generate(PROMPT, stop=["x", "<|im_end|>"], **options).stop_string == "<|im_end|>"
    assert tiny_model.generate(PROMPT, **options).stop_string is None


def test_logits_are_those_that_generation_sees(tiny_model: lutmac.Model) -> None:
    logits = tiny_model.logits([1, 2, 3])
    assert logits.shape == (3, VOCAB)
    assert tiny_model.generate([1, 2, 3], temperature=0, max_tokens=1, ignore_eos=True).token_ids == (
        logits[-1].argmax(),
    )


def test_logits_beyond_the_context_are_an_error(tiny_model: lutmac.Model) -> None:
    with pytest.raises(ContextOverflowError, match=f"{CONTEXT + 1} tokens.*{CONTEXT}"):
        tiny_model.logits([1] * (CONTEXT + 1))


def test_control_tokens_are_text_where_a_caller_wants_to_see_them(tiny_model: lutmac.Model) -> None:
    mark = tiny_model.tokenizer.token_id("<|im_start|>")
    assert mark is not None
    options: dict[str, Any] = {"max_tokens": 2, "temperature": 0, "logit_bias": {mark: 100.0}}
    assert tiny_model.generate("a", **options).text == ""
    shown = tiny_model.generate("a", shown_tokens=frozenset({mark}), **options)
    assert shown.text == "<|im_start|>" * 2
    stopped = tiny_model.generate("a", shown_tokens=frozenset({mark}), stop="start|><", **options)
    assert stopped.text == "<|im_"
