"""The tables of docs/models.md: the families of the registry, and what the shapes of `bench --synthetic` take.

Families and memory are computed from the code. Tokens per second are those of docs/models.json, which `--measure` makes
on this machine; that takes some ten minutes.

Example: python benchmarks/models_page.py
         python benchmarks/models_page.py --measure --threads 1,2
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import gguf

from lutmac.cli.kernel_codes import TERNARY_GROUPS
from lutmac.cli.output import format_bytes
from lutmac.engine.load import MAX_SEQUENCES
from lutmac.engine.loading.leftovers import COPY, IGNORED, SPARE, ZERO
from lutmac.engine.measuring.synthetic import SHAPES, SyntheticSpec
from lutmac.engine.running.memory import cache_needs, least_bytes
from lutmac.graph.compile import Limits, cache_layout
from lutmac.graph.schedule import Schedule
from lutmac.models import REGISTRY
from lutmac.models.gguf_metadata import FAMILIES

DOCS: Final = Path(__file__).parents[1] / "docs"
PAGE, FIGURES = DOCS / "models.md", DOCS / "models.json"
POSITIONS: Final = (4096, 32768)
GROUP_SIZE: Final = 128
MAX_BATCH_TOKENS: Final = 512
PROMPT_TOKENS, DECODE_TOKENS = 128, 16
# Architectures of GGUF that the package `gguf` does not know yet.
NEWER_GGUF: Final = frozenset({"laguna", "mellum"})
# Names that only GGUF has: the directories of these models say otherwise.
ONLY_GGUF: Final = frozenset({
    "bailingmoe2", "bailingmoe3", "bitnet-25", "bitnet-b1.58", "deepseek2", "ernie4_5-moe", "falcon-h1",
    "gemma-embedding", "glm4moe", "gpt-oss", "granitehybrid", "hunyuan-dense", "kimi-linear", "lfm2moe", "maple",
    "modern-bert", "muse-glimmer", "nemotron_h_moe", "nomic-bert", "nomic-bert-moe", "phi2", "qwen2moe", "qwen2vl",
    "qwen35", "qwen35moe", "qwen3moe", "qwen3next", "qwen3vl", "qwen3vlmoe",
})  # fmt: skip


def families() -> Iterator[list[str]]:
    """A row for each module of the registry: what it is, its names in GGUF and in directories, whether GGUF is written,
    what is left out."""
    by_module: dict[str, list[str]] = {}
    for name, path in REGISTRY.items():
        by_module.setdefault(path, []).append(name)
    known = set(gguf.MODEL_ARCH_NAMES.values()) | NEWER_GGUF | ONLY_GGUF
    for path, names in sorted(by_module.items()):
        module = import_module(path)
        own = module.ARCHITECTURE.name
        in_gguf = [name for name in names if name in known] or [FAMILIES[own].name for _ in range(own in FAMILIES)]
        in_directories = [name for name in names if name not in ONLY_GGUF]
        written = "yes" if own in FAMILIES else "no"
        wrapped = any(name.endswith("_text") or "vl" in name or name == "mistral3" for name in names)
        left = "towers for images and sounds" if wrapped else ""
        yield [_title(module.__doc__ or ""), _listed(in_gguf), _listed(in_directories), written, left]


def _title(text: str) -> str:
    """The first sentence of a module's description, without links."""
    first = " ".join(text.split("\n\n", maxsplit=1)[0].split())
    sentence = re.split(r"\.(?: https?:| [A-Z])|\.$", first)[0]
    return re.sub(r"[,;]? https?://[^\s)]+", "", sentence)


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def spec_of(shape: str) -> tuple[SyntheticSpec, str]:
    """A shape at the bits that people use, and what these are called."""
    codes = SHAPES[shape].codes
    if codes in TERNARY_GROUPS:
        return SyntheticSpec(shape, 2, TERNARY_GROUPS[codes], ternary=True), codes
    return SyntheticSpec(shape, int(codes), GROUP_SIZE), f"{codes}-bit"


@cache
def memory(spec: SyntheticSpec, positions: int) -> int | None:
    """Bytes of weights, keys, values and states of one sequence; None where the model was trained for fewer."""
    config = spec.config
    if positions > config.max_position_embeddings:
        return None
    schedule = Schedule.of(SHAPES[spec.shape].graph(config.at_context(positions)))
    needs = cache_needs(cache_layout(schedule, "f16"), Limits(MAX_BATCH_TOKENS, MAX_SEQUENCES, positions))
    return spec.matrix_bytes() + least_bytes(needs)


def shapes(figures: dict[str, Any]) -> Iterator[list[str]]:
    """A row for each shape of `bench --synthetic`."""
    for shape in SHAPES:
        spec, codes = spec_of(shape)
        sizes = [memory(spec, positions) for positions in POSITIONS]
        shown = ["-" if size is None else format_bytes(size) for size in sizes]
        measured = figures.get("shapes", {}).get(shape, {})
        rates = [_rates(measured, phase) for phase in ("prefill", "decode")]
        layers = measured.get("layers", spec.config.num_hidden_layers)
        all_layers = spec.config.num_hidden_layers
        rates[-1] += f" ({layers} of {all_layers} layers)" if measured and layers != all_layers else ""
        yield [f"`{shape}`", codes, format_bytes(spec.matrix_bytes()), *shown, *rates]


def _rates(measured: dict[str, Any], phase: str) -> str:
    found = measured.get(phase)
    if not found:
        return "not measured yet"
    return " / ".join(f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}" for rate in found.values())


def table(head: list[str], rows: Iterator[list[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def sections(figures: dict[str, Any]) -> dict[str, str]:
    """What stands between the marks of the page, by name."""
    ignored = [what for what, _ in IGNORED] + [SPARE, COPY, ZERO]
    sizes = [f"memory at {positions:,} positions" for positions in POSITIONS]
    machine = "No machine has been measured yet (`python benchmarks/models_page.py --measure`)."
    if figures:
        machine = (
            f"Tokens per second with {' / '.join(figures['threads'])} threads: prompts of {PROMPT_TOKENS} tokens, then "
            f"decoding; {figures['cpu']}, commit {figures['commit']}."
        )
    return {
        "families": table(
            ["family", "in GGUF", "`model_type` of directories", "`quantize` writes GGUF", "left out"], families()
        ),
        "left out": "".join(f"- {what}\n" for what in ignored),
        "shapes": f"{machine}\n\n"
        + table(["shape", "weights", "matrices", *sizes, "prefill", "decode"], shapes(figures)),
    }


def page(text: str, figures: dict[str, Any]) -> str:
    """The page with its tables made anew."""
    for name, made in sections(figures).items():
        begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        front, _, rest = text.partition(begin)
        _, found, back = rest.partition(end)
        if not found:
            raise SystemExit(f"the page has no place for {name!r}")
        text = f"{front}{begin}{made}{end}{back}"
    return text


def measure(threads: str, names: list[str]) -> dict[str, Any]:
    """Figures of this machine, as `lutmac bench` has them."""
    found = json.loads(FIGURES.read_text()) if FIGURES.is_file() else {}
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    figures = {
        "cpu": _processor(), "commit": commit.stdout.strip(), "threads": threads.split(","),
        "shapes": found.get("shapes", {}),
    }  # fmt: skip
    for name in names:
        command = [
            sys.executable, "-m", "lutmac.cli.main", "bench", "--synthetic", name, "--threads", threads, "--json",
            "--prompt-tokens", PROMPT_TOKENS, "--decode-tokens", DECODE_TOKENS, "--repeat", 2,
        ]  # fmt: skip
        ran = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, text=True, check=True)
        report = json.loads(ran.stdout)
        cut = re.search(r"(\d+) of \d+ layers", report["model"])
        rates: dict[str, Any] = {} if cut is None else {"layers": int(cut[1])}
        for entry in report["entries"]:
            rates.setdefault(entry["phase"], {})[str(entry["threads"])] = round(entry["tokens_per_second"], 3)
        figures["shapes"][name] = rates
        FIGURES.write_text(json.dumps(figures, indent=1) + "\n")  # a run that is stopped has lost nothing
        print(name, rates, file=sys.stderr)
    return figures


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return name or platform.processor() or platform.machine()


def main() -> None:
    """Writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", action="store_true", help="measure tokens per second first")
    parser.add_argument("--threads", default="1,2", help="numbers of threads to measure with")
    parser.add_argument("--shapes", default=",".join(SHAPES), help="of which shapes")
    given = parser.parse_args()
    if given.measure:
        measure(given.threads, given.shapes.split(","))
    figures = json.loads(FIGURES.read_text()) if FIGURES.is_file() else {}
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), figures), encoding="utf-8")


if __name__ == "__main__":
    main()
