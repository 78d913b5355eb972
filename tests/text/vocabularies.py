"""Small vocabularies in the shape of GGUF metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import sentencepiece
from hypothesis import strategies as st
from tokenizers import Tokenizer as HuggingFaceTokenizer
from tokenizers.pre_tokenizers import ByteLevel

from lutmac.text.bpe import bytes_of_characters

Metadata = Mapping[str, Any]

CORPUS = [
    "The quick brown fox jumps over the lazy dog, and the dog does not mind at all.",
    "When the fox came back the next day, the dog was waiting for the fox at the gate.",
    "def jump(fox, dog):\n    for step in range(10):\n        fox.over(dog)\n    return fox",
    "In 1984 and in 2024 it was the same: the fox jumped, the dog slept.",
    "Größe, Straße, été, où, naïve, señor, façade.",
    "日本語のテキスト。中文文本。한국어 텍스트.",
    "Привет, как дела? Лиса прыгает через собаку.",
]

CONTROL = ("<|im_start|>", "<|im_end|>", "<s>")
USER_DEFINED = ("<think>", "</think>", "\n\n\n")

any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
prose = st.lists(
    st.sampled_from(
        [" ", "  ", "\n", "the", " fox", "dogs", "é", "日本", "🦊", "12", "'s", ".", *CONTROL, *USER_DEFINED]
    )
).map("".join)
texts = any_text | prose


def byte_level_metadata(trained: HuggingFaceTokenizer) -> dict[str, Any]:
    """The metadata of a byte-level BPE tokenizer, with CONTROL and USER_DEFINED tokens after its own."""
    model = json.loads(trained.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": [*tokens, *CONTROL, *USER_DEFINED],
        "tokenizer.ggml.token_type": [1] * len(tokens) + [3] * len(CONTROL) + [4] * len(USER_DEFINED),
        "tokenizer.ggml.merges": [" ".join(pair) for pair in model["merges"]],
        "tokenizer.ggml.bos_token_id": len(tokens) + 2,
        "tokenizer.ggml.eos_token_id": len(tokens) + 1,
    }


def merged_tag_metadata(*extra: str) -> dict[str, Any]:
    """A vocabulary in which a merge makes the ordinary token `</s>`, as in Qwen's; `extra`: more ordinary tokens."""
    words = [*sorted(ByteLevel.alphabet(), key=_byte_of), "</", "</s", "</s>", *extra]
    control = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "qwen2",
        "tokenizer.ggml.tokens": [*words, *control],
        "tokenizer.ggml.token_type": [1] * len(words) + [3] * len(control),
        "tokenizer.ggml.merges": ["< /", "</ s", "</s >"],
        "tokenizer.ggml.bos_token_id": len(words),
        "tokenizer.ggml.eos_token_id": len(words) + 2,
        "tokenizer.ggml.add_bos_token": False,
    }


def _byte_of(character: str) -> int:
    return bytes_of_characters(character)[0]


def sentencepiece_metadata(trained: sentencepiece.SentencePieceProcessor) -> dict[str, Any]:
    """The metadata of a SentencePiece model."""
    ids = range(trained.get_piece_size())

    def type_of(id: int) -> int:
        return 2 if trained.is_unknown(id) else 3 if trained.is_control(id) else 6 if trained.is_byte(id) else 1

    prefix = trained.encode("fox", out_type=str)[0].startswith("▁")
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": [trained.id_to_piece(id) for id in ids],
        "tokenizer.ggml.scores": [trained.get_score(id) for id in ids],
        "tokenizer.ggml.token_type": [type_of(id) for id in ids],
        "tokenizer.ggml.add_space_prefix": prefix,
    }
