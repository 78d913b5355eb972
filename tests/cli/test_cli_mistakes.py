"""Each mistake gets exit code 2 and exactly one line that says what is wrong."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from lutmac.cli.main import run_command

COMMANDS_WITH_A_MODEL = [
    ["run", "MODEL", "Hello"],
    ["chat", "MODEL"],
    ["info", "MODEL"],
    ["eval", "ppl", "MODEL", "TEXT"],
    ["bench", "MODEL"],
]


def assert_one_line(result, *words: str) -> None:
    assert result.returncode == 2, result.stderr
    assert result.stdout == ""
    assert result.stderr.startswith("lutmac: error: ")
    assert result.stderr.count("\n") == 1
    for word in words:
        assert word in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "--no-such-option", "Hello"], ["--no-such-option"]),
        (["--no-such-option"], ["--no-such-option"]),
        (["rnu"], ["rnu", "run"]),
        (["run"], ["PROMPT"]),
        (["run", "one", "two", "three"], ["quotes"]),
        (["run", ""], ["empty"]),
        (["run", "Hello", "--max-tokens", "many"], ["--max-tokens"]),
        (["run", "Hello", "--logit-bias", "x"], ["--logit-bias", "ID=BIAS"]),
        (["run", "Hello", "--raw", "--system", "x"], ["--system", "--raw"]),
        (["run", "Hello", "--raw", "--no-think"], ["--think", "--raw"]),
        (["run", "Hello", "--regex", "a("], ["regex"]),
        (["run", "Hello", "--choice", "a", "--regex", "b"], ["--regex and --choice"]),
        (["run", "Hello", "--json-schema", "nowhere.json"], ["--json-schema", "nowhere.json"]),
        (["run", "Hello", "--json-schema", "{"], ["JSON"]),
        (["run", "Hello", "--grammar", "start: nothing"], ["nothing"]),
        (["run", "Hello", "--file", "/no/such/text"], ["/no/such/text"]),
        (["run", "Hello", "--top-p", "2"], ["--top-p"]),
        (["chat", "--stop", ""], ["stop"]),
        (["eval"], ["command"]),
        (["eval", "ppl"], ["MODEL"]),
        (["eval", "ppl", "smollm2", "/no/such/text"], ["/no/such/text"]),
        (["bench", "smollm2", "--threads", "1,none"], ["--threads"]),
        (["bench", "smollm2", "--vs", "nobody"], ["--vs"]),
        (["bench", "smollm2", "--plot", "x"], ["--plot", "--synthetic or kernels"]),
        (["bench", "smollm2", "--bits", "3"], ["--bits", "--synthetic or kernels"]),
        (["bench", "smollm2", "--layers", "3"], ["--layers", "--synthetic"]),
        (["bench", "kernels", "--streams", "2"], ["--streams", "not with kernels"]),
        (["bench", "--synthetic", "smollm2-135m", "--vs", "llama.cpp"], ["--vs", "a model"]),
        (["bench", "--synthetic", "smollm2-135m", "--plot", "x"], ["--plot", "--bits 2,3,4"]),
        (["bench", "smollm2", "--output", "/no/such/place/x.json"], ["/no/such/place/x.json"]),
        (["quantize", "smollm2", "x", "--type", "Q4_K", "--bits", "3"], ["--bits", "--type Q4_K"]),
        (["quantize", "smollm2", "x", "--bits", "3", "--average-bits", "3.5"], ["--average-bits"]),
        (["quantize", "smollm2", "x", "--method", "ternary", "--bits", "2"], ["ternary", "--bits"]),
        (["quantize", "smollm2", "x", "--sequences", "2"], ["--sequences", "--calibration"]),
        (["quantize", "smollm2", "x", "--method", "gptq"], ["gptq", "calibration"]),
        (["tune", "--reset", "--layers", "2"], ["--layers", "--reset"]),
        (["info", "smollm2", "--program", "--tensors"], ["--program", "--tensors"]),
        (["run", "smollm2", "Hello", "--context", "9000"], ["9000", "8192"]),
        (["pull", "no-such-model"], ["no-such-model"]),
        (["pull", "hf:incomplete"], ["hf:incomplete"]),
    ],
    ids=lambda value: " ".join(value) if value and isinstance(value, list) else "",
)
def test_malformed_command_lines(arguments, words, capsys):
    code = run_command(arguments)
    found = capsys.readouterr()
    assert_one_line(subprocess.CompletedProcess(arguments, code, found.out, found.err), *words)


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("A short text. " * 100)
    return path


@pytest.mark.parametrize("command", COMMANDS_WITH_A_MODEL, ids=lambda command: command[0])
def test_files_that_are_no_model(lutmac, command, tmp_path, text):
    (tmp_path / "folder.gguf").mkdir()
    (tmp_path / "empty.gguf").touch()
    (tmp_path / "text.gguf").write_text("This is not a model. " * 100)
    for name in ("missing.gguf", "folder.gguf", "empty.gguf", "text.gguf"):
        path = tmp_path / name
        arguments = [{"MODEL": path, "TEXT": text}.get(word, word) for word in command]
        assert_one_line(lutmac(*arguments), str(path))


def test_one_file_of_a_directory(lutmac, tmp_path):
    """Of a Hugging Face model: it is loaded by its directory."""
    for name in ("model-00001-of-00002.safetensors", "config.json"):
        path = tmp_path / name
        path.write_text("{}")
        assert_one_line(lutmac("info", path), str(path), f"give its directory, {tmp_path}\n")


def test_a_name_that_nobody_knows(lutmac):
    assert_one_line(lutmac("run", "no-such-model", "Hello"), "no-such-model")


class Patched:
    """A copy of a model file in which single facts can be changed in place."""

    def __init__(self, source: Path, path: Path) -> None:
        shutil.copyfile(source, path)
        self.path = path
        self._header = path.open("rb").read(4 << 20)

    def tensor(self, name: str, *, type_code: int | None = None, offset: int | None = None, columns: int | None = None):
        """Changes a tensor's entry: name, number of dimensions u32, dimensions u64, type u32, offset u64."""
        place = self._header.index(struct.pack("<Q", len(name)) + name.encode()) + 8 + len(name)
        (num_dims,) = struct.unpack_from("<I", self._header, place)
        type_place = place + 4 + 8 * num_dims
        if columns is not None:
            self._write(place + 4, struct.pack("<Q", columns))
        if type_code is not None:
            self._write(type_place, struct.pack("<I", type_code))
        if offset is not None:
            self._write(type_place + 4, struct.pack("<Q", offset))

    def architecture(self, name: bytes) -> None:
        key = b"general.architecture"
        place = self._header.index(key) + len(key) + 4  # behind the key: type u32, length u64, text
        (length,) = struct.unpack_from("<Q", self._header, place)
        assert length == len(name)
        self._write(place + 8, name)

    def truncate(self, size: int) -> None:
        with self.path.open("r+b") as file:
            file.truncate(size)

    def _write(self, place: int, data: bytes) -> None:
        with self.path.open("r+b") as file:
            file.seek(place)
            file.write(data)


@pytest.fixture
def patched(smollm2_path, tmp_path) -> Patched:
    return Patched(smollm2_path, tmp_path / "patched.gguf")


def test_truncated_files(lutmac, patched):
    for size in (60_000_000, 1_000_000, 30, 3):
        patched.truncate(size)
        assert_one_line(lutmac("run", patched.path, "Hello"), str(patched.path))


def test_an_unsupported_architecture_is_named(lutmac, patched):
    patched.architecture(b"lamma")
    assert_one_line(lutmac("run", patched.path, "Hello"), "lamma")


def test_an_unsupported_tensor_type_is_named(lutmac, patched):
    patched.tensor("blk.3.ffn_up.weight", type_code=16)
    assert_one_line(lutmac("run", patched.path, "Hello"), "IQ2_XXS")


def test_an_unknown_tensor_type_is_named_by_its_number(lutmac, patched):
    patched.tensor("blk.3.ffn_up.weight", type_code=9999)
    assert_one_line(lutmac("run", patched.path, "Hello"), "9999")


@pytest.mark.parametrize("offset", [1 << 63, (1 << 64) - 32, 97_000_000 // 32 * 32], ids=hex)
def test_offsets_that_lie(lutmac, patched, offset):
    patched.tensor("blk.3.ffn_up.weight", offset=offset)
    assert_one_line(lutmac("run", patched.path, "Hello"), "blk.3.ffn_up.weight")


@pytest.mark.parametrize("columns", [0, 1 << 62, 577], ids=hex)
def test_shapes_that_lie(lutmac, patched, columns):
    patched.tensor("blk.3.ffn_up.weight", columns=columns)
    assert_one_line(lutmac("run", patched.path, "Hello"), "blk.3.ffn_up.weight")


def test_a_prompt_longer_than_the_context(lutmac, smollm2_path):
    result = lutmac("run", smollm2_path, "-", "--context", 64, stdin="word " * 500)
    assert_one_line(result, "context", "64")


def test_an_isa_that_is_unknown(lutmac, smollm2_path, monkeypatch):
    monkeypatch.setenv("LUTMAC_ISA", "abacus")
    assert_one_line(lutmac("run", smollm2_path, "Hello"), "abacus")


def test_json_mistakes_are_the_same_line(lutmac):
    assert_one_line(lutmac("run", "no-such-model", "Hello", "--json"), "no-such-model")
