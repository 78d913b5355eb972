"""What a GGUF file says is what the reader gives, with the `gguf` package as the judge."""

from __future__ import annotations

import gc
import struct
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from handmade_gguf import (
    ARCHITECTURE,
    ARRAY,
    BOOL,
    F32_TENSOR,
    Q4_0_TENSOR,
    STRING,
    Tensor,
    array_entry,
    entry,
    gguf_bytes,
    small_file,
    text,
)
from hypothesis import given
from hypothesis import strategies as st

from lutmac.checkpoints import GGUFFile, open_gguf
from lutmac.checkpoints.gguf_types import TENSOR_TYPES
from lutmac.errors import CheckpointError, UnsupportedModelError
from lutmac.lowbit.matrix import DenseMatrix
from lutmac.lowbit.reference import dequantize

Opener = Callable[[bytes], GGUFFile]


def assert_same_as_gguf(path: Path) -> None:
    ours, theirs = open_gguf(path), gguf.GGUFReader(path)
    keys = [key for key in theirs.fields if not key.startswith("GGUF.")]
    assert list(ours.metadata) == keys
    for key in keys:
        expected: Any = theirs.fields[key].contents()
        found = ours.metadata[key]
        if isinstance(found, np.ndarray):
            np.testing.assert_array_equal(found, expected)
        else:
            assert found == expected
            assert type(found) is type(expected)
    directory = [(t.name, tuple(t.shape.tolist()[::-1]), t.tensor_type.name, t.n_bytes, t.data_offset)
                 for t in theirs.tensors]  # fmt: skip
    assert [(t.name, t.shape, t.type_name, t.nbytes, t.offset) for t in ours.tensors.values()] == directory


def write_with_gguf(path: Path, alignment: int | None) -> None:
    writer = gguf.GGUFWriter(path, "llama")
    if alignment:
        writer.add_custom_alignment(alignment)
    for name, number in {
        "uint8": 200, "int8": -100, "uint16": 60000, "int16": -30000, "uint32": 2**32 - 1, "int32": -(2**31),
        "uint64": 2**64 - 1, "int64": -(2**63),
    }.items():  # fmt: skip
        getattr(writer, f"add_{name}")(f"a.{name}", number)
    writer.add_float32("a.float32", 0.1)
    writer.add_float64("a.float64", 0.1)
    writer.add_bool("a.true", True)
    writer.add_bool("a.false", False)
    writer.add_string("a.string", "día 🌍\n")
    writer.add_array("b.strings", ["", "a", "日本語", "x" * 300])
    writer.add_array("b.ints", [1, -2, 3])
    writer.add_array("b.floats", [0.5, 1.5])
    writer.add_array("b.bools", [True, False])
    generator = np.random.default_rng(0)
    writer.add_tensor("f32", generator.normal(size=(3, 5)).astype(np.float32))
    writer.add_tensor("f16", generator.normal(size=(7,)).astype(np.float16))
    writer.add_tensor("cube", generator.normal(size=(2, 3, 4)).astype(np.float32))
    for kind in ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "BF16"):
        raw = gguf.quants.quantize(generator.normal(size=(3, 64)).astype(np.float32), gguf.GGMLQuantizationType[kind])
        writer.add_tensor(kind, raw, raw_dtype=gguf.GGMLQuantizationType[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize("alignment", [None, 8, 64, 4096])
def test_metadata_and_directory_match_the_gguf_package(tmp_path: Path, alignment: int | None) -> None:
    path = tmp_path / "model.gguf"
    write_with_gguf(path, alignment)
    assert_same_as_gguf(path)


def test_smollm2_matches_the_gguf_package(smollm2_path: Path) -> None:
    assert_same_as_gguf(smollm2_path)
    open_gguf(smollm2_path).check_supported()


def test_the_sizes_of_all_types_match_the_gguf_package() -> None:
    theirs = {kind.value: (kind.name, *size) for kind, size in gguf.GGML_QUANT_SIZES.items()}
    ours = {number: (kind.name, kind.block_weights, kind.block_bytes) for number, kind in TENSOR_TYPES.items()}
    shared = theirs.keys() & ours.keys()
    assert {number: ours[number] for number in shared} == {number: theirs[number] for number in shared}
    assert len(shared) >= 30


def test_version_2_reads_as_version_3_does(open_bytes: Opener) -> None:
    assert dict(open_bytes(gguf_bytes(version=2)).metadata) == {"general.architecture": "llama"}


def test_a_file_may_hold_metadata_alone(open_bytes: Opener) -> None:
    file = open_bytes(gguf_bytes())
    assert file.architecture == "llama"
    assert file.tensors == {}


def test_values_have_python_types(open_bytes: Opener) -> None:
    metadata = open_bytes(small_file()).metadata
    assert metadata["llama.block_count"] == 2
    assert metadata["tokenizer.ggml.add_bos_token"] is True
    assert isinstance(metadata["tokenizer.ggml.scores"], np.ndarray)
    assert metadata["tokenizer.ggml.scores"].dtype == np.float32
    assert metadata["tokenizer.ggml.token_type"].tolist() == [3, 1, 1, 1, 6]
    assert metadata["tokenizer.ggml.tokens"][:4] == ["<s>", "hello", "héé", ""]
    with pytest.raises(KeyError):
        metadata["absent"]


def test_bytes_that_are_no_utf8_come_back_by_surrogateescape(open_bytes: Opener) -> None:
    tokens = open_bytes(small_file()).metadata["tokenizer.ggml.tokens"]
    assert tokens[4].encode("utf-8", "surrogateescape") == b"\xff\xe4"


@given(st.lists(st.binary(max_size=600) | st.text(max_size=20).map(str.encode), max_size=30))
def test_any_list_of_strings_comes_back(tmp_path_factory: pytest.TempPathFactory, strings: list[bytes]) -> None:
    path = tmp_path_factory.getbasetemp() / "strings.gguf"
    path.write_bytes(gguf_bytes([array_entry("tokens", STRING, strings), ARCHITECTURE]))
    file = open_gguf(path)
    assert [one.encode("utf-8", "surrogateescape") for one in file.metadata["tokens"]] == strings
    assert file.architecture == "llama"


def test_bool_bytes_other_than_0_are_true(open_bytes: Opener) -> None:
    flags = text("flags") + struct.pack("<IIQ", ARRAY, BOOL, 3) + b"\0\1\2"
    assert open_bytes(gguf_bytes([flags])).metadata["flags"].tolist() == [False, True, True]


def test_vectors_are_float32_copies(open_bytes: Opener) -> None:
    values = np.array([1.5, -2.0, 3.25, 0.0], np.float32)
    bf16 = (values.view(np.uint32) >> 16).astype(np.uint16)
    tensors = [Tensor("a", (4,), F32_TENSOR, 0), Tensor("b", (4,), 1, 32), Tensor("c", (4,), 30, 64)]
    data = values.tobytes().ljust(32, b"\0") + values.astype(np.float16).tobytes().ljust(32, b"\0") + bf16.tobytes()
    file = open_bytes(gguf_bytes(None, tensors, data))
    for name in "abc":
        vector = file.vector(name)
        assert vector.dtype == np.float32
        assert vector.flags.writeable
        assert vector.tolist() == values.tolist()


def test_matrices_stay_valid_after_close_and_dropped_pages(open_bytes: Opener) -> None:
    values = np.arange(64, dtype=np.float32).reshape(2, 32)
    with open_bytes(gguf_bytes(None, [Tensor("w", (32, 2), F32_TENSOR, 0)], values.tobytes())) as file:
        matrix = file.matrix("w")
        file.drop_pages("w")
        file.drop_pages()
    assert isinstance(matrix, DenseMatrix)
    np.testing.assert_array_equal(matrix.data, values)
    assert not matrix.data.flags.owndata
    with pytest.raises(CheckpointError, match="has been closed"):
        file.matrix("w")


def test_the_mapping_goes_with_the_file_and_its_views(open_bytes: Opener) -> None:
    file = open_bytes(gguf_bytes(None, [Tensor("w", (32, 1), F32_TENSOR, 0)], bytes(128)))
    mapping = weakref.ref(file._opened()[0].mapped)
    matrix = file.matrix("w")
    del file
    gc.collect()
    assert mapping() is not None
    del matrix
    gc.collect()
    assert mapping() is None


@pytest.mark.parametrize(
    ("name", "message"),
    [("other", r"tensor 'other' has type Q8_K, which lutmac does not read yet; supported: F32, F16, BF16, I8"),
     ("odd", r"tensor 'odd' has type 77, which lutmac does not read yet; supported: F32")],
)  # fmt: skip
def test_unsupported_types_are_named_when_asked_for(open_bytes: Opener, name: str, message: str) -> None:
    tensors = [
        Tensor("fine", (32, 1), F32_TENSOR, 0),
        Tensor("other", (256, 1), 15, 128),
        Tensor("odd", (5, 3), 77, 448),
    ]
    file = open_bytes(gguf_bytes(None, tensors, bytes(524)))
    assert file.tensors["odd"].nbytes == 76
    file.check_supported(["fine"])
    for ask in (file.matrix, file.vector, lambda name: file.check_supported([name])):
        with pytest.raises(UnsupportedModelError, match=message):
            ask(name)
    with pytest.raises(UnsupportedModelError, match="Q8_K"):
        file.check_supported()


def test_tensors_that_are_not_what_was_asked_for(open_bytes: Opener) -> None:
    file = open_bytes(small_file())
    with pytest.raises(CheckpointError, match="there is no tensor 'absent'"):
        file.matrix("absent")
    with pytest.raises(CheckpointError, match=r"tensor 'norm' has shape \(32,\), not that of 2 matrices or more"):
        file.matrix("norm", 1)
    assert file.matrix("norm").rows == 1  # llama.cpp's tools store a matrix of one row so
    with pytest.raises(CheckpointError, match=r"tensor 'norm' has shape \(32,\), not that of 4 vectors or more"):
        file.vector("norm", 3)


def test_a_quantised_vector_is_refused(open_bytes: Opener) -> None:
    file = open_bytes(gguf_bytes(None, [Tensor("v", (32,), 2, 0)], bytes(18)))
    with pytest.raises(CheckpointError, match="vector 'v' has type Q4_0, not F32, F16 or BF16"):
        file.vector("v")


@pytest.mark.parametrize("entries", [[], [entry("general.architecture", 4, 3)], [entry("general.architecture", 8, "")]])
def test_a_file_that_names_no_architecture(open_bytes: Opener, entries: list[bytes]) -> None:
    file = open_bytes(gguf_bytes(entries))
    with pytest.raises(CheckpointError, match=r"lacks general\.architecture"):
        _ = file.architecture


@pytest.mark.parametrize("kind", [Q4_0_TENSOR, F32_TENSOR])
def test_a_scale_beside_a_matrix_is_part_of_it(open_bytes: Opener, kind: int) -> None:
    def file_with(scale: float) -> GGUFFile:
        tensors = [Tensor("a.weight", (32, 1), kind, 0), Tensor("a.scale", (1,), F32_TENSOR, 128)]
        data = np.arange(1.0, 33.0, dtype=np.float32).tobytes() + struct.pack("<f", scale)
        return open_bytes(gguf_bytes(None, tensors, data))

    plain = dequantize(file_with(1.0).matrix("a.weight"))
    np.testing.assert_array_equal(dequantize(file_with(0.375).matrix("a.weight")), plain * np.float32(0.375))
    for scale in (float("nan"), float("inf"), 3e38):
        with pytest.raises(CheckpointError, match=r"tensor 'a\.scale' is .*, which is no scale of weights"):
            file_with(scale).matrix("a.weight")


def test_matrices_of_a_stack_have_scales_of_their_own(open_bytes: Opener) -> None:
    tensors = [Tensor("a.weight", (32, 2, 3), F32_TENSOR, 0), Tensor("a.scale", (3,), F32_TENSOR, 768)]
    values = np.arange(192, dtype=np.float32).reshape(3, 2, 32)
    file = open_bytes(gguf_bytes(None, tensors, values.tobytes() + struct.pack("<3f", 0.5, 1.0, 2.0)))
    for index, scale in enumerate((0.5, 1.0, 2.0)):
        np.testing.assert_array_equal(dequantize(file.matrix("a.weight", index)), values[index] * np.float32(scale))
    with pytest.raises(CheckpointError, match=r"has shape \(3, 2, 32\), not that of 4 matrices or more"):
        file.matrix("a.weight", 3)
    with pytest.raises(CheckpointError, match=r"has shape \(3, 2, 32\), not that of a matrix"):
        file.matrix("a.weight")


def test_a_scale_of_several_numbers_is_refused(open_bytes: Opener) -> None:
    tensors = [Tensor("a.weight", (32, 1), F32_TENSOR, 0), Tensor("a.scale", (2,), F32_TENSOR, 128)]
    with pytest.raises(UnsupportedModelError, match=r"tensor 'a\.scale' is 2 numbers in F32, expected 1 in F32"):
        open_bytes(gguf_bytes(None, tensors, bytes(136))).matrix("a.weight")
