"""What requests begin with: the same numbers for the same beginnings, and none for what is no request."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lutmac.cluster.prefix import CHUNK, MAX_CHUNKS, prefix_of


def test_a_conversation_that_grows_keeps_its_beginning_whatever_else_is_asked() -> None:
    messages = [{"role": "system", "content": "Be brief. " * 100}, {"role": "user", "content": "Hello"}]
    longer = [*messages, {"role": "assistant", "content": "Hi"}, {"role": "user", "content": "Why? " * 100}]
    before = prefix_of(json.dumps({"messages": messages, "seed": 1}).encode())
    after = prefix_of(json.dumps({"stream": True, "user": "x" * 900, "messages": longer}).encode())
    assert len(before) >= 1000 // CHUNK
    assert len(after) > len(before)
    assert after[: len(before)] == before


@given(st.text(min_size=CHUNK, max_size=4 * CHUNK), st.integers(0, CHUNK // 4 - 1))
def test_prompts_that_differ_early_share_nothing(text: str, place: int) -> None:
    other = text[:place] + ("a" if text[place] != "a" else "b") + text[place + 1 :]
    one, two = (prefix_of(json.dumps({"prompt": prompt}).encode()) for prompt in (text, other))
    assert one
    assert not set(one) & set(two)


def test_long_prompts_are_looked_at_in_part() -> None:
    assert len(prefix_of(json.dumps({"prompt": "ä" * 10 * CHUNK * MAX_CHUNKS}).encode())) == MAX_CHUNKS


@pytest.mark.parametrize("body", [b"", b"[]", b"{" * 5000, b"[" * 100_000, b"\xff" * 1000, b'{"prompt": "' + b"a" * 99])
def test_short_requests_and_garbage_begin_with_nothing(body: bytes) -> None:
    assert prefix_of(body) == ()
