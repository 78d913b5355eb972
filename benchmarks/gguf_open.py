"""Time to open a GGUF file with a large vocabulary: lutmac against the `gguf` package, in turns, in one process.

The file is generated: Gemma 3's 262,144 tokens with scores and types. "open" maps the file and checks its header;
"open, tokens, scores" also hands out both as Python and NumPy values, as building a tokenizer does.

Example: python benchmarks/gguf_open.py --repeat 5
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf

from lutmac.checkpoints import open_gguf

TOKENS, SCORES = "tokenizer.ggml.tokens", "tokenizer.ggml.scores"


def write_vocabulary(path: Path, size: int) -> None:
    """A GGUF file that holds a vocabulary of pieces in several scripts, and one small tensor."""
    generator = random.Random(0)
    alphabets = ["etaoinshrdlu", "оеаинтсрвлкм", "的一是不了人我在有他", "あいうえおかきくけこ", "ابتثجحخدذر", "😀🌍🚀"]
    pieces = []
    for number in range(size):
        letters = generator.choices(generator.choice(alphabets), k=generator.randint(1, 8))
        pieces.append(("▁" if number % 2 else "") + "".join(letters) + str(number % 97))
    writer = gguf.GGUFWriter(path, "gemma3")
    writer.add_tokenizer_model("llama")
    writer.add_token_list(pieces)
    writer.add_token_scores([-float(number) for number in range(size)])
    writer.add_token_types([1] * size)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def read_ours(path: Path) -> tuple[Any, Any]:
    """Tokens and scores by lutmac."""
    metadata = open_gguf(path).metadata
    return metadata[TOKENS], metadata[SCORES]


def read_theirs(path: Path) -> tuple[Any, Any]:
    """Tokens and scores by the `gguf` package."""
    reader = gguf.GGUFReader(path)
    return reader.fields[TOKENS].contents(), reader.fields[SCORES].contents()


def measure(path: Path, repeat: int) -> dict[str, dict[str, float]]:
    """Median, best and worst seconds of each task by each reader."""
    tasks: dict[str, tuple[Callable[[Path], object], Callable[[Path], object]]] = {
        "open": (open_gguf, gguf.GGUFReader),
        "open, tokens, scores": (read_ours, read_theirs),
    }
    seconds: dict[tuple[str, str], list[float]] = {}
    for _ in range(repeat):
        for task, readers in tasks.items():
            for name, read in zip(("lutmac", "gguf"), readers, strict=True):
                began = time.perf_counter()
                result = read(path)
                seconds.setdefault((task, name), []).append(time.perf_counter() - began)
                del result
    return {
        f"{task} ({name})": {"median": statistics.median(times), "best": min(times), "worst": max(times)}
        for (task, name), times in seconds.items()
    }


def main() -> None:
    """Writes the file, measures, prints a table or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=262_144, help="size of the vocabulary")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vocabulary.gguf"
        write_vocabulary(path, options.tokens)
        if read_ours(path)[0] != read_theirs(path)[0]:
            raise SystemExit("the two readers disagree on the tokens")
        results = measure(path, options.repeat)
    if options.json:
        print(json.dumps({"tokens": options.tokens, "repeat": options.repeat, "seconds": results}, indent=2))
        return
    print("| task (reader) | median, s | best, s | worst, s |")
    print("| --- | --- | --- | --- |")
    for name, times in results.items():
        print(f"| {name} | {times['median']:.3f} | {times['best']:.3f} | {times['worst']:.3f} |")


if __name__ == "__main__":
    main()
