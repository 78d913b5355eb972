"""/v1/chat/completions. https://platform.openai.com/docs/api-reference/chat"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, StrictBool, StrictInt, Tag, field_validator

from lutmac.engine.sampling.options import MAX_INTEGER
from lutmac.server.schemas.common import (
    MAX_MESSAGES,
    FunctionDefinition,
    JsonObject,
    JsonSchemaFormat,
    ReplyCount,
    ResponseModel,
    SamplingOptions,
    ServiceTier,
    StreamOptions,
    TokenLimit,
    TokenLogprob,
    Usage,
    is_none,
)
from lutmac.server.schemas.other_names import CHAT_NAMES, MESSAGE_NAMES, RESPONSE_FORMAT_NAMES
from lutmac.server.schemas.request import Request


class ContentPart(Request):
    """A piece of a message. Text is all that lutmac reads: another type is refused where it is read."""

    type: str
    text: str | None = None
    refusal: str | None = None


class CalledFunction(Request):
    """A function and its arguments, the latter as JSON text."""

    name: str
    arguments: str = "{}"

    @field_validator("arguments", mode="before")
    @classmethod
    def _as_text(cls, given: Any) -> Any:
        """Some clients send the object itself."""
        return json.dumps(given) if isinstance(given, dict) else given


class ToolCall(Request):
    """A call that the model made."""

    id: str = ""
    type: Literal["function"] = "function"
    function: CalledFunction
    index: Annotated[StrictInt | None, Field(ge=0, le=MAX_INTEGER, exclude_if=is_none)] = None


class ChatMessage(Request):
    """A message of a conversation. The last ones are parts of replies, which clients send back as they came."""

    other_names: ClassVar = MESSAGE_NAMES
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[ContentPart] | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None
    reasoning: Any = None
    thinking: Any = None
    refusal: str | None = None
    annotations: list[Any] | None = None
    audio: JsonObject | None = None

    @property
    def thoughts(self) -> str:
        """What the model thought, under whichever name."""
        names = (self.reasoning_content, self.reasoning, self.thinking)
        return next((given for given in names if isinstance(given, str) and given), "")


class Tool(Request):
    """A function that the model may call."""

    type: Literal["function"] = "function"
    function: FunctionDefinition


class OtherTool(Request):
    """A tool of a type that only other servers run: it is left out, with all that is in it."""

    type: str

    def unknown_names(self, place: str = "") -> Iterator[tuple[str, str]]:
        """None."""
        yield from ()


def kind_of_tool(given: Any) -> str:
    """Which of the models of a tool is meant, by its tag."""
    kind = given.get("type") if isinstance(given, dict) else getattr(given, "type", None)
    return "FunctionTool" if kind in ("function", None) or not isinstance(kind, str) else "OtherTool"


AnyTool = Annotated[
    Annotated[Tool, Tag("FunctionTool")] | Annotated[OtherTool, Tag("OtherTool")], Discriminator(kind_of_tool)
]


class NamedFunction(Request):
    """A function's name."""

    name: str


class NamedToolChoice(Request):
    """The function that the model has to call."""

    type: Literal["function"]
    function: NamedFunction


class AllowedTools(Request):
    """The tools that the model may call for now, and whether it has to call one."""

    mode: Literal["auto", "required"] = "auto"
    tools: list[JsonObject]


class AllowedToolChoice(Request):
    """A choice of several of the tools."""

    type: Literal["allowed_tools"]
    allowed_tools: AllowedTools


class ResponseFormat(Request):
    """The form of the reply: free text, any JSON object, JSON of a schema, or what other servers have beside these.

    pattern: a regular expression. grammar: in Lark's notation or llama.cpp's. choices: one of these texts.
    """

    other_names: ClassVar = RESPONSE_FORMAT_NAMES
    type: Literal["text", "json_object", "json_schema", "regex", "grammar", "choice"]
    json_schema: JsonSchemaFormat | None = None
    pattern: str | None = None
    grammar: str | None = None
    choices: Annotated[list[str], Field(min_length=1)] | None = None

    @field_validator("type", mode="before")
    @classmethod
    def _of_tgi(cls, given: Any) -> Any:
        return "json_schema" if given == "json" else given


ToolChoice = Literal["none", "auto", "required"] | NamedToolChoice | AllowedToolChoice


class ChatRequest(SamplingOptions):
    """A conversation to go on with.

    functions, function_call: the older names of tools and tool_choice. enable_thinking, reasoning_effort: for templates
    that know them. The parameters of the last block are taken and change nothing here.
    """

    other_names: ClassVar = CHAT_NAMES
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=MAX_MESSAGES, fail_fast=True)]
    model: str | None = None
    stream: StrictBool | None = None
    stream_options: StreamOptions | None = None
    n: ReplyCount | None = None
    max_tokens: TokenLimit | None = None
    max_completion_tokens: TokenLimit | None = None
    logprobs: StrictBool | None = None
    top_logprobs: Annotated[StrictInt, Field(ge=0, le=20)] | None = None
    response_format: ResponseFormat | None = None
    tools: list[AnyTool] | None = None
    tool_choice: ToolChoice | None = None
    functions: list[FunctionDefinition] | None = None
    function_call: Literal["none", "auto"] | NamedFunction | None = None
    parallel_tool_calls: StrictBool | None = None
    chat_template_kwargs: JsonObject | None = None
    enable_thinking: StrictBool | None = None
    reasoning_effort: str | None = None
    add_generation_prompt: StrictBool | None = None
    continue_final_message: StrictBool | None = None
    return_progress: StrictBool | None = None

    user: str | None = None
    metadata: JsonObject | None = None
    store: StrictBool | None = None
    service_tier: ServiceTier | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    verbosity: str | None = None
    modalities: list[str] | None = None
    prediction: JsonObject | None = None
    audio: JsonObject | None = None
    web_search_options: JsonObject | None = None

    @field_validator("tool_choice", mode="before")
    @classmethod
    def _of_others(cls, given: Any) -> Any:
        """What Mistral, Anthropic and OpenAI's newer interface write for the same."""
        if isinstance(given, str):
            return {"any": "required"}.get(given, given)
        if not isinstance(given, dict):
            return given
        match given:
            case {"type": "auto" | "none" | "required" as kind}:
                return kind
            case {"type": "any"}:
                return "required"
            case {"type": "function" | "tool", "name": name}:
                return {"type": "function", "function": {"name": name}}
        return given


class AssistantMessage(ResponseModel):
    """The model's reply. content: None where it only calls functions. reasoning_content: what it thought before."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    reasoning_content: Annotated[str | None, Field(exclude_if=is_none)] = None
    refusal: None = None
    tool_calls: Annotated[list[ToolCall] | None, Field(exclude_if=is_none)] = None
    function_call: Annotated[CalledFunction | None, Field(exclude_if=is_none)] = None


class ChoiceLogprobs(ResponseModel):
    """Log probabilities of a reply's tokens."""

    content: list[TokenLogprob] | None
    refusal: None = None


FinishReason = Literal["stop", "length", "tool_calls", "function_call"]


class ChatChoice(ResponseModel):
    """One of the replies."""

    index: int
    message: AssistantMessage
    logprobs: ChoiceLogprobs | None = None
    finish_reason: FinishReason


class ChatCompletion(ResponseModel):
    """The answer to a request that does not stream."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage
    service_tier: Literal["default"] = "default"
    system_fingerprint: str | None = None


class ChunkChoice(ResponseModel):
    """What is new in one of the replies."""

    index: int
    delta: dict[str, Any]
    logprobs: ChoiceLogprobs | None = None
    finish_reason: FinishReason | None = None


class ChatChunk(ResponseModel):
    """An event of a stream. prompt_progress: llama.cpp's."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: Annotated[Usage | None, Field(exclude_if=is_none)] = None
    prompt_progress: Annotated[JsonObject | None, Field(exclude_if=is_none)] = None
