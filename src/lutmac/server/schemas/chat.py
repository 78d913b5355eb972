"""/v1/chat/completions. https://platform.openai.com/docs/api-reference/chat"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt

from lutmac.server.schemas.common import (
    MAX_INTEGER,
    FunctionDefinition,
    JsonObject,
    JsonSchemaFormat,
    PositiveInteger,
    Reply,
    ReplyCount,
    Request,
    SamplingOptions,
    ServiceTier,
    StreamOptions,
    TokenLogprob,
    Usage,
    is_none,
)


class ContentPart(BaseModel):
    """A piece of a message. Text is all that lutmac reads: another type is refused where it is read."""

    model_config = ConfigDict(extra="allow", strict=True)
    type: str
    text: str | None = None
    refusal: str | None = None


class CalledFunction(Request):
    """A function and its arguments, the latter as JSON text."""

    name: str
    arguments: str


class ToolCall(Request):
    """A call that the model made."""

    id: str
    type: Literal["function"] = "function"
    function: CalledFunction
    index: Annotated[StrictInt | None, Field(ge=0, le=MAX_INTEGER, exclude_if=is_none)] = None


class ChatMessage(BaseModel):
    """A message of a conversation. Keys that other servers' replies hold are let through, since clients send replies
    back as they came.
    """

    model_config = ConfigDict(extra="ignore", strict=True)
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[ContentPart] | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None


class Tool(Request):
    """A function that the model may call."""

    type: Literal["function"]
    function: FunctionDefinition


class NamedFunction(Request):
    """A function's name."""

    name: str


class NamedToolChoice(Request):
    """The function that the model has to call."""

    type: Literal["function"]
    function: NamedFunction


class ResponseFormat(Request):
    """The form of the reply: free text, any JSON object, or JSON of a schema."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchemaFormat | None = None


class ChatRequest(SamplingOptions):
    """A conversation to go on with. The parameters of the last block are taken and change nothing here."""

    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    model: str | None = None
    stream: StrictBool | None = None
    stream_options: StreamOptions | None = None
    n: ReplyCount | None = None
    max_tokens: PositiveInteger | None = None
    max_completion_tokens: PositiveInteger | None = None
    logprobs: StrictBool | None = None
    top_logprobs: Annotated[StrictInt, Field(ge=0, le=20)] | None = None
    response_format: ResponseFormat | None = None
    tools: list[Tool] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedToolChoice | None = None
    parallel_tool_calls: StrictBool | None = None
    chat_template_kwargs: JsonObject | None = None

    user: str | None = None
    metadata: JsonObject | None = None
    store: StrictBool | None = None
    service_tier: ServiceTier | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    modalities: list[Literal["text"]] | None = None
    prediction: JsonObject | None = None


class AssistantMessage(Reply):
    """The model's reply. content: None where it only calls functions."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: None = None
    tool_calls: Annotated[list[ToolCall] | None, Field(exclude_if=is_none)] = None


class ChoiceLogprobs(Reply):
    """Log probabilities of a reply's tokens."""

    content: list[TokenLogprob] | None
    refusal: None = None


FinishReason = Literal["stop", "length", "tool_calls"]


class ChatChoice(Reply):
    """One of the replies."""

    index: int
    message: AssistantMessage
    logprobs: ChoiceLogprobs | None = None
    finish_reason: FinishReason


class ChatCompletion(Reply):
    """The answer to a request that does not stream."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage
    service_tier: Literal["default"] = "default"
    system_fingerprint: str | None = None


class ChunkChoice(Reply):
    """What is new in one of the replies."""

    index: int
    delta: dict[str, Any]
    logprobs: ChoiceLogprobs | None = None
    finish_reason: FinishReason | None = None


class ChatChunk(Reply):
    """An event of a stream."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: Annotated[Usage | None, Field(exclude_if=is_none)] = None
