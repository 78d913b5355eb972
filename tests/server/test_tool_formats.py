"""Calls of functions as the families' models write them, cut anywhere."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lutmac.server.tools import GENERIC, HERMES, LLAMA, MISTRAL, ToolCall, ToolCallParser, ToolFormat, find_format

# A busy machine is not what these tests are about.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
CALL = '{"name": "add", "arguments": {"a": 1, "b": "}</tool_cal"}}'
ADD = ("add", {"a": 1, "b": "}</tool_cal"})
CASES: list[tuple[ToolFormat, str, str, list[tuple[str, object]]]] = [
    (HERMES, f"<tool_call>\n{CALL}\n</tool_call>", "", [ADD]),
    (HERMES, f"Let me see.\n<tool_call>{CALL}</tool_call>\n<tool_call>{CALL}</tool_call>", "Let me see.", [ADD, ADD]),
    (HERMES, f"<tool_call>[{CALL}]</tool_call>", "", [ADD]),
    (HERMES, f"<tool_call>\n{CALL}", "", [ADD]),
    (HERMES, "<tool_call>{broken</tool_call> x", "<tool_call>{broken</tool_call> x", []),
    (HERMES, "1 < 2 and <tool", "1 < 2 and <tool", []),
    (HERMES, "Nothing to call.", "Nothing to call.", []),
    (LLAMA, '{"name": "add", "parameters": {"a": 1}}', "", [("add", {"a": 1})]),
    (LLAMA, '<|python_tag|>{"name": "add", "parameters": {}}; {"name": "add", "parameters": {"a": 2}}', "",
     [("add", {}), ("add", {"a": 2})]),
    (LLAMA, '{"name": "Ada", "age": 36}', '{"name": "Ada", "age": 36}', []),
    (LLAMA, "{a set}", "{a set}", []),
    (LLAMA, "Plain words.", "Plain words.", []),
    (MISTRAL, '[TOOL_CALLS] [{"name": "add", "arguments": {"a": 1}}, {"name": "add", "arguments": {}}]', "",
     [("add", {"a": 1}), ("add", {})]),
    (MISTRAL, '[TOOL_CALLS]add[ARGS]{"a": 1}[TOOL_CALLS]add[ARGS]{"a": 2}', "", [("add", {"a": 1}), ("add", {"a": 2})]),
    (GENERIC, '```json\n{"name": "add", "arguments": "{\\"a\\": 1}"}\n```', "", [("add", {"a": 1})]),
    (GENERIC, "[1, 2]", "[1, 2]", []),
]  # fmt: skip


def read(format: ToolFormat, pieces: list[str], *, forced: bool = False) -> tuple[str, list[tuple[str, object]]]:
    parser = ToolCallParser(format, frozenset({"add"}), forced=forced)
    found = [item for piece in pieces for item in parser.push(piece)] + list(parser.flush())
    calls = [(item.name, json.loads(item.arguments)) for item in found if isinstance(item, ToolCall)]
    return "".join(item for item in found if isinstance(item, str)), calls


@pytest.mark.parametrize(("format", "reply", "text", "calls"), CASES)
@patient
@given(st.data())
def test_calls_and_text_come_apart_wherever_the_stream_is_cut(
    format: ToolFormat, reply: str, text: str, calls: list[tuple[str, object]], data: st.DataObject
) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(reply)), max_size=6)))
    pieces = [reply[start:end] for start, end in zip([0, *cuts], [*cuts, len(reply)], strict=True)]
    assert read(format, pieces) == (text, calls)


@patient
@given(st.text(alphabet='<tol_ca>{}[]"n: \n', max_size=60), st.sampled_from([HERMES, LLAMA, MISTRAL, GENERIC]))
def test_what_is_no_call_is_text(reply: str, format: ToolFormat) -> None:
    text, calls = read(format, list(reply))
    assert calls == []
    assert text.strip() == reply.strip()


def test_a_forced_reply_is_calls_without_the_opening() -> None:
    assert read(HERMES, list(CALL + "\n</tool_call>"), forced=True) == ("", [ADD])
    assert read(MISTRAL, list(f"[{CALL}]"), forced=True) == ("", [ADD])
    assert read(HERMES, ['{"name": "add", "argu'], forced=True) == ('{"name": "add", "argu', [])


def test_a_template_says_its_family() -> None:
    assert find_format("... <tool_call> ... tools").name == "hermes"
    assert find_format("... [TOOL_CALLS] ... tools").name == "mistral"
    assert find_format("... <|python_tag|> ... tools").name == "llama"
    assert find_format("... tools ...").name == "generic"
    assert find_format("messages only").name == "hermes"
