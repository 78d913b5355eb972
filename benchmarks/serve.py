"""A load on `lutmac serve` and, in turns, on llama-cpp-python's server: throughput and latencies as clients see them.

So many clients at once send one request after the other, each with a prompt of its own behind a common beginning. A
token is an event of the stream that holds text.

Example: python benchmarks/serve.py model.gguf --clients 1,8 --peer-python .venv/bin/python
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from dataclasses import asdict, dataclass

from http_load import Reply, complete, percentile, start_server, stop_server

BEGINNING = (
    "This is a long story about a small village by the sea, its harbour, its people, and the boats that left it "
    "each morning before the sun had risen. "
)
TOPICS = ("the fisherman", "the baker", "the old lighthouse", "a storm in autumn", "the school", "the ferry", "a dog")


@dataclass
class Figures:
    """Of one round: tokens per second of all clients together; milliseconds.

    load: seconds of CPU that this program took in a second.
    """

    tokens_per_second: float
    first_p50: float
    first_p95: float
    between_p50: float
    between_p95: float
    load: float
    failed: int


async def client(url: str, place: int, requests: int, tokens: int, end: float) -> list[Reply]:
    """One client's requests, one after the other; what runs at the end (of `time.monotonic`) is given up."""
    replies = []
    for number in range(requests):
        if time.monotonic() > end:
            break
        topic = TOPICS[(place + number) % len(TOPICS)]
        prompt = f"{BEGINNING}Chapter {place * requests + number + 1} tells of {topic}. Once upon a time"
        body = {"prompt": prompt, "max_tokens": tokens, "temperature": 0.0}
        replies.append(await complete(url, body, max(0.0, end - time.monotonic())))
    return replies


async def round_of(url: str, clients: int, requests: int, tokens: int, longest: float) -> Figures:
    """All clients at once; what they saw together. longest: seconds that it may take."""
    began, worked = time.perf_counter(), time.process_time()
    end = time.monotonic() + longest
    lists = await asyncio.gather(*(client(url, place, requests, tokens, end) for place in range(clients)))
    seconds = time.perf_counter() - began
    worked = time.process_time() - worked
    replies = [reply for one in lists for reply in one]
    good = [reply for reply in replies if reply.status == 200 and reply.times and reply.error is None]
    first = [1000 * reply.times[0] for reply in good]
    between = [1000 * gap for reply in good for gap in reply.gaps]
    return Figures(
        tokens_per_second=sum(len(reply.times) for reply in replies) / seconds,
        first_p50=percentile(first, 50),
        first_p95=percentile(first, 95),
        between_p50=percentile(between, 50),
        between_p95=percentile(between, 95),
        load=worked / seconds,
        failed=len(replies) - len(good),
    )


def commands(options: argparse.Namespace) -> dict[str, tuple[list[str], str]]:
    """Name, command and address of the servers."""
    port, threads = options.port, str(options.threads)
    own = [sys.executable, "-m", "lutmac.cli.main", "serve", options.model, "--threads", threads, "--log", "off"]
    servers = {"lutmac": ([*own, "--port", str(port)], f"http://127.0.0.1:{port}")}
    if options.ray:
        replica = ["--ray", "--replicas", "1", "--port", str(port + 2)]
        servers["lutmac --ray"] = ([*own, *replica], f"http://127.0.0.1:{port + 2}")
    if options.peer_python:
        servers["llama.cpp"] = (
            [options.peer_python, "-m", "llama_cpp.server", "--model", options.model, "--port", str(port + 1),
             "--n_threads", threads, "--n_threads_batch", threads, "--n_ctx", "2048", "--interrupt_requests", "False"],
            f"http://127.0.0.1:{port + 1}",
        )  # fmt: skip
    return servers


def median_of(rounds: list[Figures]) -> Figures:
    """Each figure's median."""
    lists = [asdict(one) for one in rounds]
    return Figures(**{name: statistics.median(one[name] for one in lists) for name in lists[0]})


def measure(options: argparse.Namespace) -> dict[str, dict[int, Figures]]:
    """Figures by server and number of clients; the servers take turns, and each round is reported when it ends."""
    servers = commands(options)
    counts = [int(count) for count in options.clients.split(",")]
    longest = options.seconds / (len(counts) * options.repeat * len(servers))
    running = []
    try:
        for command, url in servers.values():
            running.append(start_server(command, url))
            asyncio.run(round_of(url, 1, 1, 8, longest))  # what the first request has to set up
        found: dict[str, dict[int, list[Figures]]] = {name: {} for name in servers}
        for clients in counts:
            for _ in range(options.repeat):
                for name, (_, url) in servers.items():
                    figures = asyncio.run(round_of(url, clients, options.requests, options.tokens, longest))
                    found[name].setdefault(clients, []).append(figures)
                    print(row(name, clients, figures), file=sys.stderr, flush=True)
    finally:
        for process in running:
            stop_server(process)
    return {name: {clients: median_of(rounds) for clients, rounds in by.items()} for name, by in found.items()}


def row(name: str, clients: int, one: Figures) -> str:
    """A line of the table."""
    return (
        f"| {clients} | {name} | {one.tokens_per_second:.1f} | {one.first_p50:.0f}, {one.first_p95:.0f} "
        f"| {one.between_p50:.1f}, {one.between_p95:.1f} | {100 * one.load:.0f}% | {one.failed:.0f} |"
    )


def markdown(found: dict[str, dict[int, Figures]]) -> str:
    """A row per server and number of clients."""
    lines = [
        "| clients | server | tokens/s | first token p50, p95, ms | between tokens, ms | load's CPU | failed |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for clients in next(iter(found.values())):
        lines += [row(name, clients, by[clients]) for name, by in found.items()]
    return "\n".join(lines)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a GGUF file")
    parser.add_argument("--peer-python", help="an interpreter that has llama-cpp-python[server]")
    parser.add_argument("--ray", action="store_true", help="also `lutmac serve --ray` with one replica")
    parser.add_argument("--clients", default="1,8", help="how many at once")
    parser.add_argument("--requests", type=int, default=3, help="of each client, one after the other")
    parser.add_argument("--tokens", type=int, default=64, help="of a reply")
    parser.add_argument("--threads", type=int, default=2, help="of the servers")
    parser.add_argument("--repeat", type=int, default=3, help="rounds; figures are their medians")
    parser.add_argument(
        "--seconds",
        type=float,
        default=240.0,
        help="of all rounds at most; what runs then has failed",
    )
    parser.add_argument("--port", type=int, default=8310, help="and the next two, for the others")
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON object")
    options = parser.parse_args()
    found = measure(options)
    if options.json:
        print(json.dumps({name: {n: asdict(one) for n, one in by.items()} for name, by in found.items()}, indent=2))
    else:
        print(markdown(found))


if __name__ == "__main__":
    main()
