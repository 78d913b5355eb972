"""NVIDIA ModelOpt: FP8, NVFP4, MXFP4, MXFP8 and INT8, told by the tensors of a layer.

A layer has ``weight`` (FP8, I8, or U8 with two FP4 in a byte), ``weight_scale`` (one number, [N], or one of each block
or group) and for NVFP4 ``weight_scale_2``, which multiplies the others. ``input_scale`` is that of activations.
https://github.com/NVIDIA/Model-Optimizer
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from lutmac.checkpoints.quantized_modules import Format, QuantizedModule, names_with_suffix
from lutmac.checkpoints.scaled_weights import ScaledWeight, scaled_matrix, scaled_module
from lutmac.checkpoints.tensor_files import FLOAT_TYPES, TensorFiles
from lutmac.errors import UnsupportedModelError
from lutmac.lowbit.matrix import LowBitMatrix

_BLOCK: Final = (128, 128)  # of FP8_PB_WO


class ModelOpt:
    """The quantised layers of a checkpoint; see QuantizationFormat."""

    def __init__(self, files: TensorFiles, config: Mapping[str, Any]) -> None:
        """config: quantization_config."""
        self._files = files
        self._weights: dict[str, ScaledWeight] = {}
        self.modules: dict[str, QuantizedModule] = {}
        for name in names_with_suffix(files, ".pre_quant_scale"):
            raise UnsupportedModelError(
                f"{files.directory}: {name} scales its inputs (pre_quant_scale, {config.get('quant_algo')}), which is "
                "not supported; supported: FP8, NVFP4, MXFP4, MXFP8, INT8"
            )
        for name in names_with_suffix(files, ".weight_scale"):
            second = f"{name}.weight_scale_2"
            weight, scale = files.tensors.get(f"{name}.weight"), files.tensors[f"{name}.weight_scale"]
            if weight is not None and weight.dtype == "U8" and scale.dtype in FLOAT_TYPES:
                raise UnsupportedModelError(f"{files.directory}: {name}: ModelOpt's 4-bit integers are not supported")
            self._weights[name] = ScaledWeight(
                name, f"{name}.weight", f"{name}.weight_scale",
                global_scale=second if second in files.tensors else None, blocks=_BLOCK,
            )  # fmt: skip
            self.modules[name] = scaled_module(files, self._weights[name])

    def matrix(self, name: str) -> LowBitMatrix:
        """The weight of a layer."""
        return scaled_matrix(self._files, self._weights[name], self.modules[name])


FORMAT: Final = Format(("modelopt",), ModelOpt, other_file="hf_quant_config.json")
