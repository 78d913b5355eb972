"""MXFP4 of gpt-oss (``quant_method`` "mxfp4"): 4-bit floats under powers of two, all experts in one tensor.

``mlp.experts.gate_up_proj_blocks`` U8 [experts, N, K/32, 16] holds two E2M1 in a byte, the first in its low bits, and
``_scales`` U8 [experts, N, K/32] an exponent (E8M0) for each 32. In gate_up_proj the even rows are the gate's and the
odd ones up's: expert 3's are the modules ``mlp.experts.3.gate_proj`` and ``mlp.experts.3.up_proj`` here.
https://huggingface.co/docs/transformers/quantization/mxfp4
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from lutmac.checkpoints.quantized_modules import (
    Format,
    QuantizedModule,
    checked_shape,
    names_with_suffix,
    require_shape,
)
from lutmac.checkpoints.scaled_weights import bit_string
from lutmac.checkpoints.stacked_experts import gate_and_up
from lutmac.checkpoints.tensor_files import TensorFiles
from lutmac.errors import CheckpointError
from lutmac.lowbit.formats import E2M1
from lutmac.lowbit.matrix import ByteFloats, LowBitMatrix

GROUP: Final = 32
_BLOCK_BYTES: Final = 16


class MXFP4:
    """The experts of a gpt-oss checkpoint; see QuantizationFormat."""

    def __init__(self, files: TensorFiles, config: Mapping[str, Any]) -> None:
        """config: quantization_config."""
        self._files = files
        self._places: dict[str, tuple[str, int, slice]] = {}
        self.modules: dict[str, QuantizedModule] = {}
        for stack in names_with_suffix(files, "_blocks"):
            experts, rows, groups, width = checked_shape(files, f"{stack}_blocks", ("U8",), 4)
            if width != _BLOCK_BYTES:
                raise CheckpointError(f"{files.directory}: tensor {stack}_blocks has blocks of {width} bytes, not 16")
            require_shape(files, f"{stack}_scales", (experts, rows, groups), ("U8",))
            block, _, matrix = stack.rpartition(".")
            joint = matrix == "gate_up_proj"
            of_stack = gate_and_up(rows, alternate=True) if joint else {matrix: slice(0, rows)}
            tensors = (f"{stack}_blocks", f"{stack}_scales")
            for expert in range(experts):
                for part, rows_in in of_stack.items():
                    name, count = f"{block}.{expert}.{part}", len(range(rows)[rows_in])
                    self._places[name] = (stack, expert, rows_in)
                    self.modules[name] = QuantizedModule(
                        name, count, groups * GROUP, "MXFP4", tensors, experts * len(of_stack)
                    )

    def matrix(self, name: str) -> LowBitMatrix:
        """The weight of one expert."""
        (stack, expert, rows_in), module = self._places[name], self.modules[name]
        return LowBitMatrix(
            rows=module.rows,
            columns=module.columns,
            bits=4,
            group_size=GROUP,
            source=self._files.array(f"{stack}_blocks")[expert][rows_in].reshape(module.rows, -1),
            layout=bit_string(4),
            scale=ByteFloats(np.ascontiguousarray(self._files.array(f"{stack}_scales")[expert][rows_in]), "e8m0"),
            codebook=E2M1,
        )


FORMAT: Final = Format(("mxfp4",), MXFP4)
