"""The safetensors files of a directory as one set of tensors: a single file, or shards with an index."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lutmac.bounded_json import read_json_object, shown
from lutmac.checkpoints.safetensors import SafetensorsFile, SafetensorsTensor, open_safetensors
from lutmac.errors import CheckpointError, UnsupportedModelError
from lutmac.lowbit.matrix import DenseMatrix
from lutmac.lowbit.reference import dequantize

SINGLE_FILE: Final = "model.safetensors"
INDEX_FILE: Final = "model.safetensors.index.json"
MAX_SHARDS: Final = 10_000
FLOAT_TYPES: Final = ("F32", "F16", "BF16")
_PICKLES: Final = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


class TensorFiles:
    """Tensors by name, whichever file they lie in.

    directory: as given. tensors: all of them. nbytes: of the files together.
    """

    def __init__(self, directory: Path) -> None:
        """Opens every file. Raises CheckpointError where one is missing or lies."""
        self.directory = directory
        self.tensors: dict[str, SafetensorsTensor] = {}
        self._files: dict[str, SafetensorsFile] = {}
        paths = _find_files(directory)
        self.nbytes = 0
        for path, names in paths.items():
            file = open_safetensors(path)
            self.nbytes += path.stat().st_size
            for name in file.tensors if names is None else names:
                if name not in file.tensors:
                    raise CheckpointError(f"{path}: tensor {shown(name)} is missing; the index says that it is here")
                if name in self.tensors:
                    raise CheckpointError(f"{path}: tensor {shown(name)} is in {self._files[name].path} too")
                self.tensors[name] = file.tensors[name]
                self._files[name] = file

    def array(self, name: str) -> NDArray[Any]:
        """A tensor as SafetensorsFile.array gives it. Raises CheckpointError if there is none of that name."""
        if name not in self._files:
            raise CheckpointError(f"{self.directory}: tensor {name} is missing")
        return np.require(self._files[name].array(name), requirements="A")

    def floats(self, name: str) -> DenseMatrix:
        """A tensor of floats as a matrix; a vector is one row. Raises UnsupportedModelError for another type."""
        data = self.array(name)
        self.check_floats(name)
        return DenseMatrix(data.reshape(-1, data.shape[-1]) if data.ndim else data.reshape(1, 1))

    def check_floats(self, name: str) -> None:
        """Raises UnsupportedModelError where a tensor is of another type."""
        dtype = self.tensors[name].dtype
        if dtype not in FLOAT_TYPES:
            raise UnsupportedModelError(
                f"{self.directory}: tensor {name} has type {dtype}, which lutmac does not read; "
                f"weights may be {', '.join(FLOAT_TYPES)}"
            )

    def vector(self, name: str) -> NDArray[np.float32]:
        """A tensor of floats as float32, one dimension after the other."""
        values: NDArray[np.float32] = dequantize(self.floats(name)).reshape(-1)
        return values

    def drop_pages(self, name: str) -> None:
        """Returns the memory that holds a tensor's bytes to the system; it stays valid."""
        self._files[name].drop_pages(name)

    def close(self) -> None:
        """Lets go of the files; arrays already handed out stay valid."""
        for file in self._files.values():
            file.close()


def _find_files(directory: Path) -> dict[Path, list[str] | None]:
    """The files, each with the tensors that an index expects in it (None: all that it has)."""
    if (directory / INDEX_FILE).is_file():
        return dict(_shards(directory))
    if (directory / SINGLE_FILE).is_file():
        return {directory / SINGLE_FILE: None}
    found = sorted(directory.glob("*.safetensors"))
    if len(found) == 1:  # older GPTQ checkpoints name the file after the bits
        return {found[0]: None}
    if found:
        names = ", ".join(path.name for path in found[:3])
        raise CheckpointError(f"{directory}: has {names} but neither {INDEX_FILE} nor {SINGLE_FILE}: download it again")
    for pattern in _PICKLES:
        for path in sorted(directory.glob(pattern)):
            raise UnsupportedModelError(
                f"{path}: pickled weights may run any code when they are read, so lutmac does not read them; convert "
                "them with transformers: AutoModelForCausalLM.from_pretrained(...).save_pretrained(...)"
            )
    raise CheckpointError(f"{directory}: has no weights: {SINGLE_FILE} (or {INDEX_FILE} and its shards) is missing")


def _shards(directory: Path) -> dict[Path, list[str] | None]:
    index = directory / INDEX_FILE
    places = read_json_object(index).get("weight_map")
    if not isinstance(places, dict) or not places or not all(isinstance(file, str) for file in places.values()):
        raise CheckpointError(f"{index}: weight_map is no mapping from tensors to files")
    shards: dict[Path, list[str] | None] = {}
    for name, file in places.items():
        # A plain name: an index must not reach outside of its directory.
        if not re.fullmatch(r"[\w\-][\w.\-]{0,200}\.safetensors", file):
            raise CheckpointError(f"{index}: {shown(file)} is no name of a safetensors file in this directory")
        names = shards.setdefault(directory / file, [])
        assert names is not None
        names.append(name)
    if len(shards) > MAX_SHARDS:
        raise CheckpointError(f"{index}: names {len(shards)} files, more than {MAX_SHARDS}")
    missing = [path.name for path in shards if not path.is_file()]
    if missing:
        raise CheckpointError(f"{directory}: {missing[0]} is missing ({len(missing)} of {len(shards)} shards are)")
    return shards
