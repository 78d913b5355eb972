"""The files that sentence-transformers puts beside a model: what becomes of its hidden states.

https://sbert.net/docs/package_reference/sentence_transformer/models.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, get_args

from lutmac.bounded_json import parse_json, read_json_object, read_optional_json, shown
from lutmac.checkpoints.dense_module import DenseModule, read_dense_module
from lutmac.checkpoints.embedding_config import EmbeddingConfig, Pooling
from lutmac.errors import CheckpointError, UnsupportedModelError

MODULES_FILE: Final = "modules.json"
# What a copy of a directory has to take along, as globs.
FILES: Final = (
    MODULES_FILE, "config_sentence_transformers.json", "sentence_bert_config.json",
    "[0-9]*_*/config.json", "[0-9]*_*/*.safetensors",
)  # fmt: skip
_TASK: Final = "feature-extraction"
_MAX_BYTES: Final = 1 << 20
_POOLING: Final[Mapping[str, Pooling]] = {
    **{mode: mode for mode in get_args(Pooling) if mode != "last"},
    "lasttoken": "last",
}
# In the order in which sentence-transformers puts the vectors of several together.
_FLAGS: Final[Mapping[str, Pooling]] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "last",
}


@dataclass
class _Modules:
    """What has been read of the list of modules."""

    pooling: tuple[Pooling, ...] = ()
    include_prompt: bool = True
    dense: list[DenseModule] = field(default_factory=list)
    normalize: bool = False


def read_embedding_config(directory: Path) -> EmbeddingConfig:
    """What a Hugging Face directory says about embeddings; the defaults where it has no modules.json.

    What is malformed or not supported is told in ``problem``, since the model may still generate.
    """
    path = directory / MODULES_FILE
    if not path.is_file():
        return EmbeddingConfig()
    try:
        return _read_config(directory, _read_modules(directory, path))
    except (CheckpointError, UnsupportedModelError) as error:
        return EmbeddingConfig(stated=True, problem=str(error))


def _read_config(directory: Path, modules: _Modules) -> EmbeddingConfig:
    own = read_optional_json(directory / "config_sentence_transformers.json")
    text = read_optional_json(directory / "sentence_bert_config.json")
    modalities = text.get("modality_config")
    if text.get("transformer_task", _TASK) != _TASK or (isinstance(modalities, dict) and "text" not in modalities):
        raise UnsupportedModelError(f"{directory}: sentence_bert_config.json asks for more than final hidden states")
    default = own.get("default_prompt_name")
    prompts = _prompts(own)
    if default is not None and not (isinstance(default, str) and default in prompts):
        raise CheckpointError(f"{directory}: default_prompt_name is {shown(default)}, which is no prompt's name")
    return EmbeddingConfig(
        stated=True,
        pooling=modules.pooling,
        include_prompt=modules.include_prompt,
        dense=tuple(modules.dense),
        normalize=modules.normalize,
        dimensions=_positive(own, "truncate_dim"),
        prompts=prompts,
        default_prompt=default,
        max_tokens=_max_tokens(directory, text),
        lower_case=bool(text.get("do_lower_case")),
    )


def _read_modules(directory: Path, path: Path) -> _Modules:
    found = _Modules()
    for place, entry in enumerate(_module_list(path)):
        kind = str(entry.get("type")).rpartition(".")[2]
        folder = directory / _folder(entry, path)
        if found.normalize and kind != "Dropout":
            raise UnsupportedModelError(f"{path}: {kind} behind Normalize is not supported")
        if kind == "Transformer" and place == 0:
            if folder != directory:
                raise UnsupportedModelError(f"{path}: the model lies in {folder.name}, expected it beside this file")
        elif kind == "Pooling" and not found.pooling:
            config = read_json_object(folder / "config.json")
            found.pooling = _pooling(config, folder)
            found.include_prompt = bool(config.get("include_prompt", True))
        elif kind == "Dense" and found.pooling:
            found.dense.append(read_dense_module(folder))
        elif kind == "Normalize" and found.pooling:
            found.normalize = True
        elif kind != "Dropout":  # which does nothing but in training
            raise UnsupportedModelError(f"{path}: module {shown(entry.get('type'))} is not supported here")
    if not found.pooling:
        raise UnsupportedModelError(f"{path}: has no Pooling")
    return found


def _module_list(path: Path) -> list[dict[str, Any]]:
    with path.open("rb") as file:
        value = parse_json(file.read(_MAX_BYTES), str(path))
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise CheckpointError(f"{path}: is no list of modules")
    return value


def _folder(entry: Mapping[str, Any], path: Path) -> str:
    folder = entry.get("path", "")
    if not isinstance(folder, str) or not re.fullmatch(r"(\w[\w.-]{0,100})?/?", folder):
        raise CheckpointError(f"{path}: {shown(folder)} is no folder in this directory")
    return folder


def _pooling(config: Mapping[str, Any], folder: Path) -> tuple[Pooling, ...]:
    """Newer files name a mode or several in ``pooling_mode``, older ones have a flag for each."""
    named = config.get("pooling_mode")
    if named is None:
        return tuple(mode for flag, mode in _FLAGS.items() if config.get(flag)) or ("mean",)
    names = named if isinstance(named, list) and named else [named]
    for name in names:
        if not isinstance(name, str) or name not in _POOLING:
            raise UnsupportedModelError(f"{folder}: pooling_mode {shown(name)} is not supported")
    return tuple(_POOLING[name] for name in names)


def _prompts(config: Mapping[str, Any]) -> dict[str, str]:
    prompts = config.get("prompts") or {}
    if not isinstance(prompts, dict):
        raise CheckpointError(f"prompts is {shown(prompts)}, expected texts by name")
    return {name: text if isinstance(text, str) else "" for name, text in prompts.items()}


def _max_tokens(directory: Path, config: Mapping[str, Any]) -> int | None:
    """``max_seq_length``, and where it is not given the tokenizer's own ``model_max_length``."""
    found = _positive(config, "max_seq_length")
    if found is None:
        found = _positive(read_optional_json(directory / "tokenizer_config.json"), "model_max_length")
    return found


def _positive(config: Mapping[str, Any], key: str) -> int | None:
    value = config.get(key)
    return value if type(value) is int and value >= 1 else None
