"""What several endpoints share."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt

from lutmac.engine.sampling.options import MAX_INTEGER
from lutmac.server.schemas.request import Request
from lutmac.server.schemas.sampling import SamplingNumbers

# There may be as many as tokens: a bound of both kinds of numbers at once would be checked in Python, 100 times slower.
Bias = Annotated[StrictInt, Field(ge=-100, le=100)] | Annotated[StrictFloat, Field(ge=-100, le=100)]
MAX_REPLIES = 128  # OpenAI's bound of n; what a server takes is in its settings
PositiveInteger = Annotated[StrictInt, Field(ge=1, le=MAX_INTEGER)]
ReplyCount = Annotated[StrictInt, Field(ge=1, le=MAX_REPLIES)]
TokenLimit = PositiveInteger | Literal[-1]  # -1: none
MAX_MESSAGES = 8192  # of a conversation: to check one takes microseconds in which the server does nothing else
MAX_DETOKENIZED = 1 << 18  # tokens, more than contexts hold: to check and to answer them takes some 0.1 µs each
TokenIds = Annotated[list[Annotated[StrictInt, Field(ge=0, le=MAX_INTEGER)]], Field(fail_fast=True)]
Texts = Annotated[list[str], Field(fail_fast=True)]
Prompts = str | TokenIds | Texts | Annotated[list[TokenIds], Field(fail_fast=True)]
JsonObject = dict[str, Any]


def is_none(value: object) -> bool:
    """Whether a field is left out of a reply."""
    return value is None


class ResponseModel(BaseModel):
    """A body that the server sends."""

    model_config = ConfigDict(protected_namespaces=())


class ErrorDetail(ResponseModel):
    """What was wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorResponse(ResponseModel):
    """The body of every answer that is an error, but for Anthropic's endpoints."""

    error: ErrorDetail


class SamplingOptions(SamplingNumbers):
    """How tokens are drawn, by the names of OpenAI and, where it has none, of most other servers.

    What is left out is the engine's default.
    """

    logit_bias: dict[str, Bias] | None = None
    stop: str | list[str] | None = None
    stop_token_ids: TokenIds | None = None
    min_tokens: Annotated[StrictInt, Field(ge=0, le=MAX_INTEGER)] | None = None
    ignore_eos: StrictBool | None = None


class StreamOptions(Request):
    """What a stream holds beside the text. continuous_usage_stats: the usage so far, in each event."""

    include_usage: StrictBool | None = None
    continuous_usage_stats: StrictBool | None = None
    include_obfuscation: StrictBool | None = None


class PromptTokensDetails(ResponseModel):
    """Of the prompt's tokens, those whose keys and values were in the cache already."""

    cached_tokens: int


class CompletionTokensDetails(ResponseModel):
    """Of the replies' tokens, those that were thoughts."""

    reasoning_tokens: int


class Usage(ResponseModel):
    """Tokens of a request."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: Annotated[PromptTokensDetails | None, Field(exclude_if=is_none)] = None
    completion_tokens_details: Annotated[CompletionTokensDetails | None, Field(exclude_if=is_none)] = None


class FunctionDefinition(Request):
    """A function that the model may call. parameters: a JSON schema of its arguments."""

    name: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[a-zA-Z0-9_.:/-]+$")]
    description: str | None = None
    parameters: JsonObject | None = None
    strict: StrictBool | None = None


class JsonSchemaFormat(Request):
    """A named JSON schema that the reply has to fit."""

    name: str | None = None
    description: str | None = None
    schema_: Annotated[JsonObject, Field(alias="schema")]
    strict: StrictBool | None = None


class TopLogprob(ResponseModel):
    """A token that could have been drawn. bytes: of its UTF-8 text, which a token may hold half of."""

    token: str
    logprob: float
    bytes: list[int]


class TokenLogprob(TopLogprob):
    """A token that was drawn, with the likeliest ones in its place."""

    top_logprobs: list[TopLogprob]


ServiceTier = Literal["auto", "default", "flex", "scale", "priority"]
