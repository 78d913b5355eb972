"""From a model's name to its file."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path

from lutmac.engine.loading.hub_names import SHORT_NAMES, HubName, choose_gguf, is_hub_name
from lutmac.errors import CheckpointError

DEFAULT_MODEL = "smollm2"
ALIASES = {DEFAULT_MODEL: "SmolLM2-135M-Instruct.Q4_1.gguf"}  # name -> file in the cache
LAST_FILE = "config.json"  # of a directory on the hub: pulled last, so that it is there when all others are
_REPOSITORY = re.compile(r"[\w.-]*\w/[\w.-]+(?<!\.gguf)")  # organisation/name
FILES_OF_A_DIRECTORY = (".safetensors", ".json")  # what a model that is named by its directory has in it


def cache_directory() -> Path:
    """Where pulled models lie: $LUTMAC_CACHE, else lutmac/models in the user's cache directory (XDG)."""
    if os.environ.get("LUTMAC_CACHE"):
        return Path(os.environ["LUTMAC_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lutmac" / "models"


def alias_path(name: str) -> Path:
    """Where the model of that alias lies once it is pulled."""
    return cache_directory() / ALIASES[name]


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
    if is_hub_name(name):
        return _cached_from_hub(name)
    if path.suffix == ".gguf" or os.sep in name:
        on_the_hub = f"; hf:{name} is how one on the hub is named" if _REPOSITORY.fullmatch(name) else ""
        raise CheckpointError(f"{name}: no such file{on_the_hub}")
    raise CheckpointError(f"unknown model {name!r}: no such file, and not one of {known_names(name)}")


def known_names(near: str) -> str:
    """For errors: the names that there are, those like a wrong one first."""
    names = [*ALIASES, *SHORT_NAMES]
    like = [name for name in names if name.startswith(near)][:3] or difflib.get_close_matches(near, names, n=3)
    shown = like or [*ALIASES, "qwen3:0.6b"]
    return f"{', '.join(shown)} and others that `lutmac list --known` has, or hf:organisation/repository"


def _cached_from_hub(name: str) -> Path:
    from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415 (slow to import)

    hub_name = HubName.parse(name)
    if hub_name.tag is None:
        found = try_to_load_from_cache(hub_name.repository, hub_name.file or LAST_FILE)
        if isinstance(found, str):
            return Path(found) if hub_name.file else Path(found).parent
    if hub_name.file is None and (snapshot := snapshot_directory(hub_name.repository)) is not None:
        files = [path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*.gguf") if path.is_file()]
        if files and (file := choose_gguf(name, files, hub_name.tag)) is not None:
            return snapshot / file
    raise CheckpointError(f"{name} is not in the hub's cache: run `lutmac pull {name}` first")


def snapshot_directory(repository: str) -> Path | None:
    """Where the hub's client keeps the files of a repository's main branch, None where it has none."""
    from huggingface_hub import constants  # noqa: PLC0415 (slow to import)

    folder = Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"
    try:
        revision = (folder / "refs" / "main").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    snapshot = folder / "snapshots" / revision
    return snapshot if revision and snapshot.is_dir() else None
