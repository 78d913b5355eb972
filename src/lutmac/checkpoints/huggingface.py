"""Reads a directory as Hugging Face's tools write them: config.json, safetensors, and what a tokenizer needs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from lutmac.bounded_json import read_json_object, read_optional_json, shown
from lutmac.checkpoints.stacked_experts import expert_parts
from lutmac.checkpoints.tensor_files import TensorFiles
from lutmac.checkpoints.tensor_names import TensorNames
from lutmac.checkpoints.text_config import text_config
from lutmac.closable import Closable
from lutmac.errors import CheckpointError
from lutmac.lowbit.matrix import AnyMatrix, DenseMatrix
from lutmac.lowbit.reference import dequantize

if TYPE_CHECKING:
    from lutmac.checkpoints.quantized_modules import QuantizationFormat

CONFIG_FILE: Final = "config.json"
GENERATION_CONFIG_FILE: Final = "generation_config.json"


@dataclass(frozen=True)
class StoredTensor:
    """A tensor as a model sees it. name: the file's. type_name: its type there, or the quantisation format and bits."""

    name: str
    shape: tuple[int, ...]
    type_name: str
    nbytes: int

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


class HuggingFaceCheckpoint(Closable):
    """An open directory; raises CheckpointError or UnsupportedModelError, naming it, if it cannot be read.

    path: as given. config: config.json, of a model that reads images too the part of its text. generation_config:
    generation_config.json, empty where there is none. names: what tensors are called here. tensors: what models ask
    for, by the names that they use; a quantised layer ``x`` is the one tensor ``x.weight``.
    """

    def __init__(self, path: Path) -> None:
        """Opens the directory: headers are read and checked, tensors only when they are asked for."""
        # A dozen modules, one for each format: importing them would delay the first token of a GGUF file.
        from lutmac.checkpoints.quantization_formats import open_format, quantization_config  # noqa: PLC0415

        self.path = path
        if not (path / CONFIG_FILE).is_file():
            raise CheckpointError(f"{path}: is no model directory: {CONFIG_FILE} is missing")
        self.config = text_config(path / CONFIG_FILE, read_json_object(path / CONFIG_FILE))
        self.generation_config = read_optional_json(path / GENERATION_CONFIG_FILE)
        quantization = quantization_config(path, self.config)
        self._files = TensorFiles(path)
        self.nbytes = self._files.nbytes
        self._format: QuantizationFormat | None = open_format(self._files, quantization)
        self._modules = self._format.modules if self._format else {}
        self.names = TensorNames(self._files.tensors)
        self._experts = {
            self.names.of_model(expert.name): expert for expert in expert_parts(self._files.tensors, self.config)
        }
        self.tensors = self._directory()

    def close(self) -> None:
        """Lets go of the files; matrices already handed out stay valid."""
        self._files.close()

    @property
    def model_type(self) -> str:
        """``model_type`` of config.json, as in "llama". Raises CheckpointError where it is missing."""
        value = self.config.get("model_type")
        if not isinstance(value, str) or not value:
            raise CheckpointError(f"{self.path}: {CONFIG_FILE} has no model_type; is this a language model?")
        return value

    def matrix(self, name: str) -> AnyMatrix:
        """The matrix of that name, [M, K]; a vector is one row. Raises CheckpointError if there is none."""
        tensor = self._tensor(name)
        module = tensor.name.removesuffix(".weight")
        if self._format and module in self._modules:
            return self._format.matrix(module)
        if name in self._experts:
            self._files.check_floats(tensor.name)
            return DenseMatrix(self._experts[name].of(self._files.array(tensor.name)))
        if len(tensor.shape) not in (1, 2):
            raise CheckpointError(
                f"{self.path}: tensor {shown(tensor.name)} has shape {tensor.shape}, not that of a matrix"
            )
        return self._files.floats(tensor.name)

    def vector(self, name: str) -> NDArray[np.float32]:
        """The 1-D tensor of that name as float32, copied. Raises as matrix does."""
        tensor = self._tensor(name)
        if name in self._experts:
            self._files.check_floats(tensor.name)
            row = self._experts[name].of(self._files.array(tensor.name)).reshape(1, -1)
            values: NDArray[np.float32] = dequantize(DenseMatrix(row)).reshape(-1)
            return values
        return self._files.vector(tensor.name)

    def stored_bytes(self, name: str) -> NDArray[np.uint8] | None:
        """A tensor's bytes as they are in the file; None of a quantised layer."""
        tensor = self._tensor(name)
        if tensor.name.removesuffix(".weight") in self._modules:
            return None
        return self._files.array(tensor.name).reshape(-1).view(np.uint8)

    def file_bytes(self, file_name: str) -> NDArray[np.uint8]:
        """The bytes of a tensor of the files."""
        return self._files.array(file_name).reshape(-1).view(np.uint8)

    def check_supported(self, file_name: str) -> None:
        """Raises UnsupportedModelError, naming it, for a tensor of a type that lutmac does not read."""
        if file_name.removesuffix(".weight") not in self._modules:
            self._files.check_floats(file_name)

    def drop_pages(self, name: str) -> None:
        """Returns the memory that holds this tensor's bytes to the system; it stays valid."""
        stored = self._tensor(name).name
        module = self._modules.get(stored.removesuffix(".weight"))
        for part in module.parts if module else (stored,):
            self._files.drop_pages(part)

    def _tensor(self, name: str) -> StoredTensor:
        try:
            return self.tensors[name]
        except KeyError:
            raise CheckpointError(f"{self.path}: tensor {self.names.of_file(name)} is missing") from None

    def _directory(self) -> Mapping[str, StoredTensor]:
        stored = self._files.tensors
        found: dict[str, StoredTensor] = {}
        in_modules: set[str] = set()
        for module in self._modules.values():
            in_modules.update(module.parts)
            nbytes = sum(stored[part].nbytes for part in module.parts) // module.stacked
            name = f"{module.name}.weight"
            found[self.names.of_model(name)] = StoredTensor(name, (module.rows, module.columns), module.kind, nbytes)
        in_modules.update(expert.stack for expert in self._experts.values())
        for name, expert in self._experts.items():
            tensor = stored[expert.stack]
            found[name] = StoredTensor(expert.stack, expert.shape, tensor.dtype, tensor.nbytes // expert.share)
        for name, tensor in stored.items():
            if name not in in_modules:
                found[self.names.of_model(name)] = StoredTensor(name, tensor.shape, tensor.dtype, tensor.nbytes)
        return found


def open_huggingface(path: Path) -> HuggingFaceCheckpoint:
    """Opens a directory; see HuggingFaceCheckpoint."""
    return HuggingFaceCheckpoint(path)
