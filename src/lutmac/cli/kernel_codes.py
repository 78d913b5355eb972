"""What `lutmac bench kernels` multiplies: the kinds of codes, and matrices of random ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np

from lutmac import _native
from lutmac.checkpoints.gguf_blocks import BLOCK_TYPES
from lutmac.cli.options import check_width, parse_counts
from lutmac.errors import InvalidRequestError
from lutmac.lowbit.matrix import ByteFloats, LowBitMatrix, Parameter, plain_codes
from lutmac.lowbit.packing import Packer

# Codebooks: those of GGUF's types, with their groups and kinds of scale, and one whose values take two bytes each.
_CODEBOOKS: Final = ("iq4_nl", "mxfp4", "nvfp4", "nf4")
_NF4_GROUP_SIZE: Final = 64
# Five weights to a byte: those that share a scale (0: a row's), and bits of a weight without scales.
TERNARY_GROUPS: Final = {"ternary": 0, "ptq1_0": 128, "tq1_0": 256}
TERNARY_BITS: Final = 8 * 26 / 128


@dataclass(frozen=True)
class KernelCodes:
    """name: as --bits has it. bits: of a code in memory. group_size: 0 is one scale per row."""

    name: str
    bits: float
    group_size: int

    def matrices(self, rows: int, columns: int, copies: int, *, target: str, threads: int) -> list[_native.Matrix]:
        """Packed matrices with random codes, `copies` of them, each with memory of its own."""
        group_size = min(self.group_size or columns, columns)
        if self.name in _CODEBOOKS:
            packer, matrix = (
                Packer(target=target, threads=threads),
                _codebook_matrix(self.name, rows, columns, group_size),
            )
            packed = [packer.add(matrix) for _ in range(copies)]
            packer.finish()
            return packed
        native, ternary = _native.Packer(target=target, threads=threads), self.name in TERNARY_GROUPS
        packed = [
            native.add_random(
                rows=rows,
                columns=columns,
                bits=2 if ternary else int(self.name),
                group_size=group_size,
                scale_exponent=-8,
                seed=seed,
                ternary=ternary,
            )
            for seed in range(copies)
        ]
        native.finish()
        return packed


def parse_codes(names: Sequence[str], group_size: int) -> tuple[KernelCodes, ...]:
    """`["1", "2", "ternary", "mxfp4"]` as kinds of codes; group_size is that of the integers among them.

    "ternary" has one scale per row, "ptq1_0" and "tq1_0" have one for each 128 and 256 weights.

    Raises InvalidRequestError for anything else, naming what there is.
    """
    return tuple(_parse_one(name, group_size) for name in names)


def _parse_one(name: str, group_size: int) -> KernelCodes:
    if name in TERNARY_GROUPS:
        return KernelCodes(name, TERNARY_BITS, TERNARY_GROUPS[name])
    if name in _CODEBOOKS:
        return KernelCodes(name, 4, _NF4_GROUP_SIZE if name == "nf4" else BLOCK_TYPES[name.upper()].group_size)
    if not name.isdecimal():
        raise InvalidRequestError(
            f"--bits {name!r} is neither a number nor one of {', '.join((*TERNARY_GROUPS, *_CODEBOOKS))}"
        )
    (bits,) = parse_counts(name, "--bits")
    check_width(bits, group_size)
    return KernelCodes(str(bits), bits, group_size)


def _codebook_matrix(name: str, rows: int, columns: int, group_size: int) -> LowBitMatrix:
    rng = np.random.default_rng(0)
    shape = (rows, -(-columns // group_size))
    scale: Parameter = (rng.random(shape) * 2**-8).astype(np.float16)
    if name == "mxfp4":
        scale = ByteFloats(rng.integers(115, 120, shape, dtype=np.uint8), "e8m0")
    elif name == "nvfp4":
        scale = ByteFloats(rng.integers(20, 40, shape, dtype=np.uint8), "e4m3")
    return LowBitMatrix(
        rows=rows,
        columns=columns,
        bits=4,
        group_size=group_size,
        source=rng.integers(0, 16, (rows, columns), dtype=np.uint8),
        layout=plain_codes(),
        scale=scale,
        codebook=_nf4_values() if name == "nf4" else BLOCK_TYPES[name.upper()].codebook,
    )


def _nf4_values() -> tuple[float, ...]:
    """NormalFloat 4 (the QLoRA paper): quantiles of a normal distribution, 7 below zero and 8 above, the largest 1."""
    furthest = 1 - (1 / 32 + 1 / 30) / 2
    above = [NormalDist().inv_cdf(0.5 + (furthest - 0.5) * i / 8) for i in range(1, 9)]
    below = [-NormalDist().inv_cdf(0.5 + (furthest - 0.5) * i / 7) for i in range(7, 0, -1)]
    return tuple(value / above[-1] for value in (*below, 0.0, *above))
