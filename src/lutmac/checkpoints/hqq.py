"""Half-quadratic quantisation (Badri and Shaji, 2023), as `hqq` 0.2 and transformers write it.

With ``axis`` 1 a layer [N, K] becomes R = N*K/group_size rows of one group each, and these are packed: an element of
``W_q`` holds the codes of 1, 2, 4 or 8 rows that lie R/1 to R/8 apart (3 bits: of 10 rows, in int32), the first in the
highest bits. ``scale`` and ``zero`` have a value for each of the R rows, and the options stand beside them as tensors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from lutmac.checkpoints.group_affine import exact_scales, group_affine, group_size_of
from lutmac.checkpoints.packed_codes import codes_by_place
from lutmac.checkpoints.quantized_modules import Format, QuantizedModule, checked_shape, names_with_suffix
from lutmac.checkpoints.tensor_files import FLOAT_TYPES, TensorFiles
from lutmac.errors import CheckpointError, UnsupportedModelError
from lutmac.lowbit.matrix import LowBitMatrix, plain_codes
from lutmac.lowbit.reference import dequantize

_SHIFTS: Final = {
    1: (7, 6, 5, 4, 3, 2, 1, 0),
    2: (6, 4, 2, 0),
    3: (27, 24, 21, 18, 15, 12, 9, 6, 3, 0),
    4: (4, 0),
    8: (0,),
}


class HQQ:
    """The quantised layers of an HQQ checkpoint; see QuantizationFormat."""

    def __init__(self, files: TensorFiles, config: Mapping[str, Any]) -> None:
        """Raises UnsupportedModelError for axis 0."""
        self._files = files
        self._bits: dict[str, int] = {}
        self.modules = {name: self._module(name) for name in names_with_suffix(files, ".W_q")}

    def _module(self, name: str) -> QuantizedModule:
        files, what = self._files, f"{self._files.directory}: {name}"
        axis, bits = self._integer(f"{name}.axis"), self._integer(f"{name}.nbits")
        if axis != 1:
            raise UnsupportedModelError(f"{what}: HQQ with axis {axis} is not supported; quantise with axis=1")
        if bits not in _SHIFTS:
            raise UnsupportedModelError(f"{what}: HQQ with {bits} bits is not supported; supported: 1, 2, 3, 4, 8")
        for option in ("quant_scale", "quant_zero"):
            if f"{name}.{option}" in files.tensors and self._integer(f"{name}.{option}"):
                raise UnsupportedModelError(f"{what}: HQQ with quantised scales or zero points is not supported")
        if checked_shape(files, f"{name}.shape", ("I32", "I64"), 1) != (2,):
            raise CheckpointError(f"{what}: its shape is not that of a matrix")
        rows, columns = files.array(f"{name}.shape").tolist()
        groups = math.prod(checked_shape(files, f"{name}.scale", FLOAT_TYPES, 2))
        zeros = math.prod(checked_shape(files, f"{name}.zero", FLOAT_TYPES, 2))
        if rows < 1 or columns < 1 or groups % rows or zeros != groups:
            raise CheckpointError(f"{what}: {groups} scales and {zeros} zero points for {rows}x{columns} weights")
        expected = -(-groups // len(_SHIFTS[bits])) * (rows * columns // groups) * (4 if bits == 3 else 1)
        if files.tensors[f"{name}.W_q"].nbytes != expected:
            raise CheckpointError(f"{what}: W_q has {files.tensors[f'{name}.W_q'].nbytes} bytes, expected {expected}")
        self._bits[name] = bits
        parts = tuple(part for part in files.tensors if part.startswith(f"{name}.") and part != f"{name}.bias")
        return QuantizedModule(name, rows, columns, f"HQQ {bits}-bit", parts)

    def matrix(self, name: str) -> LowBitMatrix:
        """The weight of a layer."""
        files, module, bits = self._files, self.modules[name], self._bits[name]
        groups = files.tensors[f"{name}.scale"].nbytes // files.array(f"{name}.scale").itemsize // module.rows
        size = group_size_of(f"{files.directory}: {name}", module.columns, groups, None)
        packed = files.array(f"{name}.W_q").reshape(-1).view("<u4" if bits == 3 else "u1").reshape(-1, size)
        codes = codes_by_place(packed, bits, _SHIFTS[bits])[: module.rows * groups].reshape(module.rows, -1)
        stored = files.array(f"{name}.scale").reshape(module.rows, groups)
        scale = exact_scales(stored, files.tensors[f"{name}.scale"].dtype)
        zeros = dequantize(files.floats(f"{name}.zero")).reshape(module.rows, groups)
        if (zeros == np.clip(np.rint(zeros), 0, 2**bits - 1)).all():
            return group_affine(codes, bits=bits, group_size=size, scale=scale, zeros=zeros.astype(np.uint8))
        # Zero points between the codes. Of two halves the product is exact in float32.
        offset = -(zeros * scale.astype(np.float32))
        return LowBitMatrix(module.rows, module.columns, bits, size, codes, plain_codes(), scale, 0.0, offset)

    def _integer(self, name: str) -> int:
        checked_shape(self._files, name, ("I32", "I64", "U8", "BOOL"), 0)
        return int(self._files.array(name))


FORMAT: Final = Format(("hqq",), HQQ, endings=(".W_q",))
