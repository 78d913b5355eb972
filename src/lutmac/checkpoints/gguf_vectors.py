"""GGUF's vector-codebook types, IQ1 to IQ3: indices into a grid of vectors, signs apart.

The packing looks the vectors up and keeps the smallest form that holds them without loss: 2 bits for IQ1_S, 4 bits for
the others. Block layouts: https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from lutmac.checkpoints.gguf_blocks import BlockType, Fields, half_at
from lutmac.checkpoints.gguf_grids import grid
from lutmac.lowbit.matrix import BitFields, BlockLayout, Grid, InBlocks

_ODD = tuple(range(1, 32, 2))  # scales are odd: 2 n + 1 for a field n


def _vectors(name: str, codes: range, index: Fields, flips: Fields = (), flip: int = 0) -> Grid:
    """A grid whose levels become these codes."""
    return Grid(np.array(codes, np.uint8)[grid(name)], index, flips, flip)


def _layout(block_bytes: int, vectors: Grid) -> BlockLayout:
    return BlockLayout(256, block_bytes, (), grid=vectors)


# ---- magnitudes and signs: codes 0 to 7 are magnitudes, 8 to 15 the same ones of negative weights ----


def _signed(*magnitudes: int) -> tuple[float, ...]:
    padded = (*magnitudes, *(0,) * (8 - len(magnitudes)))
    return tuple(float(sign * magnitude) for sign in (1, -1) for magnitude in padded)


_IQ2_VALUES = _signed(8, 25, 43)
_IQ3_XXS_VALUES = _signed(4, 12, 20, 28, 36, 44, 52, 62)
# Signs of 8 weights in a field of 7 bits: the number of negative ones is even.
_SIGNS = tuple(signs | (signs.bit_count() & 1) << 7 for signs in range(128))


def _sign_fields(byte: int, spacing: int) -> Fields:
    """Numbers of 32 bits, ``spacing`` bytes apart, that hold four 7-bit fields below a 4-bit scale each."""
    return tuple(BitFields(4 * n, 4, byte + spacing * n, 0, 7, stride=7, table=_SIGNS) for n in range(8))


def _scale_fields(byte: int, spacing: int) -> Fields:
    return (BitFields(0, 8, byte + 3, 4, 4, stride=8 * spacing, table=_ODD),)


# IQ2_XXS: d, then per 32 weights 4 indices and a number of signs and scale.
_IQ2_XXS = BlockType(
    4,
    32,
    _layout(
        66,
        _vectors(
            "IQ2_XXS",
            range(3),
            tuple(BitFields(4 * n, 4, 2 + 8 * n, 0, 8) for n in range(8)),
            _sign_fields(6, 8),
            flip=8,
        ),
    ),
    InBlocks(half_at(0), _scale_fields(6, 8)),
    factor=0.125,
    codebook=_IQ2_VALUES,
)

# IQ2_XS: d, 32 numbers of a 9-bit index below a 7-bit field of signs, 8 bytes of 4-bit scales.
_IQ2_XS = BlockType(
    4,
    16,
    _layout(
        74,
        _vectors(
            "IQ2_XS",
            range(3),
            (BitFields(0, 32, 2, 0, 9, stride=16),),
            (BitFields(0, 32, 3, 1, 7, stride=16, table=_SIGNS),),
            flip=8,
        ),
    ),
    InBlocks(half_at(0), (BitFields(0, 16, 66, 0, 4, stride=4, table=_ODD),)),
    factor=0.125,
    codebook=_IQ2_VALUES,
)

# IQ2_S: d, 32 bytes of indices, 32 of signs, 8 with two more bits of each index, 8 bytes of 4-bit scales.
_IQ2_S = BlockType(
    4,
    16,
    _layout(
        82,
        _vectors(
            "IQ2_S",
            range(3),
            (BitFields(0, 32, 2, 0, 8), BitFields(0, 32, 66, 0, 2, dest=8, stride=2)),
            (BitFields(0, 32, 34, 0, 8),),
            flip=8,
        ),
    ),
    InBlocks(half_at(0), (BitFields(0, 16, 74, 0, 4, stride=4, table=_ODD),)),
    factor=0.125,
    codebook=_IQ2_VALUES,
)

# IQ3_XXS: d, 64 indices of 4 weights, 8 numbers of signs and scale.
_IQ3_XXS = BlockType(
    4,
    32,
    _layout(98, _vectors("IQ3_XXS", range(8), (BitFields(0, 64, 2, 0, 8),), _sign_fields(66, 4), flip=8)),
    InBlocks(half_at(0), _scale_fields(66, 4)),
    factor=0.25,
    codebook=_IQ3_XXS_VALUES,
)

# ---- affine codes ----

# IQ3_S: d, 64 indices of 4 weights, 8 bytes with another bit of each, 32 of signs, 4 bytes of 4-bit scales. Magnitudes
# are 1, 3, ... 15, so that codes 0 to 15 around 7.5 are the signed weights; a sign turns all bits of a code.
_IQ3_S = BlockType(
    4,
    32,
    _layout(
        110,
        _vectors(
            "IQ3_S",
            range(8, 16),
            (BitFields(0, 64, 2, 0, 8), BitFields(0, 64, 66, 0, 1, dest=8, stride=1)),
            (BitFields(0, 32, 74, 0, 8),),
            flip=15,
        ),
    ),
    InBlocks(half_at(0), (BitFields(0, 8, 106, 0, 4, stride=4, table=_ODD),)),
    zero_point=7.5,
    factor=2.0,
)

# IQ1_S: d, 32 bytes of indices of 8 weights, 8 numbers of three more bits of 4 indices, a 3-bit scale, and the sign of
# a shift of all 32 weights by an eighth of the scale.
_EIGHTHS = (*_ODD[:8], *(-odd for odd in _ODD[:8]))
_IQ1_S = BlockType(
    2,
    32,
    _layout(
        50,
        _vectors(
            "IQ1_S",
            range(3),
            (BitFields(0, 32, 2, 0, 8), *(BitFields(4 * n, 4, 34 + 2 * n, 0, 3, dest=8, stride=3) for n in range(8))),
        ),
    ),
    InBlocks(half_at(0), (BitFields(0, 8, 35, 4, 3, stride=16, table=tuple(8 * odd for odd in _ODD[:8])),)),
    zero_point=1.0,
    offset=InBlocks(half_at(0), (BitFields(0, 8, 35, 4, 4, stride=16, table=_EIGHTHS),)),
    factor=0.125,
)

# IQ1_M: 32 bytes of indices, 16 with nibbles of three more bits and the sign of the shift of 8 weights, 4 numbers of
# four 3-bit scales below 4 bits of d each. In eighths a weight is -9, -7, -1, 1, 7 or 9: codes 2, 3, 6, 7, 10, 11
# around 6.5.
_IQ1_M = BlockType(
    4,
    16,
    _layout(
        56,
        _vectors(
            "IQ1_S",
            range(2, 14, 4),
            (BitFields(0, 32, 0, 0, 8), BitFields(0, 32, 32, 0, 3, dest=8, stride=4)),
            (BitFields(0, 32, 32, 3, 1, stride=4, table=(0xFF, 0)),),
            flip=1,
        ),
    ),
    InBlocks(
        tuple(BitFields(0, 1, 49 + 2 * n, 4, 4, dest=4 * n) for n in range(4)),
        tuple(BitFields(4 * n, 4, 48 + 2 * n, 0, 3, stride=3, table=_ODD[:8]) for n in range(4)),
    ),
    zero_point=6.5,
    factor=0.25,
)

VECTOR_TYPES: Final = {
    "IQ1_S": _IQ1_S,
    "IQ1_M": _IQ1_M,
    "IQ2_XXS": _IQ2_XXS,
    "IQ2_XS": _IQ2_XS,
    "IQ2_S": _IQ2_S,
    "IQ3_XXS": _IQ3_XXS,
    "IQ3_S": _IQ3_S,
}
