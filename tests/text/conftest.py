"""Tokenizers for the text tests: a real one where the model is there, small ones made on the spot."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import sentencepiece
from tokenizers import Tokenizer as HuggingFaceTokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from vocabularies import CORPUS, Metadata, byte_level_metadata, sentencepiece_metadata

from lutmac.checkpoints import open_gguf
from lutmac.text import Tokenizer


@pytest.fixture(scope="session")
def smollm2_metadata(smollm2_path: Path) -> Metadata:
    return open_gguf(smollm2_path).metadata


@pytest.fixture(scope="session")
def smollm2(smollm2_metadata: Metadata) -> Tokenizer:
    return Tokenizer.from_gguf(smollm2_metadata)


@pytest.fixture(scope="session")
def trained_bpe() -> HuggingFaceTokenizer:
    """A byte-level BPE tokenizer with GPT-2's own pre-tokenizer, and all 256 bytes."""
    tokenizer = HuggingFaceTokenizer(BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=True)
    trainer = BpeTrainer(vocab_size=600, initial_alphabet=ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


@pytest.fixture(scope="session")
def bpe_metadata(trained_bpe: HuggingFaceTokenizer) -> Metadata:
    """That tokenizer as a GGUF file would hold it, with control and user-defined tokens after the rest."""
    return byte_level_metadata(trained_bpe)


@pytest.fixture(scope="session")
def bpe(bpe_metadata: Metadata) -> Tokenizer:
    return Tokenizer.from_gguf(bpe_metadata)


@pytest.fixture(scope="session", params=["space prefix", "no space prefix"])
def trained_sentencepiece(request: pytest.FixtureRequest) -> sentencepiece.SentencePieceProcessor:
    """A SentencePiece BPE model with byte fallback."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS),
        model_writer=model,
        model_type="bpe",
        vocab_size=500,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=request.param == "space prefix",
        minloglevel=2,
    )
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


@pytest.fixture(scope="session")
def spm_metadata(trained_sentencepiece: sentencepiece.SentencePieceProcessor) -> Metadata:
    return sentencepiece_metadata(trained_sentencepiece)


@pytest.fixture(scope="session")
def spm(spm_metadata: Metadata) -> Tokenizer:
    return Tokenizer.from_gguf(spm_metadata)
