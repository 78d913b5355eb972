"""SentencePiece vocabularies, rebuilt from what a GGUF file keeps of them."""

from __future__ import annotations

import time

import numpy as np
import pytest
import sentencepiece
from hypothesis import assume, given
from vocabularies import Metadata, any_text, prose, texts

from lutmac.errors import CheckpointError
from lutmac.text import Tokenizer


@given(text=texts)
def test_ids_are_those_of_the_original_model(
    spm: Tokenizer, trained_sentencepiece: sentencepiece.SentencePieceProcessor, text: str
) -> None:
    assert spm.encode(text, add_special=False) == trained_sentencepiece.encode(text)


@given(text=any_text | prose)
def test_what_is_encoded_decodes_to_the_same_text(spm: Tokenizer, text: str) -> None:
    assume("▁" not in text)  # SentencePiece's own sign for a space
    assert spm.decode(spm.encode(text)) == text


@given(text=prose)
def test_special_tokens_in_a_text_do_not_cost_a_space(spm: Tokenizer, text: str) -> None:
    ids = spm.encode(text, parse_special=True, add_special=False)
    assert spm.decode(ids, skip_special=False) == text


def test_bos_comes_first_and_control_tokens_only_where_allowed(spm: Tokenizer) -> None:
    assert spm.add_bos
    assert spm.encode("fox")[0] == spm.bos_id == 1
    assert spm.end_of_generation == {2}
    assert spm.encode("</s>", parse_special=True) == [1, 2]
    assert 2 not in spm.encode("</s>")


def test_every_byte_can_be_written(spm: Tokenizer) -> None:
    text = "\0\x01\x7f\x80ÿ\U0010ffff\t"
    assert spm.decode(spm.encode(text)) == text


def test_a_user_defined_run_of_spaces_decodes_to_spaces(spm_metadata: Metadata) -> None:
    added = {
        "tokenizer.ggml.tokens": [*spm_metadata["tokenizer.ggml.tokens"], "▁▁▁", "    "],
        "tokenizer.ggml.token_type": [*spm_metadata["tokenizer.ggml.token_type"], 4, 4],
        "tokenizer.ggml.scores": [*spm_metadata["tokenizer.ggml.scores"], 0.0, 0.0],
    }
    tokenizer = Tokenizer.from_gguf({**spm_metadata, **added})
    for text in ("a   b", "a    b", "    a", " a     b    "):
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_odd_tokens_do_not_stop_a_vocabulary(spm_metadata: Metadata) -> None:
    added = {
        "tokenizer.ggml.tokens": [*spm_metadata["tokenizer.ggml.tokens"], "", "▁fox", "▁fox", "<unk2>"],
        "tokenizer.ggml.token_type": [*spm_metadata["tokenizer.ggml.token_type"], 1, 5, 5, 2],
        "tokenizer.ggml.scores": [*spm_metadata["tokenizer.ggml.scores"], 0.0, 0.0, 0.0, 0.0],
    }
    tokenizer = Tokenizer.from_gguf({**spm_metadata, **added})
    assert tokenizer.decode(tokenizer.encode("the fox")) == "the fox"


def test_a_vocabulary_without_byte_tokens_says_unknown(spm_metadata: Metadata) -> None:
    kept = [place for place, token in enumerate(spm_metadata["tokenizer.ggml.tokens"]) if not token.startswith("<0x")]
    metadata = {
        key: [value[place] for place in kept] if isinstance(value, list) else value
        for key, value in spm_metadata.items()
    }
    tokenizer = Tokenizer.from_gguf(metadata)
    assert tokenizer.encode("🦊")[-1] == 0


def test_scores_that_are_missing_are_an_error(spm_metadata: Metadata) -> None:
    with pytest.raises(CheckpointError, match="scores"):
        Tokenizer.from_gguf({**spm_metadata, "tokenizer.ggml.scores": [0.0]})


def test_a_vocabulary_as_large_as_gemmas_loads_in_seconds() -> None:
    size = 262_144
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    tokens += [f"▁{number:x}" for number in range(size - len(tokens))]
    started = time.perf_counter()
    tokenizer = Tokenizer.from_gguf({
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": -np.arange(size, dtype=np.float32),
        "tokenizer.ggml.token_type": np.array([2, 3, 3] + [6] * 256 + [1] * (size - 259), dtype=np.int32),
    })  # fmt: skip
    assert tokenizer.vocab_size == size
    assert time.perf_counter() - started < 10  # about 0.7 s where nothing else runs
