"""Vectors of 1,000 texts of 5 to 250 words: lutmac, and sentence-transformers with torch or onnxruntime, in turns.

PEER is the Python of an environment with sentence-transformers; with `--onnx` also with onnxruntime and onnx:

    python -m venv peer && peer/bin/pip install torch sentence-transformers
    python benchmarks/embeddings.py all-MiniLM-L6-v2 --peer peer/bin/python --threads 2

Texts are cut where the model's positions end, as sentence-transformers does. The peers sort texts by length and run 32
at a time, which is their default. Prints medians, ratios, and the lowest cosine between the vectors.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

WORDS = Path(__file__).parents[1] / "README.md"
PEER_PROGRAM = """
import json, sys, time
import numpy as np
model, backend, threads, texts, out = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5]
texts = json.load(open(texts))
import torch
torch.set_num_threads(threads)
if backend == "torch":
    from sentence_transformers import SentenceTransformer
    encode = SentenceTransformer(model, device="cpu").encode
else:
    import onnxruntime
    from transformers import AutoTokenizer
    tokenizer = AutoTokenizer.from_pretrained(model)
    longest = json.load(open(model + "/sentence_bert_config.json"))["max_seq_length"]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(sys.argv[6], options, providers=["CPUExecutionProvider"])
    def encode(texts):
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        found = [None] * len(texts)
        for at in range(0, len(order), 32):
            some = order[at : at + 32]
            cut = dict(truncation=True, max_length=longest, padding=True, return_tensors="np")
            given = tokenizer([texts[i] for i in some], **cut)
            states = session.run(None, {i.name: given[i.name].astype(np.int64) for i in session.get_inputs()})[0]
            mask = given["attention_mask"][..., None]
            vectors = (states * mask).sum(1) / mask.sum(1)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            for place, vector in zip(some, vectors):
                found[place] = vector
        return np.stack(found)
encode(texts[:32])
began = time.perf_counter()
vectors = encode(texts)
print(json.dumps(time.perf_counter() - began))
np.save(out, vectors)
"""
EXPORT = """
import sys, torch
from transformers import AutoModel
model = AutoModel.from_pretrained(sys.argv[1], attn_implementation="eager").eval()
class States(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.model = model
    def forward(self, *given):
        return self.model(**dict(zip(names, given))).last_hidden_state
names = ["input_ids", "attention_mask", "token_type_ids"]
given = tuple(torch.ones(2, 9, dtype=torch.long) for _ in names)
axes = {name: {0: "texts", 1: "tokens"} for name in (*names, "states")}
outputs = dict(output_names=["states"], dynamic_axes=axes, dynamo=False)
torch.onnx.export(States(), given, sys.argv[2], input_names=names, **outputs)
"""


def make_texts(count: int) -> list[str]:
    """Texts of 5 to 250 words of this project's README."""
    words = [word for word in WORDS.read_text().split() if word.isalpha()]
    draw = random.Random(0)
    return [" ".join(draw.choices(words, k=draw.randint(5, 250))) for _ in range(count)]


def run_lutmac(model: str, texts: list[str], threads: int, precision: str) -> tuple[float, np.ndarray[Any, Any]]:
    """Seconds and vectors."""
    import lutmac  # noqa: PLC0415 (after the arguments were read)

    with lutmac.load(model, threads=threads, precision="exact" if precision == "exact" else "default") as loaded:
        loaded.embed(texts[:32], truncate=True)
        began = perf_counter()
        vectors = loaded.embed(texts, truncate=True)
        return perf_counter() - began, vectors


def run_peer(peer: str, arguments: list[str], folder: Path) -> tuple[float, np.ndarray[Any, Any]]:
    """Seconds and vectors."""
    command = [peer, "-c", PEER_PROGRAM, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        sys.exit(f"the peer failed:\n{result.stderr[-2000:]}")
    return float(result.stdout.splitlines()[-1]), np.load(folder / "vectors.npy")


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All of them in turns."""
    texts = make_texts(options.texts)
    (folder / "texts.json").write_text(json.dumps(texts))
    model, threads = options.model, options.threads
    given = [str(threads), str(folder / "texts.json"), str(folder / "vectors.npy")]
    runs: dict[str, Callable[[], tuple[float, np.ndarray[Any, Any]]]] = {}
    runs["lutmac"] = lambda: run_lutmac(model, texts, threads, "default")
    runs["lutmac, exact"] = lambda: run_lutmac(model, texts, threads, "exact")
    runs["torch"] = lambda: run_peer(options.peer, [model, "torch", *given], folder)
    if options.onnx:
        file = str(folder / "model.onnx")
        export = subprocess.run([options.peer, "-c", EXPORT, model, file], capture_output=True, text=True, check=False)
        if export.returncode != 0:
            sys.exit(f"the export failed:\n{export.stderr[-2000:]}")
        runs["onnxruntime"] = lambda: run_peer(options.peer, [model, "onnxruntime", *given, file], folder)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    vectors: dict[str, np.ndarray[Any, Any]] = {}
    for _ in range(options.repeat):
        for name, run in runs.items():
            took, vectors[name] = run()
            seconds[name].append(took)
            print(f"{name}: {took:.2f} s", file=sys.stderr)
    medians = {name: median(times) for name, times in seconds.items()}
    cosines = {name: float((found * vectors["torch"]).sum(axis=1).min()) for name, found in vectors.items()}
    return {"texts": len(texts), "threads": threads, "seconds": seconds, "median": medians, "lowest cosine": cosines}


def main() -> None:
    """Prints a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a directory of sentence-transformers")
    parser.add_argument("--peer", required=True, help="Python with sentence-transformers")
    parser.add_argument("--onnx", action="store_true", help="also onnxruntime, on an export of the model")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = measure(options, Path(folder))
    if options.json:
        print(json.dumps(report, indent=2))
        return
    print("| engine | seconds | torch's time over it | lowest cosine to torch's vectors |")
    print("| --- | --- | --- | --- |")
    for name, took in report["median"].items():
        ratio = report["median"]["torch"] / took
        print(f"| {name} | {took:.2f} | {ratio:.2f} | {report['lowest cosine'][name]:.7f} |")


if __name__ == "__main__":
    main()
