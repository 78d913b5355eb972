"""A model file, opened: its architecture, its tensors, and how its text is read, whatever format it has."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from lutmac.bounded_json import read_optional_json
from lutmac.checkpoints.dense_module import DenseModule, gguf_dense_modules
from lutmac.checkpoints.embedding_config import EmbeddingConfig, gguf_embedding_config
from lutmac.checkpoints.gguf import GGUFFile, open_gguf
from lutmac.checkpoints.gguf_types import PRISM_TYPES
from lutmac.checkpoints.huggingface import CONFIG_FILE, GENERATION_CONFIG_FILE, HuggingFaceCheckpoint, open_huggingface
from lutmac.checkpoints.native import GGUF_METADATA_FILE, NativeCheckpoint, is_native, open_native
from lutmac.checkpoints.sampling_config import generation_config_sampling, gguf_sampling
from lutmac.checkpoints.sentence_transformers import read_embedding_config
from lutmac.engine.loading.info import TensorInfo
from lutmac.engine.loading.sources import GGUFSource, HuggingFaceSource, NativeSource
from lutmac.engine.loading.tensor_source import SourceTensors, TensorSource
from lutmac.errors import CheckpointError, UnsupportedModelError
from lutmac.models import Architecture, ModelConfig, architecture_name, find_architecture
from lutmac.models.metadata import MetadataReader
from lutmac.text.huggingface import TextFiles
from lutmac.text.template_names import gguf_templates
from lutmac.text.tokenizer import Tokenizer

_log = logging.getLogger("lutmac")
# What files of these kinds are (GGUF's general.type), and what to give instead.
_NOT_ALONE: Final = {
    "adapter": "is a LoRA adapter, which changes a model and is none by itself: give a model with the adapter merged",
    "mmproj": "is a projector of images, not a model of text: give the file of the text model beside it",
    "vocab": "holds a vocabulary alone, no model",
    "imatrix": "is an importance matrix, no model",
}


@dataclass(frozen=True)
class OpenedModel:
    """What a model's files say, before a weight is read.

    architecture_name: as the files have it. tensors: all of the files', whether the model reads them or not.
    guessing_layers: how many behind its own guess further tokens. layers_key: the key that says how many its own are.
    read_tokenizer, read_templates: slow, and not always wanted. embedding: what they say about embeddings. sampling:
    options that they recommend, by the names of `SamplingKeywords`.
    """

    path: Path
    name: str
    architecture_name: str
    architecture: Architecture
    config: ModelConfig
    source: TensorSource
    tensors: tuple[TensorInfo, ...]
    file_bytes: int
    guessing_layers: int
    layers_key: str
    read_tokenizer: Callable[[], Tokenizer]
    read_templates: Callable[[], Mapping[str, object]]
    embedding: EmbeddingConfig
    sampling: Mapping[str, float]


@dataclass(frozen=True)
class _GGUFText:
    """What a GGUF file says about text, and about embeddings of it."""

    metadata: Mapping[str, Any]
    dense: tuple[DenseModule, ...]

    @classmethod
    def of(cls, file: GGUFFile) -> _GGUFText:
        """That of an open file."""
        return cls(file.metadata, gguf_dense_modules(file))

    def embedding(self, architecture: str) -> EmbeddingConfig:
        """How vectors are made."""
        return replace(gguf_embedding_config(self.metadata, architecture), dense=self.dense)

    def tokenizer(self, vocab_size: int) -> Tokenizer:
        """The tokenizer; its size is in the metadata."""
        return Tokenizer.from_gguf(self.metadata)

    def chat_templates(self) -> Mapping[str, object]:
        """The chat templates, by name."""
        return gguf_templates(self.metadata)


@contextmanager
def _naming(file: object) -> Iterator[None]:
    """Puts the file in front of what is wrong in it, unless that names it already."""
    try:
        yield
    except (CheckpointError, UnsupportedModelError) as error:
        if str(error).startswith(str(file)):
            raise
        raise type(error)(f"{file}: {error}") from None


@contextmanager
def open_model(path: Path) -> Iterator[OpenedModel]:
    """Opens a GGUF file, a Hugging Face directory or one in the native format, and closes it after the ``with``.

    Raises CheckpointError and UnsupportedModelError.
    """
    if (path / "adapter_config.json").is_file() and not (path / CONFIG_FILE).is_file():
        raise UnsupportedModelError(f"{path}: {_NOT_ALONE['adapter']}")
    opener = _open_gguf if not path.is_dir() else _open_native if is_native(path) else _open_huggingface
    with opener(path) as opened:
        yield opened


@contextmanager
def _open_gguf(path: Path) -> Iterator[OpenedModel]:
    with open_gguf(path) as file:
        check_is_model(path, file.metadata.get("general.type", "model"))
        architecture = find_architecture(file.architecture)
        source, text = GGUFSource(file, architecture.gguf_tensor_name), _GGUFText.of(file)
        with _naming(file.path):
            _check_layers(file.metadata, f"{file.architecture}.block_count", len(file.tensors))
            config = architecture.complete(architecture.read_gguf_config(file.metadata), SourceTensors(source))
            _warn_of_unrotated(file, config)
            guessing = MetadataReader(file.metadata, file.architecture).integer("nextn_predict_layers", 0, low=0)
        name: Any = file.metadata.get("general.name")
        yield OpenedModel(
            path=path,
            name=name if isinstance(name, str) else path.name,
            architecture_name=file.architecture,
            architecture=architecture,
            config=config,
            source=source,
            tensors=tuple(TensorInfo(t.name, tuple(t.shape), t.type_name, t.nbytes) for t in file.tensors.values()),
            file_bytes=file.nbytes,
            guessing_layers=guessing,
            layers_key=f"{file.architecture}.block_count",
            read_tokenizer=_named(path, lambda: text.tokenizer(config.vocab_size)),
            read_templates=text.chat_templates,
            embedding=text.embedding(file.architecture),
            sampling=gguf_sampling(file.metadata),
        )


def _check_layers(metadata: Mapping[str, Any], key: str, tensors: int) -> None:
    """Raises CheckpointError for more layers than there are tensors: what is made for each would fill the memory."""
    layers = metadata.get(key)
    if isinstance(layers, int) and layers > tensors:
        raise CheckpointError(f"metadata {key} is {layers}, and there are {tensors} tensors")


def _warn_of_unrotated(file: GGUFFile, config: ModelConfig) -> None:
    """Files in Prism's types that do not say how they were rotated are read as not rotated, which some of them were."""
    types = {tensor.type_name for tensor in file.tensors.values() if tensor.type_number in PRISM_TYPES}
    if types and config.rotation is None:
        _log.warning(
            "%s has tensors of type %s and no metadata of a rotation: if its replies are garbage, it was converted "
            "without what they need", file.path, min(types),
        )  # fmt: skip


def check_is_model(path: Path, kind: object) -> None:
    """Raises UnsupportedModelError for GGUF files that are no models."""
    if isinstance(kind, str) and kind in _NOT_ALONE:
        raise UnsupportedModelError(f"{path}: {_NOT_ALONE[kind]}")


def _named(path: Path, read: Callable[[], Tokenizer]) -> Callable[[], Tokenizer]:
    """The same, with errors that begin with the path."""

    def read_named() -> Tokenizer:
        with _naming(path):
            return read()

    return read_named


@contextmanager
def _open_huggingface(path: Path) -> Iterator[OpenedModel]:
    with open_huggingface(path) as checkpoint:
        architecture = find_architecture(architecture_name(checkpoint.model_type, checkpoint.config))
        with _naming(path / CONFIG_FILE):
            _check_layers(checkpoint.config, "num_hidden_layers", len(checkpoint.tensors))
            config = architecture.read_config(checkpoint.config)
        text = TextFiles(path, checkpoint.config, checkpoint.generation_config)
        yield _opened_directory(path, checkpoint, architecture, config, HuggingFaceSource(checkpoint), text)


@contextmanager
def _open_native(path: Path) -> Iterator[OpenedModel]:
    with open_native(path) as checkpoint:
        architecture = find_architecture(architecture_name(checkpoint.model_type, checkpoint.config))
        text: _GGUFText | TextFiles
        tensors = len(checkpoint.tensors)
        if (path / GGUF_METADATA_FILE).is_file():
            text = _GGUFText.of(open_gguf(path / GGUF_METADATA_FILE))
            with _naming(path / GGUF_METADATA_FILE):
                _check_layers(text.metadata, f"{checkpoint.model_type}.block_count", tensors)
                config = architecture.read_gguf_config(text.metadata)
        else:
            text = TextFiles(path, checkpoint.config, read_optional_json(path / GENERATION_CONFIG_FILE))
            with _naming(path / CONFIG_FILE):
                _check_layers(checkpoint.config, "num_hidden_layers", tensors)
                config = architecture.read_config(checkpoint.config)
        yield _opened_directory(path, checkpoint, architecture, config, NativeSource(checkpoint), text)


def _opened_directory(
    path: Path,
    checkpoint: HuggingFaceCheckpoint | NativeCheckpoint,
    architecture: Architecture,
    config: ModelConfig,
    source: TensorSource,
    text: _GGUFText | TextFiles,
) -> OpenedModel:
    config = architecture.complete(config, SourceTensors(source))
    return OpenedModel(
        path=path,
        name=path.resolve().name,
        architecture_name=checkpoint.model_type,
        architecture=architecture,
        config=config,
        source=source,
        tensors=tuple(TensorInfo(t.name, t.shape, t.type_name, t.nbytes) for t in checkpoint.tensors.values()),
        file_bytes=checkpoint.nbytes,
        guessing_layers=MetadataReader(checkpoint.config, "").integer("num_nextn_predict_layers", 0, low=0),
        layers_key="num_hidden_layers",
        read_tokenizer=_named(path, lambda: text.tokenizer(config.vocab_size)),
        read_templates=text.chat_templates,
        embedding=text.embedding(checkpoint.model_type) if isinstance(text, _GGUFText) else read_embedding_config(path),
        sampling=gguf_sampling(text.metadata)
        if isinstance(text, _GGUFText)
        else generation_config_sampling(text.generation_config),
    )
