"""SentencePiece vocabularies (the `llama` and `t5` tokenizers of GGUF), run by `sentencepiece`.

GGUF keeps a SentencePiece model's pieces, scores and types; the model proto is built again from them. Pieces are
merged in the order of their scores or chosen by their probability, and characters that are no piece fall back to byte
pieces such as `<0x0A>` (Kudo and Richardson 2018, https://github.com/google/sentencepiece).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2

from lutmac.errors import CheckpointError
from lutmac.text.vocabulary import TokenType, Vocabulary, is_text

_PROTO: Any = sentencepiece_model_pb2  # its classes are made at run time, unseen by type checkers

SPACE = "▁"
"""What stands for a space inside a piece (U+2581)."""

BYTE_PIECES = {f"<0x{byte:02X}>": byte for byte in range(256)}
"""The pieces that stand for a byte each."""


class SentencePieces:
    """Encodes plain text with a SentencePiece vocabulary, and gives tokens their bytes back."""

    def __init__(
        self, vocabulary: Vocabulary, scores: NDArray[np.float32], normalization: Normalization | None = None
    ) -> None:
        """`scores[i]` ranks piece i: the higher, the earlier it is merged, or the likelier it is."""
        self._vocabulary = vocabulary
        self._processor = SentencePieceProcessor()
        try:
            self._processor.LoadFromSerializedProto(_model(vocabulary, scores, normalization or Normalization()))
        except (RuntimeError, ValueError, TypeError) as error:
            reason = " ".join(str(error).split())
            raise CheckpointError(f"tokenizer.ggml.tokens make no SentencePiece model: {reason}") from error

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text; a space is put before it only where the normalization says so."""
        ids: list[int] = self._processor.EncodeAsIds(text)
        return ids

    def token_bytes(self, id: int) -> bytes:
        """The bytes that a token of text stands for."""
        return piece_bytes(self._vocabulary, id)


@dataclass(frozen=True)
class Normalization:
    """What happens to a text first.

    unigram: pieces are chosen by their probability, not merged by score. adds_prefix: a space goes before every text.
    removes_spaces: runs of spaces become one, and none stays at the ends. characters: a map of SentencePiece's, of
    characters to others.
    """

    unigram: bool = False
    adds_prefix: bool = False
    removes_spaces: bool = False
    characters: bytes = b""


def piece_bytes(vocabulary: Vocabulary, id: int) -> bytes:
    """The bytes that a piece stands for."""
    text = vocabulary.tokens[id]
    if vocabulary.types[id] == TokenType.BYTE and text in BYTE_PIECES:
        return bytes([BYTE_PIECES[text]])
    return text.replace(SPACE, " ").encode(errors="surrogateescape")


def _model(vocabulary: Vocabulary, scores: NDArray[np.float32], normalization: Normalization) -> bytes:
    """A serialized model proto. Pieces that SentencePiece would refuse become unused ones that no text can match."""
    model = _PROTO.ModelProto()
    types = _types(vocabulary)
    all_text = is_text("".join(vocabulary.tokens))
    for id, (token, score, type) in enumerate(zip(vocabulary.tokens, scores.tolist(), types, strict=True)):
        if vocabulary.ids[token] != id or not token or not (all_text or is_text(token)):
            model.pieces.add(piece=f"\ufdd0{id}", score=0.0, type=TokenType.UNUSED)
        else:
            model.pieces.add(piece=token, score=score, type=type)
    spec = _PROTO.TrainerSpec
    model.trainer_spec.model_type = spec.UNIGRAM if normalization.unigram else spec.BPE
    model.trainer_spec.byte_fallback = TokenType.BYTE in types
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.add_dummy_prefix = normalization.adds_prefix
    model.normalizer_spec.remove_extra_whitespaces = normalization.removes_spaces
    model.normalizer_spec.precompiled_charsmap = normalization.characters
    model.normalizer_spec.escape_whitespaces = True
    serialized: bytes = model.SerializeToString()
    return serialized


def _types(vocabulary: Vocabulary) -> list[int]:
    """The pieces' types as SentencePiece wants them: one unknown piece, and all 256 bytes or none."""
    types = vocabulary.types.copy()
    unknown = [id for id in vocabulary.of_type(TokenType.UNKNOWN) if vocabulary.ids[vocabulary.tokens[id]] == id]
    first = vocabulary.unknown_id if vocabulary.unknown_id in unknown or not unknown else unknown[0]
    types[unknown] = TokenType.CONTROL
    types[first or 0] = TokenType.UNKNOWN
    is_byte = types == TokenType.BYTE
    if {vocabulary.tokens[id] for id in np.flatnonzero(is_byte)} != set(BYTE_PIECES):
        types[is_byte] = TokenType.NORMAL
    listed: list[int] = types.tolist()
    return listed
