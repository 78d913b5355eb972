"""Byte-pair encoding over characters, with spaces written as ▁ (the `gemma4` tokenizer of GGUF), run by `tokenizers`.

Pieces are those of SentencePiece, but merged by a list of merges; characters that are no piece fall back to byte pieces
such as `<0x0A>`.
"""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import AddedToken, Regex
from tokenizers.normalizers import Replace
from tokenizers.pre_tokenizers import Sequence as Chain
from tokenizers.pre_tokenizers import Split

from lutmac.text.bpe import merging, words_of
from lutmac.text.pretokenizers import PreTokenizer
from lutmac.text.spm import SPACE, piece_bytes
from lutmac.text.vocabulary import Vocabulary


class SpacedBPE:
    """Encodes plain text with such a vocabulary, and gives tokens their bytes back."""

    def __init__(self, vocabulary: Vocabulary, merges: Sequence[str], pre: PreTokenizer) -> None:
        """See ByteLevelBPE."""
        self._vocabulary = vocabulary
        words = words_of(vocabulary)
        self._tokenizer = merging(words, merges, byte_fallback=True)
        self._tokenizer.normalizer = Replace(" ", SPACE)
        self._tokenizer.pre_tokenizer = Chain([Split(Regex(pattern), "isolated") for pattern in pre.patterns])
        # Runs of lines are pieces that no merge makes.
        runs = sorted((text for text in words if text.strip("\n") == ""), key=len)
        self._tokenizer.add_tokens([AddedToken(text, normalized=False) for text in runs if text])

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text; no space is put before it."""
        ids: list[int] = self._tokenizer.encode_batch_fast([text], add_special_tokens=False)[0].ids
        return ids

    def token_bytes(self, id: int) -> bytes:
        """The bytes that a token of text stands for."""
        return piece_bytes(self._vocabulary, id)
