"""Perplexity by method and bits: the table and the plot of docs/quality.md.

The source is dequantised and quantised again in groups of 128, embedding and head at 8 bits; every model is measured as
`lutmac eval ppl` does, on the first windows of 512 tokens of a text. Figures are kept in a JSON file, so that a run
that was stopped goes on; `--plot` draws it.

Example: python benchmarks/quality.py smollm2=SmolLM2.gguf --calibration lee_background.cor --text test.txt \\
    --figures docs/quality.json --plot docs/quality.svg
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lutmac

Figures = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Way:
    """One way to quantise: a column of the table. symmetric: where the method leaves that open."""

    name: str
    method: Any
    bits: tuple[int, ...]
    symmetric: bool = False


# In the order of how much they are asked for.
WAYS = (
    Way("RTN", "rtn", (2, 3, 4)),
    Way("GPTQ", "gptq", (2, 3, 4)),
    Way("RTN, symmetric", "rtn", (3, 4), symmetric=True),
    Way("AFPQ", "afpq", (3, 4)),
    Way("AWQ", "awq", (2, 3, 4)),
    Way("MoFQ", "mofq", (3, 4)),
)


def measure(source: str, text: str, threads: int | None, windows: int) -> float:
    """Perplexity of a model."""
    return lutmac.load(source, threads=threads, context=512).perplexity(text, ctx=512, windows=windows).perplexity


def measure_way(
    source: str, way: Way, bits: int, calibration: str, text: str, arguments: argparse.Namespace
) -> dict[str, float]:
    """Perplexity and bits per weight, all matrices and scales counted."""
    settings = lutmac.QuantizationSettings(
        bits=bits, group_size=128, method=way.method, symmetric=way.symmetric, sequences=arguments.sequences
    )
    folder = Path(tempfile.mkdtemp(prefix="quality-"))
    try:
        needed = calibration if way.method in ("gptq", "awq", "mofq") else None
        made = lutmac.quantize_model(
            source, folder / "model", settings, calibration=needed, evaluation=[], threads=arguments.threads
        )
        layers = [tensor for tensor in made.tensors if ".layers." in tensor.name]
        stored = 8 * sum(tensor.bytes for tensor in layers) / sum(tensor.weights for tensor in layers)
        perplexity = measure(str(made.path), text, arguments.threads, arguments.windows)
        return {"perplexity": perplexity, "bits_per_weight": stored}
    finally:
        shutil.rmtree(folder)


def run(arguments: argparse.Namespace) -> Figures:
    """Measures what the file of figures lacks; writes it after each model."""
    text = arguments.text.read_text(encoding="utf-8")
    calibration = arguments.calibration.read_text(encoding="utf-8")
    figures: Figures = json.loads(arguments.figures.read_text()) if arguments.figures.is_file() else {}

    def keep(key: str, found: dict[str, float]) -> None:
        figures[key] = found
        arguments.figures.write_text(json.dumps(figures, indent=2) + "\n")
        print(key, found, flush=True)

    for model in arguments.models:
        name, _, source = model.partition("=")
        if f"{name}: source" not in figures:
            keep(f"{name}: source", {"perplexity": measure(source, text, arguments.threads, arguments.windows)})
        for way in WAYS:
            for bits in way.bits:
                key = f"{name}: {way.name}: {bits}"
                if (arguments.only is None or way.name in arguments.only) and key not in figures:
                    keep(key, measure_way(source, way, bits, calibration, text, arguments))
    return figures


def plot(figures: Figures, path: Path) -> None:
    """One picture per model: perplexity over bits, a line for each way."""
    import matplotlib.pyplot as plt  # noqa: PLC0415 (only here)

    names = list(dict.fromkeys(key.split(": ")[0] for key in figures))
    figure, axes = plt.subplots(1, len(names), figsize=(5.5 * len(names), 4), squeeze=False, layout="constrained")
    for axis, name in zip(axes[0], names, strict=True):
        for way in WAYS:
            found = [(bits, figures.get(f"{name}: {way.name}: {bits}")) for bits in way.bits]
            points = [(bits, point["perplexity"]) for bits, point in found if point]
            if points:
                axis.plot(*zip(*points, strict=True), marker="o", label=way.name)
        axis.axhline(figures[f"{name}: source"]["perplexity"], color="gray", linestyle="--", label="source")
        axis.set(title=name, xlabel="bits of a code", ylabel="perplexity", yscale="log", xticks=(2, 3, 4))
        axis.legend()
    figure.savefig(path, metadata={"Date": None})


def print_table(figures: Figures) -> None:
    """Markdown, a table for each model."""
    for name in dict.fromkeys(key.split(": ")[0] for key in figures):
        print(f"\n{name}, source {figures[f'{name}: source']['perplexity']:.2f}\n")
        print("| method | 2 bits | 3 bits | 4 bits |\n| --- | ---: | ---: | ---: |")
        for way in WAYS:
            found = [figures.get(f"{name}: {way.name}: {bits}") for bits in (2, 3, 4)]
            cells = [f"{point['perplexity']:.2f} ({point['bits_per_weight']:.2f})" if point else "" for point in found]
            print(f"| {way.name} | {' | '.join(cells)} |")


def main() -> None:
    """Measures, prints the tables, draws the plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="NAME=MODEL")
    parser.add_argument("--calibration", type=Path, required=True)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--figures", type=Path, required=True)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--only", action="append", choices=[way.name for way in WAYS])
    parser.add_argument("--sequences", type=int, default=32, help="of 512 tokens, to calibrate on")
    parser.add_argument("--windows", type=int, default=20)
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    figures = run(arguments)
    print_table(figures)
    if arguments.plot is not None:
        plot(figures, arguments.plot)


if __name__ == "__main__":
    main()
