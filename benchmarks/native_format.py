"""The native format against the file it was made of: time to be ready, memory, and decode from the mapping.

Each figure is a process of its own, in turns. "ready" is from the call of `lutmac.load` to a model that takes a prompt,
the file in the page cache. "decode" is tokens per second of one stream; the weights are the same, once in memory of the
process on huge pages, once mapped from the file.

With `--synthetic` instead of a model: Llama 2 7B's shape with 4-bit random weights, 4 GB, of which there is no source.

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

import numpy as np

from lutmac import _native
from lutmac.checkpoints.gguf_writer import GGUFWriter
from lutmac.checkpoints.native_writer import NativeWriter, write_config

CHILD = """
import json, sys, time
import lutmac, lutmac.engine.load, lutmac.models.llama
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


def write_synthetic(directory: Path) -> None:
    """Llama 2 7B's shape: 32 layers of random 4-bit weights in groups of 32, ends of 8 bits, a vocabulary of 32,000."""
    hidden, ffn, vocab, layers = 4096, 11008, 32000, 32
    directory.mkdir()
    metadata = {
        "general.architecture": "llama", "llama.context_length": 4096, "llama.embedding_length": hidden,
        "llama.block_count": layers, "llama.feed_forward_length": ffn, "llama.attention.head_count": 32,
        "llama.attention.layer_norm_rms_epsilon": 1e-5, "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)),
                                  *(f"▁{number:x}" for number in range(vocab - 259))],
        "tokenizer.ggml.scores": -np.arange(vocab, dtype=np.float32),
        "tokenizer.ggml.token_type": np.array([2, 3, 3, *[6] * 256, *[1] * (vocab - 259)], np.int32),
    }  # fmt: skip
    with GGUFWriter(directory / "metadata.gguf", metadata):
        pass
    write_config(directory, {"model_type": "llama"})
    shapes = {"model.embed_tokens.weight": (vocab, hidden), "lm_head.weight": (vocab, hidden)}
    for layer in range(layers):
        for name in ("q", "k", "v", "o"):
            shapes[f"model.layers.{layer}.self_attn.{name}_proj.weight"] = hidden, hidden
        for name, shape in (("gate", (ffn, hidden)), ("up", (ffn, hidden)), ("down", (hidden, ffn))):
            shapes[f"model.layers.{layer}.mlp.{name}_proj.weight"] = shape
    norms = ["model.norm.weight"]
    for layer in range(layers):
        norms += [f"model.layers.{layer}.{name}_layernorm.weight" for name in ("input", "post_attention")]
    target = _native.available_targets()[0]
    with NativeWriter(directory, target=target, names=[*shapes, *norms]) as writer:
        for seed, (name, (rows, columns)) in enumerate(shapes.items()):
            packer = _native.Packer(target=target, threads=2)
            bits = 4 if "layers" in name else 8
            matrix = packer.add_random(
                rows=rows, columns=columns, bits=bits, group_size=32, scale_exponent=-12, seed=seed
            )
            packer.finish()
            writer.add_matrix(name, matrix, None)
        for name in norms:
            writer.add_vector(name, np.ones(hidden, np.float32))
        writer.finish()


def run(path: Path, threads: int, tokens: int) -> dict[str, float]:
    """One process: seconds until ready, tokens per second, peak resident bytes."""
    command = [sys.executable, "-c", CHILD, str(path), str(threads), str(tokens)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def main() -> None:
    """Converts the model, measures both in turns, prints a table or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("--synthetic", action="store_true")
    parser.add_argument("--native", type=Path, help="converted already; default: converted into a temporary directory")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        native = arguments.native
        sources = {} if arguments.synthetic else {"source": arguments.model}
        if arguments.synthetic and native is None:
            native = Path(folder) / "native"
            write_synthetic(native)
        elif native is None:
            native = Path(folder) / "native"
            command = [sys.executable, "-m", "lutmac.cli.main", "convert", str(arguments.model), str(native)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        figures: dict[str, list[dict[str, float]]] = {name: [] for name in (*sources, "native")}
        for _ in range(arguments.repeat):
            for name, path in {**sources, "native": native}.items():
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
    if arguments.synthetic:
        return
    ratios = [b["decode"] / a["decode"] for a, b in zip(figures["source"], figures["native"], strict=True)]
    print(f"decode from the mapping / from memory: {statistics.median(ratios):.3f}")


if __name__ == "__main__":
    main()
