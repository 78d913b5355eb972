"""Whether a text has more tokens than fit, found out without reading all of it: whoever sends too much costs little."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from weakref import WeakKeyDictionary

from lutmac.errors import ContextOverflowError
from lutmac.text.tokenizer import Tokenizer

PIECE: Final = 16 << 10  # characters that are counted at a time
TYPICAL_BYTES: Final = 8  # of a token, and more than that: what has fewer for each that fits is encoded as it is
# A text that is cut has other tokens beside the cuts. Twice as many as fit are too many however they fall.
MARGIN: Final = 2
_known: WeakKeyDictionary[Tokenizer, int | None] = WeakKeyDictionary()
_COMPOSED: Final = 3  # times as short, at most, a text is in normal form C


def check_bytes(tokenizer: Tokenizer, size: int, most: int) -> None:
    """Raises ContextOverflowError where a text of so many bytes has more than ``most`` tokens, whatever it says."""
    longest = bytes_per_token(tokenizer)
    if longest is not None and size > longest * most:
        raise overflow(size // longest + 1, most)


def check_segments(tokenizer: Tokenizer, segments: Iterable[tuple[str, bool]], most: int) -> None:
    """Raises ContextOverflowError where texts certainly have more than ``most`` tokens together.

    segments: as `Tokenizer.encode_segments` takes them. Goes through no more of them than it takes to know.
    """
    given = list(segments)
    size = sum(map(byte_length, (text for text, _ in given)))
    if size <= TYPICAL_BYTES * most:
        return
    check_bytes(tokenizer, size, most)
    count = 0
    for text, parse_special in given:
        for begin in range(0, len(text), PIECE):
            piece = text[begin : begin + PIECE]
            count += len(tokenizer.encode(piece, parse_special=parse_special, add_special=False))
            if count > MARGIN * most:
                raise overflow(count, most)


def byte_length(text: str) -> int:
    """Bytes of a text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))


def bytes_per_token(tokenizer: Tokenizer) -> int | None:
    """Bytes of text that a token stands for at most; None where there is no bound, since blanks are left out."""
    if tokenizer not in _known:
        composed = _COMPOSED if _same(tokenizer, "e\u0301", "\u00e9") else 1
        _known[tokenizer] = None if _same(tokenizer, "a  b", "a b") else _longest_token(tokenizer) * composed
    return _known[tokenizer]


def _same(tokenizer: Tokenizer, text: str, other: str) -> bool:
    return tokenizer.encode(text, add_special=False) == tokenizer.encode(other, add_special=False)


def _longest_token(tokenizer: Tokenizer) -> int:
    # What is left has too few characters, of up to four bytes each.
    by_size = sorted(range(tokenizer.vocab_size), key=lambda id: -len(tokenizer.token_text(id)))
    longest = 1
    for id in by_size:
        if 4 * len(tokenizer.token_text(id)) <= longest:
            break
        longest = max(longest, len(tokenizer.token_bytes(id)))
    return longest


def overflow(least: int, most: int) -> ContextOverflowError:
    """The error for a prompt of at least so many tokens."""
    return ContextOverflowError.of_prompt(least, most, at_least=True)
