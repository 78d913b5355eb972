# /// script
# dependencies = ["llm==0.36"]
# ///
"""The `llm` command: a prompt whole and in pieces, a tool, an object."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from checks import BASE, FACTS, MODEL, PERSON, QUESTION, TOOL_QUESTION, WEATHER, check

PROGRAM = Path(sys.executable).with_name("llm")
TOOLS = f"""
def get_weather(city: str) -> str:
    "Gives the current weather in a city."
    return "In " + city + ": {WEATHER}"
"""


def llm(*arguments: str) -> str:
    """What the command prints."""
    done = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    check(f"llm {arguments[0][:20]} ends well", done.returncode == 0, done.stderr)
    return done.stdout.strip()


folder = Path(os.environ["HOME"], "llm")
folder.mkdir()
os.environ["LLM_USER_PATH"] = str(folder)
(folder / "extra-openai-models.yaml").write_text(
    f"- model_id: local\n  model_name: {MODEL}\n  api_base: {BASE}\n  supports_tools: true\n  supports_schema: true\n"
)
greedy = ["-m", "local", "-o", "temperature", "0", "-o", "max_tokens", "100"]
whole = llm(QUESTION, *greedy, "--no-stream")
check("a prompt is answered", "Paris" in whole, whole)
check("streamed equals unstreamed", llm(QUESTION, *greedy) == whole)
(folder / "tools.py").write_text(TOOLS)
# The command always offers its tools, and the model is small: it calls again and again (see checks.py), to no end that
# could be checked. That it is called, that the result goes back and that each reply is taken can be.
log = subprocess.run(
    [PROGRAM, TOOL_QUESTION, *greedy, "--functions", str(folder / "tools.py"), "--td"],
    capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
).stderr  # fmt: skip
check("a tool is called", "Tool call: get_weather({'city': 'Paris'})" in log, log)
check("its result is sent back, and no error comes of it", WEATHER in log and "Error code" not in log, log)
person = json.loads(llm(FACTS, *greedy, "--schema", json.dumps(PERSON), "--no-stream"))
check("an object fits its schema", person["age"] == 36, person)
