"""All that a GGUF file offers, asked for: what the fuzzer and the tests of malformed files run."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lutmac.checkpoints import GGUFFile, open_gguf
from lutmac.errors import CheckpointError, LutmacError, UnsupportedModelError
from lutmac.lowbit.matrix import DenseMatrix
from lutmac.lowbit.packing import pack
from lutmac.lowbit.reference import dequantize
from lutmac.models import find_architecture
from lutmac.text.tokenizer import Tokenizer

MOST_ELEMENTS = 1 << 16  # of a tensor that is also unpacked


def read_everything(path: Path) -> None:
    """Opens the file and touches all of it; what a tensor refuses, it refuses by a typed error of one line.

    Raises CheckpointError where the file cannot be opened, and whatever else goes wrong.
    """
    with open_gguf(path) as file:
        dict(file.metadata)
        for read in (_config, _tokenizer):
            try:
                read(file)
            except LutmacError as error:
                assert_one_line(error)
        for name in file.tensors:
            for ask in (_matrix, _vector, GGUFFile.drop_pages):
                try:
                    ask(file, name)
                except (CheckpointError, UnsupportedModelError) as error:
                    assert_one_line(error)


def assert_one_line(error: Exception) -> None:
    """An error that a terminal can show."""
    text = str(error)
    assert text, repr(error)
    assert text.isprintable(), repr(text)


def _config(file: GGUFFile) -> None:
    find_architecture(file.architecture).read_gguf_config(file.metadata)


def _tokenizer(file: GGUFFile) -> None:
    tokenizer = Tokenizer.from_gguf(file.metadata)
    tokenizer.decode(tokenizer.encode("ab <|im_end|>\n", parse_special=True))


def _matrix(file: GGUFFile, name: str) -> None:
    shape = file.tensors[name].shape
    matrix = file.matrix(name, shape[0] - 1 if len(shape) == 3 else None)
    if file.tensors[name].elements > MOST_ELEMENTS:
        return
    with np.errstate(all="ignore"):
        expected = dequantize(matrix)
    assert expected.shape == ((1, *shape) if len(shape) == 1 else shape[-2:])
    if matrix.columns % 32 == 0:
        rows = pack(matrix, target="portable", threads=1).unpack_rows(np.arange(matrix.rows, dtype=np.int32))
        if isinstance(matrix, DenseMatrix):
            np.testing.assert_array_equal(rows, expected)
        else:
            np.testing.assert_array_equal(np.isfinite(rows), np.isfinite(expected))


def _vector(file: GGUFFile, name: str) -> None:
    assert file.vector(name).shape == (file.tensors[name].elements,)
