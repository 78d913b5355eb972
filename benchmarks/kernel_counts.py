"""Counts the instructions of every kernel, for the model of `lutmac bench kernels --bounds`.

A product of 64 rows and 512 columns is executed step by step (benchmarks/native/count_instructions.cpp, which this
wants built: cmake -DLUTMAC_BUILD_BENCHMARKS=ON), and each instruction is put into a class by its mnemonic, as the
disassembly has it. So the counts hold all of a product: loops, scales, the way to floats, and what the compiler made of
them. To be run again when kernels have changed; takes some minutes.

Example: python benchmarks/kernel_counts.py build/dev/count_instructions
"""

from __future__ import annotations

import argparse
import csv
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Final

from lutmac.cli.kernel_model import CLASSES, COLUMNS, COUNTS, ROWS

# KIND of count_instructions, by what the table calls it, with the groups that are counted.
KINDS: Final = {
    **{str(bits): (bits - 1, (32, 128)) for bits in range(1, 9)},
    "ternary": (8, (128, COLUMNS)),
    "codebook": (9, (16, 32, 64)),
}
TOKENS: Final = (1, 8, 16)
TARGETS: Final = ("avx512vbmi", "avx512", "avxvnni", "avx2")

_CLASSES: Final = (
    ("permute2", r"vperm[it]2b"),
    (
        "shuffle",
        r"vperm|vpshuf|vshuf|vpbroadcast|vbroadcast|vpack|vpunpck|vpsrldq|vpinsr|vpmov[sz]x|vpalignr|vinsert|vextract",
    ),
    ("dot", r"vpdp"),
    ("multiply", r"vpmadd|vpmul"),
    ("shift", r"vps[lr][la]"),
    ("logic", r"vpternlog|vpand|vpor|vpxor|vpadd|vpsub|vpabs|vpsign|vpblend|vpmax|vpmin|vpcmp|vpmovb2m"),
    ("float", r"vfn?m|vmul"),
    ("convert", r"vcvt|vadd|vsub|vmax|vmin|vucom|vround"),
)


def classes_of(mnemonic: str, operands: str) -> list[str]:
    """What an instruction takes: of the vector units, with its width, and of the units that load and store."""
    found, width = [], 512 if "%zmm" in operands else 256
    vector = mnemonic.startswith("v") and mnemonic != "vzeroupper"
    if vector:
        from_memory = "(" in operands and not operands.endswith(")")
        name = next((name for name, pattern in _CLASSES if re.match(pattern, mnemonic)), None)
        # Loads that repeat what they load do it on the way, but for 128 bits that are repeated in 512 on some cores.
        repeats = from_memory and "broadcast" in mnemonic and mnemonic[-1] not in "bw"
        if repeats and width == 512 and re.match(r"vbroadcast[if](32x4|64x2)", mnemonic):
            found.append("broadcast512")
        if name is not None and not repeats:
            found.append(f"{name}{width}")
        if name in ("float", "convert") and re.search(r"[sd]s$", mnemonic):
            found = [f"{name}256"]
    memory = re.search(r"\(.*\)", operands) and not mnemonic.startswith(("lea", "nop", "j", "call"))
    if memory and not mnemonic.startswith("prefetch"):
        stores = operands.endswith(")") and not mnemonic.startswith(("cmp", "test"))
        found.append(f"{'store' if stores else 'load'}{width if vector else ''}")
    return found


def disassembled(program: Path) -> dict[int, list[str]]:
    """The classes of each instruction, by its address."""
    command = ["objdump", "-d", "--no-show-raw-insn", str(program)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = {}
    for line in text.splitlines():
        if match := re.match(r"\s*([0-9a-f]+):\t(\S+)\s*([^#<]*)", line):
            found[int(match[1], 16)] = classes_of(match[2], match[3].strip())
    return found


def counted(program: Path, classes: dict[int, list[str]], arguments: list[object]) -> Counter[str]:
    """Instructions of one product, by class, and all of them. What lies outside of the program is not counted."""
    lines = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=True).stdout
    counts: Counter[str] = Counter()
    for line in lines.splitlines():
        address, times = line.split()
        if (found := classes.get(int(address, 16))) is not None:
            counts["all"] += int(times)
            for name in found:
                counts[name] += int(times)
    return counts


def main() -> None:
    """Writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=Path, help="count_instructions")
    options = parser.parse_args()
    classes, rows = disassembled(options.program), []
    for target in TARGETS:
        for name, (kind, groups) in KINDS.items():
            for group in groups:
                shape = [target, kind, ROWS, COLUMNS, group]
                try:
                    found = {tokens: counted(options.program, classes, [*shape, tokens]) for tokens in TOKENS}
                    found[0] = counted(options.program, classes, [*shape, 1, "prepare"])
                except subprocess.CalledProcessError:
                    print(f"{target} does not run here: its rows are left out", file=sys.stderr)
                    break
                for tokens, counts in found.items():
                    rows.append([target, name, group, tokens, *(counts[c] for c in CLASSES)])
            else:
                continue
            break
    with COUNTS.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["target", "kind", "group", "tokens", *CLASSES])
        writer.writerows(rows)
    print(f"{len(rows)} rows in {COUNTS}")


if __name__ == "__main__":
    main()
