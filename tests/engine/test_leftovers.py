"""What stands in a model's files and is not read: known to be of no account and listed, or an error that names it."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import lutmac
from gguf_copies import add_fields, write
from lutmac.cli.main import run_command
from lutmac.errors import CheckpointError, UnsupportedModelError

TESTS = Path(__file__).parents[1]
GRANITE = TESTS / "models" / "converted" / "granite.gguf"
DIRECTORY = TESTS / "checkpoints" / "huggingface" / "fp32_tied"
TOKENS = list(range(40, 60))
ONES = np.ones((64, 32), np.float32)


def rewritten(
    path: Path, *, added: Mapping[str, np.ndarray] | None = None, without: str = "-", **metadata: Any
) -> Path:
    """The file GRANITE with further tensors, without some, and with other metadata (``block_count=1``)."""
    reader, writer = gguf.GGUFReader(GRANITE), gguf.GGUFWriter(str(path), "granite")
    add_fields(reader, writer, dict.fromkeys(f"granite.{key}" for key in metadata))
    for key, value in metadata.items():
        writer.add_uint32(f"granite.{key}", value)
    for tensor in reader.tensors:
        if not tensor.name.startswith(without):
            writer.add_tensor(tensor.name, np.array(tensor.data))
    for name, values in (added or {}).items():
        writer.add_tensor(name, values)
    write(writer)
    return path


def directory_with(path: Path, added: Mapping[str, np.ndarray], **config: Any) -> Path:
    shutil.copytree(DIRECTORY, path)
    settings = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**settings, **config}))
    save_file({**load_file(path / "model.safetensors"), **added}, path / "model.safetensors")
    return path


def embedding(directory: Path) -> np.ndarray:
    return load_file(directory / "model.safetensors")["model.embed_tokens.weight"]


def logits(path: Path) -> np.ndarray:
    return lutmac.load(path, threads=1).logits(TOKENS)


def test_a_tensor_of_gguf_that_nothing_reads_is_an_error(tmp_path: Path) -> None:
    path = rewritten(tmp_path / "x.gguf", added={"blk.1.ffn_sub_norm.weight": ONES[0], "cls.weight": ONES})
    message = r"x\.gguf: tensor blk\.1\.ffn_sub_norm\.weight and 1 more would not be read"
    with pytest.raises(CheckpointError, match=message):
        lutmac.load(path)
    with pytest.raises(CheckpointError, match=message):
        lutmac.convert(path, tmp_path / "native")


def test_a_block_count_that_is_too_small_is_an_error(tmp_path: Path) -> None:
    path = rewritten(tmp_path / "x.gguf", block_count=1)
    with pytest.raises(CheckpointError, match=r"tensors of layer 1 \(blk\.1\..*1 layers \(granite\.block_count"):
        lutmac.load(path)


def test_blocks_that_guess_further_tokens_are_left_out(tmp_path: Path) -> None:
    """As llama.cpp leaves them out: what remains is the model of the blocks before."""
    path = rewritten(tmp_path / "x.gguf", nextn_predict_layers=1)
    model = lutmac.load(path, threads=1)
    (left,) = model.info().left_out
    assert (left.what, left.tensors[0][:6], len(left.tensors)) == ("layers that guess further tokens", "blk.1.", 9)
    smaller = rewritten(tmp_path / "y.gguf", without="blk.1.", block_count=1)
    np.testing.assert_array_equal(model.logits(TOKENS), logits(smaller))


def test_what_readers_of_gguf_ignore_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    added = {"blk.0.attn_rot_embd.weight": ONES[0], "v.patch_embd.weight": ONES, "mm.0.weight": ONES}
    path = rewritten(tmp_path / "x.gguf", added=added)
    model = lutmac.load(path, threads=1)
    assert [(left.what, left.tensors) for left in model.info().left_out] == [
        ("rotary frequencies", ("blk.0.attn_rot_embd.weight",)),
        ("parts for images and sounds", ("v.patch_embd.weight", "mm.0.weight")),
    ]
    np.testing.assert_array_equal(model.logits(TOKENS), logits(GRANITE))
    assert run_command(["info", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["loaded"]["left_out"][1]["nbytes"] == 2 * ONES.nbytes
    assert run_command(["info", str(path)]) == 0
    assert "left out         parts for images and sounds: 2 tensors" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "read"), [("v.patch_embd.weight", False), ("blk.0.attn_q.bias", True)])
def test_an_unknown_type_matters_where_its_tensor_is_read(
    name: str, read: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = rewritten(tmp_path / "x.gguf", added={name: np.ones(64, np.int32)})
    head = struct.pack("<Q", len(name)) + name.encode() + struct.pack("<IQ", 1, 64)
    content = path.read_bytes()
    assert content.count(head + struct.pack("<I", 26)) == 1
    path.write_bytes(content.replace(head + struct.pack("<I", 26), head + struct.pack("<I", 99)))
    if not read:
        np.testing.assert_array_equal(logits(path), logits(GRANITE))
        return
    with pytest.raises(UnsupportedModelError, match=r"x\.gguf: tensor 'blk\.0\.attn_q\.bias' has type 99"):
        lutmac.load(path)
    assert run_command(["info", str(path)]) == 0
    assert "cannot be run    tensor 'blk.0.attn_q.bias' has type 99" in capsys.readouterr().out


def test_a_head_that_is_the_embedding_once_more_is_left_out(tmp_path: Path) -> None:
    path = directory_with(tmp_path / "copy", {"lm_head.weight": embedding(DIRECTORY)})
    info = lutmac.load(path, threads=1).info()
    assert [left.tensors for left in info.left_out] == [("lm_head.weight",)]
    assert info.weight_bytes == lutmac.load(DIRECTORY, threads=1).info().weight_bytes
    np.testing.assert_array_equal(logits(path), logits(DIRECTORY))
    other = embedding(DIRECTORY).copy()
    other[-1, -1] += 1
    untied = directory_with(tmp_path / "other", {"lm_head.weight": other})
    assert lutmac.load(untied, threads=1).info().left_out == ()
    assert (logits(untied)[:, -1] != logits(path)[:, -1]).any()


def test_what_readers_of_directories_ignore_is_listed(tmp_path: Path) -> None:
    ignored = {
        "rotary frequencies": ["model.layers.0.self_attn.rotary_emb.inv_freq", "model.rotary_emb.inv_freq"],
        "causal masks": ["model.layers.0.self_attn.masked_bias", "model.layers.1.attn.bias"],
        "parts for images and sounds": ["vision_tower.layers.0.q.weight", "multi_modal_projector.linear.weight"],
        "biases that are zero": ["model.layers.0.self_attn.qkv_proj.bias"],
        "layers that guess further tokens": ["mtp.layers.0.eh_proj.weight", "model.layers.2.eh_proj.weight"],
        "scales of activations and of caches": ["model.layers.0.self_attn.k_scale", "model.layers.0.mlp.input_scale"],
    }  # fmt: skip
    added = {name: ONES for names in ignored.values() for name in names}
    added["model.layers.0.self_attn.qkv_proj.bias"] = 0 * ONES[0]
    path = directory_with(tmp_path / "more", added, num_nextn_predict_layers=1)
    model = lutmac.load(path, threads=1)
    assert {left.what: sorted(left.tensors) for left in model.info().left_out} == {
        what: sorted(names) for what, names in ignored.items()
    }
    np.testing.assert_array_equal(model.logits(TOKENS), logits(DIRECTORY))
    native = lutmac.convert(path, tmp_path / "native", threads=1).path
    assert lutmac.load(native, threads=1).info().left_out == ()
    np.testing.assert_array_equal(logits(native), logits(DIRECTORY))


@pytest.mark.parametrize(
    "name",
    [
        "model.layers.0.self_attn.q_norm.weight",
        "score.weight",
        "model.layers.0.self_attn.v.weight",
        "model.layers.0.self_attn.qkv_proj.bias",
        "model.layers.0.mlp.up_proj.pre_quant_scale",
    ],
)
def test_a_tensor_of_a_directory_that_could_change_logits_is_an_error(name: str, tmp_path: Path) -> None:
    path = directory_with(tmp_path / "more", {name: ONES})
    with pytest.raises(CheckpointError, match=f"more: tensor {name} would not be read"):
        lutmac.load(path)


def test_too_few_layers_in_config_json_are_an_error(tmp_path: Path) -> None:
    path = directory_with(tmp_path / "less", {}, num_hidden_layers=1)
    with pytest.raises(CheckpointError, match=r"tensors of layer 1 .*metadata 1 layers \(num_hidden_layers\)"):
        lutmac.load(path)


def test_a_missing_tensor_says_what_there_is_instead(tmp_path: Path) -> None:
    shutil.copytree(DIRECTORY, tmp_path / "x")
    tensors = load_file(tmp_path / "x" / "model.safetensors")
    renamed = {name.replace("mlp.up_proj", "feed_forward.up_proj"): values for name, values in tensors.items()}
    save_file(renamed, tmp_path / "x" / "model.safetensors")
    message = r"tensor model\.layers\.0\.mlp\.up_proj\.weight is missing; there are .*layers\.0\.feed_forward\.up_proj"
    with pytest.raises(CheckpointError, match=message):
        lutmac.load(tmp_path / "x")


def test_an_error_in_metadata_names_the_file_and_the_key(tmp_path: Path) -> None:
    path = rewritten(tmp_path / "x.gguf", block_count=0)
    with pytest.raises(CheckpointError, match=r"x\.gguf: metadata granite\.block_count is 0"):
        lutmac.load(path)
    directory = directory_with(tmp_path / "d", {}, hidden_size="64")
    with pytest.raises(CheckpointError, match=r"d/config\.json: metadata hidden_size is '64', expected an integer"):
        lutmac.load(directory)


def test_more_layers_than_tensors_are_an_error_at_once(tmp_path: Path) -> None:
    """Before something is made for each of them."""
    path = rewritten(tmp_path / "x.gguf", block_count=2**31 - 1)
    with pytest.raises(CheckpointError, match=r"granite\.block_count is 2147483647, and there are \d+ tensors"):
        lutmac.load(path)
    path = directory_with(tmp_path / "many", {}, num_hidden_layers=2**31 - 1)
    with pytest.raises(CheckpointError, match=r"num_hidden_layers is 2147483647, and there are \d+ tensors"):
        lutmac.load(path)
