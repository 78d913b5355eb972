"""LFM2, whose convolutions keep slots: what the cache has is found, and changes no bit of a reply."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lutmac
from lutmac.engine.sampling.results import Completion
from lutmac.text import ChatTemplate
from lutmac.text.chat import chat_prompt

FILE = Path(__file__).parents[1] / "models" / "converted" / "lfm2.gguf"  # llama.cpp's converter made it
PROMPT = np.random.default_rng(5).integers(0, 250, 210).tolist()
OPTIONS: dict[str, Any] = {"max_tokens": 20, "temperature": 1.0, "seed": 3, "ignore_eos": True, "logprobs": 5}
WORDS = lutmac.Grammar.regex("[a-m]{8}/[n-z]{12}")  # what the tokenizer gives back as it was
KEEPING = (
    "{% for message in messages %}<s>{{ message.role }}\n{{ message.content }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant\n{% endif %}"
)
DROPPING = KEEPING.replace("message.content", "message.content.split('/')[-1]")  # thoughts end with a stroke


def load(**options: Any) -> lutmac.Model:
    return lutmac.load(FILE, threads=1, context=512, **options)


@pytest.fixture
def model() -> lutmac.Model:
    return load()


def bits(completion: Completion | None) -> tuple[object, ...]:
    assert completion is not None
    return completion.token_ids, completion.logprobs, completion.text


def common(one: list[int], other: list[int]) -> int:
    return next(
        (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )


@pytest.mark.parametrize("kv_cache", ["f16", "f32", "int8"])
def test_a_prefix_is_found_and_changes_no_bit(kv_cache: Any) -> None:
    model = load(kv_cache=kv_cache)
    first = model.generate(PROMPT, **OPTIONS)
    turns = [PROMPT, [*PROMPT, *first.token_ids, 7, 8, 9], [*PROMPT[:150], 1, 2, 3], [*PROMPT[:150], 4, 5], PROMPT]
    replied = {**OPTIONS, "reply_spans": [(210, 230)]}  # where prompts have an arithmetic of their own
    options = [replied if prompt is turns[1] else OPTIONS for prompt in turns]
    found = [model.generate(prompt, **given) for prompt, given in zip(turns, options, strict=True)]
    assert [bits(one) for one in found] == [
        bits(load(kv_cache=kv_cache).generate(prompt, **given)) for prompt, given in zip(turns, options, strict=True)
    ]
    # The end of the prompt, of the turn, where the third parted, and the end of the prompt again.
    assert [one.cached_tokens for one in found] == [209, 229, 0, 150, 209]
    assert model.engine.stats().prefix_hit_tokens == 209 + 229 + 150 + 209


def test_of_several_replies_one_computes_the_prompt(model: lutmac.Model) -> None:
    streams = [model.stream(PROMPT, **{**OPTIONS, "seed": seed}) for seed in range(4)]
    for stream in streams:
        next(stream)
    found = [list(stream)[-1].completion for stream in streams]
    assert sorted(one.cached_tokens for one in found if one is not None) == [0, 209, 209, 209]
    for seed, one in enumerate(found):
        assert bits(one) == bits(load().generate(PROMPT, **{**OPTIONS, "seed": seed}))


def test_preempted_replies_are_those_that_had_room() -> None:
    prompts = [[n] * 30 for n in range(6)]
    options = {**OPTIONS, "max_tokens": 250}
    expected = [load().generate(prompt, **options) for prompt in prompts]
    scarce = load(kv_cache_memory=round(1.25 * load().info().sequence_cache_bytes))
    streams = [scarce.stream(prompt, **options) for prompt in prompts]
    for stream in streams:
        next(stream)
    assert [bits(list(stream)[-1].completion) for stream in streams] == [bits(one) for one in expected]
    assert scarce.engine.stats().preemptions > 0


@pytest.mark.parametrize("slots", [1, 2, 30])
@pytest.mark.parametrize("dropping", [False, True])
def test_a_chat_computes_what_its_turns_do_not_share(dropping: bool, slots: int) -> None:
    """From the end of the last turn, or where thoughts are dropped from before its generation prompt."""
    info = load().info()
    model = load(kv_cache_memory=info.sequence_cache_bytes + (slots - 1) * info.slot_bytes)
    model.__dict__["chat_template"] = ChatTemplate(DROPPING if dropping else KEEPING)
    chat, seen, generation_prompt = model.conversation("Say something."), [], 11
    for turn in range(4):
        message = {"role": "user", "content": f"What about {turn}?"}
        prompt = chat_prompt(model.tokenizer, model.chat_template, [*chat.messages, message])
        reply = list(chat.send(message["content"], grammar=WORDS, seed=turn))[-1].completion
        assert reply is not None
        assert reply.token_ids == fresh(model, prompt.ids, turn).token_ids
        shared = common(prompt.ids, seen)
        assert reply.cached_tokens <= shared
        if turn and (slots > 2 or not dropping):
            assert reply.cached_tokens >= shared - (generation_prompt if dropping else 0) > 0
            assert reply.timings.prefill_tokens == len(prompt.ids) - reply.cached_tokens
        seen = [*prompt.ids, *reply.token_ids]


def fresh(model: lutmac.Model, prompt: list[int], seed: int) -> Completion:
    return load().generate(prompt, grammar=WORDS, seed=seed)


def test_a_chat_asked_again_computes_its_generation_prompt(model: lutmac.Model) -> None:
    messages = [{"role": "user", "content": "What is a page?"}]
    prompt = chat_prompt(model.tokenizer, model.chat_template, messages)
    assert model.tokenizer.decode(prompt.ids[prompt.shared_prefix :]) == "Assistant:"
    found = [model.chat(messages, **OPTIONS) for _ in range(2)]
    assert [one.cached_tokens for one in found] == [0, prompt.shared_prefix]
    assert bits(found[0]) == bits(found[1])


def test_what_snapshots_take_is_told(model: lutmac.Model) -> None:
    """Three convolutions of 64 channels, two positions of each."""
    info = model.info()
    assert info.slot_bytes == 3 * 64 * 2 * 4
    assert model.engine.stats().snapshots == 0
    model.generate(PROMPT, **OPTIONS)
    assert model.engine.stats().snapshots == 2
    assert model.engine.stats().snapshot_bytes == info.slot_bytes
    assert info.num_slots > 16
