"""Completion, as bash asks for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BASH = shutil.which("bash")
pytestmark = pytest.mark.skipif(BASH is None, reason="there is no bash")


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A home in which completion has been installed, with a command `lutmac`."""
    home = tmp_path_factory.mktemp("home")
    command = home / "bin" / "lutmac"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m lutmac.cli.main "$@"\n')
    command.chmod(0o755)
    run(home, "lutmac --install-completion bash")
    assert ".bash_completions/lutmac.sh" in (home / ".bashrc").read_text()
    return home


def run(home: Path, script: str) -> str:
    environment = {
        **os.environ,
        "HOME": str(home),
        "PATH": f"{home / 'bin'}:{os.environ['PATH']}",
        "LUTMAC_CACHE": "/none",
    }
    assert BASH is not None
    return subprocess.run(
        [BASH, "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=True
    ).stdout


def completed(home: Path, *words: str) -> list[str]:
    """What bash would offer in the place of the last word."""
    typed = " ".join(f"'{word}'" for word in words)
    script = f"source ~/.bashrc; COMP_WORDS=({typed}); COMP_CWORD={len(words) - 1}; _lutmac_completion lutmac;"
    return run(home, script + ' printf "%s\\n" "${COMPREPLY[@]}"').split()


def test_commands_and_options(home):
    assert {"run", "chat", "serve", "bench"} <= set(completed(home, "lutmac", ""))
    assert completed(home, "lutmac", "run", "--max") == ["--max-tokens"]
    assert completed(home, "lutmac", "quantize", "--method", "gp") == ["gptq"]


def test_names_of_models(home):
    assert "qwen3:0.6b" in completed(home, "lutmac", "run", "qwen3")
    assert completed(home, "lutmac", "chat", "smollm2")[0] == "smollm2"
    # Bash takes words apart at colons, and wants what follows the last one.
    assert "0.6b" in completed(home, "lutmac", "info", "qwen3", ":")
    assert completed(home, "lutmac", "bench", "qwen3", ":", "0") == ["0.6b"]


def test_files_are_left_to_bash(home):
    assert completed(home, "lutmac", "run", "model.gg") == []
