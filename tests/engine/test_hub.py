"""Directories from the hub: which files, in which order, checked how, and found again. The hub is stood in for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import pytest

from lutmac.engine.loading import hub
from lutmac.engine.loading.pull import pull
from lutmac.engine.loading.resolve import resolve
from lutmac.errors import CheckpointError, UnsupportedModelError

FILES = {
    "README.md": b"text",
    "config.json": b"{}",
    "consolidated.safetensors": b"the same weights again",
    "model-00001-of-00002.safetensors": b"first",
    "model-00002-of-00002.safetensors": b"second half",
    "model.safetensors.index.json": b"{}",
    "onnx/model.onnx": b"another format",
    "additional_chat_templates/rag.jinja": b"",
    "pytorch_model.bin": b"pickled",
    "modules.json": b"[]",
    "1_Pooling/config.json": b"{}",
    "2_Dense/config.json": b"{}",
    "2_Dense/model.safetensors": b"a layer",
    "2_Dense/pytorch_model.bin": b"pickled",
    "tokenizer.json": b"{}",
}
NEEDED = [
    "additional_chat_templates/rag.jinja", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
    "model.safetensors.index.json", "tokenizer.json", "config.json", "modules.json", "1_Pooling/config.json",
    "2_Dense/config.json", "2_Dense/model.safetensors",
]  # fmt: skip


@dataclass
class Lfs:
    sha256: str


@dataclass
class Sibling:
    rfilename: str
    size: int
    lfs: Lfs | None


@dataclass
class Info:
    siblings: list[Sibling]


@pytest.fixture
def snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the client would put a repository's files; pulling writes them there."""
    folder = tmp_path / "snapshots" / "0123"

    class Api:
        def model_info(self, repository: str, *, files_metadata: bool) -> Info:
            assert (repository, files_metadata) == ("org/repo", True)
            digest = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}
            large = {name: Lfs(digest[name]) for name in FILES if name.endswith(".safetensors")}
            return Info([Sibling(name, len(content), large.get(name)) for name, content in FILES.items()])

    def download(repository: str, file: str, *, tqdm_class: type) -> str:
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(FILES[file])
        with tqdm_class(total=len(FILES[file])) as bar:
            bar.update(len(FILES[file]))
        return str(path)

    def cached(repository: str, file: str) -> str | None:
        return str(folder / file) if (folder / file).is_file() else None

    monkeypatch.setattr(hub, "HfApi", Api)
    monkeypatch.setattr(hub, "hf_hub_download", download)
    monkeypatch.setattr(hub, "try_to_load_from_cache", cached)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", cached)
    return folder


def test_a_directory_is_pulled_and_found_again(snapshot: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    with pytest.raises(CheckpointError, match="run `lutmac pull hf:org/repo` first"):
        resolve("hf:org/repo")
    assert pull("hf:org/repo", progress=lambda *step: seen.append(step)) == snapshot
    assert sorted(str(p.relative_to(snapshot)) for p in snapshot.rglob("*") if p.is_file()) == sorted(NEEDED)
    total = sum(len(FILES[name]) for name in NEEDED)
    assert seen[-1] == (total, total, "downloading")
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)
    assert resolve("hf:org/repo") == snapshot


def test_what_came_damaged_is_thrown_away(snapshot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    download = hub.hf_hub_download

    def damage(repository: str, file: str, *, tqdm_class: type) -> str:
        path = download(repository, file, tqdm_class=tqdm_class)
        if file.startswith("model-00001"):
            Path(path).write_bytes(b"something else")
        return str(path)

    monkeypatch.setattr(hub, "hf_hub_download", damage)
    with pytest.raises(CheckpointError, match=r"model-00001-of-00002\.safetensors came damaged: SHA-256"):
        pull("hf:org/repo")
    assert not (snapshot / "model-00001-of-00002.safetensors").exists()


def test_a_part_of_a_split_file_comes_after_the_others(snapshot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"folder/a-0000{i}-of-00003.gguf" for i in (1, 2, 3)]
    pulled: list[str] = []
    download = hub.hf_hub_download

    def remember(repository: str, file: str, *, tqdm_class: type) -> str:
        pulled.append(file)
        return str(download(repository, file, tqdm_class=tqdm_class))

    monkeypatch.setattr(hub, "hf_hub_download", remember)
    monkeypatch.setattr("test_hub.FILES", dict.fromkeys(names, b"part"))
    assert pull(f"hf:org/repo/{names[0]}") == snapshot / names[0]
    assert pulled == [names[1], names[2], names[0]]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["a.gguf", "config.json"], "holds GGUF files: name one of them, such as hf:org/repo/a.gguf"),
        (["pytorch_model.bin", "config.json"], "pickled weights may run any code"),
        (["model.safetensors"], "config.json is missing"),
        (["README.md"], "holds no weights"),
    ],
)
def test_repositories_without_a_model_to_read(files: list[str], message: str) -> None:
    with pytest.raises(UnsupportedModelError, match=message):
        hub.needed_files("hf:org/repo", files)
