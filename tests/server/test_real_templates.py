"""Chat templates of real families, out of a source distribution, beside transformers' own rendering of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import lutmac
from fetching import CannotFetchError, source_distribution
from lutmac.server.prompts import template_messages
from lutmac.server.schemas.chat import ChatMessage
from lutmac.server.tools import Tool, find_family
from lutmac.text import ChatTemplate
from lutmac.text.chat import chat_prompt

pytestmark = pytest.mark.slow
FAMILY_OF = {
    "ByteDance-Seed-OSS": "seed",
    "CohereForAI-c4ai-command-r-plus-tool_use": "command-r",
    "CohereForAI-c4ai-command-r7b-12-2024-tool_use": "command-r7b",
    "GLM-4.6": "glm",
    "HuggingFaceTB-SmolLM3-3B": "hermes",
    "LFM2.5-8B-A1B": "lfm2",
    "MiniMax-M2": "minimax",
    "Mistral-Small-3.2-24B-Instruct-2506": "mistral-call-id",
    "NVIDIA-Nemotron-3-Nano-30B-A3B-BF16": "qwen3-coder",
    "NVIDIA-Nemotron-Nano-v2": "nemotron",
    "NousResearch-Hermes-3-Llama-3.1-8B-tool_use": "hermes",
    "Qwen-QwQ-32B": "hermes",
    "Qwen-Qwen2.5-7B-Instruct": "hermes",
    "Qwen-Qwen3-0.6B": "hermes",
    "Qwen3-Coder": "qwen3-coder",
    "Qwen3.5-4B": "qwen3-coder",
    "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B": "deepseek-fenced",
    "deepseek-ai-DeepSeek-V3.1": "deepseek",
    "deepseek-ai-DeepSeek-V3.2": "deepseek-dsml",
    "fireworks-ai-llama-3-firefunction-v2": "functools",
    "google-gemma-2-2b-it": "hermes",
    "google-gemma-4-31B-it": "gemma4",
    "ibm-granite-granite-3.3-2B-Instruct": "granite",
    "ibm-granite-granite-4.0": "hermes",
    "ibm-granite-granite-4.1": "hermes",
    "meetkai-functionary-medium-v3.1": "functionary",
    "meta-llama-Llama-3.1-8B-Instruct": "llama",
    "meta-llama-Llama-3.2-3B-Instruct": "llama",
    "microsoft-Phi-3.5-mini-instruct": "hermes",
    "mistralai-Ministral-3-14B-Reasoning-2512": "mistral-args",
    "mistralai-Mistral-Nemo-Instruct-2407": "mistral",
    "moonshotai-Kimi-K2": "kimi",
    "openai-gpt-oss-120b": "harmony",
    "Apertus-8B-Instruct": "apertus",
    "unsloth-Apriel-1.5": "apriel",
}
CITY = {"type": "string", "description": "Its name"}
PARAMETERS = {"type": "object", "properties": {"city": CITY}, "required": ["city"]}
TOOL = Tool("get_weather", "The weather of a city", PARAMETERS)
USER = {"role": "user", "content": "What is it like?"}
REPLY = {"role": "assistant", "content": "It is fine."}
SYSTEM = {"role": "system", "content": "Be brief."}
NEXT = {"role": "user", "content": "And tomorrow?"}
FUNCTION: dict[str, Any] = {"name": "get_weather", "arguments": {"city": "Paris"}}
CALLED = [{"id": "abcdefghi", "type": "function", "function": FUNCTION}]
CALL = {"role": "assistant", "content": "", "tool_calls": CALLED}
RESULT = {"role": "tool", "name": "get_weather", "tool_call_id": "abcdefghi", "content": "18 degrees"}
TOOLS = [TOOL.as_template_input()]
CHATS: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
    "user": ([USER], {}),
    "system": ([SYSTEM, USER], {}),
    "turns": ([SYSTEM, USER, REPLY, NEXT], {}),
    "tools": ([SYSTEM, USER], {"tools": TOOLS}),
    "calls": ([SYSTEM, USER, CALL, RESULT], {"tools": TOOLS}),
    "after calls": ([USER, CALL, RESULT, REPLY, NEXT], {"tools": TOOLS}),
    "thoughts": ([USER, {**REPLY, "reasoning_content": "Hm, yes."}, NEXT], {}),
    "thoughts and calls": ([USER, {**CALL, "reasoning_content": "Hm, yes."}, RESULT], {"tools": TOOLS}),
    "closed": ([USER, REPLY], {"add_generation_prompt": False}),
    "continued": (
        [USER, {**REPLY, "content": "It is "}],
        {"add_generation_prompt": False, "continue_final_message": True},
    ),
}
# Templates that leave an assistant's calls out without a word; here they are written as text.
WITHOUT_CALLS = ("HuggingFaceTB-SmolLM3-3B", "ibm-granite-granite-3.3-2B-Instruct", "microsoft-Phi-3.5-mini-instruct")
# Where it is right to differ. Thoughts reach Ministral's; transformers hands over a key that it does not read.
OURS = {
    ("mistralai-Ministral-3-14B-Reasoning-2512", "thoughts"),
    ("mistralai-Ministral-3-14B-Reasoning-2512", "thoughts and calls"),
    *((name, kind) for name in WITHOUT_CALLS for kind in ("calls", "after calls", "thoughts and calls")),
}


@pytest.fixture(scope="module")
def templates() -> Path:
    """The folder of templates in llama-cpp-python's source distribution."""
    try:
        source = source_distribution("llama-cpp-python", "0.3.36")
    except CannotFetchError as error:
        pytest.skip(f"the templates cannot be had: {error}")
    return source / "vendor" / "llama.cpp" / "models" / "templates"


def theirs(source: str, messages: list[dict[str, Any]], **inputs: Any) -> str | None:
    """What transformers makes of a chat; None where that refuses."""
    from transformers.utils.chat_template_utils import render_jinja_template  # noqa: PLC0415 (takes a second)

    try:
        tokens = {"bos_token": "<s>", "eos_token": "</s>"}
        rendered, _ = render_jinja_template([messages], chat_template=source, **tokens, **inputs)
    except Exception:
        return None
    return str(rendered[0])


@pytest.mark.parametrize("name", FAMILY_OF)
def test_a_real_template_renders_as_in_transformers(name: str, templates: Path, tiny_model: lutmac.Model) -> None:
    source = (templates / f"{name}.jinja").read_text()
    assert find_family(source).name == FAMILY_OF[name]
    template = ChatTemplate(source, bos_token="<s>", eos_token="</s>")
    for kind, (messages, given) in CHATS.items():
        inputs = {"add_generation_prompt": True, **given}
        expected = theirs(source, messages, **inputs)
        if expected is not None and (name, kind) not in OURS:
            ids = chat_prompt(tiny_model.tokenizer, template, messages, **inputs).ids
            assert tiny_model.tokenizer.decode(ids, skip_special=False) == expected, kind


@pytest.mark.parametrize("name", FAMILY_OF)
def test_all_of_a_chat_reaches_a_real_template(name: str, templates: Path, tiny_model: lutmac.Model) -> None:
    """Whatever the template refuses, through the server's own way: every word is in the prompt."""
    source = (templates / f"{name}.jinja").read_text()
    template, family = ChatTemplate(source, bos_token="<s>", eos_token="</s>"), find_family(source)
    late = [USER, REPLY, SYSTEM, NEXT]
    for messages, tools, words in (
        ([SYSTEM, USER], [TOOL], ["get_weather", "What is it like?"]),
        ([SYSTEM, USER, CALL, RESULT], [TOOL], ["What is it like?", "get_weather", "Paris", "18 degrees"]),
        ([{**SYSTEM, "role": "developer"}, USER], [], ["Be brief.", "What is it like?"]),
        (late, [], ["What is it like?", "It is fine.", "Be brief.", "And tomorrow?"]),
        ([USER, NEXT], [], ["What is it like?", "And tomorrow?"]),
        ([{"role": "user", "content": [{"type": "text", "text": USER["content"]}]}], [], ["What is it like?"]),
    ):
        asked = [ChatMessage.model_validate(_as_sent(message)) for message in messages]
        abilities = template.for_chat(with_tools=bool(tools)).abilities
        given = [tool.as_template_input() for tool in tools] if tools and abilities.tools else None
        ids = chat_prompt(
            tiny_model.tokenizer, template, template_messages(asked, tools, family, abilities), tools=given
        ).ids
        prompt = tiny_model.tokenizer.decode(ids, skip_special=False)
        assert [word for word in words if word not in prompt] == []


def _as_sent(message: dict[str, Any]) -> dict[str, Any]:
    """A message as clients send it: arguments as text, no name beside a result."""
    if "tool_calls" not in message:
        return {key: value for key, value in message.items() if key != "name"}
    function = {"name": "get_weather", "arguments": '{"city": "Paris"}'}
    return {**message, "tool_calls": [{**CALLED[0], "function": function}]}


def test_all_templates_take_tools_and_calls_without_content(templates: Path, tiny_model: lutmac.Model) -> None:
    """Calls are as OpenAI's clients send them back: content is null, and arguments are text."""
    calls = [{"id": f"abcdef12{i}", "type": "function", "function": {"name": "get_weather", "arguments": text}}
             for i, text in enumerate(('{"city": "Paris"}', '{"city": "Rome"}'))]  # fmt: skip
    results = [{"role": "tool", "tool_call_id": call["id"], "content": f"fine {i}"} for i, call in enumerate(calls)]
    chat = [USER, {"role": "assistant", "content": None, "tool_calls": calls}, *results]
    files = sorted(templates.glob("*.jinja"))
    assert len(files) > 50
    for file in files:
        template = ChatTemplate(file.read_text(encoding="utf-8"), bos_token="<s>", eos_token="</s>")
        prompt = chat_prompt(tiny_model.tokenizer, template, chat, tools=TOOLS)
        written = tiny_model.tokenizer.decode(prompt.ids, skip_special=False)
        assert [word for word in ("get_weather", "Rome", "fine 1") if word not in written] == [], file.stem


def test_nemotron_nano_2_is_switched_by_words(templates: Path) -> None:
    source = (templates / "NVIDIA-Nemotron-Nano-v2.jinja").read_text()
    assert ChatTemplate(source).abilities.thinking_words == ("/no_think", "/think")
