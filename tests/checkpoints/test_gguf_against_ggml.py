"""Every low-bit tensor type against llama.cpp's own conversion to floats, bit for bit."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest

from lutmac.checkpoints.gguf_types import PRISM_TYPES, SUPPORTED_TYPES, TENSOR_TYPES, as_matrix
from lutmac.lowbit.reference import dequantize

llama_cpp = pytest.importorskip("llama_cpp", reason="llama.cpp is the judge: pip install llama-cpp-python")

BLOCKS = 64
LOW_BIT = {
    number: kind
    for number, kind in TENSOR_TYPES.items()
    if kind.name in SUPPORTED_TYPES and kind.block_weights > 1 and number not in PRISM_TYPES  # a fork's
}
# Bytes of a block that hold scales, and which value of theirs is no number.
BYTE_SCALES = {"MXFP4": 1, "NVFP4": 4}


class Traits(ctypes.Structure):
    """ggml_type_traits of ggml.h."""

    _fields_ = (
        ("type_name", ctypes.c_char_p),
        ("block_weights", ctypes.c_int64),
        ("block_weights_interleaved", ctypes.c_int64),
        ("block_bytes", ctypes.c_size_t),
        ("is_quantized", ctypes.c_bool),
        ("to_float", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)),
    )


@pytest.mark.slow
@pytest.mark.parametrize("number", LOW_BIT, ids=lambda number: LOW_BIT[number].name)
def test_random_blocks_mean_what_ggml_says(number: int) -> None:
    kind = LOW_BIT[number]
    library = ctypes.CDLL(str(next((Path(llama_cpp.__file__).parent / "lib").glob("libggml-base.*"))))
    library.ggml_get_type_traits.restype = ctypes.POINTER(Traits)
    traits = library.ggml_get_type_traits(number).contents
    assert (traits.block_weights, traits.block_bytes) == (kind.block_weights, kind.block_bytes)
    data = np.random.default_rng(number).integers(0, 256, (BLOCKS, kind.block_bytes), np.uint8)
    scales = data[:, : BYTE_SCALES.get(kind.name, 0)]
    scales[scales == 0xFF] = 1
    expected = np.zeros((BLOCKS, kind.block_weights), np.float32)
    traits.to_float(data.ctypes.data, expected.ctypes.data, expected.size)
    with np.errstate(all="ignore"):
        found = dequantize(as_matrix(kind.name, BLOCKS, kind.block_weights, data.reshape(-1)))
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(np.isfinite(found), finite)
    np.testing.assert_array_equal(found[finite], expected[finite])
