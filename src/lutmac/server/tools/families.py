"""How models of each family write calls: one table. The chat template tells the family.

https://huggingface.co/docs/transformers/chat_extras, and the templates that the families' checkpoints bring.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal
from uuid import uuid4

ArgumentStyle = Literal["json", "tagged", "python"]


@dataclass(frozen=True)
class Family:
    """A family's way of writing a call, of the function NAME, with the id IDENTIFIER where it has one.

    signature: says by a template's text whether it is of this family; the first in the table that does is it. before,
    after: what stands around the arguments. style: how these are written. parameter: what stands around the value of
    the argument KEY, where each has tags of its own; IS_TEXT is true or false. answer: what stands before a reply that
    is no call, where something does. id_length: characters of a call's id, which some templates check.
    """

    name: str
    signature: Callable[[str], bool]
    before: str
    after: str
    style: ArgumentStyle = "json"
    parameter: tuple[str, str] = ("", "")
    answer: str = ""
    id_length: int = 29

    @property
    def bare(self) -> bool:
        """Whether a call is an object without marks around it."""
        return self.before.startswith("{")

    @property
    def arguments_key(self) -> str:
        """What the arguments are called in such an object."""
        return "parameters" if '"parameters"' in self.before else "arguments"

    def new_id(self) -> str:
        """An id for a call."""
        return f"call_{uuid4().hex}"[: self.id_length] if self.id_length > 9 else uuid4().hex[: self.id_length]

    def write(self, name: str, arguments: Any) -> str:
        """A call as the model would write it, for templates that know no calls; of families with arguments in JSON."""
        before = self.before.replace("NAME", name).replace("IDENTIFIER", self.new_id())
        return before + json.dumps(arguments, ensure_ascii=False) + self.after


def _has(*texts: str) -> Callable[[str], bool]:
    """A signature: all of these texts."""
    return lambda template: all(text in template for text in texts)


def _json(opening: str, closing: str, key: str = "arguments", name: str = "name") -> tuple[str, str]:
    """Around the arguments of a call that is an object between marks."""
    return f'{opening}{{"{name}": "NAME", "{key}": ', f"}}{closing}"


_DEEPSEEK: Final = "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>"
_DEEPSEEK_END: Final = "<｜tool▁call▁end｜><｜tool▁calls▁end｜>"

FAMILIES: Final = (
    Family("harmony", _has("<|channel|>", "<|message|>", "commentary"),
           "<|channel|>commentary to=functions.NAME <|constrain|>json<|message|>", "",
           answer="<|channel|>final<|message|>"),
    Family("mistral-call-id", _has("[TOOL_CALLS]", "[CALL_ID]"), "[TOOL_CALLS]NAME[CALL_ID]IDENTIFIER[ARGS]", "",
           id_length=9),
    Family("mistral-args", _has("[TOOL_CALLS]", "[ARGS]"), "[TOOL_CALLS]NAME[ARGS]", "", id_length=9),
    Family("mistral", _has("[TOOL_CALLS]"), *_json("[TOOL_CALLS][", "]"), id_length=9),
    Family("deepseek-fenced", _has("<｜tool▁sep｜>", "```json"),
           f"{_DEEPSEEK}function<｜tool▁sep｜>NAME\n```json\n", f"\n```{_DEEPSEEK_END}"),
    Family("deepseek", _has("<｜tool▁sep｜>"), f"{_DEEPSEEK}NAME<｜tool▁sep｜>", _DEEPSEEK_END),
    Family("deepseek-dsml", _has("｜DSML｜"), '<｜DSML｜function_calls>\n<｜DSML｜invoke name="NAME">\n',
           "</｜DSML｜invoke>\n</｜DSML｜function_calls>", style="tagged",
           parameter=('<｜DSML｜parameter name="KEY" string="IS_TEXT">', "</｜DSML｜parameter>\n")),
    Family("kimi", _has("<|tool_call_argument_begin|>"),
           "<|tool_calls_section_begin|><|tool_call_begin|>functions.NAME:0<|tool_call_argument_begin|>",
           "<|tool_call_end|><|tool_calls_section_end|>"),
    Family("seed", _has("<seed:tool_call>"), "<seed:tool_call>\n<function=NAME>\n", "</function>\n</seed:tool_call>",
           style="tagged", parameter=("<parameter=KEY>", "</parameter>\n")),
    Family("glm", _has("<arg_key>"), "<tool_call>NAME\n", "</tool_call>", style="tagged",
           parameter=("<arg_key>KEY</arg_key>\n<arg_value>", "</arg_value>\n")),
    Family("qwen3-coder", _has("<function=", "<parameter="), "<tool_call>\n<function=NAME>\n",
           "</function>\n</tool_call>", style="tagged", parameter=("<parameter=KEY>\n", "\n</parameter>\n")),
    Family("minimax", _has("<minimax:tool_call>"), '<minimax:tool_call>\n<invoke name="NAME">\n',
           "</invoke>\n</minimax:tool_call>", style="tagged", parameter=('<parameter name="KEY">', "</parameter>\n")),
    Family("functionary", _has("<function="), "<function=NAME>", "</function>"),
    Family("command-r7b", _has("<|START_ACTION|>"),
           '<|START_ACTION|>[\n    {"tool_call_id": "0", "tool_name": "NAME", "parameters": ', "}\n]<|END_ACTION|>"),
    Family("command-r", _has("Action:", "tool_name"),
           *_json("Action:\n```json\n[", "]\n```", "parameters", "tool_name")),
    Family("gemma4", _has("<|tool_call>", "<tool_call|>"), "<|tool_call>call:NAME", "<tool_call|>"),
    Family("lfm2", _has("<|tool_call_start|>"), "<|tool_call_start|>[NAME(", ")]<|tool_call_end|>", style="python"),
    Family("phi4", _has("<|tool|>", "<|/tool|>"), *_json("<|tool_call|>[", "]<|/tool_call|>")),
    Family("granite", _has("<|tool_call|>"), *_json("<|tool_call|>[", "]")),
    Family("apertus", _has("<|tools_prefix|>"), '<|tools_prefix|>[{"NAME": ', "}]<|tools_suffix|>"),
    Family("nemotron", _has("<TOOLCALL>"), *_json("<TOOLCALL>[", "]</TOOLCALL>")),
    Family("apriel", _has("<tool_calls>"), *_json("<tool_calls>[", "]</tool_calls>")),
    Family("hermes", _has("<tool_call>"), *_json("<tool_call>\n", "\n</tool_call>")),
    Family("functools", _has("functools["), *_json("functools[", "]")),
    Family("llama4", _has("<|header_start|>"), "[NAME(", ")]", style="python"),
    Family("llama", lambda template: "<|python_tag|>" in template or "Environment: ipython" in template,
           *_json("", "", "parameters")),
    Family("generic", _has("tools"), *_json("", "")),
)  # fmt: skip
HERMES: Final = next(family for family in FAMILIES if family.name == "hermes")
"""Also what a model is told to write whose template knows nothing of tools."""


def find_family(template: str) -> Family:
    """The family that a chat template belongs to."""
    return next((family for family in FAMILIES if family.signature(template)), HERMES)


@dataclass(frozen=True)
class Opening:
    """What calls begin with. sure: such a text is a call whatever its name; else only of a tool that was offered.

    at_line: only at the beginning of a line.
    """

    text: str
    sure: bool = True
    at_line: bool = False


OPENINGS: Final[Mapping[str, Opening]] = {
    opening.text: opening
    for opening in (
        *map(Opening, (
            "<tool_call>", "[TOOL_CALLS]", "<|tool_call|>", "<|tool_call>", "<|tool_call_start|>", "<|python_tag|>",
            "<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>", "<|tool_calls_section_begin|>", "<|tool_call_begin|>",
            "<seed:tool_call>", "<minimax:tool_call>", "<｜DSML｜function_calls>", "<｜DSML｜tool_calls>",
            "<|START_ACTION|>",
            "<|tools_prefix|>", "<TOOLCALL>", "<tool_calls>", "<function_calls>", "<|action_start|><|plugin|>",
            "<|function_call|>", "<|message_sep|>\n\nfunction call<|role_sep|>\n",
        )),
        *(Opening(text, sure=False) for text in (
            "<tools>", "<function=", '<function name="', '<invoke name="', '<｜DSML｜invoke name="', "functools[",
        )),
        *(Opening(text, sure=False, at_line=True) for text in ("{", "[", "```", "Action:")),
    )
}  # fmt: skip
"""What a call may begin with, in any family: models write each other's."""

CLOSINGS: Final = (
    "</tool_call>", "<|/tool_call|>", "<tool_call|>", "<|tool_call_end|>", "<｜tool▁call▁end｜>",
    "<｜tool▁calls▁end｜>", "<|tool_calls_section_end|>", "</seed:tool_call>", "</minimax:tool_call>",
    "</｜DSML｜function_calls>", "</｜DSML｜tool_calls>",
    "<|END_ACTION|>", "<|tools_suffix|>", "</TOOLCALL>", "</tool_calls>", "</tools>",
    "</function_calls>", "<|action_end|>", "<|eom_id|>", "<|eot_id|>",
)  # fmt: skip
INSIDE: Final = (
    "<｜tool▁sep｜>", "[ARGS]", "[CALL_ID]", "<|tool_call_argument_begin|>", '<|"|>', "<|action_start|>", "<|plugin|>",
    "<|message_sep|>", "<|role_sep|>",
)  # fmt: skip
"""Marks within a call, and parts of those around it."""
