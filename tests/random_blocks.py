"""Random weights in any tensor type of GGUF, also those that the `gguf` package cannot quantise to."""

from __future__ import annotations

import gguf
import numpy as np

Array = np.ndarray

# Bytes of a block at which its float16 super-scales stand.
SUPER_SCALES = {
    "Q2_K": (80, 82), "Q3_K": (108,), "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,), "TQ1_0": (52,), "TQ2_0": (64,),
    "Q1_0": (0,), "Q2_0": (0,), "IQ1_S": (0,), "IQ2_XXS": (0,), "IQ2_XS": (0,), "IQ2_S": (0,), "IQ3_XXS": (0,),
    "IQ3_S": (0,), "IQ4_NL": (0,), "IQ4_XS": (0,), "Q4_0": (0,), "Q4_1": (0, 2), "Q5_0": (0,),
    "Q5_1": (0, 2), "Q8_0": (0,), "PQ2_0": (0,), "PTQ1_0": (26,),
}  # fmt: skip
# Minimums are subtracted: so many times the scale, weights are around zero.
MINIMUMS = {"Q2_K": 1.5, "Q4_K": 7.5, "Q5_K": 15.5}
SIZES = {
    "Q2_0": (64, 18),
    "PQ2_0": (128, 34),
    "PTQ1_0": (128, 28),
    **{kind.name: size for kind, size in gguf.GGML_QUANT_SIZES.items()},
}


def random_blocks(
    kind: str, shape: tuple[int, int], rng: np.random.Generator, *, row_scales: bool = False
) -> tuple[Array, Array]:
    """Bytes [M, row_bytes] of weights with a standard deviation of K^-0.5, and what they stand for, float32 [M, K].

    row_scales: all blocks of a row have the same scale (of types with one float16 to a block).
    """
    block_weights, block_bytes = SIZES[kind]
    blocks = rng.integers(0, 256, (shape[0], shape[1] // block_weights, block_bytes), dtype=np.uint8)
    if kind in ("TQ2_0", "Q2_0", "PQ2_0"):  # three values, around zero
        threes = blocks & blocks >> 1 & 0x55
        blocks ^= threes << 1
    unit = 2.0**-8 if kind in ("NVFP4", "MXFP4") else 1.0
    _set_scales(kind, blocks, unit, rng)
    deviation = values_of(kind, blocks.reshape(shape[0], -1)).std()
    _set_scales(kind, blocks, unit * shape[1] ** -0.5 / deviation, rng)
    if row_scales:
        (byte,) = SUPER_SCALES[kind]
        blocks[..., byte : byte + 2] = blocks[:, :1, byte : byte + 2]
    data = blocks.reshape(shape[0], -1)
    return data, values_of(kind, data)


def _set_scales(kind: str, blocks: Array, scale: float, rng: np.random.Generator) -> None:
    """Scales around this value, in place."""
    numbers = (scale * rng.uniform(0.5, 1.5, blocks.shape[:2])).astype(np.float16)
    halves = numbers.view(np.uint16)
    if kind == "MXFP4":
        blocks[..., 0] = np.clip(np.round(np.log2(numbers.astype(np.float32))) + 128, 1, 254)
    elif kind == "NVFP4":
        wide = rng.uniform(0.5, 1.5, (*blocks.shape[:2], 4)).astype(np.float32) * np.float32(2 * scale)
        blocks[..., :4] = gguf.quants.NVFP4.fp32_to_ue4m3(wide)
    elif kind == "IQ1_M":  # a nibble in each of four numbers
        fields = np.ascontiguousarray(blocks[..., 48:56]).view(np.uint16) & 0x0FFF
        nibbles = halves[..., None] >> np.arange(0, 16, 4, dtype=np.uint16) & 15
        blocks[..., 48:56] = (fields | nibbles << 12).view(np.uint8)
    else:
        for byte, factor in zip(SUPER_SCALES[kind], (1.0, MINIMUMS.get(kind, 1.0)), strict=False):
            blocks[..., byte : byte + 2] = (numbers * np.float16(factor))[..., None].view(np.uint8)


def values_of(kind: str, data: Array) -> Array:
    """What the bytes [M, row_bytes] of a type stand for, float32 [M, K]."""
    if kind in ("Q1_0", "Q2_0", "PQ2_0"):
        return _one_or_two_bits(data, *SIZES[kind], bits=1 if kind == "Q1_0" else 2)
    if kind == "PTQ1_0":
        return _ptq1_0(data)
    return gguf.quants.dequantize(data, gguf.GGMLQuantizationType[kind]).reshape(len(data), -1)


def _one_or_two_bits(data: Array, block_weights: int, block_bytes: int, bits: int) -> Array:
    """Q1_0 (the sign of the scale) and Q2_0 ((code - 1) times the scale), which the package does not dequantise.

    Codes lie one after another, lowest bits first, behind a float16.
    """
    blocks = data.reshape(len(data), -1, block_bytes)
    scales = np.ascontiguousarray(blocks[..., :2]).view(np.float16).astype(np.float32)
    values = np.empty((*blocks.shape[:2], block_weights), np.float32)
    for k in range(block_weights):
        code = blocks[..., 2 + k * bits // 8] >> (k * bits % 8) & (2**bits - 1)
        values[..., k] = scales[..., 0] * (2.0 * code - 1 if bits == 1 else code - 1.0).astype(np.float32)
    return values.reshape(len(data), -1)


def _ptq1_0(data: Array) -> Array:
    """Prism's PTQ1_0, weight by weight: digits of 24 bytes (16 and 8 side by side), of 2 bytes, and a float16."""
    blocks = data.reshape(len(data), -1, 28)
    scales = np.ascontiguousarray(blocks[..., 26:]).view(np.float16).astype(np.float32)
    values = np.empty((*blocks.shape[:2], 128), np.float32)
    for k in range(128):
        if k < 80:
            place, byte = divmod(k, 16)
        elif k < 120:
            place, byte = divmod(k - 80, 8)
            byte += 16
        else:
            place, byte = divmod(k - 120, 2)
            byte += 24
        fraction = blocks[..., byte].astype(np.int64) * 3**place % 256
        values[..., k] = scales[..., 0] * ((fraction * 3 >> 8) - 1).astype(np.float32)
    return values.reshape(len(data), -1)
