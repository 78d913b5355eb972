"""Which quantisation format a Hugging Face checkpoint is in: what its configuration calls it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from lutmac.bounded_json import read_optional_json, shown
from lutmac.checkpoints.awq import AWQ
from lutmac.checkpoints.bitnet import BitNet
from lutmac.checkpoints.compressed_tensors import CompressedTensors
from lutmac.checkpoints.gptq import GPTQ
from lutmac.checkpoints.hqq import HQQ
from lutmac.checkpoints.quantized_modules import QuantizationFormat
from lutmac.checkpoints.tensor_files import TensorFiles
from lutmac.errors import CheckpointError, UnsupportedModelError

SUPPORTED: Final = ("gptq", "awq", "auto-round", "hqq", "compressed-tensors", "bitnet")
# Where older tools wrote what now stands in config.json, and the method that it means.
_OLDER_FILES: Final = {"quantize_config.json": "gptq", "quant_config.json": "awq"}


def quantization_config(directory: Path, config: Mapping[str, Any]) -> dict[str, Any] | None:
    """``quantization_config`` of config.json, or of the files that older tools wrote; None for plain floats.

    Raises CheckpointError where it is no object.
    """
    found = config.get("quantization_config", config.get("compression_config"))
    if found is None and "weight_bits" in config and "input_bits" in config:  # 1bitLLM's form of BitNet
        return {"quant_method": "bitnet", "quantization_mode": "online"}
    if found is None:
        for file, method in _OLDER_FILES.items():
            older = read_optional_json(directory / file)
            if older:
                return {"quant_method": method, **older}
        return None
    if not isinstance(found, dict):
        raise CheckpointError(f"{directory}: quantization_config in config.json is {shown(found)}, expected an object")
    return found


def open_format(files: TensorFiles, config: Mapping[str, Any]) -> QuantizationFormat:
    """The quantised layers of a checkpoint whose quantization_config is ``config``.

    Raises UnsupportedModelError, naming the method and those that are supported, for any other.
    """
    method = config.get("quant_method")
    match method:
        case "gptq" | "gptqmodel":
            return GPTQ(files, config)
        case "awq":
            return AWQ(files, config)
        case "auto-round" | "intel/auto-round":
            return _auto_round(files, config)
        case "hqq":
            return HQQ(files, config)
        case "compressed-tensors" | "sparseml":
            return CompressedTensors(files, config)
        case "bitnet":
            return BitNet(files, config)
    raise UnsupportedModelError(
        f"{files.directory}: quantisation method {shown(method)} is not supported; supported: {', '.join(SUPPORTED)}"
    )


def _auto_round(files: TensorFiles, config: Mapping[str, Any]) -> QuantizationFormat:
    """AutoRound (Cheng et al., 2023) borrows the layouts of others, and names them in ``packing_format``."""
    packing = config.get("packing_format") or config.get("backend") or "auto_round:auto_gptq"
    borrowed = str(packing).removeprefix("auto_round:")
    if "awq" in borrowed:
        return AWQ(files, config, label="AutoRound")
    if borrowed == "llm_compressor":
        return CompressedTensors(files, {"format": "pack-quantized", **config})
    if borrowed in ("auto_gptq", "gptq", "gptq:exllamav2", "gptq:marlin"):
        return GPTQ(files, {**config, "checkpoint_format": "gptq"}, label="AutoRound")
    if borrowed in ("auto_round", "exllamav2", "gptqmodel", "tritonv2", "marlin"):
        # Its own layout is GPTQ's with zero points stored as they are.
        return GPTQ(files, {**config, "checkpoint_format": "gptq_v2"}, label="AutoRound")
    raise UnsupportedModelError(f"{files.directory}: AutoRound's packing {shown(packing)} is not supported")
