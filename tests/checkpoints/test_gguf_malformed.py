"""A file that is no GGUF, is cut off or lies gives one clear line, and costs neither time nor memory."""

from __future__ import annotations

import os
import struct
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from handmade_gguf import (
    ARCHITECTURE,
    ARRAY,
    F32,
    F32_TENSOR,
    I32,
    STRING,
    U32,
    U64,
    Tensor,
    array_entry,
    entry,
    gguf_bytes,
    small_file,
    text,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from lutmac.checkpoints import GGUFFile, open_gguf
from lutmac.checkpoints import gguf_header as header
from lutmac.errors import CheckpointError, UnsupportedModelError
from read_everything import assert_one_line, read_everything

CORPUS = sorted((Path(__file__).parent / "gguf_corpus").iterdir())
Opener = Callable[[bytes], GGUFFile]


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"absent\.gguf: no such file"):
        open_gguf(tmp_path / "absent.gguf")


def test_a_directory(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"is a directory; give the path of a model file"):
        open_gguf(tmp_path)


def test_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CheckpointError, match="is not a regular file"):
        open_gguf(tmp_path / "pipe")


def test_paths_that_the_system_refuses(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"cannot be read: .*null"):
        open_gguf("a\0b")
    with pytest.raises(CheckpointError, match="cannot be read"):
        open_gguf(tmp_path / ("x" * 5000))
    (tmp_path / "file").write_bytes(b"GGUF")
    with pytest.raises(CheckpointError, match="cannot be read: Not a directory"):
        open_gguf(tmp_path / "file" / "model.gguf")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read any file")
def test_no_permission(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf_bytes())
    path.chmod(0)
    with pytest.raises(CheckpointError, match="cannot be read: Permission denied"):
        open_gguf(path)


MALFORMED = {
    "empty": (b"", "is empty"),
    "text": (b"<!DOCTYPE html>", r"not a GGUF file: it begins with b'<!DO'"),
    "shorter than a magic number": (b"GG", "not a GGUF file"),
    "magic alone": (b"GGUF", "truncated or damaged: version at byte 4 needs 4 bytes, but the file ends at byte 4"),
    "cut in the counts": (gguf_bytes()[:20], "truncated or damaged: metadata count at byte 16"),
    "version 1": (gguf_bytes(version=1), "GGUF version 1 is not supported"),
    "version 4": (gguf_bytes(version=4), "GGUF version 4 is not supported"),
    "version 0": (gguf_bytes(version=0), "GGUF version 0 is not supported"),
    "big-endian": (gguf_bytes(version=3 << 24), "big-endian GGUF"),
    "too many tensors for the file": (gguf_bytes(num_tensors=1000), "truncated or damaged: the content that tensor"),
    "absurd tensor count": (gguf_bytes(num_tensors=2**63), "tensor count is 9223372036854775808; 65536 is the most"),
    "absurd metadata count": (gguf_bytes(num_entries=2**64 - 1), "metadata count is 18446744073709551615"),
    "one entry too few": (gguf_bytes(num_entries=2), "truncated or damaged"),
    "key that is too long": (gguf_bytes([text("key", 10**6) + bytes(20)]), "length of metadata key 1000000"),
    "key that is not UTF-8": (gguf_bytes([entry(b"\xff\xfe", U32, 1)]), r"metadata key at byte .* is not UTF-8"),
    "duplicate key": (gguf_bytes([ARCHITECTURE, ARCHITECTURE]), "'general.architecture' occurs twice"),
    "unknown value type": (gguf_bytes([text("k") + struct.pack("<IQ", 13, 0)]), "'k' has the unknown value type 13"),
    "string that is too long": (
        gguf_bytes([text("k") + struct.pack("<I", STRING) + text("v", 2**62)]), "length of metadata 'k' is 4611686018"),
    "array of arrays": (
        gguf_bytes([text("k") + struct.pack("<IIQIQ", ARRAY, ARRAY, 1, U32, 0)]), "'k' is an array of arrays"),
    "array of unknown type": (
        gguf_bytes([text("k") + struct.pack("<IIQ", ARRAY, 99, 0)]), "'k' has the unknown element type 99"),
    "number array that is too long": (
        gguf_bytes([array_entry("k", F32, [1.0], 10**6)]), "the content that array length of metadata 'k' 1000000"),
    "string array that is too long": (
        gguf_bytes([array_entry("k", STRING, ["a"], 10**6)]), "the content that array length of metadata 'k' 1000000"),
    "absurd array": (gguf_bytes([array_entry("k", I32, [], 2**61)]), "array length of metadata 'k' is 2305843009"),
    "string in an array that is too long": (
        gguf_bytes([array_entry("k", STRING, ["a"]) + text("b", 2**64 - 1)]).replace(
            text("a") + text("b", 2**64 - 1), text("a", 2**64 - 1) + text("b")),
        "string 0 of metadata 'k' at byte"),
    "string missing in an array": (
        gguf_bytes([array_entry("k", STRING, ["x" * 40], 3)]), "string 1 of metadata 'k' at byte .* needs 8 bytes"),
    "alignment of 0": (gguf_bytes([entry("general.alignment", U32, 0)]), "general.alignment is 0, not a power of two"),
    "alignment of 4": (gguf_bytes([entry("general.alignment", U32, 4)]), "general.alignment is 4"),
    "alignment of 24": (gguf_bytes([entry("general.alignment", U32, 24)]), "general.alignment is 24"),
    "huge alignment": (gguf_bytes([entry("general.alignment", U64, 2**40)]), "general.alignment is 1099511627776"),
    "alignment that is text": (gguf_bytes([entry("general.alignment", STRING, "32")]), "general.alignment is '32'"),
}  # fmt: skip


def one(*tensors: Tensor, data: int = 256) -> bytes:
    return gguf_bytes(None, list(tensors), bytes(data))


MALFORMED_TENSORS = {
    "too many dimensions": (one(Tensor("t", (1,) * 5, F32_TENSOR, 0)), "'t' has 5 dimensions"),
    "absurd number of dimensions": (
        one(Tensor("t", (1,), F32_TENSOR, 0, num_dims=2**32 - 1)), "'t' has 4294967295 dimensions"),
    "dimension of 0": (one(Tensor("t", (32, 0), F32_TENSOR, 0)), r"'t' has shape \(0, 32\): no dimension may be 0"),
    "product beyond 64 bits": (
        one(Tensor("t", (2**40, 2**40, 2**40), F32_TENSOR, 0)), "'t' ends at byte 5316911983139663491615228241121378"),
    "product that wraps to 0": (one(Tensor("t", (2**32, 2**32), F32_TENSOR, 0)), "'t' ends at byte"),
    "rows that are no whole blocks": (
        one(Tensor("t", (48, 2), 2, 0)), r"'t' has shape \(2, 48\): rows of Q4_0 come in blocks of 32"),
    "unaligned offset": (one(Tensor("t", (4,), F32_TENSOR, 8)), "offset 8, which is no multiple of the alignment 32"),
    "offset beyond the file": (
        one(Tensor("t", (4,), F32_TENSOR, 2**60)), "'t' ends at byte 11529215046068.* but the file has"),
    "unknown type beyond the file": (one(Tensor("t", (4,), 99, 2**60)), "'t' ends at byte 11529215046068"),
    "data cut off": (one(Tensor("t", (128,), F32_TENSOR, 0)), "'t' ends at byte .*: truncated"),
    "overlap": (
        one(Tensor("a", (32,), F32_TENSOR, 0), Tensor("b", (8,), F32_TENSOR, 96)), "'a' overlaps tensor 'b'"),
    "same place": (one(Tensor("a", (8,), F32_TENSOR, 0), Tensor("b", (8,), F32_TENSOR, 0)), "overlaps tensor"),
    "duplicate name": (
        one(Tensor("a", (8,), F32_TENSOR, 0), Tensor("a", (8,), F32_TENSOR, 32)), "tensor 'a' occurs twice"),
    "endless name": (one(Tensor("a" * 5000, (7,), 2, 0)), r"tensor 'a{70,75}\.\.\.' has shape"),
    "name with a line break": (one(Tensor("a\nb", (7,), 2, 0)), r"tensor 'a\\nb' has shape"),
}  # fmt: skip


@pytest.mark.parametrize("case", [*MALFORMED, *MALFORMED_TENSORS])
def test_malformed_files_are_named_in_one_line(open_bytes: Opener, tmp_path: Path, case: str) -> None:
    content, message = {**MALFORMED, **MALFORMED_TENSORS}[case]
    with pytest.raises(CheckpointError, match=message) as raised:
        open_bytes(content)
    line = str(raised.value)
    assert line.startswith(f"{tmp_path / 'model.gguf'}: ")
    assert "\n" not in line
    assert len(line) < 400 + len(str(tmp_path))


def test_a_header_beyond_the_limit(open_bytes: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(header, "MAX_HEADER_BYTES", 1 << 20)
    with pytest.raises(CheckpointError, match=r"runs past the 1 MiB a header may have"):
        open_bytes(gguf_bytes([entry("k", STRING, "x" * (1 << 19)), entry("l", STRING, "x" * (1 << 19))]))


def use_everything(file: GGUFFile) -> None:
    """Touches all that a file offers; what it refuses, it refuses by a typed error."""
    dict(file.metadata)
    for name in file.tensors:
        for ask in (file.matrix, file.vector):
            try:
                ask(name)
            except (CheckpointError, UnsupportedModelError) as error:
                assert_one_line(error)


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name[:12])
def test_what_fuzzing_found_is_an_error_or_a_file(path: Path) -> None:
    """One file for each way in which a file was refused, and what had not been; see tests/fuzz/fuzz_gguf.py."""
    try:
        read_everything(path)
    except CheckpointError as error:
        assert_one_line(error)


def test_every_truncation_is_an_error(open_bytes: Opener) -> None:
    content = small_file()
    use_everything(open_bytes(content))
    for length in range(len(content) - 1, -1, -1):
        with pytest.raises(CheckpointError):
            open_bytes(content[:length])


SMALL = small_file()


EDIT = st.tuples(st.integers(0, len(SMALL) - 1), st.integers(0, 255) | st.sampled_from([0, 1, 7, 8, 9, 127, 128]))


@settings(max_examples=600, deadline=None)
@given(edits=st.lists(EDIT, min_size=1, max_size=8))
def test_any_mutation_is_an_error_or_a_file(
    tmp_path_factory: pytest.TempPathFactory, edits: list[tuple[int, int]]
) -> None:
    content = bytearray(SMALL)
    for position, byte in edits:
        content[position] = byte
    path = tmp_path_factory.getbasetemp() / "mutated.gguf"
    path.write_bytes(content)
    try:
        file = open_gguf(path)
    except CheckpointError as error:
        assert_one_line(error)
    else:
        use_everything(file)


def test_every_length_set_to_a_lie_is_an_error_or_a_file(open_bytes: Opener) -> None:
    """Each aligned or unaligned 8 bytes of the header in turn, since any of them may be a length."""
    for position in range(4, SMALL.index(b"other") + 30):
        for lie in (0, 1, 2**31, 2**32 - 1, 2**61, 2**63, 2**64 - 1):
            content = SMALL[:position] + struct.pack("<Q", lie) + SMALL[position + 8 :]
            try:
                file = open_bytes(content)
            except CheckpointError as error:
                assert_one_line(error)
            else:
                use_everything(file)


@pytest.mark.parametrize("strings", [b"", b"ab"])
def test_hostile_string_arrays_cost_little_memory_and_time(open_bytes: Opener, strings: bytes) -> None:
    count = 300_000
    head = text("k") + struct.pack("<IIQ", ARRAY, STRING, count)
    content = gguf_bytes([head + text(strings) * count + text("lie", 2**40)], num_entries=2)
    tracemalloc.start()
    try:
        began = time.monotonic()
        with pytest.raises(CheckpointError):
            open_bytes(content)
        seconds = time.monotonic() - began
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2.5 * len(content) + (1 << 20)
    assert seconds < 10
