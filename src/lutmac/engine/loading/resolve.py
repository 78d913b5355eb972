"""From a model's name to its file."""

from __future__ import annotations

import os
from pathlib import Path

from lutmac.errors import CheckpointError

DEFAULT_MODEL = "smollm2"
ALIASES = {DEFAULT_MODEL: "SmolLM2-135M-Instruct.Q4_1.gguf"}  # name -> file in the cache
HUB_PREFIX = "hf:"
LAST_FILE = "config.json"  # of a directory on the hub: pulled last, so that it is there when all others are
FILES_OF_A_DIRECTORY = (".safetensors", ".json")  # what a model that is named by its directory has in it


def cache_directory() -> Path:
    """Where pulled models lie: $LUTMAC_CACHE, else lutmac/models in the user's cache directory (XDG)."""
    if os.environ.get("LUTMAC_CACHE"):
        return Path(os.environ["LUTMAC_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lutmac" / "models"


def alias_path(name: str) -> Path:
    """Where the model of that alias lies once it is pulled."""
    return cache_directory() / ALIASES[name]


def split_hub_name(name: str) -> tuple[str, str | None]:
    """``hf:org/repo/path/file.gguf`` as ("org/repo", "path/file.gguf"), ``hf:org/repo`` as ("org/repo", None).

    Raises CheckpointError for another shape.
    """
    parts = name.removeprefix(HUB_PREFIX).split("/", 2)
    if len(parts) not in (2, 3) or not all(parts):
        raise CheckpointError(
            f"{name}: a model on the hub is named hf:organisation/repository or hf:organisation/repository/file.gguf"
        )
    return f"{parts[0]}/{parts[1]}", parts[2] if len(parts) == 3 else None


def resolve(path_or_name: str | os.PathLike[str]) -> Path:
    """The file (or directory) of a model: an existing path, an alias, or a name on the hub, as far as pulled.

    Raises CheckpointError that says what was tried.
    """
    path = Path(path_or_name)
    name = os.fspath(path_or_name)
    if path.suffix in FILES_OF_A_DIRECTORY and path.is_file():
        raise CheckpointError(f"{name}: is one file of a model; give its directory, {path.parent}")
    if path.exists():
        return path
    if name in ALIASES:
        if alias_path(name).is_file():
            return alias_path(name)
        raise CheckpointError(f"model {name} is not in {cache_directory()}: run `lutmac pull {name}` first")
    if name.startswith(HUB_PREFIX):
        return _cached_from_hub(name)
    if path.suffix == ".gguf" or os.sep in name:
        raise CheckpointError(f"{name}: no such file")
    raise CheckpointError(
        f"unknown model {name!r}: no such file, and not one of the names {', '.join(ALIASES)} "
        "or hf:organisation/repository, with /file.gguf for a GGUF file"
    )


def _cached_from_hub(name: str) -> Path:
    from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415 (slow to import)

    repository, file = split_hub_name(name)
    found = try_to_load_from_cache(repository, file or LAST_FILE)
    if not isinstance(found, str):
        raise CheckpointError(f"{name} is not in the hub's cache: run `lutmac pull {name}` first")
    return Path(found) if file else Path(found).parent
