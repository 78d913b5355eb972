"""Several models behind one `lutmac serve` that have no room together: loaded and unloaded all the time, nothing lost.

Clients ask now this model, now that, in streams and whole; each reply has to be the one that the same prompt got in the
beginning. There is memory for the larger model alone, so that each change of the model unloads the other; now and then
a client goes in the middle, has a model unloaded, or asks for one that does not exist. Exit code 1 where the server
dies, a reply differs or is lost, there were fewer loads than wanted, or memory is not back to where it was.

Example: python benchmarks/soak_models.py smollm2 qwen.gguf --seconds 600 --loads 100
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from http_load import complete, finish_soak, start_server
from lutmac.engine.forecast import forecast

PROMPTS = [f"Letter {number}. Dear friend, since you asked about the number {number}, I" for number in range(6)]
CONTEXT = 1024
PARTS = 4  # after each of which all models are unloaded and memory is looked at
# Bytes by which memory may grow in the last part, and from the end of the first part on. Python's heap keeps arenas in
# which an object is left; later loads find room in them, so that it grows less and less.
MAX_LAST_GROWTH, MAX_GROWTH = 16 << 20, 64 << 20
STAY_SECONDS = (0.5, 4.0)  # for which a client stays with a model


@dataclass
class Soak:
    """What has been seen so far. expected: the reply to each prompt of each model. wrong: descriptions of failures."""

    url: str
    models: list[str]
    tokens: int
    end: float = 0.0
    expected: dict[tuple[str, str], str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    slowest: float = 0.0

    @property
    def going(self) -> bool:
        """Whether there is time left."""
        return time.monotonic() < self.end

    def body(self, model: str, prompt: str) -> dict[str, Any]:
        """The request for a prompt."""
        return {"model": model, "prompt": prompt, "max_tokens": self.tokens, "temperature": 0.0}

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
        """Status and value of a small request."""
        data = None if body is None else json.dumps(body).encode()
        request = Request(f"{self.url}{path}", data, {"Content-Type": "application/json"}, method=method)
        try:
            with urlopen(request, timeout=60) as reply:
                return reply.status, json.load(reply)
        except HTTPError as error:
            return error.code, json.load(error)


async def ask(soak: Soak, model: str, prompt: str) -> None:
    """One request, which has to be answered as before."""
    reply = await complete(soak.url, soak.body(model, prompt))
    soak.slowest = max(soak.slowest, reply.seconds)
    if reply.status == 429:
        soak.counts["refused"] += 1
    elif reply.status != 200 or reply.error or reply.finish_reason is None:
        soak.wrong.append(f"lost: status {reply.status}, {reply.error}, after {len(reply.times)} tokens")
    elif reply.text != soak.expected[model, prompt]:
        soak.wrong.append(f"mixed up: {reply.text!r} for {prompt!r} of {model}")
    else:
        soak.counts["right"] += 1


async def client(soak: Soak, draw: random.Random) -> None:
    """Stays with a model for a while, and does now and then what clients do."""
    while soak.going:
        model, leave = draw.choice(soak.models), time.monotonic() + draw.uniform(*STAY_SECONDS)
        while soak.going and time.monotonic() < leave:
            chance = draw.random()
            if chance < 0.05:
                body = {**soak.body(model, draw.choice(PROMPTS)), "max_tokens": 500, "ignore_eos": True}
                try:
                    await complete(soak.url, body, draw.uniform(0.01, 1.5))
                except TimeoutError:
                    soak.counts["hung up"] += 1
            elif chance < 0.08:
                status, _ = await asyncio.to_thread(soak.call, "POST", "/models/unload", {"model": model})
                soak.counts[f"unload {status}"] += 1
            elif chance < 0.11:
                status, _ = await asyncio.to_thread(soak.call, "POST", "/v1/completions", soak.body("none", "A"))
                soak.counts[f"unknown {status}"] += 1
            else:
                await ask(soak, model, draw.choice(PROMPTS))


def memory_of(pid: int) -> int:
    """Resident bytes of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def loads(soak: Soak) -> int:
    """How often models have been loaded."""
    with urlopen(f"{soak.url}/metrics") as reply:
        lines = reply.read().decode().splitlines()
    return round(sum(float(line.split()[-1]) for line in lines if line.startswith("lutmac_model_loads_total{")))


async def watch(soak: Soak, pid: int, seen: list[int]) -> None:
    """Notes the server's memory every half second."""
    while soak.going:
        seen.append(memory_of(pid))
        await asyncio.sleep(0.5)


async def empty(soak: Soak, pid: int) -> int:
    """Has all models unloaded; the memory that is left."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        for model in soak.models:
            await asyncio.to_thread(soak.call, "POST", "/models/unload", {"model": model})
        await asyncio.sleep(0.5)
        _, health = await asyncio.to_thread(soak.call, "GET", "/health")
        if all(model["value"] == "unloaded" for model in health["models"]):
            await asyncio.sleep(2.0)  # for requests' own memory
            return memory_of(pid)
    soak.wrong.append("models are not unloaded")
    return memory_of(pid)


async def run(soak: Soak, pid: int, seconds: float, clients: int, wanted: int) -> list[str]:
    """The whole test; the report's lines."""
    for model in soak.models:
        for prompt in PROMPTS:
            soak.expected[model, prompt] = (await complete(soak.url, soak.body(model, prompt))).text
    cold, loads_before, seen = await empty(soak, pid), loads(soak), list[int]()
    draws = [random.Random(place) for place in range(clients)]
    left: list[int] = []
    for _ in range(PARTS):
        soak.end = time.monotonic() + seconds / PARTS
        await asyncio.gather(watch(soak, pid, seen), *(client(soak, draw) for draw in draws))
        left.append(await empty(soak, pid))
    loaded, parts = loads(soak) - loads_before, ", ".join(str(nbytes >> 20) for nbytes in left)
    if left[-1] - left[-2] > MAX_LAST_GROWTH or left[-1] - left[0] > MAX_GROWTH:
        soak.wrong.append(f"memory with nothing loaded grew: {parts} MiB")
    if loaded < wanted:
        soak.wrong.append(f"models were loaded {loaded} times, {wanted} were wanted")
    return [
        ", ".join(f"{name} {count}" for name, count in sorted(soak.counts.items())),
        f"{loaded} loads in {seconds:.0f} s; the slowest reply took {soak.slowest:.1f} s",
        f"memory with nothing loaded, MiB: {cold >> 20} at first, then {parts}; with models {max(seen) >> 20} at most",
    ]


def main() -> None:
    """Runs and reports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="GGUF files, or names")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--loads", type=int, default=100, help="so many are wanted")
    parser.add_argument("--tokens", type=int, default=16, help="of a reply")
    parser.add_argument("--threads", default="2")
    parser.add_argument("--port", type=int, default=8340)
    options = parser.parse_args()
    url = f"http://127.0.0.1:{options.port}"
    found = [forecast(model, context=CONTEXT) for model in options.models]
    room = max(one.model_bytes + 4 * one.cache_least for one in found)
    command = [
        *(sys.executable, "-m", "lutmac.cli.main", "serve", *options.models, "--port", str(options.port)),
        *("--threads", options.threads, "--context", str(CONTEXT), "--memory", str(room), "--log", "off"),
    ]
    process = start_server(command, url)
    soak = Soak(url, [], options.tokens)

    def run_it() -> list[str]:
        soak.models = [model["id"] for model in soak.call("GET", "/v1/models")[1]["data"]]
        return asyncio.run(run(soak, process.pid, options.seconds, options.clients, options.loads))

    finish_soak(process, run_it, soak.wrong)


if __name__ == "__main__":
    main()
