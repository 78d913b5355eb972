"""What is written has its name when it is complete, one process writes it, and a failure leaves nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import lutmac
from lutmac.checkpoints.destination import Destination
from lutmac.errors import CheckpointError, InvalidRequestError
from tiny_llama import make_tiny_llama

HOLDS = """
import sys, time
from pathlib import Path
from lutmac.checkpoints.destination import Destination
with Destination(Path(sys.argv[1])) as place:
    (place.make_directory() / "half").write_text("of it")
    print("begun", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLDS, tmp_path / "out"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    yield process
    process.kill()
    process.wait()


def test_a_second_writer_is_refused_at_once_and_leaves_the_first_alone(
    holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    source = make_tiny_llama(tmp_path / "tiny.gguf", "Q4_0").path
    for write in (lutmac.convert, lutmac.quantize_model):
        began = time.monotonic()
        with pytest.raises(InvalidRequestError, match=r"out: another process is writing it"):
            write(source, tmp_path / "out")
        assert time.monotonic() - began < 30
    assert (tmp_path / "out.partial" / "half").read_text() == "of it"


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_what_an_ended_writer_left_is_in_nobodys_way(
    holder: subprocess.Popen[str], tmp_path: Path, end: signal.Signals
) -> None:
    holder.send_signal(end)
    holder.wait()
    assert (tmp_path / "out.partial").exists() == (end == signal.SIGKILL)
    source = make_tiny_llama(tmp_path / "tiny.gguf", "Q4_0").path
    lutmac.convert(source, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "tiny.gguf"]
    with pytest.raises(InvalidRequestError, match="out: exists already"):
        lutmac.convert(source, tmp_path / "out")


@pytest.mark.parametrize("arguments", [["convert"], ["quantize", "--bits", "4"]])
def test_a_full_disk(tmp_path: Path, arguments: list[str]) -> None:
    """Stood in for by a limit on the size of files, which the system refuses alike."""
    source = make_tiny_llama(tmp_path / "tiny.gguf", "Q4_0").path
    command, *options = arguments
    script = f"""
import resource, sys
from lutmac.cli.main import run_command
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
sys.exit(run_command([{command!r}, {str(source)!r}, {str(tmp_path / "out")!r}, *{options!r}]))
"""
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert found.returncode == 2
    assert found.stderr == f"lutmac: error: {tmp_path / 'out'}: cannot be written: File too large\n"
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.partial").exists()


def test_a_place_where_nothing_can_be_written() -> None:
    with (
        pytest.raises(CheckpointError, match=r"/sys/kernel/out: cannot be written: "),
        Destination(Path("/sys/kernel/out")),
    ):
        pass
    with pytest.raises(InvalidRequestError, match=f"there is no directory {os.sep}missing"):
        Destination(Path("/missing/out"))
