"""BitNet b1.58 (Ma et al., 2024): ternary weights with one scale for the whole matrix.

Packed, a layer [N, K] has ``weight`` uint8 [N/4, K], where bits 2i and 2i+1 hold row i*N/4 + n plus one, and
``weight_scale`` [1], which multiplies (``linear_class`` "autobitlinear") or divides the product. Otherwise its weights
are floats that the forward pass rounds to ternary, "online": so does reading them.
https://huggingface.co/docs/transformers/quantization/bitnet
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lutmac.checkpoints.packed_codes import codes_by_place
from lutmac.checkpoints.quantized_modules import Format, QuantizedModule, checked_shape, names_with_suffix
from lutmac.checkpoints.tensor_files import FLOAT_TYPES, TensorFiles
from lutmac.errors import CheckpointError, UnsupportedModelError
from lutmac.lowbit.matrix import DenseMatrix, LowBitMatrix, plain_codes
from lutmac.lowbit.reference import dequantize

BITS: Final = 2
_SHIFTS: Final = (0, 2, 4, 6)
_ROWS_AT_ONCE: Final = 256  # floats of so many rows are held at a time


class BitNet:
    """The ternary layers of a BitNet checkpoint; see QuantizationFormat."""

    def __init__(self, files: TensorFiles, config: Mapping[str, Any]) -> None:
        """config: quantization_config."""
        if config.get("use_rms_norm"):
            raise UnsupportedModelError(
                f"{files.directory}: BitNet with a norm in each layer (use_rms_norm) is unsupported"
            )
        self._files = files
        self._scale_multiplies = config.get("linear_class") == "autobitlinear"
        online = config.get("quantization_mode") == "online"
        self.modules: dict[str, QuantizedModule] = {}
        for name in names_with_suffix(files, ".weight"):
            dtype = files.tensors[f"{name}.weight"].dtype
            if dtype == "U8":
                self.modules[name] = self._packed(name)
            elif online and name.endswith("_proj"):
                self.modules[name] = self._rounded_when_read(name)

    def _packed(self, name: str) -> QuantizedModule:
        rows, columns = checked_shape(self._files, f"{name}.weight", ("U8",), 2)
        checked_shape(self._files, f"{name}.weight_scale", FLOAT_TYPES, 1)
        return QuantizedModule(name, 4 * rows, columns, "BitNet", (f"{name}.weight", f"{name}.weight_scale"))

    def _rounded_when_read(self, name: str) -> QuantizedModule:
        rows, columns = checked_shape(self._files, f"{name}.weight", FLOAT_TYPES, 2)
        return QuantizedModule(name, rows, columns, "BitNet, online", (f"{name}.weight",))

    def matrix(self, name: str) -> LowBitMatrix:
        """The weight of a layer."""
        module = self.modules[name]
        if len(module.parts) == 1:
            codes, scale = round_to_ternary(self._files.floats(f"{name}.weight"))
        else:
            codes = codes_by_place(self._files.array(f"{name}.weight"), BITS, _SHIFTS)
            scale = self._files.vector(f"{name}.weight_scale")[0]
            if not self._scale_multiplies:
                scale = np.float32(1.0) / scale
        if codes.max() > 2:
            raise CheckpointError(f"{name}: has a weight of {int(codes.max()) - 1}, which is not ternary")
        if module.columns % 32:
            raise UnsupportedModelError(f"{name}: has {module.columns} columns; lutmac needs a multiple of 32")
        return LowBitMatrix(
            rows=module.rows,
            columns=module.columns,
            bits=BITS,
            group_size=module.columns,
            source=codes,
            layout=plain_codes(),
            scale=np.full((module.rows, 1), scale, np.float32),
            zero_point=1.0,
            ternary=True,
        )


def round_to_ternary(weights: DenseMatrix) -> tuple[NDArray[np.uint8], np.float32]:
    """Codes 0, 1, 2 for -1, 0, 1 of weights over their mean magnitude, and that mean in the weights' precision."""
    blocks = range(0, weights.rows, _ROWS_AT_ONCE)
    floats = (dequantize(DenseMatrix(weights.data[row : row + _ROWS_AT_ONCE])) for row in blocks)
    total = sum(float(np.abs(block).sum(dtype=np.float64)) for block in floats)
    mean = max(np.float32(total / weights.data.size), np.float32(1e-5))
    inverse = np.float32(1.0) / mean
    codes = np.empty(weights.data.shape, np.uint8)
    for row in blocks:
        block = dequantize(DenseMatrix(weights.data[row : row + _ROWS_AT_ONCE]))
        codes[row : row + _ROWS_AT_ONCE] = np.clip(np.rint(block * inverse), -1, 1) + 1
    return codes, _rounded_like(weights, np.float32(1.0) / inverse)


def _rounded_like(weights: DenseMatrix, value: np.float32) -> np.float32:
    """The value in the precision of the weights, which is where the forward pass keeps the rounded ones."""
    if weights.data.dtype == np.uint16:
        bits = int(np.float32(value).view(np.uint32))
        nearest_even = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000
        return np.uint32(nearest_even).view(np.float32)
    return np.float32(value.astype(weights.data.dtype))


def _stated(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """1bitLLM's form, whose weights are floats."""
    if "quantization_config" in config or not {"weight_bits", "input_bits"} <= config.keys():
        return None
    return {"quantization_mode": "online"}


FORMAT: Final = Format(("bitnet",), BitNet, stated=_stated)
