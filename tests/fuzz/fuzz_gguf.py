"""A coverage-guided fuzzer over the GGUF reader (https://github.com/google/atheris, `pip install atheris`).

Any bytes are either a file, all of which can be read, or a CheckpointError of one printable line. What breaks that is
written to the working directory as crash-*; kept in tests/checkpoints/hostile_gguf, it becomes a regression case.

Example: python tests/fuzz/fuzz_gguf.py -max_total_time=1800 -timeout=2 -rss_limit_mb=1024 work-folder
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import atheris

HERE = Path(__file__).parent
sys.path += [str(HERE.parent), str(HERE.parent / "checkpoints")]

with atheris.instrument_imports(include=["lutmac"]):
    import lutmac.checkpoints
    import lutmac.lowbit.packing
    import lutmac.lowbit.reference  # noqa: F401 - instrumented here, used below

from gguf_files import small_file, type_file  # noqa: E402 - the path is set above

from lutmac.checkpoints.gguf_types import TENSOR_TYPES  # noqa: E402 - instrumented above
from lutmac.errors import CheckpointError  # noqa: E402 - instrumented above
from read_everything import assert_one_line, read_everything  # noqa: E402 - the path is set above

FOLDER = "/dev/shm" if Path("/dev/shm").is_dir() else None


def test_one_input(path: Path, content: bytes) -> None:
    """One file."""
    path.write_bytes(content)
    try:
        read_everything(path)
    except CheckpointError as error:
        assert_one_line(error)


def main() -> None:
    """Fuzzes, from a valid file and the malformed ones on. Arguments are libFuzzer's."""
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder, tempfile.TemporaryDirectory() as seeds:
        Path(seeds, "small.gguf").write_bytes(small_file())
        for number, kind in TENSOR_TYPES.items():
            Path(seeds, f"{kind.name}.gguf").write_bytes(type_file(number))
        path = Path(folder, "model.gguf")
        corpus = str(HERE.parent / "checkpoints" / "hostile_gguf")
        arguments = [*sys.argv, seeds, *([corpus] if os.path.isdir(corpus) else [])]
        atheris.Setup(arguments, lambda content: test_one_input(path, content))
        atheris.Fuzz()


if __name__ == "__main__":
    main()
