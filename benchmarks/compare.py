"""lutmac against llama.cpp at every bit width: the README's table, from models that this script makes itself.

Both run the same shapes with random weights: llama.cpp from a GGUF file of random blocks with sane scales, written here
and deleted after its row; lutmac from the weights of `lutmac bench --synthetic`. Embedding and head have about 6 bits
on both sides. The row `1.5B-Q4_K_M` is one file of Qwen2.5-Coder-1.5B's shape in Q4_K_M's mix, which both read. Decode
with one thread and more, prefill of 256 tokens with each, in turns.

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

import lutmac
from lutmac import _native
from lutmac.cli.benchmark import measure_all
from lutmac.cli.engine_contestant import EngineContestant
from lutmac.cli.llama_cpp_peer import LlamaCpp, check_installed
from lutmac.cli.measure import Plan, Rates
from lutmac.engine.measuring.synthetic import SyntheticSpec, make_synthetic
from lutmac.engine.running.engine import Engine
from lutmac.errors import LutmacError
from lutmac.lowbit.target import resolve_target
from random_gguf import TYPES, write_llama, write_qwen_coder_1_5b


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


FILE_ROW = "1.5B-Q4_K_M"
ROW_NAMES = (*(row.name for row in ROWS), FILE_ROW)


def compare(row: Row, options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """One entry for each of the row's peers."""
    spec = SyntheticSpec(options.shape, row.bits, row.group_size, layers=options.layers, ternary=row.ternary)
    counts = [int(part) for part in options.threads.split(",")]
    plan = Plan(options.prompt, options.decode, 0, options.repeat)
    target = resolve_target(None)
    model = make_synthetic(spec, target=target, threads=max(counts), context=plan.longest_sequence)
    own = Own(model.engine, target, spec.config.num_hidden_layers, model.bytes_per_token)
    entries = []
    for name in row.peers:
        path = folder / f"{name}.gguf"
        print(f"{row.name} against {name}: writing the file", file=sys.stderr)
        write_llama(path, spec.config, TYPES[name])
        entries.append(measured(row.name, name, own, path, counts, plan))
        path.unlink()
    return entries


def compare_file(options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """The entry of the file that both read."""
    counts = [int(part) for part in options.threads.split(",")]
    plan = Plan(options.prompt, options.decode, 0, options.repeat)
    path, layers = folder / "qwen2.5-coder-1.5b-q4_k_m.gguf", options.layers or 28
    print(f"{FILE_ROW}: writing the file", file=sys.stderr)
    write_qwen_coder_1_5b(path, layers)
    model = lutmac.load(path, threads=max(counts), context=plan.longest_sequence)
    info = model.info()
    return [measured(FILE_ROW, "Q4_K_M", Own(model.engine, info.isa, layers, info.bytes_per_token), path, counts, plan)]


@dataclass(frozen=True)
class Own:
    """lutmac's model of a row. bytes_per_token: of weights."""

    engine: Engine
    isa: str
    layers: int
    bytes_per_token: int


def measured(row: str, peer_name: str, own: Own, path: Path, counts: list[int], plan: Plan) -> dict[str, Any]:
    """Both engines in turns. path: llama.cpp's file."""
    peer = LlamaCpp(path, plan.longest_sequence)
    try:
        print(f"{row} against {peer_name}: measuring", file=sys.stderr)
        rates, memory = measure_all([EngineContestant(own.engine), peer], counts, plan, lambda done, total, what: None)
    finally:
        peer.close()
    return {
        "row": row,
        "peer": peer_name,
        "version": peer.version,
        "isa": own.isa,
        "layers": own.layers,
        "bytes_per_token": own.bytes_per_token,
        "peer_file_bytes": path.stat().st_size,
        "memory_read_bytes_per_second": memory,
        "rates": [rate_entry(rate, own.bytes_per_token, memory) for rate in rates],
    }


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
    parser.add_argument(
        "--shape",
        default="llama-2-7b",
        help="a shape of `lutmac bench --synthetic`, columns of 256s; of all rows but the last",
    )
    parser.add_argument("--rows", default=",".join(ROW_NAMES), help=f"which of {', '.join(ROW_NAMES)}")
    parser.add_argument("--layers", type=int, help="fewer layers than the shape has, to save time")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--prompt", type=int, default=256)
    parser.add_argument("--decode", type=int, default=16)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the files are written; default: the system's")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args()
    wanted = options.rows.split(",")
    if unknown := [name for name in wanted if name not in ROW_NAMES]:
        parser.error(f"no row is called {unknown[0]!r}; there are {', '.join(ROW_NAMES)}")
    entries: list[dict[str, Any]] = []
    try:
        check_installed()
        if options.folder:
            options.folder.mkdir(parents=True, exist_ok=True)
        for name in (name for name in ROW_NAMES if name in wanted):
            row = next((row for row in ROWS if row.name == name), None)
            with tempfile.TemporaryDirectory(dir=options.folder) as folder:
                entries += compare_file(options, Path(folder)) if row is None else compare(row, options, Path(folder))
            gc.collect()
            if options.json:
                options.json.write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")
    except LutmacError as error:
        sys.exit(f"compare.py: error: {error}")
    print(markdown(entries))
    print(f"\npeak memory: {_native.peak_resident_bytes() / 1e9:.1f} GB; {entries[0]['version'] if entries else ''}")


if __name__ == "__main__":
    main()
