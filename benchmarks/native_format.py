"""The native format against the file it was made of: time to be ready, memory, and decode from the mapping.

Each figure is a process of its own, in turns. "ready" is from the call of `lutmac.load` to a model that takes a prompt,
the file in the page cache. "decode" is tokens per second of one stream; the weights are the same, once in memory of the
process on huge pages, once mapped from the file.

Example: python benchmarks/native_format.py MODEL.gguf --threads 2 --repeat 5
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

CHILD = """
import json, sys, time
import lutmac
from lutmac import _native
path, threads, tokens = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
began = time.perf_counter()
model = lutmac.load(path, threads=threads)
ready = time.perf_counter() - began
model.generate([1, 2, 3], max_tokens=4, temperature=0)
began = time.perf_counter()
done = model.generate([1, 2, 3], max_tokens=tokens, temperature=0)
seconds = time.perf_counter() - began
print(json.dumps({"ready": ready, "decode": len(done.token_ids) / seconds, "peak": _native.peak_resident_bytes()}))
"""


def run(path: Path, threads: int, tokens: int) -> dict[str, float]:
    """One process: seconds until ready, tokens per second, peak resident bytes."""
    command = [sys.executable, "-c", CHILD, str(path), str(threads), str(tokens)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def main() -> None:
    """Converts the model, measures both in turns, prints a table or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--native", type=Path, help="converted already; default: converted into a temporary directory")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        native = arguments.native
        if native is None:
            native = Path(folder) / "native"
            command = [sys.executable, "-m", "lutmac.cli.main", "convert", str(arguments.model), str(native)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        figures: dict[str, list[dict[str, float]]] = {"source": [], "native": []}
        for _ in range(arguments.repeat):
            for name, path in (("source", arguments.model), ("native", native)):
                figures[name].append(run(path, arguments.threads, arguments.tokens))
    medians = {
        name: {key: statistics.median(one[key] for one in runs) for key in runs[0]} for name, runs in figures.items()
    }
    if arguments.json:
        print(json.dumps(medians, indent=2))
        return
    for name, found in medians.items():
        peak = found["peak"] / 1e6
        print(f"{name:8} ready in {found['ready']:.3f} s, {found['decode']:.2f} tokens/s, peak {peak:.0f} MB")
    ratios = [b["decode"] / a["decode"] for a, b in zip(figures["source"], figures["native"], strict=True)]
    print(f"decode from the mapping / from memory: {statistics.median(ratios):.3f}")


if __name__ == "__main__":
    main()
