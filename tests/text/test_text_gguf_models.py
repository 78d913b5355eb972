"""The other tokenizers of GGUF: unigrams (t5), merges of characters (gemma4), and tokens that are not UTF-8."""

from __future__ import annotations

import io
from typing import Any

import gguf
import numpy as np
import pytest
import sentencepiece
from hypothesis import given
from sentencepiece import sentencepiece_model_pb2
from vocabularies import CORPUS, Metadata, prose, sentencepiece_metadata, texts

from lutmac.checkpoints import open_gguf
from lutmac.errors import CheckpointError
from lutmac.text import Tokenizer


@pytest.fixture(scope="module", params=["nmt_nfkc", "identity"])
def unigrams(request: pytest.FixtureRequest) -> sentencepiece.SentencePieceProcessor:
    """Unigrams as in T5: a space before every text, runs of spaces as one, and NMT's own normalisation."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS), model_writer=model, model_type="unigram", vocab_size=300,
        hard_vocab_limit=False, normalization_rule_name=request.param,
        remove_extra_whitespaces=request.param == "nmt_nfkc", minloglevel=2,
    )  # fmt: skip
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


@pytest.fixture(scope="module")
def t5(unigrams: sentencepiece.SentencePieceProcessor) -> Tokenizer:
    proto = sentencepiece_model_pb2.ModelProto.FromString(unigrams.serialized_model_proto())
    return Tokenizer.from_gguf({
        **sentencepiece_metadata(unigrams),
        "tokenizer.ggml.model": "t5",
        "tokenizer.ggml.add_space_prefix": True,
        "tokenizer.ggml.remove_extra_whitespaces": proto.normalizer_spec.remove_extra_whitespaces,
        "tokenizer.ggml.precompiled_charsmap": np.frombuffer(proto.normalizer_spec.precompiled_charsmap, np.int8),
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
    })  # fmt: skip


@given(text=texts)
def test_unigrams_are_the_original_models(
    t5: Tokenizer, unigrams: sentencepiece.SentencePieceProcessor, text: str
) -> None:
    assert t5.encode(text, add_special=False) == unigrams.encode(text)


def test_a_text_of_unigrams_ends_with_eos(t5: Tokenizer) -> None:
    ids = t5.encode("the fox")
    assert ids[-1] == t5.eos_id == 2
    assert t5.decode(ids) == "the fox"


@pytest.mark.parametrize("value", [7, "x", [0.5], [b"\xff" * 9]])
def test_a_damaged_map_of_characters_is_one_clear_error(spm_metadata: Metadata, value: object) -> None:
    damaged = {**spm_metadata, "tokenizer.ggml.model": "t5", "tokenizer.ggml.precompiled_charsmap": value}
    with pytest.raises(CheckpointError, match="precompiled_charsmap"):
        Tokenizer.from_gguf(damaged)


def test_a_map_of_characters_that_leads_nowhere_is_one_clear_error(spm_metadata: Metadata) -> None:
    damaged = {**spm_metadata, "tokenizer.ggml.model": "t5", "tokenizer.ggml.precompiled_charsmap": [255] * 40}
    with pytest.raises(CheckpointError, match="SentencePiece"):
        Tokenizer.from_gguf(damaged)


def gemma4_metadata() -> dict[str, Any]:
    words = ["▁", "a", "b", "\n", "▁a", "▁ab", "\n\n", "\n\n\n", "▁▁", *(f"<0x{byte:02X}>" for byte in range(256))]
    tokens = ["<pad>", "<eos>", "<bos>", *words]
    types = [3] * 3 + [6 if token.startswith("<0x") else 1 for token in words]
    return {
        "tokenizer.ggml.model": "gemma4",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.merges": ["▁ ▁", "▁ a", "▁a b"],
        "tokenizer.ggml.bos_token_id": 2,
        "tokenizer.ggml.eos_token_id": 1,
        "tokenizer.ggml.add_bos_token": False,
    }


def test_merges_of_characters_with_bytes_to_fall_back_on() -> None:
    tokenizer = Tokenizer.from_gguf(gemma4_metadata())
    ids = tokenizer.encode(" ab  a\n\n\né", add_special=False)
    assert [tokenizer.token_text(id) for id in ids] == ["▁ab", "▁▁", "a", "\n\n\n", "<0xC3>", "<0xA9>"]
    assert tokenizer.decode(ids) == " ab  a\n\n\né"
    assert tokenizer.encode("a") == [2, 4]  # BOS whatever the file says, as in llama.cpp


@given(text=prose)
def test_merges_of_characters_lose_nothing(text: str) -> None:
    tokenizer = Tokenizer.from_gguf(gemma4_metadata())
    assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_a_token_that_is_not_utf8_is_read_as_bytes(
    kind: str, bpe_metadata: Metadata, spm_metadata: Metadata, tmp_path: Any
) -> None:
    metadata = bpe_metadata if kind == "gpt2" else spm_metadata
    writer = gguf.GGUFWriter(str(tmp_path / "tiny.gguf"), "llama")
    writer.add_tokenizer_model(kind)
    writer.add_token_list([token.encode() for token in metadata["tokenizer.ggml.tokens"]] + [b"\xff\xfe", b"a\x80"])
    writer.add_token_types([*metadata["tokenizer.ggml.token_type"], 1, 3])
    if kind == "gpt2":
        writer.add_tokenizer_pre("gpt-2")
        writer.add_token_merges([*metadata["tokenizer.ggml.merges"]])
    else:
        writer.add_token_scores([*metadata["tokenizer.ggml.scores"], 0.0, 0.0])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with open_gguf(tmp_path / "tiny.gguf") as file:
        tokenizer = Tokenizer.from_gguf(file.metadata)
    assert tokenizer.token_bytes(tokenizer.vocab_size - 2) == b"\xff\xfe"
    assert tokenizer.token_bytes(tokenizer.vocab_size - 1) == b"a\x80"
    assert tokenizer.decode([*tokenizer.encode("the fox"), tokenizer.vocab_size - 2]) == "the fox\ufffd\ufffd"
    assert tokenizer.split_control("the fox") == ["the fox"]
