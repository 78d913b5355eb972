"""GPTQ's layout (Frantar et al., 2022), which AutoRound, EfficientQAT and BitDistiller checkpoints use too.

A layer [N, K] of b bits has ``qweight`` int32 [K*b/32, N], codes along K, the lowest bits first; ``qzeros`` int32
[G, N*b/32], zero points along N; ``scales`` [G, N]; and usually ``g_idx`` int32 [K], the group of each column.
https://github.com/ModelCloud/GPTQModel describes two conventions of zero points: the first, ``gptq``, stores each less
one; ``gptq_v2`` stores it as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from lutmac.checkpoints.group_affine import exact_scales, group_affine, group_size_of, order_of_groups
from lutmac.checkpoints.packed_codes import codes_along_columns, codes_along_rows
from lutmac.checkpoints.quantized_modules import (
    Format,
    QuantizedModule,
    checked_shape,
    names_with_suffix,
    optional_integer,
    require_shape,
)
from lutmac.checkpoints.tensor_files import FLOAT_TYPES, TensorFiles
from lutmac.errors import CheckpointError, UnsupportedModelError
from lutmac.lowbit.matrix import LowBitMatrix

BITS: Final = (2, 3, 4, 5, 6, 7, 8)
CONVENTIONS: Final = ("gptq", "gptq_v2")


class GPTQ:
    """The quantised layers of a GPTQ checkpoint; see QuantizationFormat."""

    def __init__(self, files: TensorFiles, config: Mapping[str, Any], *, label: str = "GPTQ") -> None:
        """config: quantization_config. Bits come from the tensors' shapes: layers may differ in them."""
        convention = config.get("checkpoint_format") or config.get("format") or "gptq"
        if convention not in CONVENTIONS:
            raise UnsupportedModelError(
                f"{files.directory}: checkpoint_format {convention!r} is not supported; supported: "
                f"{', '.join(CONVENTIONS)}"
            )
        self._files = files
        self._added_to_zeros = 1 if convention == "gptq" else 0
        self._group_size = optional_integer(config, "group_size")
        self.modules = {name: self._module(name, label) for name in names_with_suffix(files, ".qweight")}

    def _module(self, name: str, label: str) -> QuantizedModule:
        files, what = self._files, f"{self._files.directory}: {name}"
        packed_columns, rows = checked_shape(files, f"{name}.qweight", ("I32", "U32"), 2)
        groups, packed_rows = checked_shape(files, f"{name}.qzeros", ("I32", "U32"), 2)
        require_shape(files, f"{name}.scales", (groups, rows), FLOAT_TYPES)
        bits = packed_rows * 32 // rows
        if bits not in BITS or packed_rows * 32 != rows * bits or packed_columns * 32 % bits:
            raise CheckpointError(f"{what}: qweight and qzeros have shapes of no bit width in {BITS}")
        columns = packed_columns * 32 // bits
        parts = [f"{name}.{part}" for part in ("qweight", "qzeros", "scales")]
        if f"{name}.g_idx" in files.tensors:
            require_shape(files, f"{name}.g_idx", (columns,), ("I32", "I64"))
            parts.append(f"{name}.g_idx")
        return QuantizedModule(name, rows, columns, f"{label} {bits}-bit", tuple(parts))

    def matrix(self, name: str) -> LowBitMatrix:
        """The weight of a layer; with ``desc_act`` its columns are in the order of the groups."""
        files, module, what = self._files, self.modules[name], f"{self._files.directory}: {name}"
        scales, qweight = files.array(f"{name}.scales"), files.array(f"{name}.qweight")
        groups = scales.shape[0]
        bits = qweight.shape[0] * 32 // module.columns
        group_size = group_size_of(what, module.columns, groups, self._group_size)
        order = None
        if f"{name}.g_idx" in module.parts:
            order = order_of_groups(what, files.array(f"{name}.g_idx"), group_size, groups)
        codes = codes_along_columns(qweight, bits, module.columns)
        stored = codes_along_rows(files.array(f"{name}.qzeros"), bits, module.rows)
        # Zero points are below 2**bits: one that was 0 wrapped around when 1 was taken from it.
        zeros = (stored + np.uint8(self._added_to_zeros)) & np.uint8(2**bits - 1)
        return group_affine(
            codes if order is None else np.take(codes, order, axis=1),
            bits=bits,
            group_size=group_size,
            scale=exact_scales(scales.T, files.tensors[f"{name}.scales"].dtype),
            zeros=zeros.T,
            permutation=order,
        )


FORMAT: Final = Format(("gptq", "gptqmodel"), GPTQ, other_file="quantize_config.json")
