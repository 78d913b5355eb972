"""`lutmac serve` under twice the load it takes, with clients that misbehave: does it stay up, exact, lean and fast?

Well-behaved clients, twice as many as run and wait at once, ask again and again; each reply has to be the one that the
same prompt got when the server was alone, and each refusal a 429 that says when to come back. Beside them clients hang
up in mid-stream, send garbage, send slowly and never read. Exit code 1 where the server dies, a reply differs or is
lost, memory grows, or the server is slower in the end than in the beginning.

Example: python benchmarks/soak.py model.gguf --seconds 600
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import socket
import statistics
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

from http_load import complete, finish_soak, post_bytes, start_server

RUNNING = 16  # replies that the engine runs at once
WAITING = 16
CACHE = "64M"  # less than all ask for, so that replies give way to each other; used in full before long
PROMPTS = [f"Letter {number}. Dear friend, since you asked about the number {number}, I" for number in range(24)]
# Of the time, and at least so long; after that memory has to be flat. Until Python's first full collection, requests'
# garbage in cycles piles up: some 26 MiB.
WARM_SHARE, WARM_SECONDS = 0.25, 60
MAX_GROWTH = 1.05
MAX_SLOWDOWN = 1.25


@dataclass
class Soak:
    """What has been seen so far. expected: each prompt's reply on an idle server. wrong: descriptions of failures."""

    url: str
    tokens: int
    end: float
    expected: dict[str, str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def body(self, prompt: str) -> dict[str, object]:
        """The request for a prompt."""
        return {"prompt": prompt, "max_tokens": self.tokens, "temperature": 0.0}

    @property
    def going(self) -> bool:
        """Whether there is time left."""
        return time.monotonic() < self.end


async def behave(soak: Soak, draw: random.Random) -> None:
    """Asks, checks, comes back later where it is told so."""
    while soak.going:
        prompt = draw.choice(PROMPTS)
        reply = await complete(soak.url, soak.body(prompt))
        if reply.status == 429:
            soak.counts["refused"] += 1
            await asyncio.sleep(draw.uniform(0.2, 1.0))
        elif reply.status != 200 or reply.error or reply.finish_reason is None:
            soak.wrong.append(f"lost: status {reply.status}, {reply.error}, after {len(reply.times)} tokens")
        elif reply.text != soak.expected[prompt]:
            soak.wrong.append(f"mixed up: {reply.text!r} for {prompt!r}")
        else:
            soak.counts["right"] += 1


async def connect(soak: Soak) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to the server."""
    place = urlsplit(soak.url)
    return await asyncio.open_connection(place.hostname, place.port)


async def hang_up(soak: Soak, draw: random.Random) -> None:
    """Goes away in mid-stream."""
    reader, writer = await connect(soak)
    body = {**soak.body(draw.choice(PROMPTS)), "stream": True, "max_tokens": 500, "ignore_eos": True}
    writer.write(post_bytes(json.dumps(body).encode()))
    await reader.read(1)
    await asyncio.sleep(draw.uniform(0, 1))
    writer.close()


async def send_garbage(soak: Soak, draw: random.Random) -> None:
    """Sends bytes that are no HTTP, or bodies that are no request; each has to be told so."""
    reader, writer = await connect(soak)
    noise = draw.randbytes(draw.randrange(1, 2000))
    writer.write(noise + b"\r\n\r\n" if draw.random() < 0.5 else post_bytes(noise))
    status = (await reader.readline()).split()[1:2]
    if status not in ([b"400"], []):
        soak.wrong.append(f"garbage was answered with {status}")
    writer.close()


async def send_slowly(soak: Soak, draw: random.Random) -> None:
    """Sends a byte now and then, and never comes to the end."""
    _, writer = await connect(soak)
    for byte in post_bytes(b'{"prompt": "a"}', 1000)[: draw.randrange(20, 200)]:
        writer.write(bytes([byte]))
        await asyncio.sleep(0.05)
    writer.close()


async def never_read(soak: Soak, draw: random.Random) -> None:
    """Asks for a long stream and reads nothing of it; hardly anything fits between the two."""
    place, loop = urlsplit(soak.url), asyncio.get_running_loop()
    body = {**soak.body(draw.choice(PROMPTS)), "stream": True, "max_tokens": 500, "ignore_eos": True, "logprobs": 5}
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        connection.setblocking(False)
        await loop.sock_connect(connection, (place.hostname, place.port))
        await loop.sock_sendall(connection, post_bytes(json.dumps(body).encode()))
        await asyncio.sleep(draw.uniform(2, 10))


async def misbehave(soak: Soak, draw: random.Random, act: Callable[[Soak, random.Random], Awaitable[None]]) -> None:
    """Does so again and again."""
    while soak.going:
        with suppress(OSError):
            await act(soak, draw)
        soak.counts[act.__name__] += 1
        await asyncio.sleep(draw.uniform(0.1, 0.5))


async def watch(soak: Soak, pid: int, memory: list[int]) -> None:
    """Notes the server's memory every second, in MiB."""
    while soak.going:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        memory.append(pages * 4096 >> 20)
        await asyncio.sleep(1)


async def alone(soak: Soak) -> float:
    """Every prompt by itself; notes the replies. Returns tokens per second."""
    rates = []
    for prompt in PROMPTS:
        reply = await complete(soak.url, soak.body(prompt))
        if soak.expected.setdefault(prompt, reply.text) != reply.text:
            soak.wrong.append(f"after the load: {reply.text!r} for {prompt!r}")
        if len(reply.times) > 1:
            rates.append((len(reply.times) - 1) / (reply.times[-1] - reply.times[0]))
    return statistics.median(rates)


async def fill(soak: Soak) -> None:
    """Uses every page of the cache and as many threads as a load does: what is touched once stays in memory."""
    long = {"max_tokens": 192, "ignore_eos": True, "temperature": 0.0}
    replies = await asyncio.gather(*(complete(soak.url, {"prompt": text, **long}) for text in PROMPTS[:RUNNING]))
    if any(reply.status != 200 or reply.error for reply in replies):
        soak.wrong.append("not every reply came before the load")


async def idle(soak: Soak, seconds: float = 30.0) -> None:
    """Waits until nothing runs any more: whoever went away has to be noticed."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with await asyncio.to_thread(urlopen, f"{soak.url}/metrics") as reply:
            if "\nlutmac_requests_running 0.0" in reply.read().decode():
                return
        await asyncio.sleep(0.5)
    soak.wrong.append("replies run on though nobody is there")


async def run(soak: Soak, pid: int, seconds: float) -> list[str]:
    """The whole test; the report's lines."""
    await alone(soak)
    await fill(soak)
    before, memory = await alone(soak), list[int]()
    soak.end = time.monotonic() + seconds
    draws = [random.Random(place) for place in range(2 * (RUNNING + WAITING))]
    acts = (hang_up, send_garbage, send_slowly, never_read)
    await asyncio.gather(
        watch(soak, pid, memory),
        *(behave(soak, draw) for draw in draws),
        *(misbehave(soak, random.Random(place), acts[place % len(acts)]) for place in range(2 * len(acts))),
    )
    await idle(soak)
    after = await alone(soak)
    warm = memory[min(len(memory) - 1, max(int(len(memory) * WARM_SHARE), WARM_SECONDS))]
    if max(memory) > MAX_GROWTH * warm:
        soak.wrong.append(f"memory grew from {warm} to {max(memory)} MiB")
    if after * MAX_SLOWDOWN < before:
        soak.wrong.append("slower than in the beginning")
    tenths = [memory[len(memory) * tenth // 10] for tenth in range(10)]
    return [
        ", ".join(f"{name} {count}" for name, count in sorted(soak.counts.items())),
        f"memory, MiB: {warm} when warm, {memory[-1]} in the end, {max(memory)} at most; by tenths {tenths}",
        f"tokens per second of one client alone: {before:.1f} before, {after:.1f} after, ratio {after / before:.2f}",
    ]


def main() -> None:
    """Runs and reports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a GGUF file")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--tokens", type=int, default=32, help="of a reply")
    parser.add_argument("--threads", default="2")
    parser.add_argument("--port", type=int, default=8320)
    options = parser.parse_args()
    url = f"http://127.0.0.1:{options.port}"
    command = [
        *(sys.executable, "-m", "lutmac.cli.main", "serve", options.model, "--port", str(options.port), "--log", "off"),
        *("--threads", options.threads, "--max-queue", str(WAITING), "--context", "1024", "--kv-cache-memory", CACHE),
    ]
    process = start_server(command, url)
    soak = Soak(url, options.tokens, 0.0)
    finish_soak(process, lambda: asyncio.run(run(soak, process.pid, options.seconds)), soak.wrong)


if __name__ == "__main__":
    main()
