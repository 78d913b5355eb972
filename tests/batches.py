"""Batches to run, and what came of them."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

from lutmac.cli.main import run_command

COMMAND = [sys.executable, "-m", "lutmac.cli.main", "batch"]


def completion(custom_id: str, **body: Any) -> dict[str, Any]:
    """A line that asks for six tokens of text."""
    body = {"model": "tiny", "prompt": "a", "max_tokens": 6, "ignore_eos": True, "temperature": 0, **body}
    return {"custom_id": custom_id, "method": "POST", "url": "/v1/completions", "body": body}


def write_lines(path: Path, lines: list[Any]) -> Path:
    """lines: texts as they are, anything else as JSON."""
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def entries(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def run(*arguments: object) -> tuple[int, str]:
    """Runs the command in this process; its exit code and what it wrote on its error stream."""
    said = StringIO()
    with redirect_stderr(said):
        code = run_command(["batch", *map(str, arguments)])
    return code, said.getvalue()
