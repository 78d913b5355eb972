"""A virtual environment for each script, with what the comment at its top lists (PEP 723)."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

# https://packaging.python.org/en/latest/specifications/inline-script-metadata/
_METADATA = re.compile(r"(?m)^# /// script$\s(?P<content>(^#(| .*)$\s)+)^# ///$")


def dependencies(script: Path) -> list[str]:
    """What the script's metadata list."""
    match = _METADATA.search(script.read_text())
    if match is None:
        raise ValueError(f"{script}: has no '# /// script' comment")
    content = "".join(line[2:] + "\n" for line in match["content"].splitlines())
    listed: list[str] = tomllib.loads(content)["dependencies"]
    return listed


def environment_of(script: Path, progress: Callable[[str], object] = lambda _: None) -> Path:
    """The interpreter of the script's environment, which is made where it is not there yet.

    What stands before "---" in the list is installed first: torch's build for CPUs, before others ask for any torch.
    """
    listed = dependencies(script)
    digest = hashlib.sha256("\n".join([sys.version, *listed]).encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "lutmac", "clients")
    folder = Path(os.environ.get("LUTMAC_CLIENTS", cache), f"{script.stem}-{digest}")
    python = folder / "bin" / "python"
    if not (folder / "complete").is_file():
        progress(f"installing what {script.name} needs")
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        first = listed.index("---") if "---" in listed else 0
        if first:
            _install(python, listed[:first])
        _install(python, [name for name in listed if name != "---"])
        (folder / "complete").touch()
    return python


def _install(python: Path, names: list[str]) -> None:
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *names]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{', '.join(names)} cannot be installed: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
