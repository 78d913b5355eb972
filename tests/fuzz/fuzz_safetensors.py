"""Coverage-guided fuzzing of the safetensors reader with atheris, which runs apart from the test suite.

    pip install atheris numpy && PYTHONPATH=src python tests/fuzz/fuzz_safetensors.py CORPUS \\
        -dict=tests/fuzz/safetensors.dict -max_total_time=1800

Whatever the bytes, the reader says CheckpointError, in one line and 2 s of processor time, or every tensor can be read.
It starts from tests/checkpoints/safetensors_corpus. What it finds becomes a file of that folder.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
import types
from pathlib import Path

import atheris

# The package's modules that compile nothing: importing lutmac.checkpoints itself would want the compiled half.
SOURCE = Path(__file__).parents[2] / "src" / "lutmac"
for name, folder in (("lutmac", SOURCE), ("lutmac.checkpoints", SOURCE / "checkpoints")):
    package = types.ModuleType(name)
    package.__path__ = [str(folder)]
    sys.modules[name] = package

with atheris.instrument_imports(include=["lutmac", "json"]):
    from lutmac.checkpoints.safetensors import open_safetensors
    from lutmac.errors import CheckpointError

SECONDS = 2.0
PATH = Path(tempfile.gettempdir()) / f"fuzz-{os.getpid()}.safetensors"


def read(given: bytes) -> None:
    """Reads a file of these bytes and everything in it.

    Given an odd first byte, the file's length field is right and so many zeros follow the header as the next two bytes
    say: otherwise hardly a mutation would reach what is behind these checks.
    """
    data = given[1:]
    if given[:1] and given[0] & 1:
        header = given[3:]
        data = len(header).to_bytes(8, "little") + header + bytes(int.from_bytes(given[1:3], "little"))
    PATH.write_bytes(data)
    began = time.process_time()
    try:
        with open_safetensors(PATH) as file:
            for name, tensor in file.tensors.items():
                assert file.array(name).nbytes == tensor.nbytes
                assert tensor.offset + tensor.nbytes <= len(data)
    except CheckpointError as error:
        if "\n" in str(error):
            raise AssertionError(f"more than a line: {error!r}") from error
    assert time.process_time() - began < SECONDS


if __name__ == "__main__":
    atheris.Setup(sys.argv, read)
    atheris.Fuzz()
