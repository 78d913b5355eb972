"""The models that have been pulled: which there are, and how one is removed again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lutmac.checkpoints.gguf_parts import part_names
from lutmac.engine.loading.hub_names import HUB_PREFIX, SHORT_NAMES, HubName, choose_gguf
from lutmac.engine.loading.resolve import ALIASES, LAST_FILE, alias_path, resolve, snapshot_directory
from lutmac.errors import CheckpointError

REPOSITORY_FOLDER = "models--"  # what the hub's client puts before a repository's folder


@dataclass(frozen=True)
class StoredModel:
    """name: what `load` takes. path: its file or directory. bytes: on the disk. modified: when, in seconds of Unix."""

    name: str
    path: Path
    bytes: int
    modified: float


def stored_models() -> list[StoredModel]:
    """Those under lutmac's own names and those in the cache of the hub's client, the newest first."""
    found = [_stored(name, alias_path(name)) for name in ALIASES if alias_path(name).is_file()]
    found += _of_the_hub()
    return sorted(found, key=lambda model: -model.modified)


def remove_model(name: str) -> StoredModel:
    """Removes a model that was pulled, by its name. Raises CheckpointError where there is none."""
    path = resolve(name)
    model = next((model for model in stored_models() if model.path == path), None)
    if model is None:
        raise CheckpointError(f"{name}: it was not pulled, so lutmac does not remove it (`lutmac list` says what was)")
    for file in _files(path):
        file.resolve().unlink(missing_ok=True)  # where the hub's client keeps it
        file.unlink(missing_ok=True)
    repository = next((parent for parent in path.parents if parent.name.startswith(REPOSITORY_FOLDER)), None)
    if repository is not None and not any(file.is_file() for file in (repository / "snapshots").rglob("*")):
        shutil.rmtree(repository)
    return model


def _of_the_hub() -> Iterator[StoredModel]:
    from huggingface_hub import constants  # noqa: PLC0415 (slow to import)

    for folder in sorted(Path(constants.HF_HUB_CACHE).glob(f"{REPOSITORY_FOLDER}*--*")):
        repository = folder.name.removeprefix(REPOSITORY_FOLDER).replace("--", "/", 1)
        snapshot = snapshot_directory(repository)
        if snapshot is None:
            continue
        if (snapshot / LAST_FILE).is_file() and any(snapshot.glob("*.safetensors")):
            yield _stored(f"{HUB_PREFIX}{repository}", snapshot)
        files = [path.relative_to(snapshot).as_posix() for path in sorted(snapshot.rglob("*.gguf")) if path.is_file()]
        for file in files:
            if part_names(file)[0] == file:
                yield _stored(_short_name(repository, file) or f"{HUB_PREFIX}{repository}/{file}", snapshot / file)


def _short_name(repository: str, file: str) -> str | None:
    for short in SHORT_NAMES:
        name = HubName.parse(short)
        if name.repository == repository and name.tag is not None:
            try:
                return short if choose_gguf(short, [file], name.tag) == file else None
            except CheckpointError:
                return None
    return None


def _stored(name: str, path: Path) -> StoredModel:
    stats = [file.stat() for file in _files(path)]
    return StoredModel(name, path, sum(stat.st_size for stat in stats), max(stat.st_mtime for stat in stats))


def _files(path: Path) -> list[Path]:
    """Of a directory all but GGUF files, which are models of their own; of a split file all parts."""
    if path.is_dir():
        return [file for file in path.rglob("*") if file.is_file() and file.suffix != ".gguf"]
    names = part_names(os.path.basename(path))
    return [file for name in names if (file := path.with_name(name)).is_file()]
