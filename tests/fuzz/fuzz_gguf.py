"""Coverage-guided fuzzing of the GGUF reader with atheris, which runs apart from the test suite.

Any bytes are either a file, all of which can be read, or a CheckpointError of one printable line, in 2 s of processor
time and memory of twice the file's size and 64 MB. What breaks that is written to the working directory as crash-*;
kept in tests/checkpoints/gguf_corpus it becomes a regression case.

Example: pip install atheris && python tests/fuzz/fuzz_gguf.py -dict=tests/fuzz/gguf.dict -max_total_time=1800 FOLDER
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

import atheris

TESTS = Path(__file__).parents[1]
sys.path += [str(TESTS), str(TESTS / "checkpoints")]

with atheris.instrument_imports(include=["lutmac", "read_everything"]):
    from handmade_gguf import model_file, sentence_pieces_file, small_file, type_file

    from lutmac.checkpoints.gguf_types import TENSOR_TYPES
    from lutmac.errors import CheckpointError
    from read_everything import assert_one_line, read_everything

SECONDS = 2.0
EXTRA_BYTES = 64 << 20
CORPUS = TESTS / "checkpoints" / "gguf_corpus"
FOLDER = "/dev/shm" if Path("/dev/shm").is_dir() else None


def peak_bytes() -> int:
    """The most memory that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def read(path: Path, content: bytes) -> None:
    """One file."""
    path.write_bytes(content)
    began, before = time.process_time(), peak_bytes()
    try:
        read_everything(path)
    except CheckpointError as error:
        assert_one_line(error)
    assert time.process_time() - began < SECONDS
    assert peak_bytes() - before < 2 * len(content) + EXTRA_BYTES


def main() -> None:
    """Fuzzes, from valid files and the corpus on. Arguments are libFuzzer's."""
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder, tempfile.TemporaryDirectory() as seeds:
        files = {"small": small_file(), "model": model_file(), "pieces": sentence_pieces_file()}
        files |= {kind.name: type_file(number) for number, kind in TENSOR_TYPES.items()}
        path = Path(folder, "model.gguf")
        for name, content in files.items():
            Path(seeds, name).write_bytes(content)
            read(path, content)  # what is imported late is imported now
        atheris.Setup([*sys.argv, seeds, *([str(CORPUS)] if CORPUS.is_dir() else [])], lambda data: read(path, data))
        atheris.Fuzz()


if __name__ == "__main__":
    main()
