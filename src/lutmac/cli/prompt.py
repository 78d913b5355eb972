"""From the words of `lutmac run`, its files and standard input to a model and a prompt."""

from __future__ import annotations

import os
import stat
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lutmac.cli.model_words import names_model
from lutmac.errors import InvalidRequestError

STANDARD_INPUT: Final = "-"
_PATIENCE_SECONDS: Final = 2.0  # with a pipe that nobody writes to, such as one that a program has inherited
_BETWEEN: Final = "\n\n"  # the prompt, files and standard input
_BYTE_ORDER_MARK: Final = "\ufeff"  # that editors of Windows begin files with


@dataclass(frozen=True)
class RunRequest:
    """What is asked. model: None is the default one. prompt: None where there is none, so that a chat is meant."""

    model: str | None
    prompt: str | None


def read_request(words: Sequence[str], files: Sequence[Path], *, exact: bool) -> RunRequest:
    """What the words mean, with what files and a pipe add.

    A lone word that names a model is the model. The prompt is the word for it, then the files, then what is piped in;
    the word ``-`` stands for standard input, be it piped or typed. exact: texts keep the newline at their end.

    Raises InvalidRequestError for more than two words, a text that cannot be read, and a prompt of nothing.
    """
    if len(words) > 2:
        raise InvalidRequestError(f"expected [MODEL] PROMPT, got {len(words)} words: put the prompt in quotes")
    model, word = _split(words)
    typed = word == STANDARD_INPUT or any(str(file) == STANDARD_INPUT for file in files)
    texts = [] if word in (None, STANDARD_INPUT) else [word]
    texts += [read_text(file) for file in files if str(file) != STANDARD_INPUT]
    if typed or _is_piped():
        texts.append(read_standard_input())
    elif not texts and word is None and sys.stdin is not None and sys.stdin.isatty():
        return RunRequest(model, None)
    kept = [text if exact else text.rstrip("\r\n") for text in texts if text is not None and text.strip()]
    if not kept:
        raise InvalidRequestError(
            "the prompt is empty" if texts and word is not None else "no PROMPT: neither a word nor a file nor a pipe"
        )
    return RunRequest(model, _BETWEEN.join(kept))


def _split(words: Sequence[str]) -> tuple[str | None, str | None]:
    """The model and the prompt."""
    if len(words) == 2:
        return words[0], words[1]
    if not words:
        return None, None
    word = words[0]
    if word == STANDARD_INPUT or not names_model(word):
        return None, word
    _check_is_no_text(word)
    return word, None


def _check_is_no_text(word: str) -> None:
    """Raises InvalidRequestError for a file that is no model: it is meant to be a part of the prompt."""
    path = Path(word)
    if path.is_file() and path.suffix not in (".gguf", ".safetensors", ".json") and not _is_gguf(path):
        raise InvalidRequestError(f"{word} is a file and no model: --file {word} makes it a part of the prompt")


def _is_gguf(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) == b"GGUF"
    except OSError:
        return False


def _is_piped() -> bool:
    """Whether standard input is a pipe, a socket or a file: no terminal, and not /dev/null, which says nothing."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (AttributeError, OSError, ValueError):  # no standard input, a closed one, or an object of a test
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISREG(mode)


def read_standard_input() -> str:
    """All of standard input. Raises InvalidRequestError where it is not UTF-8 or cannot be read."""
    if sys.stdin is None:
        return ""
    note = threading.Timer(_PATIENCE_SECONDS, _say_waiting)
    note.daemon = True
    if not sys.stdin.isatty():
        note.start()
    try:
        return _decoded(sys.stdin.buffer.read(), "standard input")
    except OSError as error:
        raise InvalidRequestError(f"standard input cannot be read: {error.strerror}") from None
    finally:
        note.cancel()


def _say_waiting() -> None:
    print("lutmac: waiting for the end of standard input; </dev/null leaves it out", file=sys.stderr, flush=True)


def read_text(path: Path) -> str:
    """The file's text. Raises InvalidRequestError when it cannot be read or is not UTF-8."""
    try:
        return _decoded(path.read_bytes(), str(path))
    except OSError as error:
        raise InvalidRequestError(f"{path}: cannot read the text: {error.strerror}") from None


def _decoded(data: bytes, source: str) -> str:
    try:
        return data.decode("utf-8").removeprefix(_BYTE_ORDER_MARK)
    except UnicodeDecodeError as error:
        raise InvalidRequestError(f"{source}: not UTF-8 text: bad byte at offset {error.start}") from None
