"""A client for load: HTTP and event streams by hand, since it shares the machine with the server that it measures."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NoReturn
from urllib.parse import urlsplit
from urllib.request import urlopen


@dataclass
class Reply:
    """What came of a request. status: 0 where nothing came. times: of each token, in seconds since the request.

    seconds: till the end. finish_reason: of a stream that came to its end. error: what broke it.
    """

    status: int = 0
    seconds: float = 0.0
    times: list[float] = field(default_factory=list)
    text: str = ""
    finish_reason: str | None = None
    error: str | None = None

    @property
    def gaps(self) -> list[float]:
        """Seconds between a token and the next."""
        return [later - earlier for earlier, later in zip(self.times, self.times[1:], strict=False)]


def post_bytes(body: bytes, length: int | None = None) -> bytes:
    """A request for a completion. length: what the head says of the body, if not the truth."""
    head = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
    return f"{head}Content-Length: {len(body) if length is None else length}\r\n\r\n".encode() + body


async def complete(url: str, body: Mapping[str, Any], patience: float | None = None) -> Reply:
    """Streams a completion and notes when each token comes. patience: seconds after which it is given up."""
    reply = Reply()
    place = urlsplit(url)
    began = time.perf_counter()
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(patience):
            reader, writer = await asyncio.open_connection(place.hostname, place.port)
            writer.write(post_bytes(json.dumps({**body, "stream": True}).encode()))
            reply.status = int((await reader.readline()).split()[1])
            while await reader.readline() not in (b"\r\n", b""):
                pass
            async for line in reader:  # lengths of chunks stand in lines of their own, and are passed over
                if line.startswith(b"data: {"):
                    _note(reply, json.loads(line[6:]), time.perf_counter() - began)
    except (OSError, ValueError, IndexError) as error:
        reply.error = f"{type(error).__name__}: {error}"
    finally:
        if writer is not None:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
    reply.seconds = time.perf_counter() - began
    return reply


def _note(reply: Reply, event: Mapping[str, Any], seconds: float) -> None:
    if "error" in event:
        reply.error = str(event["error"])
        return
    for choice in event.get("choices", ()):
        if choice["text"]:
            reply.times.append(seconds)
            reply.text += choice["text"]
        reply.finish_reason = choice.get("finish_reason") or reply.finish_reason


def start_server(command: Sequence[str], url: str, patience: float = 120.0) -> subprocess.Popen[bytes]:
    """Starts a server and waits until it lists its models. Raises RuntimeError where it never does."""
    with tempfile.TemporaryFile() as said:  # not a pipe, which nobody would empty
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said, env={**os.environ})
        end = time.monotonic() + patience
        while time.monotonic() < end and process.poll() is None:
            with suppress(OSError), urlopen(f"{url}/v1/models", timeout=5):
                return process
            time.sleep(0.2)
        process.kill()
        said.seek(0)
        reason = said.read().decode(errors="replace").strip()[-1000:]
    raise RuntimeError(f"no server came up: {' '.join(command)}\n{reason}")


def stop_server(process: subprocess.Popen[bytes]) -> None:
    """Ends a server; waits for it."""
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def finish_soak(process: subprocess.Popen[bytes], run: Callable[[], Sequence[str]], wrong: list[str]) -> NoReturn:
    """Runs a soak of a server and ends the server; prints what was found and, counted, what went wrong.

    run: the soak; its report's lines. wrong: descriptions of failures, which `run` adds to; exit code 1 for any.
    """
    try:
        lines = run()
        if process.poll() is not None:
            wrong.append(f"the server ended with {process.returncode}")
    finally:
        stop_server(process)
    print("\n".join(lines))
    for line, count in Counter(wrong).most_common(20):
        print(f"WRONG ({count}): {line}")
    sys.exit(1 if wrong else 0)


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that so many per cent of all do not exceed; not-a-number of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else float("nan")
