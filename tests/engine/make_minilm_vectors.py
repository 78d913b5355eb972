"""Writes minilm_vectors.npz: ``pip install torch sentence-transformers``, then this file with the model's directory."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from sentence_transformers import SentenceTransformer

HERE = Path(__file__).parent

if __name__ == "__main__":
    texts = (HERE / "minilm_texts.txt").read_text().split("\n---\n")
    vectors = SentenceTransformer(sys.argv[1], device="cpu").encode(texts)
    np.savez_compressed(HERE / "minilm_vectors.npz", vectors=vectors)
