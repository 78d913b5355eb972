"""/v1/messages. https://docs.anthropic.com/en/api/messages"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt

from lutmac.server.schemas.common import MAX_INTEGER, JsonObject, Number, PositiveInteger, Reply


class Lenient(BaseModel):
    """What clients add here comes and goes with their betas: what is unknown is let through and changes nothing."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False, strict=True, protected_namespaces=())


class Block(Lenient):
    """A piece of a message: text, a call, or a call's result. Thoughts are skipped, other types are refused."""

    type: str
    text: str | None = None
    id: str | None = None
    name: str | None = None
    input: JsonObject | None = None
    tool_use_id: str | None = None
    content: str | list[Block] | None = None
    is_error: StrictBool | None = None


class InputMessage(Lenient):
    """A message of a conversation."""

    role: Literal["user", "assistant", "system"]
    content: str | list[Block]


class MessagesTool(Lenient):
    """A tool that the model may call. Tools that a server has to run have another type, and are refused."""

    type: str | None = None
    name: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[a-zA-Z0-9_.:/-]+$")]
    description: str | None = None
    input_schema: JsonObject | None = None


class MessagesToolChoice(Lenient):
    """Whether and what the model has to call. name: with "tool"."""

    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: StrictBool | None = None


class OutputFormat(Lenient):
    """The form of the reply: JSON of a schema."""

    type: Literal["json_schema"]
    schema_: Annotated[JsonObject | None, Field(alias="schema")] = None


class OutputConfig(Lenient):
    """How the reply is to be written. effort: how much the model is to think, where it can be told."""

    format: OutputFormat | None = None
    effort: str | None = None


class CountRequest(Lenient):
    """A conversation whose tokens are to be counted."""

    messages: Annotated[list[InputMessage], Field(min_length=1)]
    model: str | None = None
    system: str | list[Block] | None = None
    tools: list[MessagesTool] | None = None
    tool_choice: MessagesToolChoice | None = None


class MessagesRequest(CountRequest):
    """A conversation to go on with. output_format: the name of output_config.format in Anthropic's beta."""

    max_tokens: PositiveInteger
    stream: StrictBool | None = None
    temperature: Annotated[Number, Field(ge=0, le=1)] | None = None
    top_p: Annotated[Number, Field(ge=0, le=1)] | None = None
    top_k: Annotated[StrictInt, Field(ge=0, le=MAX_INTEGER)] | None = None
    stop_sequences: list[str] | None = None
    output_config: OutputConfig | None = None
    output_format: OutputFormat | None = None


class CountReply(Reply):
    """Tokens of a prompt."""

    input_tokens: int


class TextBlock(Reply):
    """Text of a reply."""

    type: Literal["text"] = "text"
    text: str


class ToolUseBlock(Reply):
    """A call of the model's."""

    type: Literal["tool_use"] = "tool_use"
    id: str
    name: str
    input: JsonObject


class MessagesUsage(Reply):
    """Tokens of a request. input_tokens: those that were not found in the cache."""

    input_tokens: int
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int
    output_tokens: int


StopReason = Literal["end_turn", "max_tokens", "stop_sequence", "tool_use"]


class Message(Reply):
    """The answer."""

    id: str
    type: Literal["message"] = "message"
    role: Literal["assistant"] = "assistant"
    model: str
    content: list[TextBlock | ToolUseBlock]
    stop_reason: StopReason | None
    stop_sequence: str | None
    usage: MessagesUsage


class AnthropicErrorDetail(Reply):
    """What was wrong."""

    type: str
    message: str


class AnthropicError(Reply):
    """The body of an answer that is an error."""

    type: Literal["error"] = "error"
    error: AnthropicErrorDetail
    request_id: str | None
