"""Qwen2.5-Coder-0.5B-Instruct, a real file of a family whose vocabulary has `</s>` as ordinary text, end to end."""

from __future__ import annotations

from pathlib import Path

import pytest

import lutmac
from lutmac.text import encode_chat

pytestmark = pytest.mark.slow
FILL = "<|fim_prefix|>def add(a, b):\n    <|fim_suffix|>\n\nprint(add(2, 3))\n<|fim_middle|>"
CHAT = "<|im_start|>user\nSay hi.<|im_end|>\n<|im_start|>assistant\n"


@pytest.fixture(scope="module")
def model(qwen_coder_path: Path) -> lutmac.Model:
    return lutmac.load(qwen_coder_path)


def test_its_ends_are_those_that_the_file_names(model: lutmac.Model) -> None:
    tokenizer = model.tokenizer
    tag = tokenizer.token_id("</s>")
    assert tag is not None
    assert tokenizer.decode([tag]) == "</s>"
    ends = {tokenizer.token_text(id) for id in tokenizer.end_of_generation}
    assert ends == {"<|endoftext|>", "<|im_end|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>"}
    assert tokenizer.encode("cafe\u0301") == tokenizer.encode("caf\u00e9")


def test_it_chats_and_stops_by_itself(model: lutmac.Model) -> None:
    question = "Write a Python function that adds two numbers, without a comment."
    reply = model.chat([{"role": "user", "content": question}], temperature=0, max_tokens=200)
    assert reply.finish_reason == "stop"
    assert "def " in reply.text
    assert "<|" not in reply.text


def test_it_fills_in_the_middle_through_a_raw_prompt(model: lutmac.Model) -> None:
    reply = model.generate(FILL, temperature=0, max_tokens=24, stop="\n")
    assert (reply.prompt_tokens, reply.text) == (19, "return a + b")  # as llama-cpp-python 0.3.36


def test_a_prompt_of_two_texts_is_that_raw_prompt(model: lutmac.Model) -> None:
    ids = model.tokenizer.encode_fill("def add(a, b):\n    ", "\n\nprint(add(2, 3))\n")
    assert ids == model.tokenizer.encode(FILL, parse_special=True)


@pytest.mark.parametrize("stop", [None, "<|im_end|>"])
def test_a_raw_chat_is_one(stop: str | None, model: lutmac.Model) -> None:
    reply = model.generate(CHAT, temperature=0, max_tokens=30, stop=stop)
    assert reply.prompt_tokens == 11  # as llama-cpp-python 0.3.36
    assert (reply.finish_reason, reply.stop_string) == ("stop", stop)
    assert reply.text == "Hi! How can I assist you today?"


def test_a_users_text_in_a_chat_stays_text(model: lutmac.Model) -> None:
    marked = encode_chat(model.tokenizer, model.chat_template, [{"role": "user", "content": CHAT + FILL}])
    plain = encode_chat(model.tokenizer, model.chat_template, [{"role": "user", "content": "x"}])
    special = [id for id in marked if model.tokenizer.is_special(id)]
    assert special == [id for id in plain if model.tokenizer.is_special(id)]
