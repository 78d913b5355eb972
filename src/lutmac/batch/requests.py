"""The lines of a batch's input, in OpenAI's format.

https://platform.openai.com/docs/api-reference/batch/request-input
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from lutmac.bounded_json import parse_json
from lutmac.errors import CheckpointError, InvalidRequestError

ENDPOINTS: Final = ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings", "/v1/messages")
ID_PREFIX: Final = "batch_req_"
_ID_DIGITS: Final = 24


@dataclass(frozen=True)
class BatchRequest:
    """A line that can be run. id: the same for the same custom_id, in every run. url: one of ENDPOINTS."""

    id: str
    custom_id: str
    url: str
    body: dict[str, Any]


@dataclass(frozen=True)
class Refusal:
    """A line that cannot be run, and why. id: the same for the same line in the same place, in every run."""

    id: str
    custom_id: str | None
    code: str
    message: str


class _BadLineError(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def count_lines(path: Path) -> int:
    """How many lines hold something. Raises InvalidRequestError for a file that cannot be read."""
    return sum(1 for _ in _lines(path))


def read_requests(path: Path) -> Iterator[BatchRequest | Refusal]:
    """What the lines ask for, one after the other. Raises InvalidRequestError for a file that cannot be read."""
    first_lines: dict[str, int] = {}
    for number, line in _lines(path):
        custom_id = None
        try:
            fields = _object(line, number)
            custom_id = _custom_id(fields, number)
            if (first := first_lines.setdefault(custom_id, number)) != number:
                raise _BadLineError("duplicate_custom_id", f"line {number}: custom_id is that of line {first}")
            yield BatchRequest(_digest("request", custom_id), custom_id, *_call(fields, number))
        except _BadLineError as error:
            name = _digest("line", str(number), line.decode(errors="replace"))
            yield Refusal(name, custom_id, error.code, str(error))


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines that hold something, with their numbers from 1."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if stripped := line.removeprefix(codecs.BOM_UTF8).strip():  # on any line: files get joined
                    yield number, stripped
    except OSError as error:
        raise InvalidRequestError(f"{path}: cannot read the batch: {error.strerror}") from None


def _object(line: bytes, number: int) -> dict[str, Any]:
    try:
        fields = parse_json(line, f"line {number}")
    except CheckpointError as error:
        raise _BadLineError("invalid_json_line", str(error)) from None
    if not isinstance(fields, dict):
        raise _BadLineError("invalid_json_line", f"line {number}: is no JSON object")
    return fields


def _custom_id(fields: dict[str, Any], number: int) -> str:
    custom_id = fields.get("custom_id")
    if not isinstance(custom_id, str) or not custom_id:
        raise _BadLineError("missing_custom_id", f"line {number}: wants a custom_id, a text that no other line has")
    return custom_id


def _call(fields: dict[str, Any], number: int) -> tuple[str, dict[str, Any]]:
    """The endpoint and the body of a line."""
    method, url, body = fields.get("method", "POST"), fields.get("url"), fields.get("body")
    if method != "POST":
        raise _BadLineError("invalid_method", f"line {number}: method is {str(method)[:20]!r}, expected 'POST'")
    if url not in ENDPOINTS:
        raise _BadLineError(
            "invalid_url", f"line {number}: url is {str(url)[:80]!r}, expected one of {', '.join(ENDPOINTS)}"
        )
    if not isinstance(body, dict):
        raise _BadLineError("invalid_body", f"line {number}: wants a body, the JSON object of a request")
    if body.get("stream"):
        raise _BadLineError("stream_unsupported", f"line {number}: a batch does not stream; leave stream out")
    return url, body


def _digest(*parts: str) -> str:
    """An id for an output line that is the same whenever the batch is run again."""
    return ID_PREFIX + sha256(json.dumps(parts).encode()).hexdigest()[:_ID_DIGITS]
