"""The native format: what it holds is what went in, bit for bit, and nothing unfinished or foreign is taken for it."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

import lutmac
from lutmac import _native
from lutmac.checkpoints.gguf import open_gguf
from lutmac.checkpoints.gguf_writer import GGUFEntry, GGUFWriter
from lutmac.checkpoints.native import NativeCheckpoint
from lutmac.errors import CheckpointError, InvalidRequestError, UnsupportedModelError
from tiny_llama import TinyLlama

HUGGING_FACE = Path(__file__).parent / "huggingface"
TOKENS = [5, 200, 31, 7, 7, 90, 4, 11]


@pytest.fixture
def converted(tiny: TinyLlama, tmp_path: Path) -> Path:
    return lutmac.convert(tiny.path, tmp_path / "tiny", threads=1).path


def logits(path: Path, **options: object) -> np.ndarray:
    return lutmac.load(path, threads=1, **options).logits(TOKENS)


def header(path: Path) -> dict[str, object]:
    data = (path / "model.safetensors").read_bytes()
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])


def rewrite(path: Path, found: dict[str, object]) -> None:
    """Another header in the same space."""
    file = path / "model.safetensors"
    data = file.read_bytes()
    length = int.from_bytes(data[:8], "little")
    file.write_bytes(data[:8] + json.dumps(found).encode().ljust(length) + data[8 + length :])


def test_a_converted_gguf_file_gives_the_same_logits(tiny: TinyLlama, converted: Path) -> None:
    assert np.array_equal(logits(converted), logits(tiny.path))
    before, after = lutmac.load(tiny.path, threads=1), lutmac.load(converted, threads=1)
    assert after.tokenizer.encode("a<|im_start|>b") == before.tokenizer.encode("a<|im_start|>b")
    assert after.info().trained_context == before.info().trained_context


@pytest.mark.parametrize(
    "name",
    [
        "bf16", "fp32_tied", "gptq_3bit_act_order_v2", "hqq_1bit_g32", "bitnet_packed", "ct_8bit_channel",
        "bnb_nf4_double", "bnb_int8", "ct_fp8_block", "ct_int8_channel_asym", "mlx_mixed", "mlx_mxfp8", "mlx_mixtral",
        "modelopt_nvfp4", "auto_round_mxfp4",
    ],
)  # fmt: skip
def test_a_converted_directory_gives_the_same_logits(name: str, tmp_path: Path) -> None:
    path = lutmac.convert(HUGGING_FACE / name, tmp_path / "out", threads=1).path
    assert np.array_equal(logits(path), logits(HUGGING_FACE / name))


@pytest.mark.parametrize("name", ["bf16", "gptq_3bit_act_order_v2", "hqq_1bit_g32", "bitnet_packed", "ct_fp8_block"])
def test_another_targets_packing_is_packed_anew_and_said(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = lutmac.convert(HUGGING_FACE / name, tmp_path / "out", isa="portable", threads=1).path
    with caplog.at_level(logging.WARNING, "lutmac"):
        found = logits(path)
    assert np.array_equal(found, logits(HUGGING_FACE / name))
    said = [record.getMessage() for record in caplog.records if "packed anew" in record.getMessage()]
    assert len(said) == (0 if lutmac.load(path, threads=1).info().isa == "portable" else 1)


@pytest.mark.skipif("avxvnni" not in _native.available_targets(), reason="this CPU has no AVX-VNNI")
def test_avx2_and_avxvnni_share_a_packing(tiny: TinyLlama, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for isa, other in (("avx2", "avxvnni"), ("avxvnni", "avx2")):
        path = lutmac.convert(tiny.path, tmp_path / isa, isa=isa, threads=1).path
        assert np.array_equal(logits(path, isa=other), logits(tiny.path, isa=isa))
    assert not caplog.records


def test_converting_again_changes_the_packing(converted: Path, tiny: TinyLlama, tmp_path: Path) -> None:
    again = lutmac.convert(converted, tmp_path / "again", isa="portable", threads=1).path
    assert np.array_equal(logits(again, isa="portable"), logits(tiny.path, isa="portable"))


def test_tensors_begin_at_a_page_and_have_whole_lines(converted: Path) -> None:
    data = (converted / "model.safetensors").read_bytes()
    assert (8 + int.from_bytes(data[:8], "little")) % 4096 == 0
    with safe_open(converted / "model.safetensors", "np") as file:  # the library reads it too
        assert file.metadata()["format"] == "lutmac"
        assert file.keys()
    for name, entry in header(converted).items():
        assert name == "__metadata__" or (entry["data_offsets"][1] - entry["data_offsets"][0]) % 64 == 0  # type: ignore[index]


def test_an_interrupted_conversion_leaves_nothing_that_loads(tiny: TinyLlama, tmp_path: Path) -> None:
    def interrupt(done: int, total: int, what: str) -> None:
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lutmac.convert(tiny.path, tmp_path / "out", progress=interrupt)
    assert not (tmp_path / "out").exists()
    with pytest.raises(CheckpointError):
        lutmac.load(tmp_path / "out.partial")
    lutmac.convert(tiny.path, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_converting_takes_the_memory_of_three_tensors(tmp_path: Path) -> None:
    """Five matrices of 32 MiB; what is allowed on top is for the interpreter and the vocabulary."""
    size, hidden, type_f16 = 1 << 15, 512, 1
    metadata = {
        "general.architecture": "llama", "llama.context_length": 64, "llama.embedding_length": hidden,
        "llama.block_count": 1, "llama.feed_forward_length": size, "llama.attention.head_count": 8,
        "llama.attention.layer_norm_rms_epsilon": 1e-5, "tokenizer.ggml.tokens": ["x"] * size,
    }  # fmt: skip
    shapes: dict[str, tuple[int, ...]] = {
        **dict.fromkeys(["token_embd", "output", "blk.0.ffn_gate", "blk.0.ffn_up"], (size, hidden)),
        **dict.fromkeys(["blk.0.attn_q", "blk.0.attn_k", "blk.0.attn_v", "blk.0.attn_output"], (hidden, hidden)),
        **dict.fromkeys(["output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"], (hidden,)),
        "blk.0.ffn_down": (hidden, size),
    }
    entries = [GGUFEntry(f"{name}.weight", shape, type_f16, 2 * int(np.prod(shape))) for name, shape in shapes.items()]
    with GGUFWriter(tmp_path / "large.gguf", metadata, entries) as writer:
        for entry in entries:
            writer.add(np.ones(entry.shape, np.float16))
    code = (
        "import sys, lutmac; from lutmac import _native; import lutmac.engine.loading.convert, lutmac.models.llama;"
        "before = _native.peak_resident_bytes(); lutmac.convert(sys.argv[1], sys.argv[2], threads=1);"
        "print(_native.peak_resident_bytes() - before)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "large.gguf"), str(tmp_path / "out")]
    used = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert used < 3 * 2 * size * hidden + (16 << 20)


def test_what_is_there_is_not_written_over(tiny: TinyLlama, converted: Path) -> None:
    with pytest.raises(InvalidRequestError, match="exists already"):
        lutmac.convert(tiny.path, converted)
    with pytest.raises(InvalidRequestError, match="there is no directory"):
        lutmac.convert(tiny.path, converted / "a" / "b")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [("version", "2", "has version '2'"), ("packing", "avx2/99", "packing 'avx2/99'"), ("packing", "", "packing ''")],
)
def test_what_a_later_version_wrote_is_refused_by_name(converted: Path, key: str, value: str, message: str) -> None:
    found = header(converted)
    found["__metadata__"][key] = value  # type: ignore[index]
    rewrite(converted, found)
    with pytest.raises(UnsupportedModelError, match=message):
        lutmac.load(converted)


@pytest.mark.parametrize(
    "changes",
    [
        {"bits": 3}, {"bits": 9}, {"bits": "4"}, {"rows": 10**9}, {"rows": -1}, {"columns": 33}, {"codes": "runes"},
        {"codes": "codebook"}, {"codes": "ternary"}, {"codebook": [1, 2]}, {"codebook": ["x"] * 16}, {"group_size": 0},
        {"group_size": 16}, {"scale": "f32"}, {"scale": "none"}, {"offset": "f16"}, {"surprise": 1}, {"ordered": True},
        {"scale_groups_per_super": 2**40},
    ],
)  # fmt: skip
def test_a_description_that_does_not_fit_is_refused(converted: Path, changes: dict[str, object]) -> None:
    found = header(converted)
    listed = json.loads(found["__metadata__"]["tensors"])  # type: ignore[index]
    listed["model.layers.1.mlp.up_proj.weight"] |= changes
    found["__metadata__"]["tensors"] = json.dumps(listed)  # type: ignore[index]
    rewrite(converted, found)
    for isa in (None, "portable"):  # mapped, and packed anew
        with pytest.raises(CheckpointError, match=r"layers\.1\.mlp\.up_proj"):
            lutmac.load(converted, threads=1, isa=isa)


def test_a_file_that_is_cut_off_is_refused(converted: Path) -> None:
    file = converted / "model.safetensors"
    data = file.read_bytes()
    for end in (0, 7, 4000, len(data) // 2, len(data) - 1):
        file.write_bytes(data[:end])
        with pytest.raises(CheckpointError):
            lutmac.load(converted)
    file.unlink()
    with pytest.raises(CheckpointError):
        lutmac.load(converted)


def test_a_model_outlives_its_file(converted: Path) -> None:
    before = logits(converted)
    model = lutmac.load(converted, threads=1)
    shutil.rmtree(converted)
    assert np.array_equal(model.logits(TOKENS), before)


def test_orders_have_to_be_permutations(tmp_path: Path) -> None:
    path = lutmac.convert(HUGGING_FACE / "gptq_3bit_act_order_v2", tmp_path / "out", threads=1).path
    with NativeCheckpoint(path) as checkpoint:
        name = next(name for name, tensor in checkpoint.tensors.items() if tensor.ordered)
    file = path / "model.safetensors"
    data = bytearray(file.read_bytes())
    place = 8 + int.from_bytes(data[:8], "little") + header(path)[f"{name}:order"]["data_offsets"][0]  # type: ignore[index]
    data[place : place + 4] = (10**6).to_bytes(4, "little")
    file.write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match="no permutation"):
        lutmac.load(path)


def test_metadata_is_written_as_it_was_read(tiny: TinyLlama, tmp_path: Path) -> None:
    values = {
        "text": "ä\udcff", "flag": True, "small": -3, "large": 2**40, "half": 0.1, "list": ["a", ""],
        "numbers": np.array([1, -2], np.int32), "floats": np.array([0.5], np.float32),
    }  # fmt: skip
    metadata = {**open_gguf(tiny.path).metadata, **values}
    with GGUFWriter(tmp_path / "out.gguf", metadata):
        pass
    found = open_gguf(tmp_path / "out.gguf").metadata
    assert list(found) == list(metadata)
    for key, value in metadata.items():
        assert np.array_equal(found[key], value), key
