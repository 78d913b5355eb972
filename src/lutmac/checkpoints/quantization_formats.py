"""Which quantisation format a Hugging Face checkpoint is in: what its configuration calls it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from lutmac.bounded_json import read_optional_json, shown
from lutmac.checkpoints.awq import AWQ
from lutmac.checkpoints.bitnet import BitNet
from lutmac.checkpoints.bitsandbytes import BitsAndBytes
from lutmac.checkpoints.compressed_tensors import CompressedTensors
from lutmac.checkpoints.fp8 import FP8
from lutmac.checkpoints.gptq import GPTQ
from lutmac.checkpoints.hqq import HQQ
from lutmac.checkpoints.mlx import MLX
from lutmac.checkpoints.modelopt import ModelOpt
from lutmac.checkpoints.mxfp4 import MXFP4
from lutmac.checkpoints.quantized_modules import QuantizationFormat
from lutmac.checkpoints.tensor_files import TensorFiles
from lutmac.errors import CheckpointError, UnsupportedModelError

Opener = Callable[[TensorFiles, Mapping[str, Any]], QuantizationFormat]
# What a format's tensors are called, where the configuration says nothing: endings, and the method that they mean.
_TELLING: Final = {".W_q": "hqq", ".q_invperm": "exl2", ".trellis": "exl3", ".SCB": "bitsandbytes"}
# Where other tools write what else stands in config.json, and the method that it means.
_OTHER_FILES: Final = {"quantize_config.json": "gptq", "quant_config.json": "awq", "hf_quant_config.json": "modelopt"}


def quantization_config(directory: Path, config: Mapping[str, Any]) -> dict[str, Any] | None:
    """What config.json says of quantisation, or a file beside it that some tools write; None for plain floats.

    The method is its ``quant_method``. Raises CheckpointError where it is no object, and UnsupportedModelError, naming
    the method and those that are supported, for one that is not: before any tensor is looked for.
    """
    found = _stated(directory, config)
    if found is not None:
        _opener(directory, found)
    return found


def _stated(directory: Path, config: Mapping[str, Any]) -> dict[str, Any] | None:
    mlx = config.get("quantization")
    if isinstance(mlx, dict) and "bits" in mlx:
        return {"quant_method": "mlx", **mlx}
    found = config.get("quantization_config", config.get("compression_config"))
    if found is None and "weight_bits" in config and "input_bits" in config:  # 1bitLLM's form of BitNet
        return {"quant_method": "bitnet", "quantization_mode": "online"}
    if found is None:
        for file, method in _OTHER_FILES.items():
            other = read_optional_json(directory / file)
            if other:
                return {"quant_method": method, **other}
        return None
    if not isinstance(found, dict):
        raise CheckpointError(f"{directory}: quantization_config in config.json is {shown(found)}, expected an object")
    if "quant_method" not in found and "bits" in found and "mode" in found:
        return {"quant_method": "mlx", **found}
    return found


def open_format(files: TensorFiles, config: Mapping[str, Any] | None) -> QuantizationFormat | None:
    """The quantised layers of a checkpoint; None for plain floats.

    config: what quantization_config returned; without it the tensors' names may tell. Raises as quantization_config
    does, and CheckpointError for layers that contradict themselves.
    """
    config = config or _told_by_tensors(files)
    return None if config is None else _opener(files.directory, config)(files, config)


def _opener(directory: Path, config: Mapping[str, Any]) -> Opener:
    method = config.get("quant_method")
    opener = _FORMATS.get(method) if isinstance(method, str) else None
    if opener is None:
        name = _ELSEWHERE.get(method, shown(method)) if isinstance(method, str) else shown(method)
        raise UnsupportedModelError(
            f"{directory}: quantisation method {name} is not supported; supported: {', '.join(SUPPORTED)}"
        )
    return opener


def _told_by_tensors(files: TensorFiles) -> dict[str, Any] | None:
    """A configuration for what the tensors' names say, None where they say nothing."""
    for ending, method in _TELLING.items():
        if any(name.endswith(ending) for name in files.tensors):
            return {"quant_method": method}
    return None


def _auto_round(files: TensorFiles, config: Mapping[str, Any]) -> QuantizationFormat:
    """AutoRound (Cheng et al., 2023) borrows the layouts of others, and names them in ``packing_format``."""
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


# Formats that only their own library's GPU kernels read; their names, where people know them by others.
_ELSEWHERE: Final = {"exl2": "EXL2 (ExLlamaV2)", "exl3": "EXL3 (ExLlamaV3)"}
_FORMATS: Final[Mapping[str, Opener]] = {
    "gptq": GPTQ,
    "gptqmodel": GPTQ,
    "awq": AWQ,
    "auto-round": _auto_round,
    "intel/auto-round": _auto_round,
    "hqq": HQQ,
    "compressed-tensors": CompressedTensors,
    "sparseml": CompressedTensors,
    "bitnet": BitNet,
    "bitsandbytes": BitsAndBytes,
    "fp8": FP8,
    "fbgemm_fp8": FP8,
    "mlx": MLX,
    "modelopt": ModelOpt,
    "mxfp4": MXFP4,
}
SUPPORTED: Final = tuple(name for name in _FORMATS if name not in ("gptqmodel", "intel/auto-round", "sparseml"))
