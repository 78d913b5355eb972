"""Codes out of the ways that Hugging Face's quantisation formats pack them, into one byte each.

NumPy works on whole words: the bits of several codes are moved apart at once, in blocks of rows that stay in cache.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint8]
_CODES_AT_ONCE: Final = 1 << 17  # codes that are worked on together

# Bits of codes -> the word that so many codes of a byte each make, and how to move them there: each move or-s the word
# with itself shifted left and masks, which halves the fields until every byte holds one code. (From 5 bits on the two
# would run into each other.)
_MOVES: Final[dict[int, tuple[str, tuple[tuple[int, int], ...]]]] = {
    1: ("<u8", ((28, 0x0000000F0000000F), (14, 0x0003000300030003), (7, 0x0101010101010101))),
    2: ("<u4", ((12, 0x000F000F), (6, 0x03030303))),
    3: ("<u8", ((20, 0x00000FFF00000FFF), (10, 0x003F003F003F003F), (5, 0x0707070707070707))),
    4: ("<u2", ((4, 0x0F0F),)),
}


def codes_along_rows(words: NDArray[Any], bits: int, count: int) -> Codes:
    """The first ``count`` codes of each row of 32-bit ``words`` [M, W], strings of bits with the lowest bit first.

    Returns [M, count].
    """
    rows = words.shape[0]
    found = np.empty((rows, count), np.uint8)
    together = max(1, _CODES_AT_ONCE // max(count, 1))
    for row in range(0, rows, together):
        block = np.ascontiguousarray(words[row : row + together]).view(np.uint8).reshape(-1, 4 * words.shape[1])
        found[row : row + together] = _apart(block, bits)[:, :count]
    return found


def codes_along_columns(words: NDArray[Any], bits: int, count: int) -> Codes:
    """Codes that are packed along the first axis of 32-bit ``words`` [W, N]: [N, count]."""
    return codes_along_rows(words.T, bits, count)


def codes_by_place(packed: NDArray[Any], bits: int, shifts: tuple[int, ...]) -> Codes:
    """Codes of which an element of ``packed`` [R, C] holds one for each of ``shifts``, those of equal shift together.

    Returns [len(shifts) * R, C]: all codes at the first shift, then all at the second, and so on.
    """
    mask = packed.dtype.type(2**bits - 1)
    found = np.empty((len(shifts), *packed.shape), np.uint8)
    for place, shift in enumerate(shifts):
        found[place] = (packed >> packed.dtype.type(shift)) & mask
    return found.reshape(len(shifts) * packed.shape[0], -1)


def _apart(data: Codes, bits: int) -> Codes:
    """The codes of strings of bits [M, bytes], a byte each; some more where the last are cut off by the end."""
    if bits == 8:
        return data
    if bits not in _MOVES:
        units, places = _units(data, bits), np.arange(8, dtype=np.uint64) * np.uint64(bits)
        codes: Codes = ((units[:, :, None] >> places) & np.uint64(2**bits - 1)).astype(np.uint8)
        return codes.reshape(data.shape[0], -1)
    dtype, moves = _MOVES[bits]
    kind = np.dtype(dtype)
    spread = _units(data, kind.itemsize * bits // 8).astype(kind)
    for shift, mask in moves:
        spread |= spread << kind.type(shift)
        spread &= kind.type(mask)
    return spread.view(np.uint8).reshape(data.shape[0], -1)


def _units(data: Codes, size: int) -> NDArray[Any]:
    """Each ``size`` bytes of a row as an integer, the last of a row filled up with zeros: [M, units]."""
    if size == 1:
        return data
    rows, width = data.shape
    if width % size:
        data = np.concatenate([data, np.zeros((rows, -width % size), np.uint8)], axis=1)
    parts = data.reshape(rows, -1, size)
    units = parts[:, :, 0].astype(np.uint64)
    for byte in range(1, size):
        units |= parts[:, :, byte].astype(np.uint64) << np.uint64(8 * byte)
    return units
