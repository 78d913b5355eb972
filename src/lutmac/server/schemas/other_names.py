"""Names that other servers have for something that lutmac has: one table, read where a request is checked.

`docs/serving.md` shows it; a test compares the two. Names that are in no table, and that lutmac does not have, are left
out of a request (`omissions.py`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from lutmac.engine.sampling.options import SAMPLING_OPTIONS

Fields = dict[str, Any]


@dataclass(frozen=True)
class OtherName:
    """A name of others.

    means: in the words of the documentation. whose: who has it. read: puts its value into the request's fields, where
    these do not hold lutmac's own name already; raises ValueError for a value that makes no sense.
    """

    name: str
    means: str
    whose: str
    read: Callable[[Any, Fields], None]


def read_other_names(names: tuple[OtherName, ...], given: Fields) -> Fields:
    """The fields by lutmac's names. null is absence."""
    found = {name: value for name, value in given.items() if value is not None}
    for other in names:
        if other.name in found:
            other.read(found.pop(other.name), found)
    return found


def _renamed(name: str, means: str, whose: str) -> OtherName:
    def read(value: Any, fields: Fields) -> None:
        fields.setdefault(means, value)

    return OtherName(name, f"`{means}`", whose, read)


def _length(name: str, means: str, whose: str) -> OtherName:
    def read(value: Any, fields: Fields) -> None:
        fields.setdefault(means, -1 if value == -2 else value)  # -2: to the end of the context

    return OtherName(name, f"`{means}`; -1 and -2 are no limit", whose, read)


def _format(name: str, means: str, whose: str, form: Callable[[Any], Fields]) -> OtherName:
    def read(value: Any, fields: Fields) -> None:
        fields.setdefault("response_format", form(value))

    return OtherName(name, means, whose, read)


def _json_form(value: Any) -> Fields:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise ValueError("the JSON schema is no JSON") from None
    return {"type": "json_schema", "json_schema": {"schema": value}}


def _regex_form(value: Any) -> Fields:
    return {"type": "regex", "pattern": value}


def _grammar_form(value: Any) -> Fields:
    if isinstance(value, dict):  # as TGI has it
        return _regex_form(value.get("value")) if value.get("type") == "regex" else _json_form(value.get("value"))
    return {"type": "grammar", "grammar": value}


def _choice_form(value: Any) -> Fields:
    return {"type": "choice", "choices": value}


def _structured_form(value: Any) -> Fields:
    forms: dict[str, Callable[[Any], Fields]] = {
        "json": _json_form, "regex": _regex_form, "choice": _choice_form, "grammar": _grammar_form,
        "json_object": lambda wanted: {"type": "json_object" if wanted else "text"},
    }  # fmt: skip
    given = {key: item for key, item in value.items() if item is not None} if isinstance(value, dict) else {}
    kind = next((key for key in given if key in forms), None)
    if kind is None:
        raise ValueError(f"structured_outputs needs one of {', '.join(forms)}")
    return forms[kind](given[kind])


def _think(value: Any, fields: Fields) -> None:
    if isinstance(value, dict):  # {"type": "enabled"}, {"effort": "low", "enabled": true}
        effort, kind, enabled = value.get("effort"), value.get("type"), value.get("enabled")
        if isinstance(effort, str):
            fields.setdefault("reasoning_effort", effort)
        if isinstance(kind, str):
            enabled = kind not in ("disabled", "none")
        if isinstance(enabled, bool):
            fields.setdefault("enable_thinking", enabled)
    elif isinstance(value, str):
        fields.setdefault("reasoning_effort", value)
    else:
        fields.setdefault("enable_thinking", value)


def _usage(value: Any, fields: Fields) -> None:
    if isinstance(value, dict) and value.get("include") is True:
        fields["stream_options"] = {"include_usage": True, **fields.get("stream_options", {})}


def _chat_logprobs(value: Any, fields: Fields) -> None:
    if value:
        fields.setdefault("logprobs", True)
        fields.setdefault("top_logprobs", value)


def _content(value: Any, fields: Fields) -> None:
    fields.setdefault("prompt", value)
    fields.setdefault("add_special_tokens", False)


def _schema_beside(value: Any, fields: Fields) -> None:
    fields.setdefault("json_schema", {"schema": value})


def _function_call(value: Any, fields: Fields) -> None:
    name = value.get("name") if isinstance(value, dict) else None
    fields.setdefault("tool_calls", [{"id": f"call_{name}", "type": "function", "function": value}])


SAMPLING_NAMES: Final = (
    *(_renamed(alias.name, row.name, alias.whose) for row in SAMPLING_OPTIONS.values() for alias in row.aliases),
    _renamed("stop_sequences", "stop", "TGI, Anthropic"),
    _renamed("min_new_tokens", "min_tokens", "SGLang"),
)
LENGTH_NAMES: Final = (
    _length("n_predict", "max_tokens", "llama.cpp"),
    _length("num_predict", "max_tokens", "Ollama"),
    _length("max_new_tokens", "max_tokens", "TGI, SGLang"),
)
FORMAT_NAMES: Final = (
    _format("structured_outputs", "`response_format`: `json`, `regex`, `choice`, `grammar`, `json_object`",
            "vLLM", _structured_form),
    _format("guided_json", "`response_format` of a JSON schema", "vLLM", _json_form),
    _format("guided_regex", "`response_format` of a regular expression", "vLLM", _regex_form),
    _format("guided_choice", "`response_format`: one of these texts", "vLLM", _choice_form),
    _format("guided_grammar", "`response_format` of a grammar, Lark or GBNF", "vLLM", _grammar_form),
    _format("json_schema", "`response_format` of a JSON schema", "llama.cpp, SGLang", _json_form),
    _format("grammar", "`response_format` of a grammar, GBNF; TGI's object", "llama.cpp, TGI", _grammar_form),
    _format("regex", "`response_format` of a regular expression", "SGLang", _regex_form),
    _format("ebnf", "`response_format` of a grammar, GBNF", "SGLang", _grammar_form),
)  # fmt: skip
THINKING_NAMES: Final = (
    OtherName("think", "`enable_thinking`, or `reasoning_effort` where it is a text", "Ollama", _think),
    OtherName("thinking", "`enable_thinking` (`type`)", "DeepSeek, GLM, Anthropic", _think),
    OtherName("reasoning", "`reasoning_effort` (`effort`), `enable_thinking` (`enabled`)", "OpenRouter", _think),
)
USAGE_NAMES: Final = (
    OtherName("usage", "`stream_options.include_usage` (`include`)", "OpenRouter", _usage),
)  # fmt: skip
CHAT_NAMES: Final = (
    *SAMPLING_NAMES, *LENGTH_NAMES, *FORMAT_NAMES, *THINKING_NAMES, *USAGE_NAMES,
    OtherName("n_probs", "`logprobs` and `top_logprobs`", "llama.cpp", _chat_logprobs),
)  # fmt: skip
COMPLETION_NAMES: Final = (
    *SAMPLING_NAMES, *LENGTH_NAMES, *FORMAT_NAMES, *USAGE_NAMES,
    _renamed("max_completion_tokens", "max_tokens", "OpenAI's chats"),
    _renamed("n_probs", "logprobs", "llama.cpp"),
)  # fmt: skip
RESPONSE_NAMES: Final = (
    _length("max_tokens", "max_output_tokens", "OpenAI's older interfaces"),
    _length("max_completion_tokens", "max_output_tokens", "OpenAI's chats"),
)
EMBEDDING_NAMES: Final = (
    _renamed("content", "input", "llama.cpp"),
    _renamed("output_dimension", "dimensions", "Mistral"),
)
RERANK_NAMES: Final = (
    _renamed("top_k", "top_n", "Voyage"),
    _renamed("instruct", "instruction", "Qwen"),
)
TOKENIZE_NAMES: Final = (
    _renamed("add_special", "add_special_tokens", "llama.cpp"),
    OtherName("content", "`prompt`, and `add_special_tokens` false", "llama.cpp", _content),
)
RESPONSE_FORMAT_NAMES: Final = (
    OtherName("schema", "`json_schema.schema`", "llama.cpp, Together, Fireworks", _schema_beside),
    OtherName("value", "`json_schema.schema`", "TGI", _schema_beside),
)
MESSAGE_NAMES: Final = (OtherName("function_call", "`tool_calls`", "OpenAI's older clients", _function_call),)

TABLES: Final = {
    "/v1/chat/completions": CHAT_NAMES,
    "/v1/chat/completions, in `messages`": MESSAGE_NAMES,
    "/v1/completions": COMPLETION_NAMES,
    "/v1/responses": RESPONSE_NAMES,
    "/v1/embeddings": EMBEDDING_NAMES,
    "/v1/rerank": RERANK_NAMES,
    "/tokenize": TOKENIZE_NAMES,
    "in `response_format`": RESPONSE_FORMAT_NAMES,
}
