"""compressed-tensors "pack-quantized", as llm-compressor writes it: one of the formats of compressed_tensors.py.

A layer [N, K] of b bits has ``weight_packed`` int32 [N, ceil(K*b/32)], each row a string of codes with the lowest bits
first; ``weight_scale`` [N, G]; ``weight_shape``; where it is asymmetric ``weight_zero_point`` int32
[ceil(N*b/32), G], packed along N; and with activation order ``weight_g_idx``. Integers are stored plus 2**(b-1).
https://github.com/vllm-project/compressed-tensors
"""

from __future__ import annotations

from lutmac.checkpoints.group_affine import exact_scales, group_affine, group_size_of, order_of_groups
from lutmac.checkpoints.packed_codes import codes_along_columns, codes_along_rows
from lutmac.checkpoints.quantized_modules import QuantizedModule, checked_shape, require_shape
from lutmac.checkpoints.tensor_files import FLOAT_TYPES, TensorFiles
from lutmac.errors import CheckpointError
from lutmac.lowbit.matrix import LowBitMatrix


def packed_module(files: TensorFiles, name: str) -> QuantizedModule:
    """A layer, its tensors checked. Raises CheckpointError where they do not fit."""
    what = f"{files.directory}: {name}"
    if checked_shape(files, f"{name}.weight_shape", ("I64", "I32"), 1) != (2,):
        raise CheckpointError(f"{what}: weight_shape is not that of a matrix")
    rows, columns = files.array(f"{name}.weight_shape").tolist()
    packed_rows, words = checked_shape(files, f"{name}.weight_packed", ("I32",), 2)
    bits = words * 32 // columns if columns > 0 else 0
    if packed_rows != rows or not 1 <= bits <= 8 or words != -(-columns * bits // 32):
        raise CheckpointError(f"{what}: weight_packed {packed_rows}x{words} holds no {rows}x{columns} weights")
    found_rows, groups = checked_shape(files, f"{name}.weight_scale", FLOAT_TYPES, 2)
    if found_rows != rows:
        raise CheckpointError(f"{what}: weight_scale has {found_rows} rows, expected {rows}")
    parts = [f"{name}.{part}" for part in ("weight_packed", "weight_scale", "weight_shape")]
    if f"{name}.weight_zero_point" in files.tensors:
        require_shape(files, f"{name}.weight_zero_point", (-(-rows * bits // 32), groups), ("I32",))
        parts.append(f"{name}.weight_zero_point")
    if f"{name}.weight_g_idx" in files.tensors:
        require_shape(files, f"{name}.weight_g_idx", (columns,), ("I32", "I64"))
        parts.append(f"{name}.weight_g_idx")
    return QuantizedModule(name, rows, columns, f"pack-quantized {bits}-bit", tuple(parts))


def packed_matrix(files: TensorFiles, module: QuantizedModule) -> LowBitMatrix:
    """The weight of a layer."""
    name, what = module.name, f"{files.directory}: {module.name}"
    packed, scale = files.array(f"{name}.weight_packed"), files.array(f"{name}.weight_scale")
    bits, groups = packed.shape[1] * 32 // module.columns, scale.shape[1]
    group_size = group_size_of(what, module.columns, groups, None)
    codes = codes_along_rows(packed, bits, module.columns)
    zeros = order = None
    if f"{name}.weight_zero_point" in module.parts:
        packed_zeros = files.array(f"{name}.weight_zero_point")
        zeros = codes_along_columns(packed_zeros, bits, module.rows).T  # [G, N] to [N, G]
    if f"{name}.weight_g_idx" in module.parts:
        order = order_of_groups(what, files.array(f"{name}.weight_g_idx"), group_size, groups)
    return group_affine(
        codes if order is None else codes[:, order],
        bits=bits,
        group_size=group_size,
        scale=exact_scales(scale, files.tensors[f"{name}.weight_scale"].dtype),
        zeros=zeros,
        permutation=order,
    )
