"""``quant_method`` "fp8": FP8 weights with a scale for each block, as DeepSeek V3, Qwen3-FP8 and Mistral have them.

A layer has ``weight`` E4M3 [N, K] and ``weight_scale_inv``, which multiplies it in spite of its name: one number, or
one for each block of ``weight_block_size``. "fbgemm_fp8" has ``weight_scale`` [N, 1] instead.
https://huggingface.co/docs/transformers/quantization/finegrained_fp8
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from lutmac.checkpoints.quantized_modules import Format, names_with_suffix, pair_of_integers
from lutmac.checkpoints.scaled_weights import ScaledWeight, scaled_matrix, scaled_module
from lutmac.checkpoints.tensor_files import TensorFiles
from lutmac.lowbit.matrix import LowBitMatrix

_SCALES: Final = ("weight_scale_inv", "weight_scale")


class FP8:
    """The quantised layers of a checkpoint; see QuantizationFormat."""

    def __init__(self, files: TensorFiles, config: Mapping[str, Any]) -> None:
        """config: quantization_config."""
        self._files = files
        blocks = pair_of_integers(config.get("weight_block_size"))
        self._weights = {
            name: ScaledWeight(name, f"{name}.weight", f"{name}.{scale}", blocks=blocks)
            for scale in _SCALES
            for name in names_with_suffix(files, f".{scale}")
        }
        self.modules = {name: scaled_module(files, weight) for name, weight in self._weights.items()}

    def matrix(self, name: str) -> LowBitMatrix:
        """The weight of a layer."""
        return scaled_matrix(self._files, self._weights[name], self.modules[name])


FORMAT: Final = Format(("fp8", "fbgemm_fp8"), FP8)
