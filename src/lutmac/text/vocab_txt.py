"""vocab.txt, a list of WordPiece's pieces, which BERT's directories had before there was tokenizer.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lutmac.errors import CheckpointError

VOCAB_TXT = "vocab.txt"


def word_piece_document(text: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The tokenizer.json that transformers' BertTokenizerFast makes of it.

    text: the file's, a piece to a line. settings: of tokenizer_config.json. Raises CheckpointError where the control
    tokens are missing.
    """
    ids = {piece.rstrip("\r"): id for id, piece in enumerate(text.rstrip("\n").split("\n"))}
    unknown, separator, begin = (
        _named(settings.get(role), default)
        for role, default in (("unk_token", "[UNK]"), ("sep_token", "[SEP]"), ("cls_token", "[CLS]"))
    )
    missing = [token for token in (unknown, separator, begin) if token not in ids]
    if missing:
        raise CheckpointError(f"{VOCAB_TXT} has no {missing[0]}")
    control = [unknown, separator, begin, *(token for token in ("[PAD]", "[MASK]") if token in ids)]
    return {
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": settings.get("tokenize_chinese_chars") is not False,
            "strip_accents": settings.get("strip_accents"),
            "lowercase": settings.get("do_lower_case") is not False,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "BertProcessing",
            "sep": [separator, ids[separator]],
            "cls": [begin, ids[begin]],
        },
        "model": {
            "type": "WordPiece",
            "unk_token": unknown,
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": ids,
        },
        "added_tokens": [
            {"id": ids[token], "content": token, "special": True, "single_word": False, "lstrip": False,
             "rstrip": False, "normalized": False}
            for token in dict.fromkeys(control)
        ],
    }  # fmt: skip


def _named(entry: object, default: str) -> str:
    text = entry.get("content") if isinstance(entry, dict) else entry
    return text if isinstance(text, str) and text else default
