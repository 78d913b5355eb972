"""AutoRound (Cheng et al., 2023): the layouts of others, named in ``packing_format``.

https://github.com/intel/auto-round
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from lutmac.bounded_json import shown
from lutmac.checkpoints.awq import AWQ
from lutmac.checkpoints.compressed_tensors import CompressedTensors
from lutmac.checkpoints.fp8 import FP8
from lutmac.checkpoints.gptq import GPTQ
from lutmac.checkpoints.mlx import MLX
from lutmac.checkpoints.quantized_modules import Format, QuantizationFormat
from lutmac.checkpoints.tensor_files import TensorFiles
from lutmac.errors import UnsupportedModelError


def open_auto_round(files: TensorFiles, config: Mapping[str, Any]) -> QuantizationFormat:
    """The format whose layout the configuration names."""
    for rotation in ("rotation_config", "spinquant_config"):
        if config.get(rotation):
            raise UnsupportedModelError(f"{files.directory}: AutoRound with rotations ({rotation}) is not supported")
    packing = config.get("packing_format") or config.get("backend") or "auto_round:auto_gptq"
    borrowed = str(packing).removeprefix("auto_round:")
    if "awq" in borrowed:
        return AWQ(files, config, label="AutoRound")
    if borrowed in ("fp8", "fp8_static"):
        return FP8(files, config)
    if borrowed == "mlx":
        return MLX(files, config)
    if borrowed in ("llm_compressor", "mx_fp", "nv_fp"):
        return CompressedTensors(files, {"format": "mixed-precision", **config})
    if borrowed in ("auto_gptq", "gptq", "gptq:exllamav2", "gptq:marlin"):
        return GPTQ(files, {**config, "checkpoint_format": "gptq"}, label="AutoRound")
    if borrowed in ("auto_round", "exllamav2", "gptqmodel", "tritonv2", "marlin"):
        # Its own layout is GPTQ's with zero points stored as they are.
        return GPTQ(files, {**config, "checkpoint_format": "gptq_v2"}, label="AutoRound")
    raise UnsupportedModelError(f"{files.directory}: AutoRound's packing {shown(packing)} is not supported")


FORMAT: Final = Format(("auto-round", "intel/auto-round"), open_auto_round)
