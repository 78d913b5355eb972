"""What the server writes down: a line for each request, never a word of what was said."""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from time import perf_counter
from typing import Any, Final

_NOT_LOGGED = frozenset({"began", "told_at"})
PROGRESS_SECONDS = 2.0  # between two lines about the same prompt
logger = logging.getLogger("lutmac.server")
MAX_CHARACTERS: Final = 200  # of a value in a line
_MARKS: Final = frozenset(' "=\\')


class LogFormat(StrEnum):
    """How lines look."""

    text = "text"
    json = "json"
    off = "off"


@dataclass
class RequestRecord:
    """What is known of a request. Times in seconds since it came in; None is what did not happen.

    schema_left_out: parts of JSON schemas that do not bind the reply. told_at: when its progress was last written.
    """

    request_id: str
    method: str
    path: str
    status: int = 0
    model: str | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    first_token_seconds: float | None = None
    finish_reason: str | None = None
    error: str | None = None
    schema_left_out: list[str] = field(default_factory=list)
    seconds: float = 0.0
    began: float = field(default_factory=perf_counter, repr=False)
    told_at: float = field(default=0.0, repr=False)

    @property
    def age(self) -> float:
        """Seconds since it came in."""
        return perf_counter() - self.began

    def note_progress(self, read: int, total: int, cached: int) -> None:
        """Writes how far a prompt has been read, every few seconds: an agent's first prompt takes long."""
        if read < total and self.age - self.told_at >= PROGRESS_SECONDS:
            self.told_at = self.age
            fields = {"request_id": self.request_id, "prompt_tokens": total, "cached_tokens": cached, "read": read}
            logger.info("reading", extra={"fields": {**fields, "seconds": round(self.age, 1)}})

    def as_dict(self) -> dict[str, Any]:
        """What is worth a line."""
        shown = {name: value for name, value in vars(self).items() if name not in _NOT_LOGGED}
        found = {name: value for name, value in shown.items() if value not in (None, [])}
        return {name: round(value, 4) if isinstance(value, float) else value for name, value in found.items()}


def log_request(record: RequestRecord) -> None:
    """Writes the line of a request that is done."""
    logger.info("request", extra={"fields": record.as_dict()})


def set_up_logging(format: LogFormat) -> None:
    """Sends the server's and uvicorn's lines to standard error, in one format."""
    handler: logging.Handler = logging.NullHandler() if format is LogFormat.off else logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines() if format is LogFormat.json else _TextLines())
    for name in ("lutmac.server", "uvicorn.error"):
        known = logging.getLogger(name)
        known.handlers[:] = [handler]
        known.setLevel(logging.INFO if name == "lutmac.server" else logging.WARNING)
        known.propagate = False


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = getattr(record, "fields", {})
    return fields


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _cut(value: Any) -> Any:
    """A value short enough for a line: what clients send has no end."""
    if isinstance(value, list):
        return [_cut(item) for item in value]
    if isinstance(value, str) and len(value) > MAX_CHARACTERS:
        return f"{value[:MAX_CHARACTERS]}…"
    return value


def _plain(value: Any) -> str:
    """A value as text that can be nothing but a value: no line, no field and no command to a terminal."""
    text = str(_cut(value))
    return text if text.isprintable() and not set(text) & _MARKS else json.dumps(text)


class _JsonLines(logging.Formatter):
    """A JSON object a line, in ASCII: control characters of any kind are escaped."""

    def format(self, record: logging.LogRecord) -> str:
        line = {"time": _time(record), "level": record.levelname.lower(), "event": record.getMessage()}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps({**line, **{name: _cut(value) for name, value in _fields(record).items()}})


class _TextLines(logging.Formatter):
    """A line of fields by name; a value that could be taken for more is quoted."""

    def format(self, record: logging.LogRecord) -> str:
        fields = " ".join(f"{name}={_plain(value)}" for name, value in _fields(record).items())
        line = f"{_time(record)} {record.levelname.lower():7} {record.getMessage()} {fields}".rstrip()
        return line + ("\n" + self.formatException(record.exc_info) if record.exc_info else "")
