"""What a shell is told when it asks how a command line may go on."""

from __future__ import annotations

import io
import os
from contextlib import redirect_stdout
from typing import Any, Final

VARIABLE: Final = "_LUTMAC_COMPLETE"  # by which the scripts that --install-completion writes ask
_BASH: Final = "complete_bash"


def complete(command: Any) -> None:
    """Prints what may follow, and ends the process. command: typer's."""
    prefix = _join_at_colons() if os.environ[VARIABLE] == _BASH else ""
    found = io.StringIO()
    try:
        with redirect_stdout(found):
            command.main([], prog_name="lutmac")
    finally:
        print("".join(line.removeprefix(prefix) for line in found.getvalue().splitlines(keepends=True)), end="")


def _join_at_colons() -> str:
    """Makes one word of the name that is being typed, which bash takes apart at its colons (qwen3 : 0.6b).

    Returns what stands before the part that bash will replace.
    """
    words, place = os.environ.get("COMP_WORDS", "").split("\n"), os.environ.get("COMP_CWORD", "")
    end = int(place) if place.isdecimal() else 0
    if not 0 < end < len(words):
        return ""
    begin = end
    while begin > 1 and ":" in (words[begin], words[begin - 1]):
        begin -= 1
    word = "".join(words[begin : end + 1])
    os.environ["COMP_WORDS"] = "\n".join([*words[:begin], word, *words[end + 1 :]])
    os.environ["COMP_CWORD"] = str(begin)
    return word[: word.rfind(":") + 1]
