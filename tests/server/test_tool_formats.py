"""Calls of functions as the families' models write them, cut anywhere."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tool_texts import CALL, CASES, PARIS, TOOLS, Case

from lutmac.server.tools import (
    FAMILIES,
    CallArguments,
    CallBegin,
    CallEnd,
    Part,
    ReplyParser,
    Text,
    Thought,
    Tool,
    find_family,
)
from lutmac.server.tools.thoughts import THINK, THOUGHT_MARKS, find_marks, open_marks

# A busy machine is not what these tests are about.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
BY_NAME = {family.name: family for family in FAMILIES}


def parser(case: Case, tools: Mapping[str, Tool] = TOOLS) -> ReplyParser:
    marks = find_marks(case.marks) or (THINK,)
    return ReplyParser(
        BY_NAME[case.family], tools, marks, thinking=open_marks(case.marks, marks) if "open" in case.marks else None
    )


def read(reader: ReplyParser, pieces: Iterable[str], *, cut: bool = False) -> list[Part]:
    """The parts, pieces of one thing joined, with the ids of calls left out."""
    parts = [part for piece in pieces for part in reader.push(piece)] + reader.close(cut=cut)
    joined: list[Part] = []
    for part in parts:
        if isinstance(part, Text | Thought | CallArguments) and joined and type(joined[-1]) is type(part):
            joined[-1] = type(part)(joined[-1].text + part.text)  # type: ignore[union-attr]
        else:
            joined.append(part)
    return joined


def shape(parts: list[Part]) -> list[Any]:
    """The parts without ids, which are drawn."""
    return [
        part.name if isinstance(part, CallBegin) else (part.call.name, part.call.arguments) if isinstance(part, CallEnd)
        else part for part in parts
    ]  # fmt: skip


def calls(parts: list[Part]) -> list[tuple[str, Any]]:
    return [(part.call.name, json.loads(part.call.arguments)) for part in parts if isinstance(part, CallEnd)]


def text(parts: list[Part], kind: type[Text] | type[Thought] = Text) -> str:
    return "".join(part.text for part in parts if isinstance(part, kind))


def split(reply: str, cuts: Iterable[int]) -> list[str]:
    return [reply[start:end] for start, end in pairwise([0, *sorted(cuts), len(reply)])]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.family}: {case.reply[:40]!r}")
def test_thoughts_text_and_calls_come_apart_wherever_the_stream_is_cut(case: Case) -> None:
    whole = read(parser(case), [case.reply])
    assert (calls(whole), text(whole), text(whole, Thought)) == (case.calls, case.text, case.thoughts)
    assert shape(read(parser(case), list(case.reply))) == shape(whole)
    for place in range(1, len(case.reply)):
        assert shape(read(parser(case), split(case.reply, [place]))) == shape(whole)


@patient
@given(st.sampled_from(CASES), st.data())
def test_cuts_in_several_places_change_nothing(case: Case, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(case.reply)), max_size=6))
    assert shape(read(parser(case), split(case.reply, cuts))) == shape(read(parser(case), [case.reply]))


@patient
@given(st.sampled_from(CASES), st.text(alphabet="<tol_ca>{}[]\"'n:,\\ \n(=", max_size=12), st.data())
def test_what_is_damaged_is_read_without_an_error_and_the_same_in_any_pieces(
    case: Case, damage: str, data: st.DataObject
) -> None:
    begin = data.draw(st.integers(0, len(case.reply)))
    end = data.draw(st.integers(begin, min(len(case.reply), begin + 8)))
    reply = case.reply[:begin] + damage + case.reply[end:]
    whole = read(parser(case), [reply])
    assert shape(read(parser(case), list(reply))) == shape(whole)
    for _name, arguments in calls(whole):
        assert isinstance(arguments, dict)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.family}: {case.reply[:40]!r}")
def test_arguments_stream_as_prefixes_that_stand(case: Case) -> None:
    reader, said = parser(case), ""
    for part in [part for character in case.reply for part in reader.push(character)] + reader.close():
        if isinstance(part, CallBegin):
            said = ""
        elif isinstance(part, CallArguments):
            said += part.text
        elif isinstance(part, CallEnd):
            assert part.call.arguments == said


def test_long_arguments_do_not_wait_for_their_end() -> None:
    reader = ReplyParser(BY_NAME["hermes"], TOOLS, (THINK,))
    parts = reader.push('<tool_call>\n{"name": "write_file", "arguments": {"content": "one two')
    assert [type(part) for part in parts] == [CallBegin, CallArguments]
    assert parts[1] == CallArguments('{"content": "one two')


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.family}: {case.reply[:40]!r}")
def test_without_tools_there_is_no_call(case: Case) -> None:
    parts = read(parser(case, tools={}), [case.reply])
    assert calls(parts) == []
    if not case.thoughts and case.family not in ("harmony", "command-r7b") and "</think>" not in case.reply:
        assert text(parts) == case.reply


@patient
@given(st.text(alphabet='<tol_ca>{}[]"n: \n', max_size=60), st.sampled_from(sorted(set(BY_NAME) - {"harmony"})))
def test_what_is_no_call_is_text(reply: str, family: str) -> None:
    parts = read(ReplyParser(BY_NAME[family], TOOLS, (THINK,)), list(reply))
    if not calls(parts):
        assert text(parts).strip() == reply.strip()


@pytest.mark.parametrize(
    ("reply", "said", "arguments"),
    [
        (CALL[:-8], "", '{"a": 1, "b": "}</too'),
        ("<tool_call>" + CALL[:20], "<tool_call>" + CALL[:20], None),
        (CALL[:20], CALL[:20], None),
        ("<tool_call>\n<function=write_file>\n<parameter=content>\nabc\n", "", '{"content": "abc'),
        ('[get_weather(city="Par', "", '{"city": "Par'),
    ],
)
def test_a_call_that_was_cut_off_stays_incomplete(reply: str, said: str, arguments: str | None) -> None:
    for pieces in ([reply], list(reply)):
        parts = read(ReplyParser(BY_NAME["hermes"], TOOLS, (THINK,)), pieces, cut=True)
        assert text(parts) == said
        assert [part.call.arguments for part in parts if isinstance(part, CallEnd)] == (
            [arguments] if arguments else []
        )


def test_ids_are_the_models_own_where_its_template_wants_them_back() -> None:
    mistral = read(parser(Case("mistral-call-id", "", [])), ["[TOOL_CALLS]add[CALL_ID]abcdef123[ARGS]{}"])
    kimi = read(parser(Case("kimi", "", [])), ["<|tool_call_begin|>functions.add:0<|tool_call_argument_begin|>{}"])
    assert [part.id for part in (*mistral, *kimi) if isinstance(part, CallBegin)] == ["abcdef123", "functions.add:0"]
    assert len(BY_NAME["mistral"].new_id()) == 9
    assert BY_NAME["hermes"].new_id().startswith("call_")


def test_every_family_reads_what_it_writes() -> None:
    for family in FAMILIES:
        if family.style == "json":
            written = family.write("get_weather", {"city": "Paris"})
            assert calls(read(parser(Case(family.name, "", [])), [written])) == [PARIS], family.name


def test_thoughts_open_and_close() -> None:
    for marks in THOUGHT_MARKS:
        assert find_marks(f"a{marks.opening}b") == (marks,)
        assert open_marks(f"x {marks.opening}\n", THOUGHT_MARKS) == marks
        assert open_marks(f"x {marks.opening}\n{marks.closing}", THOUGHT_MARKS) is None
    assert find_marks("") == ()


def test_a_template_says_its_family() -> None:
    assert find_family("... <tool_call> ... tools").name == "hermes"
    assert find_family("... [TOOL_CALLS] ... tools").name == "mistral"
    assert find_family("... <|python_tag|> ... tools").name == "llama"
    assert find_family("... tools ...").name == "generic"
    assert find_family("messages only").name == "hermes"
