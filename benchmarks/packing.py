"""How fast matrices of GGUF's types are packed, by one core: bytes of the checkpoint per second of user time.

Sources are in memory. What the system takes to hand out and clear memory is not counted: it is the machine's, and no
packing can change it.

Example: python benchmarks/packing.py --types Q4_K,Q6_K
"""

from __future__ import annotations

import argparse
import statistics
from resource import RUSAGE_SELF, getrusage

import numpy as np

from lutmac.checkpoints.gguf_types import as_matrix
from lutmac.lowbit.packing import Packer
from lutmac.lowbit.target import resolve_target
from random_gguf import TYPES, random_blocks

SHAPE = (4096, 11008)  # of Llama-2 7B


def user_seconds() -> float:
    """Of all threads so far."""
    return getrusage(RUSAGE_SELF).ru_utime


def pack_once(kind: str, source: np.ndarray, target: str) -> float:
    """Gigabytes of source per second."""
    packer = Packer(target=target, threads=1)
    packed = packer.add(as_matrix(kind, *SHAPE, source))
    before = user_seconds()
    packer.finish()
    seconds = user_seconds() - before
    assert packed.nbytes
    return source.nbytes / seconds / 1e9


def main() -> None:
    """Every type in turn; the table on stdout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--types", default=",".join(TYPES), help=f"among {', '.join(TYPES)}")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--isa", default=None)
    options = parser.parse_args()
    target = resolve_target(options.isa)
    rng = np.random.default_rng(0)
    print(f"| type | median GB/s of source | best | ({target}) |")
    print("| --- | --- | --- | --- |")
    for name in options.types.split(","):
        source = random_blocks(TYPES[name], SHAPE[0] * SHAPE[1], rng)
        rates = [pack_once(name, source, target) for _ in range(options.repeat)]
        print(f"| {name} | {statistics.median(rates):.2f} | {max(rates):.2f} | |", flush=True)


if __name__ == "__main__":
    main()
