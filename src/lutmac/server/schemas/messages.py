"""/v1/messages. https://docs.anthropic.com/en/api/messages"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, StrictBool, StrictInt, Tag

from lutmac.engine.sampling.options import MAX_INTEGER
from lutmac.server.schemas.chat import OtherTool
from lutmac.server.schemas.common import MAX_MESSAGES, JsonObject, ResponseModel, TokenLimit
from lutmac.server.schemas.request import Request
from lutmac.server.schemas.sampling import Number


class ContentBlock(Request):
    """A piece of a message: text, a call, or a call's result. Other types are refused."""

    type: str
    text: str | None = None
    id: str | None = None
    name: str | None = None
    input: JsonObject | None = None
    tool_use_id: str | None = None
    content: str | list[ContentBlock] | None = None
    is_error: StrictBool | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    source: str | JsonObject | None = None
    title: str | None = None
    context: str | None = None
    citations: list[Any] | JsonObject | None = None
    caller: JsonObject | None = None
    cache_control: JsonObject | None = None


class InputMessage(Request):
    """A message of a conversation."""

    role: Literal["user", "assistant", "system"]
    content: str | list[ContentBlock] = ""


class MessagesTool(Request):
    """A tool that the model may call.

    The parameters of the last block are taken and change nothing here.
    """

    type: Literal["custom"] | None = None
    name: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[a-zA-Z0-9_.:/-]+$")]
    description: str | None = None
    input_schema: JsonObject | None = None

    cache_control: JsonObject | None = None
    strict: StrictBool | None = None
    eager_input_streaming: StrictBool | None = None
    defer_loading: StrictBool | None = None
    allowed_callers: list[str] | None = None
    input_examples: list[Any] | None = None


def _kind_of_tool(given: Any) -> str:
    kind = given.get("type") if isinstance(given, dict) else getattr(given, "type", None)
    return "MessagesTool" if kind in ("custom", None) or not isinstance(kind, str) else "OtherTool"


AnyMessagesTool = Annotated[
    Annotated[MessagesTool, Tag("MessagesTool")] | Annotated[OtherTool, Tag("OtherTool")],
    Discriminator(_kind_of_tool),
]


class MessagesToolChoice(Request):
    """Whether and what the model has to call. name: with "tool"."""

    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: StrictBool | None = None


class OutputFormat(Request):
    """The form of the reply: JSON of a schema."""

    type: Literal["json_schema"]
    schema_: Annotated[JsonObject | None, Field(alias="schema")] = None


class OutputConfig(Request):
    """How the reply is to be written. effort: how much the model is to think, where it can be told."""

    format: OutputFormat | None = None
    effort: str | None = None


class CountRequest(Request):
    """A conversation whose tokens are to be counted. The parameters of the last block change nothing here."""

    messages: Annotated[list[InputMessage], Field(min_length=1, max_length=MAX_MESSAGES, fail_fast=True)]
    model: str | None = None
    system: str | list[ContentBlock] | None = None
    tools: list[AnyMessagesTool] | None = None
    tool_choice: MessagesToolChoice | None = None
    output_config: OutputConfig | None = None
    output_format: OutputFormat | None = None
    thinking: JsonObject | None = None

    cache_control: JsonObject | None = None
    context_management: JsonObject | None = None
    mcp_servers: list[Any] | None = None
    speed: str | None = None


class MessagesRequest(CountRequest):
    """A conversation to go on with. output_format: the name of output_config.format in Anthropic's beta."""

    max_tokens: TokenLimit
    stream: StrictBool | None = None
    temperature: Annotated[Number, Field(ge=0, le=1)] | None = None
    top_p: Annotated[Number, Field(ge=0, le=1)] | None = None
    top_k: Annotated[StrictInt, Field(ge=0, le=MAX_INTEGER)] | None = None
    stop_sequences: list[str] | None = None

    metadata: JsonObject | None = None
    service_tier: str | None = None
    container: str | JsonObject | None = None
    inference_geo: str | None = None


class CountResponse(ResponseModel):
    """Tokens of a prompt."""

    input_tokens: int


class ThinkingBlock(ResponseModel):
    """What the model thought. signature: clients send it back; nothing is read from it."""

    type: Literal["thinking"] = "thinking"
    thinking: str = ""
    signature: str = ""


class TextBlock(ResponseModel):
    """Text of a reply."""

    type: Literal["text"] = "text"
    text: str = ""


class ToolUseBlock(ResponseModel):
    """A call of the model's."""

    type: Literal["tool_use"] = "tool_use"
    id: str
    name: str
    input: JsonObject


class MessagesUsage(ResponseModel):
    """Tokens of a request. input_tokens: those that were not found in the cache."""

    input_tokens: int
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int
    output_tokens: int


StopReason = Literal["end_turn", "max_tokens", "stop_sequence", "tool_use"]


class Message(ResponseModel):
    """The answer."""

    id: str
    type: Literal["message"] = "message"
    role: Literal["assistant"] = "assistant"
    model: str
    content: list[ThinkingBlock | TextBlock | ToolUseBlock]
    stop_reason: StopReason | None
    stop_sequence: str | None
    usage: MessagesUsage


class AnthropicErrorDetail(ResponseModel):
    """What was wrong."""

    type: str
    message: str


class AnthropicError(ResponseModel):
    """The body of an answer that is an error."""

    type: Literal["error"] = "error"
    error: AnthropicErrorDetail
    request_id: str | None
