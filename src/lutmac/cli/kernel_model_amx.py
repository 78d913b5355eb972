"""The model of prompts on the matrix unit: tile products, and what unpacks weights for them."""

from __future__ import annotations

from math import ceil
from typing import Final

# A tile product (TDPBF16PS) takes 16 rows x 16 tokens x 32 k in 16 cycles.
MACS_A_CYCLE: Final = 512
TILE_TOKENS: Final = 16
# Tokens that share what was unpacked.
BLOCK_TOKENS: Final = 512
UNPACKED_WEIGHTS: Final = 512

# Instructions of 512 bits by class for UNPACKED_WEIGHTS, counted in native/kernels/amx. Of every kind of codes, for
# each 32 weights: shifts, what puts codes into floats, multiply-adds, the conversion to bf16, a store.
_EVERY: Final = {"shift512": 28, "logic512": 32, "float512": 32, "convert512": 16, "store512": 16}
_UP_TO_4_BITS: Final = {**_EVERY, "shuffle512": 12, "logic512": 36, "load512": 4}
_5_TO_7_BITS: Final = {**_EVERY, "shuffle512": 32, "logic512": 40, "load512": 7}
_8_BITS: Final = {**_EVERY, "shift512": 24, "shuffle512": 8, "load512": 8}
_CODEBOOK: Final = {**_EVERY, "shuffle512": 36, "logic512": 0, "load512": 4}


def unpacking(kind: str) -> dict[str, int] | None:
    """Instructions by class for UNPACKED_WEIGHTS weights; None for ternary ones, which were not counted."""
    if kind.isdecimal():
        bits = int(kind)
        found = _UP_TO_4_BITS if bits <= 4 else _8_BITS if bits == 8 else _5_TO_7_BITS
    elif kind == "codebook":
        found = _CODEBOOK
    else:
        return None
    return {**found, "all": sum(found.values())}


def tile_cycles(rows: int, columns: int, tokens: int) -> float:
    """Of all tile products."""
    return rows * columns * ceil(tokens / TILE_TOKENS) * TILE_TOKENS / MACS_A_CYCLE
