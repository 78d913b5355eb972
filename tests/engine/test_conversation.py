"""Conversations keep what they have computed, and say the same as if they had not."""

from __future__ import annotations

import pytest

import lutmac
from lutmac.engine.generating.conversation import Conversation
from lutmac.engine.sampling.results import Completion
from lutmac.errors import ContextOverflowError, InvalidRequestError
from lutmac.text.chat import chat_prompt
from tiny_llama import CONTEXT, TinyLlama


@pytest.fixture
def model(tiny: TinyLlama) -> lutmac.Model:
    return lutmac.load(tiny.path, threads=1)


def say(conversation: Conversation, text: str) -> Completion:
    completion = list(conversation.send(text, temperature=0.0, max_tokens=12))[-1].completion
    assert completion is not None
    return completion


def test_a_turn_runs_only_what_is_new(model: lutmac.Model) -> None:
    conversation = model.conversation(system="Be brief.")
    first = say(conversation, "Hello")
    assert first.timings.prefill_tokens == first.prompt_tokens
    second = say(conversation, "And then?")
    assert second.timings.prefill_tokens < second.prompt_tokens - first.prompt_tokens + 1


def test_where_prompts_have_their_own_arithmetic_a_reply_is_found_as_one(model: lutmac.Model) -> None:
    """The chat says which tokens were replies; as a prompt, the same tokens are computed anew."""
    model.engine.by_role = True
    conversation = model.conversation(system="Be brief.")
    first = say(conversation, "Hello")
    messages = [*conversation.messages, {"role": "user", "content": "And then?"}]
    ids = model.chat(messages, temperature=0.0, max_tokens=1).prompt_tokens
    second = say(conversation, "And then?")
    assert second.timings.prefill_tokens < ids - first.prompt_tokens + 1
    as_prompt = chat_prompt(model.tokenizer, model.chat_template, messages).ids
    read = model.generate(as_prompt, temperature=0.0, max_tokens=1).timings.prefill_tokens
    assert second.prompt_tokens - first.prompt_tokens <= read < ids


def test_kept_keys_and_values_change_nothing(model: lutmac.Model) -> None:
    conversation = model.conversation()
    say(conversation, "Hello")
    kept = say(conversation, "And then?")
    afresh = model.chat(
        [*conversation.messages[:-2], {"role": "user", "content": "And then?"}], temperature=0.0, max_tokens=12
    )
    assert kept.token_ids == afresh.token_ids


def test_the_conversation_remembers_both_sides(model: lutmac.Model) -> None:
    conversation = model.conversation(system="Be brief.")
    reply = say(conversation, "Hello")
    assert conversation.messages == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": reply.text},
    ]


def test_an_interrupted_reply_stays_as_far_as_it_was_read(model: lutmac.Model) -> None:
    conversation = model.conversation()
    stream = conversation.send("Hello", temperature=0.0, ignore_eos=True)
    read = "".join(next(stream).text for _ in range(3))
    stream.close()  # type: ignore[attr-defined]
    assert conversation.messages[-1] == {"role": "assistant", "content": read}
    assert say(conversation, "Go on").finish_reason


def test_two_replies_at_once_are_an_error(model: lutmac.Model) -> None:
    conversation = model.conversation()
    stream = conversation.send("Hello", ignore_eos=True)
    next(stream)
    with pytest.raises(InvalidRequestError, match="still streaming"):
        conversation.send("Hello again")


def test_a_full_context_is_an_error_that_changes_nothing(model: lutmac.Model) -> None:
    conversation = model.conversation()
    with pytest.raises(ContextOverflowError, match=str(CONTEXT)):
        conversation.send("a" * CONTEXT)
    assert conversation.messages == []
    assert say(conversation, "Hello").finish_reason


def test_pages_of_idle_conversations_go_to_those_who_need_them(model: lutmac.Model) -> None:
    conversations = [model.conversation() for _ in range(3)]
    expected = []
    for conversation in conversations:
        list(conversation.send("Hello " * 60, temperature=0.0, max_tokens=None))
        expected.append(conversation.messages[-1]["content"])
    for _ in range(2):
        for stream in [model.stream([65] * 400, max_tokens=None, ignore_eos=True) for _ in range(8)]:
            next(stream)
    assert [conversation.messages[-1]["content"] for conversation in conversations] == expected
