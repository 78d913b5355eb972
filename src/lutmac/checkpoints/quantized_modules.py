"""What a quantisation format of Hugging Face checkpoints has to offer: one file of this package for each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from lutmac.bounded_json import shown
from lutmac.checkpoints.tensor_files import TensorFiles
from lutmac.errors import CheckpointError
from lutmac.lowbit.matrix import LowBitMatrix


@dataclass(frozen=True)
class QuantizedModule:
    """A linear layer whose weight is quantised.

    name: as in ``model.layers.0.self_attn.q_proj``. rows, columns: output and input features. kind: format and bits,
    for people. parts: the tensors that make up its weight. stacked: of so many matrices, whose tensors these are.
    """

    name: str
    rows: int
    columns: int
    kind: str
    parts: tuple[str, ...]
    stacked: int = 1


class QuantizationFormat(Protocol):
    """A way of storing quantised linear layers."""

    @property
    def modules(self) -> Mapping[str, QuantizedModule]:
        """Those that the checkpoint holds, by name."""

    def matrix(self, name: str) -> LowBitMatrix:
        """The weight of one of them. Raises CheckpointError or UnsupportedModelError that names it."""


@dataclass(frozen=True)
class Format:
    """A format as its file offers it to the table of quantization_formats.py, by the name ``FORMAT``.

    names: what ``quant_method`` of a configuration calls it; people are told the first. open: reads a checkpoint's
    quantised layers by its configuration. other_file: where its tools write the configuration, if not in config.json.
    stated: finds it in a config.json that has it elsewhere than in ``quantization_config``. endings: names of tensors
    that end so mean this format where no configuration says so.
    """

    names: tuple[str, ...]
    open: Callable[[TensorFiles, Mapping[str, Any]], QuantizationFormat]
    other_file: str | None = None
    stated: Callable[[Mapping[str, Any]], Mapping[str, Any] | None] | None = None
    endings: tuple[str, ...] = ()


def names_with_suffix(files: TensorFiles, suffix: str) -> Iterator[str]:
    """Modules that have a tensor of that name: ``.qweight`` finds ``x`` where there is ``x.qweight``."""
    for name in files.tensors:
        if name.endswith(suffix):
            yield name.removesuffix(suffix)


def checked_shape(files: TensorFiles, name: str, dtypes: tuple[str, ...], dimensions: int) -> tuple[int, ...]:
    """A tensor's shape. Raises CheckpointError where it is missing or has another type or number of dimensions."""
    tensor = files.tensors.get(name)
    if tensor is None:
        raise CheckpointError(f"{files.directory}: tensor {shown(name)} is missing")
    if tensor.dtype not in dtypes or len(tensor.shape) != dimensions or 0 in tensor.shape:
        raise CheckpointError(
            f"{files.directory}: tensor {shown(name)} has type {tensor.dtype} and shape {tensor.shape}, expected "
            f"{' or '.join(dtypes)} with {dimensions} dimensions"
        )
    return tensor.shape


def require_shape(files: TensorFiles, name: str, shape: tuple[int, ...], dtypes: tuple[str, ...]) -> None:
    """Raises CheckpointError where a tensor is missing or has another shape or type."""
    if checked_shape(files, name, dtypes, len(shape)) != shape:
        raise CheckpointError(
            f"{files.directory}: tensor {shown(name)} has shape {files.tensors[name].shape}, expected {shape}"
        )


def optional_integer(config: Mapping[str, Any], key: str) -> int | None:
    """An integer of a configuration, None where it is absent or something else."""
    value = config.get(key)
    return value if type(value) is int else None


def pair_of_integers(value: object) -> tuple[int, int] | None:
    """A list of two integers above 0, or as text ("128x128"); None where it is something else."""
    if isinstance(value, str) and re.fullmatch(r"[1-9]\d{0,5}x[1-9]\d{0,5}", value):
        value = [int(part) for part in value.split("x")]
    if isinstance(value, list) and len(value) == 2 and all(type(item) is int and item > 0 for item in value):
        return value[0], value[1]
    return None
