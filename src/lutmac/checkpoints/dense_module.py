"""A dense layer behind the pooling of an embedding model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lutmac.bounded_json import read_json_object, shown
from lutmac.checkpoints.gguf import GGUFFile
from lutmac.checkpoints.tensor_files import TensorFiles
from lutmac.errors import CheckpointError, UnsupportedModelError
from lutmac.lowbit.reference import dequantize

Vectors = NDArray[np.float64]

# By the names of torch's classes, which sentence-transformers writes with their modules before them.
_ACTIVATIONS: Final[Mapping[str, Callable[[Vectors], Vectors]]] = {
    "Identity": lambda x: x,
    "Tanh": np.tanh,
    "ReLU": lambda x: np.maximum(x, 0.0),
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "SiLU": lambda x: x / (1 + np.exp(-x)),
}
_INPUT: Final = "sentence_embedding"
GGUF_DENSE: Final = ("dense_2.weight", "dense_3.weight")  # in this order behind the pooling


@dataclass(frozen=True, eq=False)
class DenseModule:
    """``activation(weight · x + bias)``: weight [out_features, in_features] and bias [out_features], float32."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32] | None
    activation: str

    @property
    def in_features(self) -> int:
        """Values that go in."""
        return int(self.weight.shape[1])

    @property
    def out_features(self) -> int:
        """Values that come out."""
        return int(self.weight.shape[0])

    def __call__(self, x: Vectors) -> Vectors:
        """[n, in_features] to [n, out_features]."""
        y = x @ self.weight.T.astype(np.float64)
        return _ACTIVATIONS[self.activation](y if self.bias is None else y + self.bias)


def read_dense_module(directory: Path) -> DenseModule:
    """The layer that sentence-transformers wrote into a directory of its own.

    Raises CheckpointError where it contradicts itself and UnsupportedModelError for what lutmac lacks.
    """
    config = read_json_object(directory / "config.json")
    activation = str(config.get("activation_function", "torch.nn.modules.activation.Tanh"))
    name = activation.rpartition(".")[2]
    if name not in _ACTIVATIONS or not activation.startswith("torch.nn."):
        raise UnsupportedModelError(f"{directory}: activation {shown(activation)} is not supported")
    for key, usual in (("use_residual", False), ("module_input_name", _INPUT), ("module_output_name", _INPUT)):
        if config.get(key, usual) not in (usual, None):
            raise UnsupportedModelError(f"{directory}: {key} {shown(config[key])} is not supported")
    files = TensorFiles(directory)
    try:
        weight = dequantize(files.floats("linear.weight")).astype(np.float32)
        bias = files.vector("linear.bias").copy() if "linear.bias" in files.tensors else None
    finally:
        files.close()
    if list(weight.shape) != [config.get("out_features"), config.get("in_features")]:
        raise CheckpointError(f"{directory}: linear.weight has shape {weight.shape}, which config.json contradicts")
    if bias is not None and len(bias) != len(weight):
        raise CheckpointError(f"{directory}: linear.bias has {len(bias)} values, expected {len(weight)}")
    return DenseModule(weight, bias, name)


def gguf_dense_modules(file: GGUFFile) -> tuple[DenseModule, ...]:
    """The layers that EmbeddingGemma's files may have as tensors; they have no bias and no activation."""
    return tuple(
        DenseModule(np.asarray(dequantize(file.matrix(name)), np.float32), None, "Identity")
        for name in GGUF_DENSE
        if name in file.tensors
    )


def gguf_dense_tensors(modules: Sequence[DenseModule]) -> dict[str, NDArray[np.float32]]:
    """The layers as tensors of such a file. Raises UnsupportedModelError for those that it cannot have."""
    if len(modules) > len(GGUF_DENSE) or any(m.bias is not None or m.activation != "Identity" for m in modules):
        raise UnsupportedModelError("GGUF has two dense layers behind the pooling, without biases and activations")
    return {name: module.weight for name, module in zip(GGUF_DENSE, modules, strict=False)}


def gguf_dense_sizes(modules: Sequence[DenseModule]) -> dict[str, int]:
    """Their sizes, by keys without the architecture's prefix."""
    return {
        f"{name.removesuffix('.weight')}_feat_{side}": size
        for name, module in zip(GGUF_DENSE, modules, strict=False)
        for side, size in (("in", module.in_features), ("out", module.out_features))
    }
