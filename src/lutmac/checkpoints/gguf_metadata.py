"""The metadata of a GGUF file as a mapping that decodes long lists of strings only when they are asked for."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

MetadataValue = bool | int | float | str | list[str] | NDArray[Any]


class StringArray:
    """Strings that lie in the file one after another: checked, but not yet decoded."""

    def __init__(self, data: bytes, starts: array[int]) -> None:
        """data: the strings, a 64-bit length before each. starts: where each length lies, and the end of the last.

        Only differences of starts matter: they may count from anywhere.
        """
        self._data = data
        self._starts = starts

    def decode(self) -> list[str]:
        """The strings; bytes that are no UTF-8 become surrogates (PEP 383)."""
        data = np.frombuffer(self._data, np.uint8)
        starts = np.array(self._starts, np.int64) - self._starts[0]
        begins, count = starts[:-1], len(starts) - 1
        # A zero byte instead of each length: it is part of no other character, so that all are decoded in one go.
        kept = np.ones(len(data), bool)
        for byte in range(1, 8):
            kept[begins + byte] = False
        separated = data.copy()
        separated[begins] = 0
        strings = separated[kept].tobytes().decode("utf-8", "surrogateescape").split("\0")[1:]
        if len(strings) == count:
            return strings
        spans = zip((begins + 8).tolist(), starts[1:].tolist(), strict=True)  # one has a zero byte itself
        return [self._data[begin:end].decode("utf-8", "surrogateescape") for begin, end in spans]


class Metadata(Mapping[str, MetadataValue]):
    """The key-value pairs of a GGUF file, read-only.

    Scalars are Python values, arrays of numbers NumPy arrays, arrays of strings ``list[str]``. String arrays are
    decoded when first asked for. Bytes that are no UTF-8 (token pieces may be any bytes) become surrogates:
    ``value.encode("utf-8", "surrogateescape")`` gives the bytes back.
    """

    def __init__(self, values: dict[str, MetadataValue | StringArray]) -> None:
        """Takes over values."""
        self._values = values

    def __getitem__(self, key: str) -> MetadataValue:
        """The value of a key; decodes it on first use."""
        value = self._values[key]
        if isinstance(value, StringArray):
            value = self._values[key] = value.decode()
        return value

    def __iter__(self) -> Iterator[str]:
        """The keys, in the file's order."""
        return iter(self._values)

    def __len__(self) -> int:
        """Number of keys."""
        return len(self._values)
