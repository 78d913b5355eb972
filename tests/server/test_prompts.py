"""What prompt a chat becomes, by templates that take everything and by those that do not."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

import lutmac
from lutmac.server.app import create_app
from lutmac.server.settings import Settings
from lutmac.text import ChatTemplate
from lutmac.text.chat import CHATML

# Only a user's turn and a reply in turns, and no other role, as Gemma 2 has it.
STRICT = (
    "{% for m in messages %}"
    "{% if m.role not in ('user', 'assistant') %}{{ raise_exception('no ' + m.role) }}{% endif %}"
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('out of turn') }}{% endif %}"
    "[{{ m.role }}|{{ m.content | trim }}]{% endfor %}{% if add_generation_prompt %}[assistant|{% endif %}"
)
# A system message at the beginning goes into the first turn, as Gemma 3 has it.
FIRST_ONLY = (
    "{% set ns = namespace(first='') %}{% if messages[0].role == 'system' %}"
    "{% set ns.first = messages[0].content + '\n\n' %}{% set messages = messages[1:] %}{% endif %}"
) + STRICT.replace("{{ m.content", "{{ ns.first if loop.first }}{{ m.content")
# Tools stand in a key of the system message, as Phi-4-mini has it.
TOOLS_IN_SYSTEM = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}"
    "{% if m.role == 'system' and 'tools' in m and m.tools is not none %}<tool>{{ m.tools }}</tool>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)
PARTS_ONLY = (
    "{% for m in messages %}{{ m.role }}:{% for p in m.content %}{% if p.type == 'text' %}({{ p.text }}){% endif %}"
    "{% endfor %};{% endfor %}"
)
# Calls and results of its own, one call to a message, ids of nine letters and digits, as some of Mistral's and Llama's.
ONE_CALL = (
    "{% for m in messages %}{% if m.tool_calls is defined and m.tool_calls %}{% if m.tool_calls | length != 1 %}"
    "{{ raise_exception('one at a time') }}{% endif %}{% set c = m.tool_calls[0] %}{% if c.id | length != 9 %}"
    "{{ raise_exception('bad id') }}{% endif %}[TOOL_CALLS]{{ c.function.name }}{{ c.function.arguments | tojson }};"
    "{% elif m.role == 'tool' %}[{{ m.content }}];{% else %}{{ m.role }}:{{ m.content }};{% endif %}{% endfor %}"
    "{{ tools }}"
)
TOOL = {"type": "function", "function": {"name": "get_weather"}}
S = {"role": "system", "content": "Be brief."}
U = {"role": "user", "content": "hi"}
A = {"role": "assistant", "content": "ho"}


def call(id: str, name: str = "get_weather") -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": '{"city": "Rome"}'}}


CALLS = {"role": "assistant", "content": None, "tool_calls": [call("call_1"), call("call_2")]}
RESULTS = [{"role": "tool", "tool_call_id": f"call_{n}", "content": f"{n} degrees"} for n in (1, 2)]
Ask = Callable[..., str]


@pytest.fixture
def prompt(tiny: Any) -> Ask:
    """The prompt that a chat becomes, through the server."""
    model = lutmac.load(tiny.path, threads=1)
    http = TestClient(create_app(model, Settings(names=("m",))), base_url="http://127.0.0.1")

    def ask(template: str | ChatTemplate, messages: list[Any], **body: Any) -> str:
        model.__dict__["chat_template"] = ChatTemplate(template) if isinstance(template, str) else template
        reply = http.post("/tokenize", json={"messages": messages, **body}).json()
        assert "tokens" in reply, reply
        said: str = http.post("/detokenize", json={"tokens": reply["tokens"]}).json()["prompt"]
        return said

    return ask


@pytest.mark.parametrize(
    ("messages", "strict", "first_only"),
    [
        ([S, U], "[user|Be brief.\n\nhi]", None),
        ([{**S, "role": "developer"}, U], "[user|Be brief.\n\nhi]", None),
        ([U, U], "[user|hi\n\nhi]", None),
        ([U, A, S, U], "[user|hi][assistant|ho][user|Be brief.\n\nhi]", None),
        ([S, {**S, "content": "Be kind."}, U], "[user|Be brief.\n\nBe kind.\n\nhi]", None),
        ([A, U], "[user|][assistant|ho][user|hi]", None),
        ([S, A, U], "[user|][assistant|ho][user|Be brief.\n\nhi]", "[user|Be brief.\n\n][assistant|ho][user|hi]"),
        ([U, S], "[user|hi\n\nBe brief.]", None),
    ],
)
def test_what_a_template_refuses_is_put_where_it_takes_it(
    prompt: Ask, messages: list[Any], strict: str, first_only: str | None
) -> None:
    assert prompt(STRICT, messages) == strict + "[assistant|"
    assert prompt(FIRST_ONLY, messages) == (first_only or strict) + "[assistant|"


def test_tools_and_their_results_reach_a_template_that_knows_neither(prompt: Ask) -> None:
    said = prompt(STRICT, [S, U, CALLS, *RESULTS], tools=[TOOL])
    assert said.startswith("[user|Be brief.\n\nYou can call functions.")
    assert '{"name": "get_weather", "description": ""' in said
    assert said.count("[assistant|<tool_call>") == 1
    assert said.count('"arguments": {"city": "Rome"}') == 2
    both = "[user|<tool_response>\n1 degrees\n</tool_response>\n\n<tool_response>\n2 degrees\n</tool_response>]"
    assert said.endswith(both + "[assistant|")


def test_tools_described_in_the_system_message_are_logged_once(prompt: Ask, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "lutmac"):
        for _ in range(2):
            assert "get_weather" in prompt(CHATML, [U], tools=[TOOL])
    assert [record.fields["reason"] for record in caplog.records] == [  # type: ignore[attr-defined]
        "the chat template knows no tools: they are described in the system message"
    ]


def test_tools_go_where_the_template_reads_them(prompt: Ask) -> None:
    tools = '[{"name": "get_weather", "description": "", "parameters": {"type": "object", "properties": {}}}]'
    assert prompt(TOOLS_IN_SYSTEM, [U], tools=[TOOL]) == f"<system><tool>{tools}</tool><user>hi<assistant>"
    assert prompt(TOOLS_IN_SYSTEM, [S, U], tools=[TOOL]) == f"<system>Be brief.<tool>{tools}</tool><user>hi<assistant>"
    assert prompt(TOOLS_IN_SYSTEM, [S, U]) == "<system>Be brief.<user>hi<assistant>"


def test_the_template_called_tool_use_is_for_chats_with_tools(prompt: Ask) -> None:
    template = ChatTemplate(
        "DEFAULT {{ messages[0].content }}",
        tool_use=ChatTemplate(
            "TOOLUSE {% for t in tools %}{{ t.function.name }}{% endfor %} {{ messages[0].content }}"
        ),
    )
    assert prompt(template, [U]) == "DEFAULT hi"
    assert prompt(template, [U], tools=[TOOL]) == "TOOLUSE get_weather hi"
    counting = ChatTemplate("{{ messages[0].content }}", tool_use=ChatTemplate("TOOLUSE {{ tools | length }}"))
    assert prompt(counting, [U], tools=[TOOL]) == "TOOLUSE 1"


def test_content_is_text_or_parts_as_the_template_wants_it(prompt: Ask) -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert prompt(PARTS_ONLY, [S, {"role": "user", "content": parts}]) == "system:(Be brief.);user:(a)(b);"
    assert prompt(CHATML, [{"role": "user", "content": parts}]).startswith("<|im_start|>user\nab<|im_end|>")


def test_calls_are_parted_and_ids_shortened_where_the_template_wants_that(prompt: Ask) -> None:
    calls = '[TOOL_CALLS]get_weather{"city": "Rome"};[1 degrees];[TOOL_CALLS]get_weather{"city": "Rome"};[2 degrees];'
    assert prompt(ONE_CALL, [U, CALLS, *RESULTS]) == f"user:hi;{calls}None"


def test_a_final_reply_is_continued(prompt: Ask) -> None:
    begun = "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nho"
    assert prompt(CHATML, [U, A]) == begun
    assert prompt(CHATML, [U, A], continue_final_message=True) == begun
    closed = begun + "<|im_end|>\n"
    assert prompt(CHATML, [U, A], continue_final_message=False) == closed + "<|im_start|>assistant\n"
    assert prompt(CHATML, [U, A], add_generation_prompt=True) == closed + "<|im_start|>assistant\n"
    assert prompt(CHATML, [U, A], add_generation_prompt=False, continue_final_message=False) == closed
    assert prompt(CHATML, [U], add_generation_prompt=False) == "<|im_start|>user\nhi<|im_end|>\n"
    assert prompt(STRICT, [U, {**A, "content": "ho "}]) == "[user|hi][assistant|ho"  # the template trims
    assert prompt(CHATML, [U, {**A, "content": "ho "}]) == begun + " "
    assert prompt("{% for m in messages %}{{ m.role }};{% endfor %}", [U, A]) == "user;ho"  # it leaves content out


def test_thoughts_go_back_into_templates_that_want_them(prompt: Ask) -> None:
    history = (
        "{% for m in messages %}{{ m.role }}:{{ m.content }}"
        "{% if m['KEY'] is defined %}[R={{ m['KEY'] }}]{% endif %};{% endfor %}"
    )
    for wants in ("reasoning_content", "thinking", "reasoning"):
        for sent in ("reasoning_content", "thinking", "reasoning"):
            said = prompt(history.replace("KEY", wants), [U, {**A, sent: "why"}, U])
            assert said == "user:hi;assistant:ho[R=why];user:hi;"
    in_parts = (
        "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}{% for p in m.content %}"
        "{{ '<' + p.thinking + '>' if p.type == 'thinking' else p.text }}{% endfor %}{% endif %};{% endfor %}"
    )
    assert prompt(in_parts, [U, {**A, "reasoning_content": "why"}, U]) == "hi;<why>ho;hi;"
    assert prompt(CHATML, [U, {**A, "reasoning_content": "why"}, U], add_generation_prompt=False).count("why") == 0


def test_a_begun_reply_is_not_held_to_a_format(tiny_model: lutmac.Model) -> None:
    http = TestClient(create_app(tiny_model, Settings(names=("m",))), base_url="http://127.0.0.1")
    asked = {"messages": [U, A], "max_tokens": 2, "response_format": {"type": "json_object"}}
    begins_anew = http.post("/v1/chat/completions", json=asked).json()["usage"]["prompt_tokens"]
    goes_on = http.post("/v1/chat/completions", json={"messages": [U, A], "max_tokens": 2}).json()["usage"]
    assert begins_anew > goes_on["prompt_tokens"]
    refused = http.post("/v1/chat/completions", json={**asked, "continue_final_message": True})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "continue_final_message")
