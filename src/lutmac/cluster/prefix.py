"""What requests begin with, so that those that begin alike come to the replica that has computed it."""

from __future__ import annotations

import json
from typing import Any, Final
from zlib import crc32

CHUNK: Final = 256  # bytes of UTF-8: of English text about the 64 tokens that a page of the cache holds
MAX_CHUNKS: Final = 256


def prefix_of(body: bytes) -> tuple[int, ...]:
    """A number for each longer beginning of a request's prompt; requests that begin alike have the first ones alike.

    body: of any of the endpoints. Empty for short prompts and for what is no request at all.
    """
    if len(body) < CHUNK:
        return ()
    try:
        asked = json.loads(body)
        text = _text(asked) if isinstance(asked, dict) else ""
    except (ValueError, RecursionError):
        return ()
    numbers: list[int] = []
    number = 0
    most = CHUNK * MAX_CHUNKS
    data = text[:most].encode(errors="surrogatepass")[:most]
    for end in range(CHUNK, len(data) + 1, CHUNK):
        number = crc32(data[end - CHUNK : end], number)
        numbers.append(number << 8 | len(numbers) % 256)
    return tuple(numbers)


def _text(asked: dict[str, Any]) -> str:
    """The parts of a request that its prompt is made of, in the prompt's order."""
    parts = [asked.get(name) for name in ("tools", "system", "instructions", "prompt", "input")]
    messages = asked.get("messages")
    parts += messages if isinstance(messages, list) else [messages]
    return "".join(part if isinstance(part, str) else json.dumps(part) for part in parts if part is not None)
