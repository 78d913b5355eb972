"""Writes scores.json: what sentence-transformers' CrossEncoder, and Qwen3-Reranker's page with transformers, give.

    python tests/engine/ranking_models/make.py

needs torch, transformers 5.24 and sentence-transformers 6.2.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import torch
from random_rerankers import DOCUMENTS, QUERY, write_encoder, write_judge
from sentence_transformers import CrossEncoder
from transformers import AutoModelForCausalLM, AutoTokenizer

INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"


def judge_scores(folder: Path, instruction: str) -> list[float]:
    """As the page of Qwen3-Reranker has it: the prompt's parts are encoded apart."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    before = (
        "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
        'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
    )
    after = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    yes, no = (tokenizer.convert_tokens_to_ids(text) for text in ("yes", "no"))
    found = []
    for document in DOCUMENTS:
        text = f"<Instruct>: {instruction}\n<Query>: {QUERY}\n<Document>: {document}"
        middle = tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
        ids = [
            *tokenizer.encode(before, add_special_tokens=False), *middle,
            *tokenizer.encode(after, add_special_tokens=False),
        ]  # fmt: skip
        with torch.no_grad():
            last = model(torch.tensor([ids])).logits[0, -1]
        found.append(torch.softmax(last[[yes, no]], 0)[0].item())
    return found


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        judge = write_judge(Path(scratch) / "tiny-reranker")
        scores = {"judge": judge_scores(judge, INSTRUCTION), "instructed": judge_scores(judge, "Find the animals")}
        pairs = [(QUERY, document) for document in DOCUMENTS]
        for name, activation in (("encoder", None), ("plain-encoder", "torch.nn.modules.linear.Identity")):
            model = CrossEncoder(str(write_encoder(Path(scratch) / name, activation=activation)), device="cpu")
            scores[name] = model.predict(pairs).tolist()
    (Path(__file__).parent / "scores.json").write_text(json.dumps(scores, indent=1) + "\n")
    print(json.dumps(scores, indent=1))


if __name__ == "__main__":
    main()
