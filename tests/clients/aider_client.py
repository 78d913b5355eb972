# /// script
# dependencies = ["aider-chat==0.86.2"]
# ///
"""aider: one edit of a whole file, changed on disk."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from checks import BASE, MODEL, check

prices = Path(".aider/caches/model_prices_and_context_window.json")  # or it asks for a table on the network
prices.parent.mkdir(parents=True)
prices.write_text('{"none": {}}')
source = Path("greeting.py")
source.write_text('def greet():\n    print("Hello")\n')
before = source.read_text()
command = [
    Path(sys.executable).with_name("aider"),
    *("--model", f"openai/{MODEL}", "--openai-api-base", BASE, "--openai-api-key", "none", "--edit-format", "whole"),
    *(
        "--no-git",
        "--yes-always",
        "--no-show-model-warnings",
        "--no-check-update",
        "--no-analytics",
        "--map-tokens",
        "0",
    ),
    *("--no-auto-lint", "--no-pretty", "--no-fancy-input", "--no-show-release-notes", "--no-suggest-shell-commands"),
    *("--message", 'Change the printed text from "Hello" to "Goodbye".', str(source)),
]
done = subprocess.run(
    command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, env={**os.environ, "TERM": "dumb"}
)
check("aider ends well", done.returncode == 0, done.stdout + done.stderr)
check("the file is changed on disk", "Goodbye" in source.read_text() != before, done.stdout + source.read_text())
compile(source.read_text(), source.name, "exec")
check("it is still Python", True)
