"""Byte-level byte-pair encoding (the `gpt2` tokenizer of GGUF), run by Hugging Face `tokenizers`.

The scheme is GPT-2's: text is cut into words, each byte of a word is written as a printable character, and pairs of
neighbours are merged in the order of the merge list (Sennrich et al. 2016, Radford et al. 2019).
"""

from __future__ import annotations

import gc
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager

from tokenizers import Regex
from tokenizers import Tokenizer as HuggingFaceTokenizer
from tokenizers.models import BPE
from tokenizers.normalizers import NFC
from tokenizers.pre_tokenizers import ByteLevel, Split
from tokenizers.pre_tokenizers import Sequence as Chain

from lutmac.errors import CheckpointError, LutmacError
from lutmac.text.pretokenizers import PreTokenizer
from lutmac.text.vocabulary import TokenType, Vocabulary, is_text


def _characters_of_bytes() -> list[str]:
    """GPT-2's printable character for each byte: itself where it is printable, else one from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = (byte for byte in range(256) if byte not in printable)
    characters = {byte: chr(byte) for byte in printable} | {byte: chr(0x100 + n) for n, byte in enumerate(others)}
    return [characters[byte] for byte in range(256)]


_CHARACTERS = _characters_of_bytes()
_TO_LATIN1 = {ord(character): byte for byte, character in enumerate(_CHARACTERS)}


class ByteLevelBPE:
    """Encodes plain text with a byte-level vocabulary, and gives tokens their bytes back."""

    def __init__(self, vocabulary: Vocabulary, merges: Sequence[str], pre: PreTokenizer) -> None:
        """`merges` are pairs joined by a space, the first to be merged first.

        Merges of what is no token, or to what is none, are left out. Raises CheckpointError for a merge that is no
        pair, and where none of them is of tokens.
        """
        self._vocabulary = vocabulary
        words = words_of(vocabulary)
        self._tokenizer = merging(words, merges, ignore_merges=pre.ignore_merges)
        if pre.normalizes:
            self._tokenizer.normalizer = NFC()
        stages: list[Split | ByteLevel] = [Split(Regex(pattern), "isolated") for pattern in pre.patterns]
        stages.append(ByteLevel(add_prefix_space=False, use_regex=False))
        if unknown := "".join(character for character in _CHARACTERS if character not in words):
            # Bytes the vocabulary lacks vanish; cutting there keeps their neighbours from merging across the gap.
            stages.append(Split(Regex(f"[{re.escape(unknown)}]"), "removed"))
        self._tokenizer.pre_tokenizer = Chain(stages)

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text."""
        ids: list[int] = self._tokenizer.encode_batch_fast([text], add_special_tokens=False)[0].ids
        return ids

    def token_bytes(self, id: int) -> bytes:
        """The bytes that a token of text stands for."""
        text = self._vocabulary.tokens[id]
        if self._vocabulary.types[id] == TokenType.USER_DEFINED:
            return text.encode(errors="surrogateescape")
        return bytes_of_characters(text)


def bytes_of_characters(token: str) -> bytes:
    """The bytes of a token that writes each as one printable character."""
    try:
        return token.translate(_TO_LATIN1).encode("latin-1")
    except UnicodeEncodeError:  # a token that is not in the byte alphabet stands for itself
        return token.encode(errors="surrogateescape")


def words_of(vocabulary: Vocabulary) -> dict[str, int]:
    """The tokens that text may come out as: no control tokens, and none that is not UTF-8."""
    words = dict(vocabulary.ids)
    for id in vocabulary.of_type(TokenType.CONTROL, TokenType.UNKNOWN):
        words.pop(vocabulary.tokens[id], None)
    if not is_text("".join(words)):
        words = {text: id for text, id in words.items() if is_text(text)}
    return words


def merging(words: Mapping[str, int], merges: Sequence[str], **options: bool) -> HuggingFaceTokenizer:
    """A tokenizer of these words; merges: see ByteLevelBPE. options: of `tokenizers.models.BPE`."""
    with _garbage_collection_paused(), failures_of_tokenizers("tokenizer.ggml.merges cannot be used"):
        return HuggingFaceTokenizer(BPE(dict(words), _usable(words, _pairs(merges)), **options))


def _pairs(merges: Sequence[str]) -> list[tuple[str, str]]:
    """Each merge cut in two at its first space that is not its first character."""
    parts = " ".join(merges).split(" ")
    if len(parts) == 2 * len(merges):  # one space each: five times as fast as cutting them one by one
        return list(zip(parts[::2], parts[1::2], strict=True))
    pairs = []
    for rank, merge in enumerate(merges):
        space = merge.find(" ", 1)
        if space < 0:
            raise CheckpointError(f"tokenizer.ggml.merges[{rank}] is {merge!r}, not two tokens and a space between")
        pairs.append((merge[:space], merge[space + 1 :]))
    return pairs


def _usable(words: Container[str], pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The pairs of words that make a word. `tokenizers` refuses the others, or panics."""
    found = [(left, right) for left, right in pairs if left + right in words and left in words and right in words]
    if not found and pairs and not any(left in words and right in words for left, right in pairs):
        raise CheckpointError(f"tokenizer.ggml.merges does not fit tokenizer.ggml.tokens: {pairs[0]!r} are no tokens")
    return found


@contextmanager
def failures_of_tokenizers(what: str) -> Iterator[None]:
    """Turn whatever `tokenizers` raises into a CheckpointError of one line that begins with `what`."""
    try:
        yield
    except LutmacError:
        raise
    except BaseException as error:  # bare Exception; and its PanicException, which cannot be imported, is none
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise CheckpointError(f"{what}: {' '.join(str(error).split())}") from error


@contextmanager
def _garbage_collection_paused() -> Iterator[None]:
    """Keep the collector from scanning the merge list over and over while it is built."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
