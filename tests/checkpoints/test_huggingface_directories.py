"""Directories that lack something, lie, or hold what lutmac does not read: one error each that says so."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lutmac
from lutmac.checkpoints import open_huggingface
from lutmac.cli.main import run_command
from lutmac.errors import CheckpointError, LutmacError, UnsupportedModelError

ROOT = Path(__file__).parent / "huggingface"
Change = Callable[[Path], object]


def copy(tmp_path: Path, name: str) -> Path:
    directory = tmp_path / name
    shutil.copytree(ROOT / name, directory)
    return directory


def edit(file: str, **changes: Any) -> Change:
    def apply(directory: Path) -> None:
        values = json.loads((directory / file).read_text())
        for key, value in changes.items():
            values[key] = {**values[key], **value} if isinstance(value, dict) and key in values else value
        (directory / file).write_text(json.dumps(values))

    return apply


def remove(file: str) -> Change:
    return lambda directory: (directory / file).unlink()


def pickle_instead(directory: Path) -> None:
    (directory / "model.safetensors").rename(directory / "pytorch_model.bin")


def index_outside(directory: Path) -> None:
    edit("model.safetensors.index.json", weight_map={"x": "../secret.safetensors"})(directory)


INDEX = "model.safetensors.index.json"
SHARD = "model-00002-of-00003.safetensors"
MISTAKES: dict[str, tuple[str, Change, str]] = {
    "no config": ("bf16", remove("config.json"), r"no model directory: config\.json is missing"),
    "no weights": ("bf16", remove("model.safetensors"), r"has no weights: model\.safetensors .*is missing"),
    "pickled weights": ("bf16", pickle_instead, r"pytorch_model\.bin: pickled weights may run any code"),
    "no tokenizer": ("bf16", remove("tokenizer.json"), r"neither tokenizer\.json nor tokenizer\.model"),
    "a shard is missing": ("fp16_shards", remove(SHARD), rf"{SHARD} is missing \(1 of 3 shards"),
    "no index": ("fp16_shards", remove(INDEX), r"has model-00001.*but neither model\.safetensors\.index\.json nor"),
    "an index that reaches out": ("fp16_shards", index_outside, r"'\.\./secret\.safetensors' is no name"),
    "an unknown architecture": ("bf16", edit("config.json", model_type="rwkv"), "architecture 'rwkv'.*llama"),
    "no architecture": ("bf16", edit("config.json", model_type=None), "no model_type"),
    "an unknown method": (
        "awq", edit("config.json", quantization_config={"quant_method": "aqlm"}), "method 'aqlm'.*supported: gptq, awq",
    ),
    "another AWQ": ("awq", edit("config.json", quantization_config={"version": "gemv"}), "AWQ version 'gemv'"),
    "another GPTQ": (
        "gptq_4bit_sym", edit("config.json", quantization_config={"checkpoint_format": "marlin"}), "'marlin' is not",
    ),
    "a wrong shape": ("bf16", edit("config.json", vocab_size=321), r"embed_tokens.weight has shape \(320, 64\), exp"),
    "more layers than there are": ("bf16", edit("config.json", num_hidden_layers=3), "layers.2.* is missing"),
    "broken JSON": ("bf16", lambda d: (d / "config.json").write_text("{"), r"config\.json: is not valid JSON"),
    "a list": ("bf16", lambda d: (d / "config.json").write_text("[]"), r"config\.json: holds list"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_is_wrong_is_said(mistake: str, tmp_path: Path) -> None:
    name, change, message = MISTAKES[mistake]
    directory = copy(tmp_path, name)
    change(directory)
    with pytest.raises(LutmacError, match=message) as caught:
        lutmac.load(directory)
    assert "\n" not in str(caught.value)


def test_a_directory_of_something_else_is_no_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["info", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"lutmac: error: {tmp_path}: is no model directory: config.json is missing\n"


def test_info_of_a_directory(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["info", "--json", str(ROOT / "gptq_4bit_sym")]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["architecture"], report["name"], report["problem"]) == ("llama", "gptq_4bit_sym", None)
    assert {entry["type"]: entry["tensors"] for entry in report["types"]}["GPTQ 4-bit"] == 14
    assert report["loaded"]["layers"] == 2


def test_the_command_line_runs_a_directory(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["run", str(ROOT / "awq"), "the fox", "--max-tokens", "3", "--temperature", "0"]) == 0
    assert capsys.readouterr().out


def test_older_places_of_the_quantisation_settings(tmp_path: Path) -> None:
    directory = copy(tmp_path, "gptq_4bit_sym")
    config = json.loads((directory / "config.json").read_text())
    settings = config.pop("quantization_config")
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "quantize_config.json").write_text(json.dumps({"bits": 4, "group_size": settings["group_size"]}))
    (directory / "model.safetensors").rename(directory / "gptq_model-4bit-32g.safetensors")
    with np.load(directory / "reference.npz") as reference:
        logits = lutmac.load(directory, precision="exact").logits(reference["tokens"].tolist())
        np.testing.assert_allclose(logits, reference["logits"], rtol=0, atol=0.02)


@pytest.mark.parametrize(
    ("group_of", "error", "message"),
    [
        ([0] * 60 + [9] * 4, CheckpointError, "names group 0 to 9, there are 2"),
        ([0] * 40 + [1] * 24, UnsupportedModelError, "groups of unequal size"),
    ],
)
def test_group_indices_that_lie(group_of: list[int], error: type[LutmacError], message: str, tmp_path: Path) -> None:
    directory = copy(tmp_path, "gptq_4bit_sym")
    name = "model.layers.0.self_attn.q_proj"
    with open_huggingface(directory) as checkpoint:
        offset = checkpoint._files.tensors[f"{name}.g_idx"].offset
    content = bytearray((directory / "model.safetensors").read_bytes())
    content[offset : offset + 256] = np.array(group_of, "<i4").tobytes()
    (directory / "model.safetensors").write_bytes(content)
    with pytest.raises(error, match=f"{name}: g_idx .*{message}"), open_huggingface(directory) as checkpoint:
        checkpoint.matrix(f"{name}.weight")


def test_packed_ternary_weights_that_are_not_ternary(tmp_path: Path) -> None:
    directory = copy(tmp_path, "bitnet_packed")
    name = "model.layers.0.mlp.up_proj"
    with open_huggingface(directory) as checkpoint:
        offset = checkpoint._files.tensors[f"{name}.weight"].offset
    content = bytearray((directory / "model.safetensors").read_bytes())
    content[offset] = 0xFF
    (directory / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=f"{name}: has a weight of 2, which is not ternary"):
        lutmac.load(directory)
