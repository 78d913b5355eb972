"""What the clients share: where the server is, what is asked, how a check is reported. Standard library only."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

URL = os.environ["LUTMAC_URL"]
BASE = f"{URL}/v1"
MODEL = os.environ["LUTMAC_MODEL"]
CONTEXT = int(os.environ["LUTMAC_CONTEXT"])

QUESTION = "Which city is the capital of France? Answer in one short sentence."
TOOL_QUESTION = "What is the weather in Paris? Use the tool."
TOOL_NAME = "get_weather"
TOOL_DESCRIPTION = "Gives the current weather in a city."
TOOL_PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string", "description": "The name of the city"}},
    "required": ["city"],
}
TOOL = {
    "type": "function",
    "function": {"name": TOOL_NAME, "description": TOOL_DESCRIPTION, "parameters": TOOL_PARAMETERS},
}
WEATHER = "sunny, 21 degrees"
FACTS = "Ada Lovelace was 36 years old. Give her name and her age as JSON."
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
# The model is small: with its tools at hand it calls them again and again, so none is offered beside a result.
OVERLONG = "word " * (2 * CONTEXT)


def check(what: str, holds: object, shown: object = "") -> None:
    """Prints what holds, and ends the script where it does not."""
    if not holds:
        raise AssertionError(f"{what}: {shown!r}")
    print(f"ok: {what}", flush=True)


def expected() -> Any:
    """What lutmac itself computed before (see expectations.py)."""
    return json.loads(Path(os.environ["LUTMAC_EXPECTED"]).read_text())
