"""What a well-behaved client sees of a server while others send it what is wrong, huge or costly.

Each attack repeats until the client's requests are answered. Of these, the 95th percentile of the times to first token
is to be at most three times the median alone in the same run, none over two seconds; and half a minute later the
server's memory is to be within 200 MB of what it was before. Attackers are processes of low priority: they would be on
other machines. They have another address than the client, or with --same-address its own.

Example: python benchmarks/hostile.py smollm2 --json figures.json
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import os
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hostile_requests import CHAT, Attack, attacks
from http_load import percentile, start_server, stop_server

MOST_TIMES = 3.0  # the 95th percentile, of the median alone
MOST_SECONDS = 2.0
MOST_MEGABYTES = 200
MEMORY_SECONDS = 30.0
ALONE_BETWEEN = 10  # requests without an attack, before each
REQUEST = {"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 4, "temperature": 0, "stream": True}
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Target:
    """The server, and the address that its clients come from."""

    port: int
    pid: int
    attackers: str

    def resident(self) -> float:
        """Megabytes of memory."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * 4096 / 1e6


@dataclass
class Result:
    """What came of an attack. Times in seconds; memory in MB: more than before, when it is over and in the end.

    answers: statuses, and how often. longest: that an attacker waited for one.
    """

    name: str
    alone: float
    median: float
    p95: float
    worst: float
    answers: dict[str, int]
    longest: float
    memory_peak: float
    memory_end: float

    @property
    def wrong(self) -> list[str]:
        """What is beyond its bound."""
        bounds = {
            f"95th percentile {self.p95 / self.alone:.1f} times the median alone": self.p95 > MOST_TIMES * self.alone,
            f"worst {self.worst:.1f} s": self.worst > MOST_SECONDS,
            f"{self.memory_end:.0f} MB kept": self.memory_end > MOST_MEGABYTES,
            "answers of 500": any(status.startswith("5") for status in self.answers),
        }
        return [what for what, beyond in bounds.items() if beyond]


def first_token(port: int) -> float:
    """Seconds of one request up to its first text."""
    began = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("POST", CHAT, json.dumps(REQUEST), JSON)
    reply = connection.getresponse()
    if reply.status != 200:
        raise RuntimeError(f"the client was answered {reply.status}: {reply.read()[:200]!r}")
    found = 0.0
    for line in reply:
        if not found and line.startswith(b"data: {") and json.loads(line[6:])["choices"][0]["delta"].get("content"):
            found = time.perf_counter() - began
    connection.close()
    return found


def repeat(attack: Attack, target: Target, stop: Any, said: Any) -> None:
    """The attackers' process: sends the request again and again, from so many threads."""
    os.nice(10)
    answers: Counter[str] = Counter()
    longest = 0.0

    def run() -> None:
        nonlocal longest
        while not stop.is_set():
            began = time.perf_counter()
            status = send(attack, target)
            answers[status] += 1
            longest = max(longest, time.perf_counter() - began)

    threads = [threading.Thread(target=run, daemon=True) for _ in range(attack.clients)]
    for thread in threads:
        thread.start()
    stop.wait()
    for thread in threads:
        thread.join(5)
    said.send((dict(answers), longest))


def send(attack: Attack, target: Target) -> str:
    """Sends an attack once; the answer's status, or what went wrong."""
    try:
        source = (target.attackers, 0)
        connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=60, source_address=source)
        with suppress(BrokenPipeError, ConnectionResetError):  # it may answer before all is sent
            connection.request("POST", attack.path, attack.body, JSON)
        reply = connection.getresponse()
        reply.read()
        connection.close()
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__
    return str(reply.status)


def measure(attack: Attack, target: Target, requests: int, alone: list[float]) -> Result:
    """One attack. alone: times without any, to which more are added."""
    alone += [first_token(target.port) for _ in range(ALONE_BETWEEN)]
    before = peak = target.resident()
    stop = multiprocessing.Event()
    here, there = multiprocessing.Pipe()
    attackers = multiprocessing.Process(target=repeat, args=(attack, target, stop, there), daemon=True)
    attackers.start()
    time.sleep(0.3)  # the attack has begun
    times = []
    for _ in range(requests):
        times.append(first_token(target.port))
        peak = max(peak, target.resident())
    stop.set()
    answers, longest = here.recv()
    attackers.join(10)
    end = time.monotonic() + MEMORY_SECONDS
    while target.resident() - before > MOST_MEGABYTES and time.monotonic() < end:
        time.sleep(0.5)
    return Result(
        attack.name, statistics.median(alone), statistics.median(times), percentile(times, 95), max(times),
        answers, longest, peak - before, target.resident() - before,
    )  # fmt: skip


def fill(port: int, prompts: int) -> None:
    """Uses the key-value cache up: what is touched once stays in memory, and is no attack's doing."""
    for place in range(prompts):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=900)
        body = {"prompt": f"{place} " + "word " * 5600, "max_tokens": 1}
        connection.request("POST", "/v1/completions", json.dumps(body), JSON)
        connection.getresponse().read()
        connection.close()


def row(result: Result) -> str:
    """A line of the table."""
    answers = " ".join(f"{status}:{count}" for status, count in sorted(result.answers.items()))
    return (
        f"| {result.name} | {1000 * result.alone:.0f} | {1000 * result.median:.0f} | {1000 * result.p95:.0f} "
        f"| {1000 * result.worst:.0f} | {result.memory_peak:.0f}, {result.memory_end:.0f} | {answers} "
        f"| {result.longest:.1f} | {'; '.join(result.wrong)} |"
    )


def run(options: argparse.Namespace, chosen: Sequence[Attack]) -> list[Result]:
    """All attacks on one server; a row is printed when its attack is over."""
    command = [
        *(sys.executable, "-m", "lutmac.cli.main", "serve", options.model, "--port", str(options.port), "--log", "off"),
        *("--kv-cache-memory", options.kv_cache_memory),
    ]
    process = start_server(command, f"http://127.0.0.1:{options.port}")
    target = Target(options.port, process.pid, "127.0.0.1" if options.same_address else "127.0.0.2")
    results = []
    try:
        fill(options.port, options.fill)
        alone = [first_token(options.port) for _ in range(options.requests)]
        print("| attack | alone, ms | median | p95 | worst | memory, MB: peak, end | answers | longest, s | wrong |")
        print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
        for attack in chosen:
            results.append(measure(attack, target, options.requests, alone))
            print(row(results[-1]), flush=True)
            if process.poll() is not None:
                raise SystemExit(f"the server ended with {process.returncode}")
    finally:
        stop_server(process)
    return results


def main() -> None:
    """Measures and prints; status 1 where anything is beyond its bound."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a GGUF file, or the name of a model")
    parser.add_argument("--requests", type=int, default=50, help="of the well-behaved client during each attack")
    parser.add_argument("--only", help="attacks whose names hold this text")
    parser.add_argument("--same-address", action="store_true", help="attackers have the client's own address")
    parser.add_argument("--kv-cache-memory", default="256M")
    parser.add_argument("--fill", type=int, default=2, help="prompts of 5,600 tokens before all, to use that memory up")
    parser.add_argument("--port", type=int, default=8340)
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args()
    chosen = [attack for attack in attacks() if options.only is None or options.only in attack.name]
    results = run(options, chosen)
    if options.json:
        found = [{**asdict(result), "wrong": result.wrong} for result in results]
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    bad = [result for result in results if result.wrong]
    print(f"{len(results)} attacks, {len(bad)} beyond a bound", file=sys.stderr)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
