"""Codes out of the ways that Hugging Face's quantisation formats pack them, into one byte each."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint8]


def codes_of_bit_strings(data: Codes, bits: int, count: int) -> Codes:
    """The first ``count`` codes of each row of ``data`` [M, bytes], a string of bits with the lowest bit first.

    Returns [M, count], a byte for each.
    """
    rows = data.shape[0]
    if bits == 8:
        return np.ascontiguousarray(data[:, :count])
    if bits in (1, 2, 4):
        per_byte, mask = 8 // bits, np.uint8(2**bits - 1)
        found = np.empty((rows, data.shape[1], per_byte), np.uint8)
        for place in range(per_byte):
            np.bitwise_and(data >> np.uint8(place * bits), mask, out=found[:, :, place])
        return np.ascontiguousarray(found.reshape(rows, -1)[:, :count])
    # 8 codes in as many bytes as a code has bits.
    padded = np.zeros((rows, -(-data.shape[1] // bits) * bits), np.uint8)
    padded[:, : data.shape[1]] = data
    units = padded.reshape(rows, -1, bits)
    words = np.zeros(units.shape[:2], np.uint64)
    for byte in range(bits):
        words |= units[:, :, byte].astype(np.uint64) << np.uint64(8 * byte)
    found = np.empty((*words.shape, 8), np.uint8)
    for place in range(8):
        found[:, :, place] = (words >> np.uint64(place * bits)) & np.uint64(2**bits - 1)
    return np.ascontiguousarray(found.reshape(rows, -1)[:, :count])


def codes_along_columns(words: NDArray[Any], bits: int, count: int) -> Codes:
    """Codes that are packed along the first axis of 32-bit ``words`` [W, N]: [N, count]."""
    return codes_of_bit_strings(_bytes(words.T), bits, count)


def codes_along_rows(words: NDArray[Any], bits: int, count: int) -> Codes:
    """Codes that are packed along the rows of 32-bit ``words`` [M, W]: [M, count]."""
    return codes_of_bit_strings(_bytes(words), bits, count)


def codes_by_place(packed: NDArray[Any], bits: int, shifts: tuple[int, ...]) -> Codes:
    """Codes of which an element of ``packed`` [R, C] holds one for each of ``shifts``, those of equal shift together.

    Returns [len(shifts) * R, C]: all codes at the first shift, then all at the second, and so on.
    """
    mask = packed.dtype.type(2**bits - 1)
    found = np.empty((len(shifts), *packed.shape), np.uint8)
    for place, shift in enumerate(shifts):
        found[place] = (packed >> packed.dtype.type(shift)) & mask
    return found.reshape(len(shifts) * packed.shape[0], -1)


def _bytes(words: NDArray[Any]) -> Codes:
    contiguous = np.ascontiguousarray(words)
    return contiguous.view(np.uint8).reshape(contiguous.shape[0], -1)
