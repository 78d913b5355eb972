"""Our safetensors reader against the format's own library, and against files that lie."""

from __future__ import annotations

import json
import struct
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lutmac.checkpoints import SafetensorsFile, open_safetensors
from lutmac.errors import CheckpointError

CORPUS = sorted((Path(__file__).parent / "safetensors_corpus").iterdir())
EXAMPLES = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
DTYPES = {"F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "I8": 1, "U8": 1, "I32": 4, "I64": 8, "BOOL": 1}


def entry(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def file_bytes(header: Any, data: int | bytes = 0, *, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    rest = data if isinstance(data, bytes) else bytes(data)
    return struct.pack("<Q", len(text) if length is None else length) + text + rest


def read(path: Path, content: bytes) -> SafetensorsFile:
    path.write_bytes(content)
    return open_safetensors(path)


def opened(path: Path) -> SafetensorsFile | None:
    """The file, or None where the reader refuses it as it should."""
    message = ""
    try:
        return open_safetensors(path)
    except CheckpointError as error:
        message = str(error)
    assert str(path) in message
    assert "\n" not in message
    return None


@EXAMPLES
@given(
    tensors=st.dictionaries(
        st.text(max_size=20).filter(lambda name: name != "__metadata__"),
        st.tuples(st.sampled_from(sorted(DTYPES)), st.lists(st.integers(0, 5), max_size=4)),
        max_size=8,
    ),
    metadata=st.none() | st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3),
    seed=st.integers(0, 2**32 - 1),
)
def test_what_the_library_reads_is_read_alike(tmp_path_factory, tensors, metadata, seed) -> None:
    rng = np.random.default_rng(seed)
    header, data = {} if metadata is None else {"__metadata__": metadata}, b""
    for name, (dtype, shape) in tensors.items():
        content = rng.bytes(int(np.prod(shape)) * DTYPES[dtype])
        header[name] = entry(dtype, shape, len(data), len(data) + len(content))
        data += content
    written = file_bytes(header, data)
    file = read(tmp_path_factory.mktemp("st") / "x", written)
    assert file.metadata == (metadata or {})
    theirs = dict(safetensors.deserialize(written))
    assert set(file.tensors) == set(theirs)
    for name, tensor in theirs.items():
        found = file.array(name)
        assert (file.tensors[name].dtype, found.shape) == (tensors[name][0], tuple(tensor["shape"]))
        assert found.tobytes() == bytes(tensor["data"])
        assert not found.flags.writeable


VALID = file_bytes({"x": entry("F32", [2], 0, 8), "y": entry("BF16", [2, 2], 8, 16)}, bytes(range(16)))


@EXAMPLES
@given(place=st.integers(0, len(VALID) - 1), byte=st.integers(0, 255), cut=st.integers(0, 8))
def test_whatever_is_read_the_library_reads_alike(tmp_path_factory, place, byte, cut) -> None:
    content = bytearray(VALID)
    content[place] = byte
    content = content[: len(content) - cut] if cut < 8 else content
    path = tmp_path_factory.mktemp("st") / "x"
    path.write_bytes(content)
    file = opened(path)
    if file is None:
        return
    theirs = dict(safetensors.deserialize(bytes(content)))
    assert {name: file.array(name).tobytes() for name in file.tensors} == {
        n: bytes(t["data"]) for n, t in theirs.items()
    }


X = entry("F32", [2], 0, 8)
HOSTILE: dict[str, tuple[bytes, str]] = {
    "no length": (b"\x01\x00", "has 2 bytes, too few"),
    "a length past the end": (file_bytes({"x": X}, 8, length=10**6), "cut off: a header of 1000000 bytes"),
    "a length past everything": (file_bytes({"x": X}, 8, length=2**64 - 1), "header of 18446744073709551615 bytes"),
    "a length of nothing": (file_bytes({"x": X}, 8, length=0), "extra|JSON"),
    "a header that is no object": (file_bytes(b"[]"), "no JSON object"),
    "a header that is no JSON": (file_bytes(b"{x}"), "not valid JSON"),
    "a header that is no UTF-8": (file_bytes(b'{"\xff":0}'), "not valid JSON"),
    "a header that nests": (file_bytes(b'{"x":' + b"[" * 10**5), "nests too deep|JSON"),
    "a header of many values": (file_bytes(b'{"x":[' + b"[]," * 3_000_000 + b"[]]}"), "too many values"),
    "a number of many digits": (file_bytes(b'{"x":' + b"9" * 10**5 + b"}"), "not valid JSON"),
    "not a number": (file_bytes(b'{"x":NaN}'), "NaN is no JSON"),
    "a tensor twice": (file_bytes(b'{"x":%s,"x":%s}' % ((json.dumps(X).encode(),) * 2), 8), "'x' occurs twice"),
    "metadata of numbers": (file_bytes({"__metadata__": {"a": 1}}), "no mapping of strings"),
    "an entry that is no object": (file_bytes({"x": 3}), "tensor 'x' has 3 where"),
    "an entry with too little": (file_bytes({"x": {"dtype": "F32"}}), "shape and data_offsets belong"),
    "an unknown type": (file_bytes({"x": entry("F33", [2], 0, 8)}, 8), "unknown element type 'F33'"),
    "a negative size": (file_bytes({"x": entry("U8", [-1], 0, 8)}, 8), r"shape \[-1\]"),
    "a size that is true": (file_bytes({"x": entry("U8", [True], 0, 1)}, 1), r"shape \[True\]"),  # type: ignore
    "a size that is huge": (file_bytes({"x": entry("U8", [2**62, 2**62], 0, 8)}, 8), "which is not its size"),
    "a size past 64 bits": (file_bytes({"x": entry("U8", [2**64], 0, 8)}, 8), "expected at most 32 sizes"),
    "many dimensions": (file_bytes({"x": entry("U8", [1] * 33, 0, 1)}, 1), "expected at most 32 sizes"),
    "offsets the wrong way": (file_bytes({"x": entry("F32", [2], 8, 0)}, 8), "a begin and an end"),
    "offsets of another size": (file_bytes({"x": entry("F32", [3], 0, 8)}, 8), "which is not its size"),
    "a part of a byte": (file_bytes({"x": entry("F4", [3], 0, 2)}, 2), "which is not its size"),
    "overlap": (file_bytes({"x": X, "y": entry("U8", [8], 4, 12)}, 12), "tensor 'y' overlaps tensor 'x'"),
    "the same place twice": (file_bytes({"x": X, "y": X}, 8), "overlaps"),
    "a gap": (file_bytes({"x": X, "y": entry("U8", [2], 10, 12)}, 12), "2 bytes between tensor 'x' and tensor 'y'"),
    "a gap before": (file_bytes({"x": entry("U8", [2], 4, 6)}, 6), "4 bytes between the header and"),
    "data cut off": (file_bytes({"x": X}, 7), "cut off: tensor 'x' ends"),
    "data left over": (file_bytes({"x": X}, 9), "1 bytes at the end"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_named_errors(name: str, tmp_path: Path) -> None:
    content, message = HOSTILE[name]
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        began = time.monotonic()
        with pytest.raises(CheckpointError, match=message) as caught:
            open_safetensors(path)
        assert time.monotonic() - began < 2
        assert tracemalloc.get_traced_memory()[1] <= 2 * len(content) + (64 << 20)
    finally:
        tracemalloc.stop()
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 500 + len(str(path))
    assert "\n" not in str(caught.value)


def test_the_whole_of_a_cut_off_file_is_refused(tmp_path: Path) -> None:
    for length in range(len(VALID)):
        with pytest.raises(CheckpointError):
            read(tmp_path / "x", VALID[:length])


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_what_fuzzing_found_is_an_error_or_a_file(path: Path) -> None:
    file = opened(path)
    for name in file.tensors if file else ():
        assert file.array(name).nbytes == file.tensors[name].nbytes


def test_a_tensor_that_is_not_there_and_a_file_that_was_closed(tmp_path: Path) -> None:
    file = read(tmp_path / "x", VALID)
    kept = file.array("x")
    with pytest.raises(CheckpointError, match="no tensor 'z'"):
        file.array("z")
    file.close()
    assert kept.tobytes() == bytes(range(8))
    with pytest.raises(CheckpointError, match="closed"):
        file.array("x")
