"""WordPiece vocabularies (the `bert` tokenizer of GGUF), run by Hugging Face `tokenizers`.

A text is cut into words and punctuation, and each word into the longest pieces that the vocabulary has, from the left
(Devlin et al., 2019). GGUF writes a piece that begins a word with ▁ before it, and one that goes on without ##.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from tokenizers import Tokenizer as HuggingFaceTokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from lutmac.text.bpe import failures_of_tokenizers, words_of
from lutmac.text.spm import SPACE
from lutmac.text.vocabulary import Vocabulary

CONTINUING = "##"
LONGEST_WORD = 100  # characters; a longer one is unknown, as in transformers


@dataclass(frozen=True)
class WordPieceNormalization:
    """What happens to a text first. strips_accents: é becomes e."""

    lower_cases: bool = True
    strips_accents: bool = True


class WordPieces:
    """Encodes plain text with a WordPiece vocabulary, and gives tokens their bytes back."""

    def __init__(self, vocabulary: Vocabulary, normalization: WordPieceNormalization) -> None:
        """vocabulary: as GGUF writes it. What it has no pieces for becomes its unknown token, or is left out."""
        self._vocabulary = vocabulary
        words = {_as_trained(text): id for text, id in words_of(vocabulary).items() if text}
        unknown = f"\ufdd0{secrets.token_hex(16)}"  # no text can come out as it
        self._unknown = -1 if vocabulary.unknown_id is None else vocabulary.unknown_id
        words[unknown] = len(vocabulary.tokens)
        with failures_of_tokenizers("tokenizer.ggml.tokens make no WordPiece model"):
            model = WordPiece(words, unk_token=unknown, max_input_chars_per_word=LONGEST_WORD)
            self._library = HuggingFaceTokenizer(model)
        self._library.normalizer = BertNormalizer(
            lowercase=normalization.lower_cases, strip_accents=normalization.strips_accents
        )
        self._library.pre_tokenizer = BertPreTokenizer()

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text."""
        ids: list[int] = self._library.encode_batch_fast([text], add_special_tokens=False)[0].ids
        size = len(self._vocabulary.tokens)
        found = (id if id < size else self._unknown for id in ids)
        return [id for id in found if id >= 0]

    def token_bytes(self, id: int) -> bytes:
        """The bytes that a token of text stands for; a word begins with a space."""
        return self._vocabulary.tokens[id].replace(SPACE, " ").encode(errors="surrogateescape")


def as_in_gguf(piece: str) -> str:
    """A piece of WordPiece's as GGUF has it."""
    return piece[len(CONTINUING) :] if piece.startswith(CONTINUING) else SPACE + piece


def _as_trained(piece: str) -> str:
    """A piece of GGUF's as WordPiece has it."""
    return piece.removeprefix(SPACE) if piece.startswith(SPACE) else CONTINUING + piece
