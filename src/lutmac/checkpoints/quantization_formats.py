"""Which quantisation format a Hugging Face checkpoint is in: what its configuration calls it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from lutmac.bounded_json import read_optional_json, shown
from lutmac.checkpoints.quantized_modules import Format, QuantizationFormat
from lutmac.checkpoints.tensor_files import TensorFiles
from lutmac.errors import CheckpointError, UnsupportedModelError

# The files of formats; each has a FORMAT. In the order in which people are told of them.
_FILES: Final = (
    "gptq",
    "awq",
    "auto_round",
    "hqq",
    "compressed_tensors",
    "bitnet",
    "bitsandbytes",
    "fp8",
    "mlx",
    "modelopt",
    "mxfp4",
)
_FORMATS: Final[tuple[Format, ...]] = tuple(import_module(f"lutmac.checkpoints.{file}").FORMAT for file in _FILES)
_BY_NAME: Final = {name: entry for entry in _FORMATS for name in entry.names}
# Formats that only their own library's GPU kernels read: what people call them, and what their tensors' names end in.
_ELSEWHERE: Final = {"exl2": "EXL2 (ExLlamaV2)", "exl3": "EXL3 (ExLlamaV3)"}
_ENDINGS: Final = {".q_invperm": "exl2", ".trellis": "exl3"}


def quantization_config(directory: Path, config: Mapping[str, Any]) -> dict[str, Any] | None:
    """What config.json says of quantisation, or a file beside it that some tools write; None for plain floats.

    The method is its ``quant_method``. Raises CheckpointError where it is no object, and UnsupportedModelError, naming
    the method and those that are supported, for one that is not: before any tensor is looked for.
    """
    found = _stated(directory, config)
    if found is not None:
        _format_of(directory, found)
    return found


def _stated(directory: Path, config: Mapping[str, Any]) -> dict[str, Any] | None:
    for entry in _FORMATS:
        own = None if entry.stated is None else entry.stated(config)
        if own is not None:
            return {"quant_method": entry.names[0], **own}
    found = config.get("quantization_config", config.get("compression_config"))
    if found is None:
        for entry in _FORMATS:
            other = read_optional_json(directory / entry.other_file) if entry.other_file else None
            if other:
                return {"quant_method": entry.names[0], **other}
        return None
    if not isinstance(found, dict):
        raise CheckpointError(f"{directory}: quantization_config in config.json is {shown(found)}, expected an object")
    return found


def open_format(files: TensorFiles, config: Mapping[str, Any] | None) -> QuantizationFormat | None:
    """The quantised layers of a checkpoint; None for plain floats.

    config: what quantization_config returned; without it the tensors' names may tell. Raises as quantization_config
    does, and CheckpointError for layers that contradict themselves.
    """
    config = config or _told_by_tensors(files)
    return None if config is None else _format_of(files.directory, config).open(files, config)


def _format_of(directory: Path, config: Mapping[str, Any]) -> Format:
    method = config.get("quant_method")
    found = _BY_NAME.get(method) if isinstance(method, str) else None
    if found is None:
        name = _ELSEWHERE.get(method, shown(method)) if isinstance(method, str) else shown(method)
        supported = ", ".join(entry.names[0] for entry in _FORMATS)
        raise UnsupportedModelError(f"{directory}: quantisation method {name} is not supported; supported: {supported}")
    return found


def _told_by_tensors(files: TensorFiles) -> dict[str, Any] | None:
    """A configuration for what the tensors' names say, None where they say nothing."""
    endings = {ending: entry.names[0] for entry in _FORMATS for ending in entry.endings} | _ENDINGS
    for ending, method in endings.items():
        if any(name.endswith(ending) for name in files.tensors):
            return {"quant_method": method}
    return None
