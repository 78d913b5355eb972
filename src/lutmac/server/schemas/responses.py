"""/v1/responses. https://platform.openai.com/docs/api-reference/responses"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, StrictBool, StrictInt, Tag, field_validator

from lutmac.server.schemas.chat import ContentPart, OtherTool, kind_of_tool
from lutmac.server.schemas.common import (
    MAX_MESSAGES,
    JsonObject,
    PositiveInteger,
    ResponseModel,
    ServiceTier,
    TokenLimit,
    TokenLogprob,
    is_none,
)
from lutmac.server.schemas.other_names import RESPONSE_NAMES
from lutmac.server.schemas.request import Request
from lutmac.server.schemas.sampling import Number


class InputItem(Request):
    """A message, a call that the model made, or what a call gave back.

    The parameters of the last block are parts of earlier output and change nothing here.
    """

    type: Literal["message", "function_call", "function_call_output", "reasoning"] | None = None
    role: Literal["system", "developer", "user", "assistant"] | None = None
    content: str | list[ContentPart] | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    output: str | list[ContentPart] | None = None

    id: str | None = None
    status: str | None = None
    phase: str | None = None
    summary: list[Any] | None = None
    encrypted_content: str | None = None


class OtherItem(OtherTool):
    """An item of a type that only other servers make: it is left out, with all that is in it."""


ITEM_TYPES = frozenset({None, "message", "function_call", "function_call_output", "reasoning"})


def _kind_of_item(given: Any) -> str:
    kind = given.get("type") if isinstance(given, dict) else getattr(given, "type", None)
    return "InputItem" if not isinstance(kind, str) or kind in ITEM_TYPES else "OtherItem"


AnyItem = Annotated[
    Annotated[InputItem, Tag("InputItem")] | Annotated[OtherItem, Tag("OtherItem")], Discriminator(_kind_of_item)
]


class FunctionTool(Request):
    """A function that the model may call."""

    type: Literal["function"]
    name: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[a-zA-Z0-9_.:/-]+$")]
    description: str | None = None
    parameters: JsonObject | None = None
    strict: StrictBool | None = None


ResponseTool = Annotated[
    Annotated[FunctionTool, Tag("FunctionTool")] | Annotated[OtherTool, Tag("OtherTool")], Discriminator(kind_of_tool)
]


class FunctionChoice(Request):
    """The function that the model has to call."""

    type: Literal["function"]
    name: str


class AllowedFunctions(Request):
    """The functions that the model may call for now, and whether it has to call one."""

    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"] = "auto"
    tools: list[JsonObject]


class TextFormat(Request):
    """The form of the reply."""

    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    description: str | None = None
    schema_: Annotated[JsonObject | None, Field(alias="schema")] = None
    strict: StrictBool | None = None


class TextOptions(Request):
    """How the reply is to be written."""

    format: TextFormat | None = None
    verbosity: str | None = None


class ResponseStreamOptions(Request):
    """Nothing that changes anything here."""

    include_obfuscation: StrictBool | None = None


class ResponseRequest(Request):
    """An input to answer. The parameters of the last block are taken and change nothing here."""

    other_names: ClassVar = RESPONSE_NAMES
    input: str | Annotated[list[AnyItem], Field(min_length=1, max_length=MAX_MESSAGES, fail_fast=True)]
    model: str | None = None
    instructions: str | None = None
    max_output_tokens: TokenLimit | None = None
    temperature: Annotated[Number, Field(ge=0, le=2)] | None = None
    top_p: Annotated[Number, Field(ge=0, le=1)] | None = None
    top_logprobs: Annotated[StrictInt, Field(ge=0, le=20)] | None = None
    include: list[str] | None = None
    stream: StrictBool | None = None
    text: TextOptions | None = None
    tools: list[ResponseTool] | None = None
    tool_choice: Literal["none", "auto", "required"] | FunctionChoice | AllowedFunctions | None = None
    parallel_tool_calls: StrictBool | None = None
    previous_response_id: str | None = None
    store: StrictBool | None = None
    conversation: str | JsonObject | None = None
    background: StrictBool | None = None

    stream_options: ResponseStreamOptions | None = None
    max_tool_calls: PositiveInteger | None = None
    metadata: JsonObject | None = None
    reasoning: JsonObject | None = None
    truncation: Literal["auto", "disabled"] | None = None
    service_tier: ServiceTier | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    user: str | None = None
    client_metadata: JsonObject | None = None
    context_management: list[Any] | None = None

    @field_validator("tool_choice", mode="before")
    @classmethod
    def _of_others(cls, given: Any) -> Any:
        """What other interfaces write for the same. A tool that the server lacks cannot be chosen: it is left out."""
        if not isinstance(given, dict):
            return {"any": "required"}.get(given, given) if isinstance(given, str) else given
        match given:
            case {"type": "auto" | "none" | "required" as kind}:
                return kind
            case {"type": "any"}:
                return "required"
            case {"type": "function" | "tool", "function": {"name": name}}:
                return {"type": "function", "name": name}
            case {"type": str() as kind} if kind not in ("function", "allowed_tools"):
                return "auto"
        return given


class OutputText(ResponseModel):
    """Text of a reply."""

    type: Literal["output_text"] = "output_text"
    text: str
    annotations: list[Any] = Field(default_factory=list)
    logprobs: list[TokenLogprob] = Field(default_factory=list)


class OutputMessage(ResponseModel):
    """A message of the model's."""

    type: Literal["message"] = "message"
    id: str
    role: Literal["assistant"] = "assistant"
    status: Literal["in_progress", "completed", "incomplete"]
    content: list[OutputText]


class ReasoningText(ResponseModel):
    """What the model thought."""

    type: Literal["reasoning_text"] = "reasoning_text"
    text: str


class OutputReasoning(ResponseModel):
    """Thoughts before a message or a call."""

    type: Literal["reasoning"] = "reasoning"
    id: str
    summary: list[Any] = Field(default_factory=list)
    content: list[ReasoningText]
    encrypted_content: str | None = None
    status: Literal["in_progress", "completed", "incomplete"]


class OutputCall(ResponseModel):
    """A call of the model's."""

    type: Literal["function_call"] = "function_call"
    id: str
    call_id: str
    name: str
    arguments: str
    status: Literal["in_progress", "completed", "incomplete"]


OutputItem = OutputReasoning | OutputMessage | OutputCall


class InputTokensDetails(ResponseModel):
    """Of the input's tokens, those whose keys and values were in the cache already."""

    cached_tokens: int
    cache_write_tokens: int = 0


class OutputTokensDetails(ResponseModel):
    """Of the output's tokens, those that were thoughts."""

    reasoning_tokens: int = 0


class ResponseUsage(ResponseModel):
    """Tokens of a request."""

    input_tokens: int
    input_tokens_details: InputTokensDetails
    output_tokens: int
    output_tokens_details: OutputTokensDetails
    total_tokens: int


class IncompleteDetails(ResponseModel):
    """Why a response ended early."""

    reason: Literal["max_output_tokens"]


class ResponseError(ResponseModel):
    """Why a response failed."""

    code: str
    message: str


class Response(ResponseModel):
    """The answer, or how far it has come."""

    id: str
    object: Literal["response"] = "response"
    created_at: int
    status: Literal["in_progress", "completed", "incomplete", "failed", "cancelled"]
    background: bool = False
    error: ResponseError | None = None
    incomplete_details: IncompleteDetails | None = None
    instructions: str | None
    max_output_tokens: int | None
    metadata: JsonObject
    model: str
    output: list[OutputItem]
    parallel_tool_calls: bool
    previous_response_id: str | None = None
    reasoning: JsonObject = Field(default_factory=dict)
    store: bool
    temperature: float | None
    text: JsonObject
    tool_choice: str | JsonObject
    tools: list[JsonObject]
    top_p: float | None
    truncation: Literal["disabled"] = "disabled"
    usage: Annotated[ResponseUsage | None, Field(exclude_if=is_none)] = None
    user: str | None = None


class InputItemList(ResponseModel):
    """Items of a conversation. first_id, last_id: of these; a client goes on after the last."""

    object: Literal["list"] = "list"
    data: list[JsonObject]
    first_id: str | None
    last_id: str | None
    has_more: bool


class InputTokens(ResponseModel):
    """Tokens of a prompt."""

    object: Literal["response.input_tokens"] = "response.input_tokens"
    input_tokens: int


class DeletedResponse(ResponseModel):
    """A response that is no longer stored."""

    id: str
    object: Literal["response"] = "response"
    deleted: Literal[True] = True
