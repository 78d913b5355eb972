"""What a small answer costs on a connection that is kept: GET /health/live, one request after the other.

Example: python benchmarks/keep_alive.py smollm2
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import sys
import time

from http_load import percentile, start_server, stop_server

MOST_MILLISECONDS = 3.0  # at the median; Nagle's algorithm and delayed acknowledgements together take 40


def measure(port: int, requests: int) -> list[float]:
    """Milliseconds of each request."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    found = []
    for _ in range(requests):
        began = time.perf_counter()
        connection.request("GET", "/health/live")
        connection.getresponse().read()
        found.append(1000 * (time.perf_counter() - began))
    connection.close()
    return found


def main() -> None:
    """Measures and prints; status 1 where the median is too high."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a GGUF file, or the name of a model")
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--port", type=int, default=8330)
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON object")
    options = parser.parse_args()
    command = [sys.executable, "-m", "lutmac.cli.main", "serve", options.model, "--port", str(options.port)]
    process = start_server([*command, "--log", "off"], f"http://127.0.0.1:{options.port}")
    try:
        measure(options.port, 20)  # what the first requests have to set up
        times = measure(options.port, options.requests)
    finally:
        stop_server(process)
    figures = {"median": statistics.median(times), "p95": percentile(times, 95), "worst": max(times)}
    if options.json:
        print(json.dumps(figures))
    else:
        print("GET /health/live, kept alive, ms: " + ", ".join(f"{name} {ms:.2f}" for name, ms in figures.items()))
    sys.exit(figures["median"] > MOST_MILLISECONDS)


if __name__ == "__main__":
    main()
