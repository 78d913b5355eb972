"""Replies with calls as models write them, and what each is: text, thoughts, calls."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lutmac.server.tools import Tool

STRING, INTEGER = {"type": "string"}, {"type": "integer"}


def tool(name: str, **properties: Any) -> Tool:
    return Tool(name, None, {"type": "object", "properties": properties})


TOOLS = {
    given.name: given
    for given in (
        tool("add", a=INTEGER, b={"$ref": "#/$defs/text"}),
        tool("get_weather", city=STRING),
        tool("write_file", path=STRING, content=STRING),
        tool("todo", items={"type": "array"}, done={"type": "boolean"}, note={"type": ["string", "null"]}, any={}),
        tool("Calendar.create", title=STRING, people={"type": "array"}, more={"type": "object"}),
    )
}
TOOLS["add"].parameters["$defs"] = {"text": {"type": "string"}}  # type: ignore[index]
PARIS = ("get_weather", {"city": "Paris"})
ADD = ("add", {"a": 1, "b": "}</tool_cal"})
CALL = '{"name": "add", "arguments": {"a": 1, "b": "}</tool_cal"}}'
W = '{"name": "get_weather", "arguments": {"city": "Paris"}}'
CODE = 'def f(a):\n    print("<b>")\n\nf(1)'


@dataclass(frozen=True)
class Case:
    """A reply. family: of the template."""

    family: str
    reply: str
    calls: list[tuple[str, Any]]
    text: str = ""
    thoughts: str = ""
    marks: str = field(default="<think>", repr=False)


def _qwen(*calls: str) -> str:
    return "\n".join(f"<tool_call>\n{call}\n</function>\n</tool_call>" for call in calls)


XML_PARIS = "<function=get_weather>\n<parameter=city>\nParis\n</parameter>"

CASES = [
    # Hermes and Qwen
    Case("hermes", f"<tool_call>\n{CALL}\n</tool_call>", [ADD]),
    Case("hermes", f"Let me see.\n<tool_call>{CALL}</tool_call>\n<tool_call>{CALL}</tool_call>", [ADD, ADD], "Let me see."),
    Case("hermes", f"<tool_call>[{CALL}]</tool_call>", [ADD]),
    Case("hermes", f"<tool_call>\n{CALL}", [ADD]),
    Case("hermes", f"<tool_call>\n{W}\n<tool_call>\n{W}\n</tool_call>", [PARIS, PARIS]),
    Case("hermes", f"<tool_call>\n{W}\n{W}\n</tool_call>", [PARIS, PARIS]),
    Case("hermes", '<tool_call>\n{"name": "made_up", "arguments": {}}\n</tool_call>', [("made_up", {})]),
    Case("hermes", "<tool_call>{broken</tool_call> x", [], "<tool_call>{broken</tool_call> x"),
    Case("hermes", "1 < 2 and <tool", [], "1 < 2 and <tool"),
    Case("hermes", " Nothing to call.\n\n", [], " Nothing to call.\n\n"),
    Case("hermes", f"{W}\nDone.", [PARIS], "\nDone."),
    Case("hermes", f"```json\n{W}\n```", [PARIS]),
    Case("hermes", f"I call:\n\n```json\n{W}\n{W}\n```\nThat is it.", [PARIS, PARIS], "I call:\nThat is it."),
    Case("hermes", f"<tools>\n{W}\n</tools>", [PARIS]),
    Case("hermes", '```json\n{"name": "Ada", "arguments": {}}\n```', [], '```json\n{"name": "Ada", "arguments": {}}\n```'),
    Case("hermes", '{"name": "get_weather"}', [], '{"name": "get_weather"}'),
    Case("hermes", '{"answer": {"name": "get_weather"}}', [], '{"answer": {"name": "get_weather"}}'),
    Case("hermes", "```python\nprint(1)\n```", [], "```python\nprint(1)\n```"),
    Case("hermes", '<tool_call>\n{"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}\n</tool_call>',
         [("add", {"a": 1})]),
    Case("hermes", '<tool_call>\n{"arguments": {"a": [1, {"b": null}]}, "name": "add"}\n</tool_call>',
         [("add", {"a": [1, {"b": None}]})]),
    # Faults that are understood
    Case("hermes", '<tool_call>\n{"name": "write_file", "arguments": {"path": "a.py", "content": "print(1)\nprint(2)\t#"}}'
         "\n</tool_call>", [("write_file", {"path": "a.py", "content": "print(1)\nprint(2)\t#"})]),
    Case("hermes", '<tool_call>\n{"name": "write_file", "arguments": {"content": "see </tool_call> here"}}\n</tool_call>',
         [("write_file", {"content": "see </tool_call> here"})]),
    Case("hermes", '<tool_call>\n{"name": "write_file", "arguments": {"content": "print("hi")", "path": "it\'s"}}\n'
         "</tool_call>", [("write_file", {"content": 'print("hi")', "path": "it's"})]),
    Case("hermes", '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}\n</tool_call>', [PARIS]),
    Case("hermes", '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}}\n</tool_call>', [PARIS]),
    Case("hermes", '<tool_call>\n{"name": "get_weather", "arguments": null}\n</tool_call>', [("get_weather", {})]),
    Case("hermes", '<tool_call>\n{"name": "get_weather", "arguments": ""}\n</tool_call>', [("get_weather", {})]),
    Case("hermes", '<tool_call>\n{"name": "get_weather", "arguments": []}\n</tool_call>', [("get_weather", {})]),
    Case("hermes", '<tool_call>\n{"name": "get_weather"}\n</tool_call>', [("get_weather", {})]),
    Case("hermes", "<tool_call>\n{'name': 'get_weather', 'arguments': {'city': 'L\\'Aquila', 'a': True, 'b': (None, .5)}}"
         "\n</tool_call>", [("get_weather", {"city": "L'Aquila", "a": True, "b": [None, 0.5]})]),
    Case("hermes", '<tool_call>\n{"name": "add", "arguments": {"a": 1,}}\n</tool_call>', [("add", {"a": 1})]),
    Case("hermes", '<tool_call>\n{name: add_no, "name": "add", "arguments": {a: 1, b: x}}\n</tool_call>',
         [("add", {"a": 1, "b": "x"})]),
    Case("hermes", '<tool_call>\n{"name": "add", "arguments": {"b": "\\ud83d\\ude00 \\u00e9 \\d \\ud83d"}}\n</tool_call>',
         [("add", {"b": "😀 é \\d \ufffd"})]),
    Case("generic", '```json\n{"name": "add", "arguments": "{\\"a\\": 1, \\"b\\": \\"\\\\n\\"}"}\n```',
         [("add", {"a": 1, "b": "\n"})]),
    Case("generic", "[1, 2]", [], "[1, 2]"),
    # Qwen3-Coder
    Case("qwen3-coder", _qwen(XML_PARIS), [PARIS]),
    Case("qwen3-coder", _qwen(XML_PARIS, XML_PARIS), [PARIS, PARIS]),
    Case("qwen3-coder", f"Let me call it.\n{XML_PARIS}\n</function>\n</tool_call>", [PARIS], "Let me call it."),
    Case("qwen3-coder", _qwen(f"<function=write_file>\n<parameter=content>\n{CODE}\n</parameter>\n"
         "<parameter=path>\n</parameter> a\n</parameter>"), [("write_file", {"content": CODE, "path": "</parameter> a"})]),
    Case("qwen3-coder", _qwen('<function=todo>\n<parameter=items>\n[{"a": false}]\n</parameter>\n<parameter=done>\nTrue\n'
         "</parameter>\n<parameter=note>\nnull\n</parameter>\n<parameter=any>\n2\n</parameter>"),
         [("todo", {"items": [{"a": False}], "done": True, "note": None, "any": 2})]),
    Case("qwen3-coder", _qwen("<function=todo>\n<parameter=note>\n12\n</parameter>"), [("todo", {"note": "12"})]),
    Case("qwen3-coder", _qwen("<function=add>"), [("add", {})]),
    Case("qwen3-coder", _qwen("<function=add>\n<parameter=b>\n1\n</parameter>\n<parameter=a>\n1\n</parameter>"),
         [("add", {"b": "1", "a": 1})]),
    Case("seed", "<seed:tool_call>\n<function=write_file>\n<parameter=content>a\n</parameter>\n</function>\n"
         "</seed:tool_call>", [("write_file", {"content": "a\n"})]),
    Case("minimax", '<minimax:tool_call>\n<invoke name="get_weather">\n<parameter name="city">Paris</parameter>\n</invoke>\n'
         '<invoke name="add">\n</invoke>\n</minimax:tool_call>', [PARIS, ("add", {})]),
    Case("deepseek", "Both.\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"get_weather\">\n"
         '<｜DSML｜parameter name="city" string="true">Paris</｜DSML｜parameter>\n</｜DSML｜invoke>\n<｜DSML｜invoke name="add">\n'
         '<｜DSML｜parameter name="a" string="false">-14</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜function_calls>',
         [PARIS, ("add", {"a": -14})], "Both."),
    Case("generic", '<function name="get_weather"><param name="city">Paris</param></function>', [PARIS]),
    Case("generic", f"Hi<|function_call|>{W}", [PARIS], "Hi"),
    # GLM
    Case("glm", "<tool_call>add\n<arg_key>a</arg_key>\n<arg_value>1</arg_value>\n</tool_call>", [("add", {"a": 1})]),
    Case("glm", "<tool_call>get_weather<arg_key>city</arg_key><arg_value>Paris</arg_value></tool_call>"
         "<tool_call>add</tool_call>", [PARIS, ("add", {})]),
    # Llama 3 and 4, LFM2, functionary
    Case("llama", '{"name": "add", "parameters": {"a": 1}}', [("add", {"a": 1})]),
    Case("llama", '<|python_tag|>{"name": "add", "parameters": {}}; {"name": "add", "parameters": {"a": 2}}',
         [("add", {}), ("add", {"a": 2})]),
    Case("llama", '{"name": "Ada", "age": 36}', [], '{"name": "Ada", "age": 36}'),
    Case("llama", "{a set}", [], "{a set}"),
    Case("llama", 'Sure! Here is the call:\n{"name": "get_weather", "parameters": {"city": "Paris"}}', [PARIS],
         "Sure! Here is the call:"),
    Case("llama", '{"type": "function", "name": "get_weather", "parameters": {"city": "Paris"}}', [PARIS]),
    Case("llama", '<|python_tag|>get_weather.call(city="Paris")', [PARIS]),
    Case("llama", 'get_weather.call(city="Paris")', [PARIS]),
    Case("llama4", '[get_weather(city="Paris"), add(2, b=\'x\')]', [PARIS, ("add", {"a": 2, "b": "x"})]),
    Case("llama4", "[link](url) and [a, b]", [], "[link](url) and [a, b]"),
    Case("functionary", '<function=get_weather>{"city": "Paris"}</function>', [PARIS]),
    Case("functionary", "<function=other>{}</function>", [], "<function=other>{}</function>"),
    Case("lfm2", "Yes.<|tool_call_start|>[Calendar.create(title=\"demo\", people=[\"A\", \"B\"], "
         "more={\"a\": \"high\", \"b\": True, \"c\": null})]<|tool_call_end|>",
         [("Calendar.create", {"title": "demo", "people": ["A", "B"], "more": {"a": "high", "b": True, "c": None}})], "Yes."),
    Case("lfm2", "<|tool_call_start|>[write_file(content=\"def f():\\n    print(\\\"hi\\\")\")]<|tool_call_end|>",
         [("write_file", {"content": 'def f():\n    print("hi")'})]),
    Case("lfm2", 'Use [text](url), [Wikipedia](https://example.org).', [], 'Use [text](url), [Wikipedia](https://example.org).'),
    # Mistral
    Case("mistral", '[TOOL_CALLS] [{"name": "add", "arguments": {"a": 1}}, {"name": "add", "arguments": {}, "id": "1"}]',
         [("add", {"a": 1}), ("add", {})]),
    Case("mistral-args", '[TOOL_CALLS]add[ARGS]{"a": 1}[TOOL_CALLS]add[ARGS]{"a": 2}', [("add", {"a": 1}), ("add", {"a": 2})]),
    Case("mistral-call-id", 'Hello[TOOL_CALLS]get_weather[CALL_ID]abcdef123[ARGS]{"city": "Paris"}', [PARIS], "Hello"),
    Case("mistral-args", 'a [THINK]b[TOOL_CALLS]get_weather{"city": "Paris"}', [PARIS], "a [THINK]b", marks="[THINK]"),
    # DeepSeek, Kimi
    Case("deepseek-fenced", "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n"
         '{"city": "Paris"}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>add\n```json\n{"a": 1}```'
         "<｜tool▁call▁end｜><｜tool▁calls▁end｜>", [PARIS, ("add", {"a": 1})]),
    Case("deepseek", 'CONTENT<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{"city": "Paris"}'
         "<｜tool▁call▁end｜><｜tool▁call▁begin｜>add<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
         [PARIS, ("add", {})], "CONTENT"),
    Case("kimi", "<think>Two.</think><|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0"
         '<|tool_call_argument_begin|>{"city": "Paris"}<|tool_call_end|><|tool_call_begin|>functions.add:1'
         '<|tool_call_argument_begin|>{"a": 1}<|tool_call_end|><|tool_calls_section_end|>', [PARIS, ("add", {"a": 1})],
         thoughts="Two."),
    # Phi, Granite, Command-R, and other lists between marks
    Case("phi4", f"<|tool_call|>[{W}]<|/tool_call|>", [PARIS]),
    Case("granite", f"<|tool_call|>[{W}, {W}]", [PARIS, PARIS]),
    Case("granite", f"<|tool_call|>{W}", [PARIS]),
    Case("functools", f" functools[{W}]", [PARIS]),
    Case("command-r", 'Action:\n```json\n[{"tool_name": "get_weather", "parameters": {"city": "Paris"}}]\n```', [PARIS]),
    Case("command-r", "Action: none.", [], "Action: none."),
    Case("command-r7b", "<|START_THINKING|>I'm\nthinking<|END_THINKING|><|START_ACTION|>[\n    {\"tool_call_id\": \"0\", "
         '"tool_name": "get_weather", "parameters": {"city": "Paris"}}\n]<|END_ACTION|>', [PARIS], "", "I'm\nthinking",
         "<|START_THINKING|>"),
    Case("command-r7b", "<|START_RESPONSE|>Hello,\nyou<|END_RESPONSE|>", [], "Hello,\nyou"),
    Case("apertus", '<|tools_prefix|>[{"get_weather": {"city": "Paris"}}]<|tools_suffix|>', [PARIS]),
    Case("nemotron", f"I'm\nthinking\n</think>\n\n<TOOLCALL>[{W}]</TOOLCALL>\n", [PARIS], "", "I'm\nthinking", "open <think>"),
    Case("apriel", f"<tool_calls>[{W}]</tool_calls>", [PARIS]),
    Case("gemma4", 'Hello<|tool_call>call:get_weather{city:<|"|>Paris<|"|>}<tool_call|><|tool_call>call:add{a:-7,b:<|"|>"\\<|"|>}'
         "<tool_call|>", [PARIS, ("add", {"a": -7, "b": '"\\'})], "Hello"),
    Case("gemma4", "<|channel>thought\nI'm\nthinking<channel|>Hello", [], "Hello", "I'm\nthinking", "<|channel>thought"),
    # Thoughts
    Case("hermes", f"<think>\nI should call <tool_call> now.\n{W}\n</think>\n\n<tool_call>\n{W}\n</tool_call>", [PARIS], "",
         f"I should call <tool_call> now.\n{W}"),
    Case("hermes", "12 < 36.\n</think>\n\nThe answer.", [], "The answer.", "12 < 36.", "open <think>"),
    Case("hermes", "</think>Hello <think>not these</think>", [], "Hello <think>not these</think>"),
    Case("granite", "<think>I'm thinking</think><response>Hello</response>", [], "Hello", "I'm thinking"),
    Case("apriel", "<think>\nHm.\n</think>\n<answer>\nHello\n</answer>", [], "Hello\n", "Hm."),  # Hunyuan
    Case("apriel", "<answer>\nHello\n</answer>", [], "<answer>\nHello\n</answer>"),
    Case("seed", "<seed:think>I'm < thinking</seed:think>\nHello!", [], "Hello!", "I'm < thinking", "<seed:think>"),
    Case("apriel", "I'm\nthinking\n[BEGIN FINAL RESPONSE]\nHello", [], "Hello",
         "Here are my reasoning steps:\nI'm\nthinking", "open Here are my reasoning steps:"),
    Case("apriel", "Here are my reasoning steps:\nI'm\nthinking\n[BEGIN FINAL RESPONSE]\nHello", [], "Hello",
         "Here are my reasoning steps:\nI'm\nthinking", "Here are my reasoning steps:"),
    Case("qwen3-coder", f"To see < it.\n{_qwen(XML_PARIS)}", [PARIS], "", "To see < it.", "open <think>"),
    Case("lfm2", "<think>Think about <|tool_call_start|>[add(a=1)]<|tool_call_end|> hm</think>Hi", [], "Hi",
         "Think about <|tool_call_start|>[add(a=1)]<|tool_call_end|> hm"),
    # Harmony
    Case("harmony", "<|channel|>analysis<|message|>I'm\nthinking<|end|><|start|>assistant<|channel|>final<|message|>Hello,\nyou",
         [], "Hello,\nyou", "I'm\nthinking"),
    Case("harmony", "<|channel|>analysis<|message|>Hm<|end|><|start|>assistant<|channel|>commentary to=functions.get_weather "
         '<|constrain|>json<|message|>{"city": "Paris"}', [PARIS], "", "Hm"),
    Case("harmony", ' to=functions.get_weather<|channel|>analysis<|message|>{"city": "Paris"}<|call|>', [PARIS]),
    Case("harmony", "<|channel|>analysis<|message|>Hm<|end|><|start|>assistant to=container.exec<|channel|>commentary"
         "<|message|>ls", [], "", "Hm"),
    Case("harmony", "<|channel|>commentary to=assistant<|channel|>analysis<|message|>Hm<|end|><|start|>assistant"
         "<|channel|>final<|message|>Hello", [], "Hello", "Hm"),
    Case("harmony", "Plain < words", [], "Plain < words"),
]  # fmt: skip
