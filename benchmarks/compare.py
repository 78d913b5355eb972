"""lutmac against llama.cpp at every bit width: the README's table, from models that this script makes itself.

Both run the same shapes with random weights: llama.cpp from a GGUF file of random blocks with sane scales, written here
and deleted after its row; lutmac from the weights of `lutmac bench --synthetic`. Embedding and head have about 6 bits
on both sides. Decode with one thread and more, prefill of 256 tokens with each, in turns.

Example: python benchmarks/compare.py --rows 2-bit,3-bit --layers 8 --threads 1,2 --json compare.json
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lutmac import _native
from lutmac.cli.benchmark import measure_all
from lutmac.cli.engine_contestant import EngineContestant
from lutmac.cli.llama_cpp_peer import LlamaCpp, check_installed
from lutmac.cli.measure import Plan, Rates
from lutmac.engine.measuring.synthetic import SyntheticSpec, make_synthetic
from lutmac.errors import LutmacError
from lutmac.lowbit.target import resolve_target
from random_gguf import TYPES, write_llama


@dataclass(frozen=True)
class Row:
    """What is compared: one kind of lutmac's weights with some types of llama.cpp's."""

    name: str
    bits: int
    group_size: int
    peers: tuple[str, ...]
    ternary: bool = False


ROWS = (
    Row("4-bit", 4, 32, ("Q4_0",)),
    Row("3-bit", 3, 128, ("Q3_K",)),
    Row("2-bit", 2, 128, ("Q2_K",)),
    Row("ternary", 2, 0, ("TQ2_0", "TQ1_0"), ternary=True),
    Row("1-bit", 1, 128, ("Q1_0",)),
)


def compare(row: Row, options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """One entry for each of the row's peers."""
    spec = SyntheticSpec(options.shape, row.bits, row.group_size, layers=options.layers, ternary=row.ternary)
    counts = [int(part) for part in options.threads.split(",")]
    plan = Plan(options.prompt, options.decode, 0, options.repeat)
    target = resolve_target(None)
    model = make_synthetic(spec, target=target, threads=max(counts), context=plan.longest_sequence)
    own = EngineContestant(model.engine)
    entries = []
    for name in row.peers:
        path = folder / f"{name}.gguf"
        print(f"{row.name} against {name}: writing the file", file=sys.stderr)
        write_llama(path, spec.config, TYPES[name])
        peer = LlamaCpp(path, plan.longest_sequence)
        try:
            print(f"{row.name} against {name}: measuring", file=sys.stderr)
            rates, memory = measure_all([own, peer], counts, plan, lambda done, total, what: None)
        finally:
            peer.close()
            size = path.stat().st_size
            path.unlink()
        entries.append(
            {
                "row": row.name,
                "peer": name,
                "version": peer.version,
                "isa": target,
                "layers": spec.config.num_hidden_layers,
                "bytes_per_token": model.bytes_per_token,
                "peer_file_bytes": size,
                "memory_read_bytes_per_second": memory,
                "rates": [rate_entry(rate, model.bytes_per_token, memory) for rate in rates],
            }
        )
    return entries


def rate_entry(rates: Rates, nbytes: int, memory: dict[int, float]) -> dict[str, Any]:
    """One engine, phase and thread count; the fraction of the memory's rate is lutmac's, of weights."""
    entry: dict[str, Any] = {
        "engine": rates.engine,
        "phase": rates.phase,
        "threads": rates.threads,
        "tokens_per_second": rates.median,
        "samples": rates.samples,
        "core_seconds_per_token": rates.core_seconds_per_token,
    }
    if rates.engine == "lutmac" and rates.phase == "decode":
        entry["fraction_of_memory_read"] = rates.median * nbytes / memory[rates.threads]
    return entry


def markdown(entries: list[dict[str, Any]]) -> str:
    """The table."""
    lines = [
        "| weights | phase | threads | lutmac, tok/s | of memory | llama.cpp | tok/s | ratio | core-seconds, ratio |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for entry in entries:
        found = {(r["engine"], r["phase"], r["threads"]): r for r in entry["rates"]}
        for (engine, phase, threads), own in found.items():
            if engine != "lutmac":
                continue
            peer = found["llama.cpp", phase, threads]
            fraction = f"{own['fraction_of_memory_read']:.0%}" if phase == "decode" else ""
            speed, other = own["tokens_per_second"], peer["tokens_per_second"]
            cores = own["core_seconds_per_token"] / peer["core_seconds_per_token"]
            lines.append(
                f"| {entry['row']} | {phase} | {threads} | {speed:.2f} | {fraction} | {entry['peer']} | {other:.2f} "
                f"| {speed / other:.2f} | {cores:.2f} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Every row in turn; the table on stdout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", default="llama-2-7b", help="a shape of `lutmac bench --synthetic`, columns of 256s")
    parser.add_argument("--rows", default=",".join(row.name for row in ROWS), help="which rows, by name")
    parser.add_argument("--layers", type=int, help="fewer layers than the shape has, to save time")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--prompt", type=int, default=256)
    parser.add_argument("--decode", type=int, default=16)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the files are written; default: the system's")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args()
    wanted = options.rows.split(",")
    entries: list[dict[str, Any]] = []
    try:
        check_installed()
        if options.folder:
            options.folder.mkdir(parents=True, exist_ok=True)
        for row in (row for row in ROWS if row.name in wanted):
            with tempfile.TemporaryDirectory(dir=options.folder) as folder:
                entries += compare(row, options, Path(folder))
            gc.collect()
            if options.json:
                options.json.write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")
    except LutmacError as error:
        sys.exit(f"compare.py: error: {error}")
    print(markdown(entries))
    print(f"\npeak memory: {_native.peak_resident_bytes() / 1e9:.1f} GB; {entries[0]['version'] if entries else ''}")


if __name__ == "__main__":
    main()
