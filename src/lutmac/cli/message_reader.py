"""What a person types in a chat: messages of one line or several, with a history that lasts."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

FENCE: Final = '"""'
PROMPT: Final = "> "
MORE_PROMPT: Final = "... "
_MOST_LINES: Final = 1000  # of the history


class MessageReader:
    """Reads messages from a terminal or a pipe.

    A line is a message. So is a paste of several lines, and what stands between two marks of three quotes.
    """

    def __init__(self) -> None:
        """On a terminal: with line editing, bracketed paste and the history of earlier sessions."""
        self.interactive = sys.stdin.isatty()
        self._history = _History() if self.interactive else None

    def next(self) -> str | None:
        """The next message, without blanks around it; None at the end of input."""
        while True:
            try:
                return self._read()
            except EOFError:
                if self.interactive:
                    print()
                return None
            except KeyboardInterrupt:
                if not self.interactive:
                    raise
                print("\n(Ctrl-D or /exit leaves)")

    def _read(self) -> str:
        text = self._line(PROMPT).strip()
        if text.startswith(FENCE):
            text = self._fenced(text.removeprefix(FENCE))
        if text and self._history is not None:
            self._history.add(text)
        return text

    def _fenced(self, text: str) -> str:
        """The text with the lines up to the closing quotes; the end of input closes them, too."""
        while FENCE not in text:
            try:
                text += "\n" + self._line(MORE_PROMPT)
            except EOFError:
                if not text.strip():
                    raise
                break
        return text.replace(FENCE, "", 1).strip()

    def _line(self, prompt: str) -> str:
        return input(prompt if self.interactive else "")


class _History:
    """Readline's history, kept in a file: a message a line, as JSON, since a message may have several lines."""

    def __init__(self) -> None:
        import readline  # noqa: PLC0415 - importing it gives input() line editing

        self._readline: Any = readline
        readline.set_auto_history(False)
        with suppress(OSError):  # where an init file has it that libedit cannot read
            readline.parse_and_bind("set enable-bracketed-paste on")
        self._path = state_directory() / "chat_history.jsonl"
        self._last = ""
        for text in self._stored():
            readline.add_history(text)

    def add(self, text: str) -> None:
        """Adds a message, unless it is the last one again. A file that cannot be written is done without."""
        if text == self._last:
            return
        self._last = text
        self._readline.add_history(text)
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with os.fdopen(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a") as file:
                file.write(json.dumps(text) + "\n")

    def _stored(self) -> list[str]:
        """Messages of earlier sessions; the file is cut down when it has grown to twice what is kept."""
        try:
            lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines()
            if len(lines) > 2 * _MOST_LINES:
                partial = self._path.with_suffix(f".{os.getpid()}")
                partial.touch(mode=0o600)
                partial.write_text("\n".join(lines[-_MOST_LINES:]) + "\n", encoding="utf-8")
                partial.replace(self._path)
        except OSError:
            return []
        return [text for line in lines[-_MOST_LINES:] if isinstance(text := _parsed(line), str) and "\0" not in text]


def _parsed(line: str) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def state_directory() -> Path:
    """Where what lasts between sessions lies: lutmac in the user's state directory (XDG)."""
    return Path(os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")) / "lutmac"
