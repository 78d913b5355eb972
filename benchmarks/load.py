"""Time and memory that loading a GGUF file takes, packing included, from the page cache.

The file is a Llama-2 7B of random weights in each of the types, written here and deleted after: 4.0 GB in Q4_K. Every
load is a process of its own. "read" is a plain read of the file by as many threads, for comparison: the least that any
loading takes.

Example: python benchmarks/load.py --types Q4_K,Q4_0 --threads 1,2 --repeat 3
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import lutmac
from lutmac import _native
from lutmac.engine.measuring.synthetic import SHAPES
from random_gguf import TYPES, write_llama

PIECE = 8 << 20


def load_once(path: Path, threads: int) -> dict[str, Any]:
    """Loads the file in this process."""
    before, cores_before = time.perf_counter(), time.process_time()
    model = lutmac.load(path, threads=threads)
    return {
        "seconds": time.perf_counter() - before,
        "core_seconds": time.process_time() - cores_before,
        "weight_bytes": model.info().weight_bytes,
        "peak_bytes": _native.peak_resident_bytes(),
    }


def read_once(path: Path, threads: int) -> float:
    """Seconds to read the file into a buffer for each thread."""
    size = path.stat().st_size
    share = -(-size // threads)

    def read(index: int) -> None:
        buffer = memoryview(bytearray(PIECE))
        with path.open("rb", buffering=0) as file:
            file.seek(index * share)
            left = min(share, size - index * share)
            while left > 0:
                left -= file.readinto(buffer[:left]) or left

    before = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(read, range(threads)))
    return time.perf_counter() - before


def measure(path: Path, threads: int, repeat: int) -> dict[str, Any]:
    """Medians of so many loads and reads, in turns."""
    loads, reads = [], []
    for _ in range(repeat):
        reads.append(read_once(path, threads))
        command = [sys.executable, __file__, "--load", str(path), "--threads", str(threads)]
        loads.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    return {
        "threads": threads,
        "file_bytes": path.stat().st_size,
        "weight_bytes": loads[0]["weight_bytes"],
        "seconds": statistics.median(load["seconds"] for load in loads),
        "core_seconds": statistics.median(load["core_seconds"] for load in loads),
        "best_seconds": min(load["seconds"] for load in loads),
        "read_seconds": statistics.median(reads),
        "peak_bytes": max(load["peak_bytes"] for load in loads),
    }


def main() -> None:
    """Every type in turn; the table on stdout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", default="llama-2-7b", help="a shape of `lutmac bench --synthetic`, columns of 256s")
    parser.add_argument("--types", default="Q4_K", help=f"tensor types of the layers, among {', '.join(TYPES)}")
    parser.add_argument("--layers", type=int, help="fewer layers than the shape has, to save time")
    parser.add_argument("--threads", default="2")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the files are written; default: the system's")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--load", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.load:
        print(json.dumps(load_once(options.load, int(options.threads))))
        return
    config = SHAPES[options.shape].config
    config = replace(config, num_hidden_layers=options.layers or config.num_hidden_layers)
    entries = []
    print("| type | file | threads | load | best | core-seconds | read | packed | peak memory / packed |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for name in options.types.split(","):
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            path = Path(folder, "model.gguf")
            write_llama(path, config, TYPES[name], vocabulary=True)
            os.sync()  # so that writing back does not compete with loading
            for threads in map(int, options.threads.split(",")):
                entry = {"type": name, **measure(path, threads, options.repeat)}
                entries.append(entry)
                print(
                    f"| {name} | {entry['file_bytes'] / 1e9:.2f} GB | {threads} | {entry['seconds']:.2f} s "
                    f"| {entry['best_seconds']:.2f} s | {entry['core_seconds']:.2f} | {entry['read_seconds']:.2f} s "
                    f"| {entry['weight_bytes'] / 1e9:.2f} GB | {entry['peak_bytes'] / entry['weight_bytes']:.3f} |",
                    flush=True,
                )
    if options.json:
        options.json.write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
