"""tokenizer.model, a serialized SentencePiece model, as Llama 2, Mistral and Gemma came with."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2

from lutmac.errors import CheckpointError
from lutmac.text.spm import BYTE_PIECES, SPACE
from lutmac.text.vocabulary import TokenType, Vocabulary

_PROTO: Any = sentencepiece_model_pb2  # its classes are made at run time, unseen by type checkers


class SentencePieceModel:
    """The contents of a tokenizer.model. tokens, types, scores: its pieces.

    adds_prefix: a space goes before every text. merges_pairs: pieces are merged in the order of their scores (BPE), not
    chosen by their probability.
    """

    def __init__(self, serialized: bytes) -> None:
        """Raises CheckpointError for bytes that are no such model."""
        model = _PROTO.ModelProto()
        try:
            model.ParseFromString(serialized)
        except Exception as error:  # protobuf's DecodeError, whose home differs between its versions
            raise CheckpointError("tokenizer.model is no SentencePiece model") from error
        if not model.pieces:
            raise CheckpointError("tokenizer.model is no SentencePiece model: it has no pieces")
        self.tokens: list[str] = [piece.piece for piece in model.pieces]
        self.types: list[int] = [piece.type for piece in model.pieces]
        self.scores: list[float] = [piece.score for piece in model.pieces]
        self.merges_pairs = model.trainer_spec.model_type == _PROTO.TrainerSpec.BPE
        self.adds_prefix = bool(model.normalizer_spec.add_dummy_prefix)
        model.normalizer_spec.add_dummy_prefix = False  # the caller knows where a text begins
        self._processor = SentencePieceProcessor()
        try:
            self._processor.LoadFromSerializedProto(model.SerializeToString())
        except (RuntimeError, ValueError, TypeError) as error:
            raise CheckpointError(f"tokenizer.model cannot be used: {' '.join(str(error).split())}") from error

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text; no space is put before it."""
        ids: list[int] = self._processor.EncodeAsIds(text)
        return ids


class SentencePieces:
    """Encodes plain text with a SentencePiece model, and gives tokens their bytes back."""

    def __init__(self, model: SentencePieceModel, vocabulary: Vocabulary) -> None:
        """vocabulary: the model's pieces, and what was added to them."""
        self._tokens = vocabulary.tokens
        self._types: NDArray[np.int8] = vocabulary.types
        self.encode = model.encode

    def token_bytes(self, id: int) -> bytes:
        """The bytes that a token of text stands for."""
        text = self._tokens[id]
        if self._types[id] == TokenType.BYTE and text in BYTE_PIECES:
            return bytes([BYTE_PIECES[text]])
        return text.replace(SPACE, " ").encode(errors="replace")
