"""Types of Prism's files: numbers that mean two things, and bytes that have to be those of the type."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
from handmade_gguf import Tensor, gguf_bytes

import lutmac
from lutmac.checkpoints import open_gguf
from lutmac.errors import CheckpointError
from lutmac.lowbit.reference import dequantize
from random_blocks import random_blocks
from tiny_llama import UNNAMED, make_tiny_llama, name_types

SHAPE = (64, 256)


def one_of_two(path: Path, kind: str, numbers: dict[str, int]) -> np.ndarray:
    """Writes two tensors of that type under a number, and returns what the second stands for."""
    writer = gguf.GGUFWriter(str(path), "llama")
    rng = np.random.default_rng(3)
    for name in ("a", "b"):
        data, values = random_blocks(kind, SHAPE, rng)
        writer.add_tensor(name, data.view(np.int8))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    name_types(path, {"a": (SHAPE, kind), "b": (SHAPE, kind)}, numbers)
    return values


@pytest.mark.parametrize(("kind", "number"), [("Q2_0", 42), ("PQ2_0", 42), ("PQ2_0", 142), ("PTQ1_0", 143)])
def test_the_bytes_tell_what_a_number_means(kind: str, number: int, tmp_path: Path) -> None:
    expected = one_of_two(tmp_path / "model.gguf", kind, {kind: number})
    file = open_gguf(tmp_path / "model.gguf")
    assert {tensor.type_name for tensor in file.tensors.values()} == {kind}
    np.testing.assert_array_equal(dequantize(file.matrix("b")), expected)


def test_a_small_tensor_goes_with_the_others_of_its_file(tmp_path: Path) -> None:
    """A block or two of either size take up the same room."""
    data = bytes(128 * 34) + bytes(64)
    tensors = [Tensor("large", (256, 64), 42, 0), Tensor("small", (128,), 42, 128 * 34)]
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf_bytes(None, tensors, data))
    assert [tensor.type_name for tensor in open_gguf(path).tensors.values()] == ["PQ2_0", "PQ2_0"]


@pytest.mark.parametrize(
    ("number", "dims", "room", "message"),
    [
        (143, (256, 64), 128 * 34, r"takes 3584 bytes in PTQ1_0: the file is damaged"),
        (142, (256, 64), 128 * 36, r"takes 4352 bytes in PQ2_0"),
        (142, (192, 64), 128 * 36, r"has shape \(64, 192\): rows of PQ2_0 come in blocks of 128"),
    ],
)
def test_other_bytes_than_those_of_the_type_are_an_error(
    number: int, dims: tuple[int, ...], room: int, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "model.gguf"
    tensors = [Tensor("w", dims, number, 0), Tensor("norm", (32,), 0, room)]
    path.write_bytes(gguf_bytes(None, tensors, bytes(room + 128)))
    with pytest.raises(CheckpointError, match=message) as raised:
        open_gguf(path)
    assert "\n" not in str(raised.value)


def test_two_meanings_of_one_number_in_a_file_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    tensors = [Tensor("a", (256, 64), 42, 0), Tensor("b", (256, 64), 42, 128 * 34), Tensor("c", (32,), 0, 128 * 70)]
    path.write_bytes(gguf_bytes(None, tensors, bytes(128 * 71)))
    with pytest.raises(CheckpointError, match="4608 bytes in groups of 64 and 4352 in groups of 128"):
        open_gguf(path)


def test_a_truncated_file_is_said_to_be_truncated(tmp_path: Path) -> None:
    one_of_two(tmp_path / "model.gguf", "PTQ1_0", UNNAMED)
    content = (tmp_path / "model.gguf").read_bytes()
    (tmp_path / "model.gguf").write_bytes(content[:-100])
    with pytest.raises(CheckpointError, match="truncated"):
        open_gguf(tmp_path / "model.gguf")


@pytest.mark.parametrize("kind", ["PQ2_0", "PTQ1_0"])
def test_a_model_is_converted_and_tells_its_types(kind: str, tmp_path: Path) -> None:
    tiny = make_tiny_llama(tmp_path / "tiny.gguf", kind)
    lutmac.convert(tiny.path, tmp_path / "native")
    before, after = (lutmac.load(path) for path in (tiny.path, tmp_path / "native"))
    np.testing.assert_array_equal(before.logits([1, 2, 3]), after.logits([1, 2, 3]))
    assert kind in before.info().tensor_types
