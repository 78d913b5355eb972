"""What is promised of hybrids, held against small models of each family that llama.cpp's converter made.

A turn of a conversation computes what its prompt does not share with the turn before; 16 sequences that run together
say what each says alone; the memory of states is told.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lutmac
from lutmac.engine.sampling.results import Completion
from lutmac.server.metrics import engine_metrics
from lutmac.text import ChatTemplate
from lutmac.text.chat import chat_prompt

FILES = Path(__file__).parents[1] / "models" / "converted"
FAMILIES = (
    "qwen3_5", "lfm2", "qwen3_next", "lfm2moe", "qwen3_5_moe", "granitehybrid", "nemotron_h", "falcon_h1",
)  # fmt: skip
ALL = [FAMILIES[0], *(pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES[1:])]
WORDS = lutmac.Grammar.regex("[a-m]{8}/[n-z]{12}")  # what the tokenizers give back as it was
KEEPING = (
    "{% for message in messages %}<s>{{ message.role }}\n{{ message.content }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant\n{% endif %}"
)
DROPPING = KEEPING.replace("message.content", "message.content.split('/')[-1]")  # thoughts end with a stroke
# How many tokens fewer than it shares a turn may find: a generation prompt that was rendered anew.
GENERATION_PROMPT = 13


def load(name: str, **options: Any) -> lutmac.Model:
    return lutmac.load(FILES / f"{name}.gguf", threads=1, context=512, **options)


def common(one: list[int], other: list[int]) -> int:
    pairs = zip(one, other, strict=False)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


@pytest.mark.parametrize("dropping", [False, True])
@pytest.mark.parametrize("name", ALL)
def test_a_turn_computes_what_its_prompt_does_not_share(name: str, dropping: bool) -> None:
    """The new turn; and the reply, where its thoughts were dropped. What was kept changes no bit."""
    model = load(name)
    model.__dict__["chat_template"] = ChatTemplate(DROPPING if dropping else KEEPING)
    chat, seen = model.conversation("Say something."), []
    for turn in range(4):
        message = {"role": "user", "content": f"What about {turn}?"}
        prompt = chat_prompt(model.tokenizer, model.chat_template, [*chat.messages, message])
        reply = list(chat.send(message["content"], grammar=WORDS, seed=turn, logprobs=3))[-1].completion
        assert reply is not None
        alone = load(name).generate(prompt.ids, grammar=WORDS, seed=turn, logprobs=3)
        assert (reply.token_ids, reply.logprobs) == (alone.token_ids, alone.logprobs)
        shared = common(prompt.ids, seen)
        assert reply.cached_tokens <= shared
        assert reply.timings.prefill_tokens == len(prompt.ids) - reply.cached_tokens
        if turn:
            assert reply.cached_tokens >= shared - (GENERATION_PROMPT if dropping else 0) > 0
        seen = [*prompt.ids, *reply.token_ids]


@pytest.mark.parametrize("name", ALL)
def test_16_sequences_together_are_those_alone(name: str) -> None:
    """To the bit: tokens, and log probabilities of what could have been drawn."""
    rng = np.random.default_rng(3)
    prompts = [rng.integers(0, 250, length).tolist() for length in rng.integers(5, 90, 16)]
    options: dict[str, Any] = {"max_tokens": 64, "temperature": 1.0, "ignore_eos": True, "logprobs": 3}
    model = load(name)
    streams = [model.stream(prompt, **options, seed=seed) for seed, prompt in enumerate(prompts)]
    for stream in streams:
        next(stream)
    assert model.engine.stats().running == 16
    info, stats = model.info(), model.engine.stats()
    assert stats.slots_used == 16
    assert stats.snapshot_bytes == info.slot_bytes > 0
    figures = {family.name: family.samples[0].value for family in engine_metrics({(): stats}, ())}
    assert figures["lutmac_state_memory_bytes"] == info.num_slots * info.slot_bytes
    assert figures["lutmac_state_memory_used_bytes"] == 16 * info.slot_bytes
    together: list[Completion] = []
    for stream in streams:
        completion = list(stream)[-1].completion
        assert completion is not None
        together.append(completion)
    for seed, (prompt, found) in enumerate(zip(prompts, together, strict=True)):
        alone = load(name).generate(prompt, **options, seed=seed)
        assert (found.token_ids, found.logprobs) == (alone.token_ids, alone.logprobs)
