"""Requests as coding agents, editors and Open WebUI send them: each is answered."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from serving import Served

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
MESSAGES = "/v1/messages?beta=true"
HEADERS = {
    "anthropic-version": "2023-06-01",
    "anthropic-beta": "claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27",
    "x-app": "cli", "user-agent": "claude-cli/2.1.0", "authorization": "Bearer x",
}  # fmt: skip
SHELL = {
    "type": "function", "name": "exec_command", "description": "Runs a command in a PTY", "strict": False,
    "parameters": {
        "type": "object", "additionalProperties": False, "required": ["cmd"],
        "properties": {"cmd": {"type": "string"}, "workdir": {"type": "string"}, "yield_time_ms": {"type": "number"}},
    },
}  # fmt: skip
CODEX: dict[str, Any] = {
    "model": "gpt-5.2-codex", "instructions": "You are Codex.", "tools": [SHELL], "tool_choice": "auto",
    "parallel_tool_calls": False, "reasoning": {"effort": "medium", "summary": "auto"}, "store": False, "stream": True,
    "include": ["reasoning.encrypted_content"], "prompt_cache_key": "example", "max_output_tokens": 4,
    "text": {"verbosity": "low"}, "client_metadata": {"x-codex-turn-metadata": "{}"},
    "input": [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "<permissions>"}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Say hi."}]},
    ],
}  # fmt: skip
CALL = {"type": "function_call", "name": "exec_command", "arguments": '{"cmd":"ls"}', "call_id": "c1"}
CODEX_MORE: dict[str, dict[str, Any]] = {
    "as it is": {},
    "web_search": {"tools": [SHELL, {"type": "web_search", "external_web_access": False}]},
    "a custom tool": {"tools": [SHELL, {"type": "custom", "name": "apply_patch", "format": {"type": "grammar"}}]},
    "a namespace": {"tools": [SHELL, {"type": "namespace", "name": "mcp__x", "description": "", "tools": [SHELL]}]},
    "local_shell alone": {"tools": [{"type": "local_shell"}]},
    "what a call gave": {"input": [*CODEX["input"], {"type": "reasoning", "summary": [], "encrypted_content": "abc"},
                                   CALL, {"type": "function_call_output", "call_id": "c1", "output": "a.txt"}]},
    "a picture that a call gave": {"input": [*CODEX["input"], CALL, {
        "type": "function_call_output", "call_id": "c1",
        "output": [{"type": "input_text", "text": "a"}, {"type": "input_image", "image_url": "data:,"}]}]},
    "items of other types": {"input": [
        *CODEX["input"], {"type": "custom_tool_call", "call_id": "c", "name": "apply_patch", "input": "x"},
        {"type": "custom_tool_call_output", "call_id": "c", "output": {"any": "thing"}},
        {"type": "local_shell_call", "action": {"type": "exec"}}, {"type": "web_search_call", "id": "w"},
        {"type": "item_reference", "id": "x"}, {"type": "computer_call_output", "output": {"type": "screenshot"}}]},
    "context_management": {"context_management": [{"type": "compaction", "compact_threshold": 1000}]},
}  # fmt: skip
CLAUDE: dict[str, Any] = {
    "model": "claude-sonnet-4-5", "max_tokens": 4, "stream": True, "temperature": 1, "metadata": {"user_id": "example"},
    "system": [{"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1"},
               {"type": "text", "text": "You are Claude Code.", "cache_control": {"type": "ephemeral"}}],
    "messages": [{"role": "user", "content": [
        {"type": "text", "text": "<system-reminder>x</system-reminder>"},
        {"type": "text", "text": "Say hi.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]}],
    "tools": [{"name": "Bash", "description": "Runs", "cache_control": {"type": "ephemeral"}, "input_schema": {
        "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "additionalProperties": False,
        "properties": {"command": {"type": "string"}, "timeout": {"type": "number"}}, "required": ["command"]}}],
}  # fmt: skip
USED = {"role": "assistant", "content": [
    {"type": "thinking", "thinking": "x", "signature": "y"},
    {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "ls"},
     "caller": {"type": "direct"}}]}  # fmt: skip


def result(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": [
        {"type": "tool_result", "tool_use_id": "t1", "content": content, "is_error": False},
        {"type": "text", "text": "continue"}]}  # fmt: skip


PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
CLAUDE_MORE: dict[str, dict[str, Any]] = {
    "as it is": {},
    "thinking and effort": {"thinking": {"type": "adaptive"}, "output_config": {"effort": "medium"},
                            "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}},
    "a result": {"messages": [*CLAUDE["messages"], USED, result("a.txt")]},
    "a picture in a result": {"messages": [*CLAUDE["messages"], USED, result([PICTURE])]},
    "tool_search": {"tools": [*CLAUDE["tools"], {"type": "tool_search_tool_regex_20251119", "name": "search"}]},
    "web_search alone": {"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 8}]},
    "a warm-up": {"max_tokens": 1, "stream": False, "messages": [{"role": "user", "content": "quota"}]},
    "a system message in the middle": {"messages": [*CLAUDE["messages"], {"role": "system", "content": "be brief"}]},
}  # fmt: skip
OPEN_WEBUI: dict[str, dict[str, Any]] = {
    "a title": {"messages": [{"role": "user", "content": "### Task: a title"}], "max_completion_tokens": 5,
                "stream": False, "metadata": {"task": "title_generation"}},
    "stream_options without a stream": {"stream": False, "stream_options": {"include_usage": True}},
    "a stream": {"stream": True, "stream_options": {"include_usage": True}},
    "sampling": {"temperature": 0.7, "top_k": 40, "top_p": 0.9, "min_p": 0.0, "frequency_penalty": 0,
                 "presence_penalty": 0, "repeat_penalty": 1.1, "seed": 0, "stop": ["X"], "logit_bias": {}},
    "zed": {"stream": True, "max_completion_tokens": 5, "stop": [], "temperature": 1.0, "tools": [],
            "prompt_cache_key": "x", "parallel_tool_calls": None, "tool_choice": None},
    "a mistral client": {"tool_choice": "auto", "random_seed": 1, "safe_prompt": False},
    "openrouter": {"usage": {"include": True}, "provider": {"order": []}, "transforms": [], "stream": True},
}  # fmt: skip


def post(http: httpx.Client, path: str, body: dict[str, Any], **arguments: Any) -> httpx.Response:
    reply = http.post(path, json=body, **arguments)
    assert reply.status_code == 200, reply.text
    assert '"error":' not in reply.text.replace('"error": null', "").replace('"error":null', "")
    return reply


@pytest.mark.parametrize("more", CODEX_MORE.values(), ids=CODEX_MORE.keys())
def test_codex(http: httpx.Client, more: dict[str, Any]) -> None:
    assert "response.completed" in (text := post(http, RESPONSES, {**CODEX, **more}).text) or "incomplete" in text


def test_codex_asks_for_the_models(http: httpx.Client) -> None:
    assert http.get("/v1/models?client_version=0.147.0").status_code == 200
    assert http.post("/v1/responses/compact", json={"model": "x", "input": "hi"}).status_code == 404
    empty = http.post(RESPONSES, json={"input": [], "instructions": "hi"})
    assert empty.status_code == 400
    assert "empty" in empty.json()["error"]["message"]


@pytest.mark.parametrize("more", CLAUDE_MORE.values(), ids=CLAUDE_MORE.keys())
def test_claude_code(http: httpx.Client, more: dict[str, Any]) -> None:
    post(http, MESSAGES, {**CLAUDE, **more}, headers=HEADERS)


def test_claude_code_around_its_messages(http: httpx.Client) -> None:
    counted = {name: CLAUDE[name] for name in ("model", "system", "messages", "tools")}
    assert post(http, "/v1/messages/count_tokens?beta=true", counted, headers=HEADERS).json()["input_tokens"] > 10
    title = {"type": "object", "properties": {"title": {"enum": ["A", "B"]}}, "required": ["title"],
             "additionalProperties": False}  # fmt: skip
    body = {**CLAUDE, "stream": False, "max_tokens": 30, "tools": [],
            "output_config": {"format": {"type": "json_schema", "schema": title}}}  # fmt: skip
    assert json.loads(post(http, MESSAGES, body).json()["content"][-1]["text"])["title"] in ("A", "B")
    picture = http.post(MESSAGES, json={**CLAUDE, "messages": [{"role": "user", "content": [PICTURE]}]})
    assert picture.status_code == 400
    assert "image" in picture.json()["error"]["message"]
    assert http.head("/").status_code == 200
    assert http.post("/api/event_logging/batch", json={"events": []}).status_code == 404


@pytest.mark.parametrize("more", OPEN_WEBUI.values(), ids=OPEN_WEBUI.keys())
def test_open_webui_and_its_like(http: httpx.Client, more: dict[str, Any]) -> None:
    messages = [{"role": "system", "content": "x"}, {"role": "user", "content": [{"type": "text", "text": "hi"}]}]
    post(http, CHAT, {"model": "any", "messages": messages, "max_tokens": 5, **more})


def test_continue_completes_as_you_type(http: httpx.Client) -> None:
    body = {"model": "any", "prompt": "<fim_prefix>def a<fim_suffix>x<fim_middle>", "max_tokens": 5, "stream": True,
            "stop": ["<fim_prefix>", "\n\n"], "temperature": 0.01}  # fmt: skip
    post(http, "/v1/completions", body)
    for path, given in (("/chat/completions", {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 3}),
                        ("/responses", {"input": "hi", "max_output_tokens": 3})):  # fmt: skip
        post(http, path, given)


def test_usage_in_every_event(http: httpx.Client) -> None:
    """guidellm's."""
    options = {"include_usage": True, "continuous_usage_stats": True}
    for path, body in ((CHAT, {"messages": [{"role": "user", "content": "hi"}]}), ("/v1/completions", {"prompt": "a"})):
        text = post(http, path, {**body, "max_tokens": 4, "stream": True, "stream_options": options}).text
        events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
        counts = [event["usage"]["completion_tokens"] for event in events]
        assert counts == sorted(counts)
        assert counts[-1] == counts[-2] == 4
        assert events[0]["usage"]["prompt_tokens"] == events[-1]["usage"]["prompt_tokens"] > 0


def test_clients_that_speak_of_functions(http: httpx.Client) -> None:
    function = {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"const": "Paris"}},
                                                      "required": ["city"]}}  # fmt: skip
    body = {"messages": [{"role": "user", "content": "hi"}], "functions": [function], "max_tokens": 60,
            "function_call": {"name": "get_weather"}, "temperature": 0}  # fmt: skip
    choice = post(http, CHAT, body).json()["choices"][0]
    assert choice["message"]["function_call"]["name"] == "get_weather"
    assert json.loads(choice["message"]["function_call"]["arguments"]) == {"city": "Paris"}
    assert choice["finish_reason"] == "function_call"
    assert "tool_calls" not in choice["message"]
    text = post(http, CHAT, {**body, "stream": True}).text
    deltas = [json.loads(line[6:])["choices"][0]["delta"] for line in text.splitlines() if line.startswith("data: {")]
    calls = [delta["function_call"] for delta in deltas if "function_call" in delta]
    assert calls[0]["name"] == "get_weather"
    assert json.loads("".join(call["arguments"] for call in calls)) == {"city": "Paris"}
    history = [*body["messages"], {"role": "assistant", **choice["message"]},  # type: ignore[misc]
               {"role": "function", "name": "get_weather", "content": "sunny"}]  # fmt: skip
    post(http, CHAT, {"messages": history, "functions": [function], "max_tokens": 4})


def webui_tools(count: int) -> list[dict[str, Any]]:
    """As Open WebUI describes its own: long texts, several parameters each."""

    def parameter(place: int) -> dict[str, Any]:
        return {"type": "string", "description": f"Parameter {place}: what to search for, create, or change."}

    properties = {name: parameter(place) for place, name in enumerate("abc")}
    return [{"type": "function", "function": {
        "name": f"tool_{number}", "description": f"Tool {number}. It finds, reads or edits notes of a workspace. " * 4,
        "parameters": {"type": "object", "required": ["a"], "properties": properties},
    }} for number in range(count)]  # fmt: skip


WEBUI_TOOLS = 36
WEBUI_TOKENS = 6600  # that they make


@pytest.mark.parametrize("count", [5, pytest.param(WEBUI_TOOLS, marks=pytest.mark.slow)])
def test_a_prompt_with_tools_is_read_once(http: httpx.Client, served: Served, count: int) -> None:
    """The next turn of Open WebUI's chat with its tools finds what the one before has read."""
    tools, messages = webui_tools(count), [{"role": "user", "content": "Hello!"}]
    asked = {"messages": messages, "tools": tools, "max_tokens": 8, "temperature": 0}
    first = post(http, CHAT, asked, timeout=600).json()
    prompt = first["usage"]["prompt_tokens"]
    assert abs(prompt - WEBUI_TOKENS * count / WEBUI_TOOLS) < 0.1 * WEBUI_TOKENS * count / WEBUI_TOOLS
    messages += [first["choices"][0]["message"], {"role": "user", "content": "And now?"}]
    body = {"messages": messages, "tools": tools, "max_tokens": 8, "stream": True, "return_progress": True,
            "stream_options": {"include_usage": True}}  # fmt: skip
    text = post(http, CHAT, body, timeout=600).text
    events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
    assert events[-1]["usage"]["prompt_tokens_details"]["cached_tokens"] > 0.9 * prompt
    progress = [event["prompt_progress"] for event in events if "prompt_progress" in event]
    assert progress[0]["cache"] > 0.9 * prompt
    assert progress[-1]["processed"] == progress[-1]["total"] == events[-1]["usage"]["prompt_tokens"]


@pytest.mark.slow
def test_the_log_says_how_far_a_long_prompt_is_read(http: httpx.Client, served: Served) -> None:
    body = {"messages": [{"role": "user", "content": "Hi!"}], "tools": webui_tools(WEBUI_TOOLS), "max_tokens": 2}
    assert post(http, CHAT, body, timeout=600).json()["usage"]["prompt_tokens"] > 5000
    lines = [json.loads(line) for line in served.lines if '"reading"' in line]
    assert all(line["read"] < line["prompt_tokens"] for line in lines)
    assert lines
