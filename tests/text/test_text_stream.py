"""Text that comes out while tokens are still being generated."""

from __future__ import annotations

import pytest
from hypothesis import given
from vocabularies import texts

from lutmac.errors import InvalidRequestError
from lutmac.text import StreamDecoder, Tokenizer


@given(text=texts)
def test_a_stream_adds_up_to_the_text_and_is_never_behind_by_more_than_a_character(bpe: Tokenizer, text: str) -> None:
    ids = bpe.encode(text, add_special=False)
    decoder = StreamDecoder(bpe)
    seen = ""
    pushed = b""
    for id in ids:
        seen += decoder.push(id)
        pushed += bpe.token_bytes(id)
        assert text.startswith(seen)  # never half a character
        assert len(pushed) - len(seen.encode()) < 4
    assert seen + decoder.flush() == text


def test_an_unfinished_character_comes_out_as_a_replacement_at_the_end(bpe: Tokenizer) -> None:
    decoder = bpe.stream_decoder()
    first = bpe.encode("🦊", add_special=False)[0]
    assert decoder.push(first) == ""
    assert decoder.flush() == "\ufffd"


def test_bytes_that_cannot_become_a_character_do_not_block_the_stream(bpe: Tokenizer) -> None:
    decoder = bpe.stream_decoder()
    fox, x = bpe.encode("🦊", add_special=False), bpe.encode("x", add_special=False)
    assert decoder.push(fox[0]) + decoder.push(x[0]) == "\ufffdx"
    assert decoder.flush() == ""


def test_only_some_control_tokens_are_shown(bpe: Tokenizer) -> None:
    start, end = bpe.token_id("<|im_start|>"), bpe.token_id("<|im_end|>")
    assert start is not None
    assert end is not None
    decoder = bpe.stream_decoder(shown={start})
    assert [decoder.push(id) for id in (start, end)] == ["<|im_start|>", ""]


def test_control_tokens_are_silent_unless_asked_for(bpe: Tokenizer) -> None:
    end = bpe.token_id("<|im_end|>")
    assert end is not None
    assert bpe.stream_decoder().push(end) == ""
    assert bpe.stream_decoder(skip_special=False).push(end) == "<|im_end|>"


def test_a_reply_keeps_the_space_that_parts_it_from_its_prompt(spm: Tokenizer) -> None:
    prompt, whole = spm.encode("the fox"), spm.encode("the fox jumps")
    decoder = spm.stream_decoder(prompt=prompt)
    assert "".join(map(decoder.push, whole[len(prompt) :])) == " jumps"


def test_a_text_of_its_own_does_not_begin_with_the_space_that_encoding_adds(spm: Tokenizer) -> None:
    decoder = spm.stream_decoder()
    assert "".join(map(decoder.push, spm.encode("fox"))) == "fox"


def test_an_unknown_id_is_refused(bpe: Tokenizer) -> None:
    with pytest.raises(InvalidRequestError, match="vocabulary"):
        bpe.stream_decoder().push(1 << 40)
