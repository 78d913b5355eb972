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
        data = self._data
        starts = np.array(self._starts, np.int64) - self._starts[0]
        spans = (starts[:-1] + 8).tolist(), starts[1:].tolist()
        try:
            return [data[begin:end].decode() for begin, end in zip(*spans, strict=True)]
        except UnicodeDecodeError:
            return [data[begin:end].decode("utf-8", "surrogateescape") for begin, end in zip(*spans, strict=True)]


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
