"""Two models behind one `lutmac serve`: what a client of one sees while a client of the other is there, too.

One client for each model sends one request after the other. They are measured alone and together, in turns; then the
first model's client beside long prompts to the second, each of which is new to the cache. Figures are medians over all
requests. Engines share the cores by time, so that together each model has half of its rate alone.

Example: python benchmarks/several_models.py smollm2 qwen.gguf
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from urllib.request import urlopen

from http_load import Reply, complete, start_server, stop_server

PROMPT = "Letter {number}. Dear friend, since you asked about the number {number}, I"
LONG = "The village lies by the sea. Chapter {number} tells of its harbour, its people, and the boats that left. "
LONG_TIMES = 150  # repetitions: some 3,500 tokens
TOKENS = 48  # of a reply


@dataclass
class Seen:
    """Of one client: seconds to the first token of each request, and tokens per second after it."""

    first: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)

    def note(self, reply: Reply) -> None:
        """Takes note of a reply. Raises RuntimeError where it failed."""
        if reply.status != 200 or reply.error or len(reply.times) < 2:
            raise RuntimeError(f"a request failed: status {reply.status}, {reply.error}")
        self.first.append(reply.times[0])
        self.rates.append((len(reply.times) - 1) / (reply.times[-1] - reply.times[0]))


@dataclass(frozen=True)
class Row:
    """Medians of one client: milliseconds to the first token, tokens per second, and their ratios to those alone."""

    case: str
    model: str
    first_ms: float
    rate: float
    first_ratio: float
    rate_ratio: float


async def client(url: str, model: str, seconds: float, seen: Seen, numbers: list[int]) -> None:
    """Asks for short replies until the time is over."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        body = {"model": model, "prompt": PROMPT.format(number=numbers.pop()), "max_tokens": TOKENS}
        seen.note(await complete(url, {**body, "temperature": 0.0, "ignore_eos": True}))


async def long_prompts(url: str, model: str, seconds: float, numbers: list[int]) -> None:
    """Sends long prompts, one after the other, until the time is over."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        body = {"model": model, "prompt": LONG.format(number=numbers.pop()) * LONG_TIMES, "max_tokens": 1}
        await complete(url, body, left)


async def measure(url: str, models: Sequence[str], rounds: int, seconds: float) -> list[Row]:
    """All cases in turns, so many times."""
    numbers = list(range(10_000))
    alone, together, beside = ({model: Seen() for model in models} for _ in range(3))
    for model in models:  # loads it
        await complete(url, {"model": model, "prompt": "A", "max_tokens": 8})
    for _ in range(rounds):
        for model in models:
            await client(url, model, seconds, alone[model], numbers)
        await asyncio.gather(*(client(url, model, seconds, together[model], numbers) for model in models))
        for model, other in (models, models[::-1]):
            await asyncio.gather(
                client(url, model, seconds, beside[model], numbers), long_prompts(url, other, seconds, numbers)
            )
    cases = (("alone", alone), ("both at once", together), ("beside long prompts to the other", beside))
    return [row(case, model, seen[model], alone[model]) for case, seen in cases for model in models]


def row(case: str, model: str, seen: Seen, alone: Seen) -> Row:
    """A row of the table."""
    first, rate = statistics.median(seen.first), statistics.median(seen.rates)
    first_ratio, rate_ratio = first / statistics.median(alone.first), rate / statistics.median(alone.rates)
    return Row(case, model, 1000 * first, rate, first_ratio, rate_ratio)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs=2, help="two GGUF files, or names")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each case in each round")
    parser.add_argument("--threads", default="2")
    parser.add_argument("--port", type=int, default=8330)
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON object")
    options = parser.parse_args()
    url = f"http://127.0.0.1:{options.port}"
    command = [sys.executable, "-m", "lutmac.cli.main", "serve", *options.models, "--threads", options.threads]
    process = start_server([*command, "--port", str(options.port), "--log", "off"], url)
    try:
        with urlopen(f"{url}/v1/models") as reply:
            names = [model["id"] for model in json.load(reply)["data"]]
        rows = asyncio.run(measure(url, names, options.rounds, options.seconds))
    finally:
        stop_server(process)
    if options.json:
        print(json.dumps([asdict(one) for one in rows], indent=2))
        return
    print("| one client of | and | first token, ms | of alone | tokens per second | of alone |")
    print("| --- | --- | --- | --- | --- | --- |")
    for one in rows:
        print(
            f"| {one.model} | {one.case} | {one.first_ms:.0f} | {one.first_ratio:.2f} "
            f"| {one.rate:.1f} | {one.rate_ratio:.2f} |"
        )


if __name__ == "__main__":
    main()
