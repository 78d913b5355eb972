"""What a GGUF file says besides its matrices: copied from the GGUF source, or made from a Hugging Face directory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from lutmac.bounded_json import read_json_object, read_optional_json
from lutmac.checkpoints.dense_module import gguf_dense_tensors
from lutmac.checkpoints.embedding_config import gguf_pooling
from lutmac.checkpoints.gguf import open_gguf
from lutmac.checkpoints.huggingface import CONFIG_FILE, GENERATION_CONFIG_FILE
from lutmac.checkpoints.native import is_native
from lutmac.checkpoints.sampling_config import gguf_sampling_metadata
from lutmac.engine.loading.convert import gguf_metadata
from lutmac.engine.loading.listing import list_weights
from lutmac.engine.loading.opened import OpenedModel
from lutmac.errors import InvalidRequestError
from lutmac.lowbit.matrix import LowBitMatrix, Parameter, TwoLevel
from lutmac.models import ModelConfig
from lutmac.models.apertus import PARAMETERS, ApertusConfig
from lutmac.models.gguf_latents import delta_shape, delta_vector, stacked_part, with_stacks
from lutmac.models.gguf_writing import GGUFModel, gguf_model
from lutmac.models.latent_attention import LatentConfig
from lutmac.models.nomic_bert import BIAS
from lutmac.text.gguf_writing import gguf_tokenizer
from lutmac.text.huggingface import TextFiles

T = TypeVar("T")
Floats = NDArray[np.float32]
POSITIONS: Final = "model.embeddings.position_embeddings.weight"
FLOATS: Final = frozenset({POSITIONS, "model.embeddings.token_type_embeddings.weight"})
"""Tables that readers such as llama.cpp take rows of without a product, and so as floats."""
TABLE: Final = "model.embed_tokens_per_layer.weight"


@dataclass(frozen=True)
class Contents:
    """Metadata and names.

    parts: the names under which a matrix is written, and the rows of it that each has (None: all). matrix, vector: what
    becomes of a tensor by its Hugging Face name; shape: of its shape. added: further vectors. left_out: tensors that
    metadata say, and those of lost: that no converter writes, as GGUF has no name for them. check: raises
    UnsupportedModelError where matrices cannot be written whose groups are so wide in rows of so many weights as a
    function says (1: no groups).
    """

    metadata: dict[str, Any]
    name: Callable[[str], str]
    matrix: Callable[[str, LowBitMatrix], LowBitMatrix]
    vector: Callable[[str, Floats], Floats]
    added: dict[str, Floats]
    check: Callable[[Callable[[int], int]], None] = lambda _: None
    left_out: frozenset[str] = frozenset()
    shape: Callable[[str, tuple[int, ...]], tuple[int, ...]] = lambda _, shape: shape
    parts: Callable[[str], Mapping[str, NDArray[np.intp] | None]] = lambda name: {name: None}
    lost: frozenset[str] = frozenset()


def gguf_contents(opened: OpenedModel) -> Contents:
    """Raises UnsupportedModelError for what GGUF cannot say, InvalidRequestError for the native format."""
    if not opened.path.is_dir():
        with open_gguf(opened.path) as file:
            metadata = _without_guessing(opened, gguf_metadata(file))
        dense = gguf_dense_tensors(opened.embedding.dense)
        file_name = opened.source.file_name
        if isinstance(opened.config, LatentConfig):
            latents = opened.config.latents
            metadata = with_stacks(metadata, opened.architecture_name, latents)
            return Contents(metadata, lambda own: file_name(stacked_part(own, latents)), _same, _same, {})
        return Contents(metadata, file_name, _same, _same, dense)
    if is_native(opened.path):
        raise InvalidRequestError(
            f"{opened.path}: GGUF is written from GGUF files and Hugging Face directories; use what this was made of"
        )
    _, listed = list_weights(opened)
    config, said = _with_activations(opened)
    model = gguf_model(opened.architecture.name, config, biases=any(map(_is_bias, listed.vectors)))
    lost = frozenset(name for name in listed.matrices if name.endswith(f".mlp.{BIAS}"))
    said |= lost
    for name in (*listed.matrices, *listed.vectors):
        for part in model.parts(name) if name not in said else ():
            model.tensor_name(part)
    files = TextFiles(
        opened.path,
        read_json_object(opened.path / CONFIG_FILE),
        read_optional_json(opened.path / GENERATION_CONFIG_FILE),
    )
    metadata = {
        "general.architecture": model.name,
        "general.name": opened.name,
        **model.metadata,
        **gguf_tokenizer(files, opened.read_tokenizer()),
        **(gguf_pooling(opened.embedding, model.name) if f"{model.name}.pooling_type" not in model.metadata else {}),
        **gguf_sampling_metadata(opened.sampling),
    }
    added = {name: np.array(values, np.float32) for name, values in model.added.items()}
    added |= gguf_dense_tensors(opened.embedding.dense)
    check = (lambda _: None) if model.heads is None else model.heads.check
    return Contents(
        metadata,
        model.tensor_name,
        partial(_matrix, model),
        partial(_vector, model),
        added,
        check,
        said,
        partial(_shape, model),
        model.parts,
        lost,
    )


def _same(_: str, values: T) -> T:
    return values


def _with_activations(opened: OpenedModel) -> tuple[ModelConfig, frozenset[str]]:
    """The configuration with what GGUF has in metadata and a directory in tensors, and the names of these."""
    config, source = opened.config, opened.source
    if not isinstance(config, ApertusConfig) or config.xielu:
        return config, frozenset()
    names = [
        [f"model.layers.{layer}.mlp.act_fn.{parameter}" for parameter in PARAMETERS]
        for layer in range(config.num_hidden_layers)
    ]
    values = tuple(tuple(float(source.vector(name)[0]) for name in of_layer) for of_layer in names)
    return replace(config, xielu=values), frozenset(name for of_layer in names for name in of_layer)


def _without_guessing(opened: OpenedModel, metadata: dict[str, Any]) -> dict[str, Any]:
    """A GGUF file's metadata without the layers that guess further tokens, which are not read."""
    front = opened.architecture_name
    if not opened.guessing_layers:
        return metadata
    kept = {key: value for key, value in metadata.items() if key != f"{front}.nextn_predict_layers"}
    return {**kept, f"{front}.block_count": opened.config.num_hidden_layers}


def _is_bias(name: str) -> bool:
    """Of a product; that of Mamba2's convolution is none."""
    return name.endswith(".bias") and not name.endswith(".conv1d.bias")


def _matrix(model: GGUFModel, name: str, matrix: LowBitMatrix) -> LowBitMatrix:
    factors = model.mamba.row_factors(name) if model.mamba else None
    if factors is not None:
        matrix = _with_rows_times(matrix, factors)
    order = model.heads.rows(name) if model.heads else None
    if model.first_position and name == POSITIONS:
        order = np.arange(model.first_position, matrix.rows)
    if model.table_rows > matrix.rows and name == TABLE:  # further tokens are as the first
        order = np.where(np.arange(model.table_rows) < matrix.rows, np.arange(model.table_rows), 0)
    if _is_rotated(model, name):
        order = _neighbours(matrix.rows, model.head_dim)
    if order is not None:
        matrix = with_rows(matrix, order)
    columns = model.heads.columns(name) if model.heads else None
    return matrix if columns is None else _with_columns(matrix, columns)


def with_rows(matrix: LowBitMatrix, rows: NDArray[np.intp]) -> LowBitMatrix:
    """Some of its rows, in that order."""
    return replace(_each(matrix, lambda values: values[rows]), rows=len(rows))


def _with_columns(matrix: LowBitMatrix, order: NDArray[np.intp]) -> LowBitMatrix:
    """The same with its columns in another order, which keeps whole groups together. A byte of source is a weight."""

    def ordered(values: NDArray[Any]) -> NDArray[Any]:
        of_each = matrix.columns // values.shape[1]
        return np.ascontiguousarray(values[:, order[::of_each] // of_each])

    return matrix if np.array_equal(order, np.sort(order)) else _each(matrix, ordered)


def _with_rows_times(matrix: LowBitMatrix, factors: Floats) -> LowBitMatrix:
    """Each row times a number, as far as the type of its scales can say that."""

    def scaled(values: NDArray[Any]) -> NDArray[Any]:
        assert values.dtype != np.uint16  # bfloat16's bits, which no quantiser makes
        return (values * factors[:, None]).astype(values.dtype)

    def times(parameter: Parameter) -> Parameter:
        if isinstance(parameter, TwoLevel):
            return replace(parameter, super_scale=scaled(np.asarray(parameter.super_scale)))
        return scaled(np.asarray(parameter))

    return replace(matrix, scale=times(matrix.scale), offset=None if matrix.offset is None else times(matrix.offset))


def _each(matrix: LowBitMatrix, change: Callable[[NDArray[Any]], NDArray[Any]]) -> LowBitMatrix:
    """Codes, scales and offsets changed alike."""
    offset = None if matrix.offset is None else _changed(matrix.offset, change)
    return replace(matrix, source=change(matrix.source), scale=_changed(matrix.scale, change), offset=offset)


def _changed(parameter: Parameter, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Parameter:
    if isinstance(parameter, TwoLevel):
        values, super_scale = change(parameter.values), change(parameter.super_scale)
        return replace(parameter, values=values, super_scale=super_scale)
    return change(np.asarray(parameter))


def _vector(model: GGUFModel, name: str, values: Floats) -> Floats:
    if _is_rotated(model, name):
        return values[_neighbours(len(values), model.head_dim)]
    if model.heads is not None and ".linear_attn." in name:
        return model.heads.vector(name, values)
    if model.mamba is not None:
        values = model.mamba.vector(name, values)
    if model.latents is not None:
        values = delta_vector(model.latents, name, values)
    return values + np.float32(model.norm_bias(name))


def _shape(model: GGUFModel, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Less dimensions of one, which convolutions have in directories."""
    sizes = tuple(size for size in shape if size != 1) or (1,)
    if model.latents is not None:
        return delta_shape(name, sizes)
    return sizes if model.mamba is None else model.mamba.shape(name, sizes)


def _is_rotated(model: GGUFModel, name: str) -> bool:
    return model.neighbours and name.rpartition(".")[0].endswith(("q_proj", "k_proj"))


def _neighbours(rows: int, head_dim: int) -> NDArray[np.intp]:
    """Rows of heads whose first half is rotated with the second, in the order of neighbours that are."""
    return np.arange(rows).reshape(-1, 2, head_dim // 2).swapaxes(1, 2).reshape(-1)
