"""Which tokens of a chat are the assistant's: those that it would write, with the roles that they had when it did."""

from __future__ import annotations

import re
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vocabularies import Metadata, texts

from fetching import CannotFetchError, source_distribution
from lutmac.text import ChatTemplate, Tokenizer
from lutmac.text.chat import CHATML, PLAIN, ChatPrompt, chat_prompt

ASKED, AGAIN = {"role": "user", "content": "What is it like?"}, {"role": "user", "content": "And tomorrow?"}
SYSTEM, REPLY = {"role": "system", "content": "Be brief."}, {"role": "assistant", "content": "It is fine."}
FUNCTION = {"name": "get_weather", "arguments": {"city": "Paris"}}
CALL = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"id": "abcdefghi", "type": "function", "function": FUNCTION}],
}
RESULT = {"role": "tool", "name": "get_weather", "tool_call_id": "abcdefghi", "content": "18 degrees"}
CITY = {"type": "object", "properties": {"city": {"type": "string", "description": "Its name"}}, "required": ["city"]}
TOOLS = [{"type": "function", "function": {"name": "get_weather", "description": "The weather", "parameters": CITY}}]


def prompt_of(tokenizer: Tokenizer, source: str, messages: list[dict[str, Any]], **options: Any) -> ChatPrompt:
    template = ChatTemplate(source, bos_token="<s>", eos_token="</s>")
    return chat_prompt(tokenizer, template, messages, finds_replies=True, **options)


def spoken(tokenizer: Tokenizer, prompt: ChatPrompt) -> list[str]:
    """The texts of the spans, which lie in order."""
    ends = [end for span in prompt.reply_spans for end in span]
    assert ends == sorted(ends)
    assert all(end <= len(prompt.ids) for end in ends)
    return [tokenizer.decode(prompt.ids[begin:end], skip_special=False) for begin, end in prompt.reply_spans]


def test_a_reply_ends_with_its_mark_and_begins_behind_its_header(bpe: Tokenizer) -> None:
    chat = [SYSTEM, ASKED, REPLY, AGAIN, {**REPLY, "content": "Rain."}, ASKED]
    assert spoken(bpe, prompt_of(bpe, CHATML, chat)) == ["It is fine.<|im_end|>", "Rain.<|im_end|>"]
    assert spoken(bpe, prompt_of(bpe, CHATML, chat[:-1], add_generation_prompt=False)) == [
        "It is fine.<|im_end|>",
        "Rain.<|im_end|>",
    ]
    assert spoken(bpe, prompt_of(bpe, PLAIN, chat)) == [" It is fine.", " Rain."]
    assert spoken(bpe, prompt_of(bpe, CHATML, [SYSTEM, ASKED])) == []


def test_of_a_message_that_goes_on_the_given_part_is_the_assistants(bpe: Tokenizer) -> None:
    given = {**REPLY, "content": "It is "}
    for source, begun in (
        (CHATML, "It is "),
        (PLAIN, " It is "),
        (CHATML.replace("+ message['content']", "~ 'x'"), "It is "),
    ):
        prompt = prompt_of(bpe, source, [ASKED, REPLY, AGAIN, given], continue_final_message=True)
        assert spoken(bpe, prompt)[-1] == begun
        assert prompt.reply_spans[-1][1] == len(prompt.ids)


def test_nothing_is_looked_for_unless_it_is_asked_for(bpe: Tokenizer) -> None:
    assert chat_prompt(bpe, ChatTemplate(CHATML), [ASKED, REPLY, AGAIN]).reply_spans == ()


@settings(max_examples=40, deadline=None)
@given(contents=st.lists(texts, min_size=3, max_size=5).filter(lambda contents: len(contents) % 2))
def test_a_next_turn_has_the_roles_with_which_it_was_computed(bpe: Tokenizer, contents: list[str]) -> None:
    """Whatever the messages hold, names of control tokens too: what agrees with an earlier prompt is a prompt, the rest
    of what agrees with that turn is a reply.
    """
    roles = ["user", "assistant"] * 3
    chat = [{"role": role, "content": text} for role, text in zip(roles, contents, strict=False)]
    for message in chat[1::2]:  # a blank would join the header's last token, which it cannot when it is drawn
        message["content"] = "a" + message["content"]
    turns = [prompt_of(bpe, CHATML, chat[: n + 1]) for n in range(0, len(chat), 2)]
    end = bpe.token_id("<|im_end|>")
    for before, after in pairwise(turns):
        begin, until = after.reply_spans[-1]
        assert after.ids[: len(before.ids)] == before.ids
        assert begin == len(before.ids)
        assert after.ids.index(end, begin) + 1 == until
        assert after.reply_spans[:-1] == before.reply_spans


def test_what_a_template_writes_otherwise_for_an_earlier_turn_is_no_header(bpe: Tokenizer) -> None:
    """A reply begins with a thought that is left out later; the word that follows begins as the tag does."""
    source = CHATML.replace("'<|im_start|>assistant\\n'", "'<|im_start|>assistant\\n<think>\\n'")
    for text in ("<think>\nHm.\n</think>\nFine.", "<table>", "<"):
        prompt = prompt_of(bpe, source, [ASKED, {**REPLY, "content": text}, AGAIN])
        assert spoken(bpe, prompt) == [text.removeprefix("<think>\n") + "<|im_end|>"]


def test_a_long_chat_without_control_tokens_takes_no_square_of_its_length(bpe: Tokenizer, spm: Tokenizer) -> None:
    """Places far from a control token are counted in bytes, also where a vocabulary puts a space before a text."""
    turns = [({**ASKED, "content": f"{n} " * 40}, {**REPLY, "content": f"Yes, {n}."}) for n in range(60)]
    for tokenizer in (bpe, spm):
        found = spoken(tokenizer, prompt_of(tokenizer, PLAIN, [*chain(*turns), AGAIN]))
        assert [text.strip() for text in found] == [f"Yes, {n}." for n in range(60)]


def with_control_tokens(metadata: Metadata, template: str) -> Tokenizer:
    """A vocabulary with the control tokens that a template writes."""
    names = re.findall(
        r"<\|[^|>\s]{1,30}\|>|<｜[^｜>]{1,30}｜>|<(?:start|end)_of_turn>|<[a-z_]+\|>|<\|[a-z_]+>|\[/?INST\]|<seed:[a-z_]+>",  # noqa: RUF001
        template,
    )
    known = metadata["tokenizer.ggml.tokens"]
    new = [name for name in dict.fromkeys([*names, "<s>", "</s>"]) if name not in known]
    return Tokenizer.from_gguf(
        {
            **metadata,
            "tokenizer.ggml.tokens": [*known, *new],
            "tokenizer.ggml.token_type": [*metadata["tokenizer.ggml.token_type"], *[3] * len(new)],
            "tokenizer.ggml.eos_token_id": [*known, *new].index("</s>"),
        }
    )


@pytest.fixture(scope="module")
def templates() -> list[Path]:
    try:
        source = source_distribution("llama-cpp-python", "0.3.36")
    except CannotFetchError as error:
        pytest.skip(f"the templates cannot be had: {error}")
    return sorted((source / "vendor" / "llama.cpp" / "models" / "templates").glob("*.jinja"))


# Messages are written by their numbers, the calls of a template that is made for a variable are not JSON.
WITHOUT = {"Reka-Edge", "llama-cpp-deepseek-r1"}


@pytest.mark.slow
def test_real_templates_show_where_the_assistant_speaks(templates: list[Path], bpe_metadata: Metadata) -> None:
    """All that it said is in a span, nothing that others said is, and a turn's prompt is nowhere taken for a reply."""
    assert len(templates) > 50
    for path in templates:
        if path.stem in WITHOUT:
            continue
        source = path.read_text()
        tokenizer = with_control_tokens(bpe_metadata, source)
        found = prompt_of(tokenizer, source, [ASKED, REPLY, AGAIN])
        first = prompt_of(tokenizer, source, [ASKED])
        (said,) = spoken(tokenizer, found)
        assert "It is fine." in said, path.stem
        assert not any(word in said for word in ("What", "tomorrow")), path.stem
        assert "ssistant" not in said.partition("It is fine.")[0], path.stem
        assert found.reply_spans[0][0] >= agreeing(found.ids, first.ids) - 1, path.stem
        called = spoken(tokenizer, prompt_of(tokenizer, source, [ASKED, CALL, RESULT, REPLY, AGAIN], tools=TOOLS))
        assert [words_of(text) for text in called] == ["get_weather", "It is fine."], path.stem
        assert not any(word in text for text in called for word in ("What", "tomorrow")), path.stem
        assert not any("18 degrees" in text for text in called), path.stem


def words_of(text: str) -> str:
    return " ".join(word for word in ("get_weather", "It is fine.") if word in text)


def agreeing(one: list[int], other: list[int]) -> int:
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
