"""Models from the Hugging Face hub, through its client: resumable, kept in its cache, and checked."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache

from lutmac.checkpoints.gguf_parts import part_names
from lutmac.engine.loading.hub_names import HubName, choose_gguf
from lutmac.engine.loading.resolve import LAST_FILE
from lutmac.errors import CheckpointError, LutmacError, UnsupportedModelError

Progress = Callable[[int, int, str], None]
PIECE = 1 << 20

# What a directory needs beside its weights, as far as there is of it.
_TEXT_FILES = re.compile(
    r"(config|generation_config|quantize_config|quant_config|tokenizer|tokenizer_config|special_tokens_map|added_tokens|"
    r"chat_template|model\.safetensors\.index|modules|config_sentence_transformers|sentence_bert_config)\.json|"
    r"tokenizer\.model|vocab\.txt|(additional_chat_templates/)?[^/]+\.jinja|\d+_\w+/(config\.json|model\.safetensors)"
)
_SHARD = re.compile(r"model-\d+-of-\d+\.safetensors")


def pull_from_hub(name: str, progress: Progress | None) -> Path:
    """A GGUF file, or a directory with the files that lutmac reads, into the client's own cache.

    Raises CheckpointError where the hub does not give it, and UnsupportedModelError where it has nothing to read.
    """
    wanted = HubName.parse(name)
    try:
        if wanted.file is not None:
            return _pull_file(wanted.repository, wanted.file, progress)
        return _pull_repository(name, wanted, progress)
    except LutmacError:
        raise
    except Exception as error:  # the hub's client raises its own errors, its HTTP library's and the system's
        reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise CheckpointError(f"{name}: the hub did not give it: {reason[0]}") from error


def _pull_file(repository: str, file: str, progress: Progress | None) -> Path:
    """A file, after the other parts of a split model: it is there when they are."""
    others = [part for part in part_names(file) if part != file]
    paths = [
        Path(hf_hub_download(repository, part, tqdm_class=_silent_bar(progress, 0, 0))) for part in (*others, file)
    ]
    if len({path.parent for path in paths}) > 1:
        raise CheckpointError(f"{file}: it was changed on the hub meanwhile; pull it again")
    return paths[-1]


def _pull_repository(name: str, wanted: HubName, progress: Progress | None) -> Path:
    """Its GGUF file of the wanted type; without one, its directory, or the usual GGUF file where it has only such."""
    repository = wanted.repository
    siblings = {file.rfilename: file for file in HfApi().model_info(repository, files_metadata=True).siblings or ()}
    if wanted.tag is not None or not any(file.endswith(".safetensors") for file in siblings):
        gguf = choose_gguf(name, list(siblings), wanted.tag)
        if gguf is not None:
            return _pull_file(repository, gguf, progress)
    return _pull_directory(name, repository, siblings, progress)


def _pull_directory(name: str, repository: str, siblings: dict[str, Any], progress: Progress | None) -> Path:
    needed = sorted(needed_files(name, list(siblings)), key=lambda file: (file == LAST_FILE, file))
    total = sum(siblings[file].size or 0 for file in needed)
    done, folders = 0, set()
    for file in needed:
        is_new = not isinstance(try_to_load_from_cache(repository, file), str)
        path = Path(hf_hub_download(repository, file, tqdm_class=_silent_bar(progress, done, total)))
        large = siblings[file].lfs
        if is_new and large is not None:
            _check(path, large.sha256)
        done += siblings[file].size or 0
        if progress is not None:
            progress(done, total, "downloading")
        folders.add(path.parents[file.count("/")])
    if len(folders) > 1:
        raise CheckpointError(f"{name}: it was changed on the hub meanwhile; pull it again")
    return folders.pop()


def needed_files(name: str, files: list[str]) -> list[str]:
    """Of a repository's files those that make a directory to load; ``name`` is for errors.

    Raises UnsupportedModelError, which says what there is instead, where it holds no safetensors.
    """
    weights = [file for file in files if file.endswith(".safetensors") and "/" not in file]
    shards = [file for file in weights if _SHARD.fullmatch(file)]
    if "model.safetensors.index.json" in files and shards:
        weights = shards
    elif "model.safetensors" in files:
        weights = ["model.safetensors"]
    if not weights:
        pickles = sorted(file for file in files if file.endswith((".bin", ".pt", ".pth")))
        if pickles:
            raise UnsupportedModelError(
                f"{name} has its weights in {pickles[0]}: pickled weights may run any code when they are read, so "
                "lutmac does not read them; convert them with transformers' save_pretrained"
            )
        raise UnsupportedModelError(f"{name} holds no weights that lutmac reads (safetensors or GGUF)")
    if LAST_FILE not in files:
        raise UnsupportedModelError(f"{name} is no model directory: {LAST_FILE} is missing")
    return [*weights, *(file for file in files if _TEXT_FILES.fullmatch(file))]


def _check(path: Path, checksum: str) -> None:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    if digest.hexdigest() != checksum:
        path.resolve().unlink()
        path.unlink(missing_ok=True)
        raise CheckpointError(f"{path.name} came damaged: SHA-256 {digest.hexdigest()}, not {checksum}; pull it again")


def _silent_bar(progress: Progress | None, before: int, total: int) -> Any:
    """A progress bar class for the hub's client that draws nothing and reports to ``progress``.

    before: bytes of the files that came before, of ``total``; a total of 0 is the bar's own.
    """
    from tqdm.auto import tqdm  # type: ignore[import-untyped]  # noqa: PLC0415 (comes with the hub's client)

    class SilentBar(tqdm):  # type: ignore[misc]
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{**options, "disable": True})

        def update(self, n: float | None = 1) -> None:
            self.n += n or 0
            if progress is not None and self.total:
                progress(before + int(self.n), total or int(self.total), "downloading")

    return SilentBar
