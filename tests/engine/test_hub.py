"""Directories from the hub: which files, in which order, checked how, and found again. The hub is stood in for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import pytest

from lutmac.cli.main import run_command
from lutmac.engine.loading import hub
from lutmac.engine.loading.hub_names import SHORT_NAMES, HubName, choose_gguf
from lutmac.engine.loading.pull import pull
from lutmac.engine.loading.resolve import resolve
from lutmac.engine.loading.stored import remove_model, stored_models
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
        (["pytorch_model.bin", "config.json"], "pickled weights may run any code"),
        (["model.safetensors"], "config.json is missing"),
        (["README.md"], "holds no weights"),
    ],
)
def test_repositories_without_a_model_to_read(files: list[str], message: str) -> None:
    with pytest.raises(UnsupportedModelError, match=message):
        hub.needed_files("hf:org/repo", files)


GGUF_FILES = [
    "README.md", "mmproj-model-Q8_0.gguf", "model-Q8_0.gguf", "model-q4_k_m.gguf", "model-Q2_K-00001-of-00002.gguf",
    "model-Q2_K-00002-of-00002.gguf", "other.IQ4_XS.gguf", "BF16/model-BF16-00001-of-00001.gguf",
]  # fmt: skip


@pytest.mark.parametrize(
    ("tag", "file"),
    [
        (None, "model-q4_k_m.gguf"), ("Q4_K_M", "model-q4_k_m.gguf"), ("q8_0", "model-Q8_0.gguf"),
        ("Q2_K", "model-Q2_K-00001-of-00002.gguf"), ("IQ4_XS", "other.IQ4_XS.gguf"),
        ("BF16", "BF16/model-BF16-00001-of-00001.gguf"),
    ],
)  # fmt: skip
def test_a_type_chooses_a_file(tag: str | None, file: str) -> None:
    assert choose_gguf("hf:org/repo", GGUF_FILES, tag) == file


def test_a_type_that_is_not_there_is_an_error_with_those_that_are() -> None:
    with pytest.raises(CheckpointError, match=r"no file of the type Q3_K; there is .*model-Q8_0\.gguf"):
        choose_gguf("hf:org/repo", GGUF_FILES, "Q3_K")
    with pytest.raises(CheckpointError, match=r"no file of the type Q4_K_M; there is a-Q6_K\.gguf, b-Q6_K"):
        choose_gguf("hf:org/repo", ["a-Q6_K.gguf", "b-Q6_K.gguf"], None)
    assert choose_gguf("hf:org/repo", ["only.gguf"], None) == "only.gguf"
    assert choose_gguf("hf:org/repo", ["model.safetensors"], None) is None


@pytest.mark.parametrize("name", ["hf:org", "hf:org/repo:", "hf:/repo", "hf:org/repo/"])
def test_names_of_another_shape(name: str) -> None:
    with pytest.raises(CheckpointError, match="is named hf:organisation/repository"):
        HubName.parse(name)


def test_short_names_are_names_on_the_hub() -> None:
    for name, target in SHORT_NAMES.items():
        parsed = HubName.parse(name)
        assert target == f"hf:{parsed.repository}" + (f":{parsed.tag}" if parsed.tag else "")
        assert ":" not in parsed.repository


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of the hub's client, as it lays it out, with a repository of GGUF files and one of a directory."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("LUTMAC_CACHE", str(tmp_path / "own"))
    for repository, files in (
        ("Qwen--Qwen3-0.6B-GGUF", ["Qwen3-0.6B-Q8_0.gguf", "x-00001-of-00002.gguf", "x-00002-of-00002.gguf"]),
        ("org--dir", ["config.json", "model.safetensors"]),
    ):
        folder = tmp_path / f"models--{repository}"
        for name in ("refs", "blobs", "snapshots/abc"):
            (folder / name).mkdir(parents=True)
        (folder / "refs" / "main").write_text("abc")
        for file in files:
            (folder / "blobs" / f"of-{file}").write_bytes(b"12345")
            (folder / "snapshots" / "abc" / file).symlink_to(folder / "blobs" / f"of-{file}")
    return tmp_path


def test_what_is_pulled_is_listed_found_and_removed(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models = {model.name: model for model in stored_models()}
    assert {name: model.bytes for name, model in models.items()} == {
        "qwen3:0.6b": 5, "hf:Qwen/Qwen3-0.6B-GGUF/x-00001-of-00002.gguf": 10, "hf:org/dir": 10
    }  # fmt: skip
    for name in ("qwen3:0.6b", "hf:Qwen/Qwen3-0.6B-GGUF:Q8_0", "hf:Qwen/Qwen3-0.6B-GGUF:q8_0"):
        assert resolve(name) == models["qwen3:0.6b"].path
    assert run_command(["list"]) == 0
    assert "qwen3:0.6b" in capsys.readouterr().out
    for name in models:
        assert run_command(["rm", name]) == 0
    assert [path for path in cache.rglob("*") if path.is_file()] == []
    assert stored_models() == []
    assert run_command(["rm", "qwen3:0.6b"]) == 2
    assert run_command(["list"]) == 0
    assert "no model has been pulled" in capsys.readouterr().out


def test_what_lutmac_did_not_obtain_it_does_not_remove(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.gguf").write_bytes(b"")
    with pytest.raises(CheckpointError, match="does not remove it"):
        remove_model(str(tmp_path / "mine.gguf"))
    assert (tmp_path / "mine.gguf").exists()
