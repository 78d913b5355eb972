"""Ollama's interface, for programs that speak nothing else. https://docs.ollama.com/api"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StrictBool, StrictInt

from lutmac.server.schemas.common import (
    MAX_MESSAGES,
    JsonObject,
    PositiveInteger,
    ResponseModel,
    Texts,
    TokenLogprob,
    is_none,
)
from lutmac.server.schemas.other_names import LENGTH_NAMES, SAMPLING_NAMES
from lutmac.server.schemas.request import Request
from lutmac.server.schemas.sampling import AnySamplingNumbers, Number

Format = Literal["", "json"] | JsonObject


class Options(AnySamplingNumbers):
    """How tokens are drawn. The parameters of the last block are decided when the server starts, and change nothing."""

    other_names: ClassVar = (*SAMPLING_NAMES, *LENGTH_NAMES)
    stop: str | list[str] | None = None
    max_tokens: StrictInt | None = None

    num_ctx: StrictInt | None = None
    num_batch: StrictInt | None = None
    num_keep: StrictInt | None = None
    num_gpu: StrictInt | None = None
    main_gpu: StrictInt | None = None
    num_thread: StrictInt | None = None
    use_mmap: StrictBool | None = None
    use_mlock: StrictBool | None = None
    low_vram: StrictBool | None = None
    numa: StrictBool | None = None


class CalledFunction(Request):
    """A function and its arguments."""

    name: str
    arguments: JsonObject | str | None = None
    index: StrictInt | None = None


class ToolCall(Request):
    """A call that the model made."""

    id: str | None = None
    type: str | None = None
    function: CalledFunction


class Message(Request):
    """A message of a conversation. images: base64; this server takes none."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | None = None
    thinking: str | None = None
    images: list[str] | None = None
    tool_calls: list[ToolCall] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None


class ModelRequest(Request):
    """A request that names a model. name: the older name of model."""

    model: str | None = None
    name: str | None = None
    verbose: StrictBool | None = None


class Common(Request):
    """What chats and generations share. keep_alive: for how long the model stays; an only one stays in any case."""

    model: str | None = None
    stream: StrictBool = True
    format: Format | None = None
    options: Options | None = None
    think: StrictBool | str | None = None
    logprobs: StrictBool | None = None
    top_logprobs: Annotated[StrictInt, Field(ge=0, le=20)] | None = None
    keep_alive: Number | str | None = None
    truncate: StrictBool | None = None
    shift: StrictBool | None = None


class ChatRequest(Common):
    """A conversation to go on with. None at all asks for the model to be loaded, which it is."""

    messages: Annotated[list[Message], Field(max_length=MAX_MESSAGES, fail_fast=True)] = Field(default_factory=list)
    tools: list[JsonObject] | None = None


class GenerateRequest(Common):
    """A text to answer, to continue as it is (raw), or to fill in before suffix."""

    prompt: str = ""
    system: str | None = None
    suffix: str | None = None
    raw: StrictBool | None = None
    images: list[str] | None = None
    template: str | None = None


class EmbedRequest(Request):
    """Texts. truncate: cut those that are longer than the context, which is the default; otherwise that is an error."""

    input: str | Texts
    model: str | None = None
    truncate: StrictBool = True
    dimensions: PositiveInteger | None = None
    options: Options | None = None
    keep_alive: Number | str | None = None


class OlderEmbedRequest(Request):
    """A text."""

    prompt: str
    model: str | None = None
    options: Options | None = None
    keep_alive: Number | str | None = None


class Timed(ResponseModel):
    """What each answer says. The last block is in the last one; times in nanoseconds."""

    model: str
    created_at: str
    done: bool
    done_reason: Annotated[str | None, Field(exclude_if=is_none)] = None
    total_duration: Annotated[int | None, Field(exclude_if=is_none)] = None
    load_duration: Annotated[int | None, Field(exclude_if=is_none)] = None
    prompt_eval_count: Annotated[int | None, Field(exclude_if=is_none)] = None
    prompt_eval_duration: Annotated[int | None, Field(exclude_if=is_none)] = None
    eval_count: Annotated[int | None, Field(exclude_if=is_none)] = None
    eval_duration: Annotated[int | None, Field(exclude_if=is_none)] = None


class ResponseMessage(ResponseModel):
    """The model's message, or what is new in it."""

    role: Literal["assistant"] = "assistant"
    content: str
    thinking: Annotated[str | None, Field(exclude_if=is_none)] = None
    tool_calls: Annotated[list[JsonObject] | None, Field(exclude_if=is_none)] = None


class ChatResponse(Timed):
    """A chat's answer, or a line of its stream."""

    message: ResponseMessage
    logprobs: Annotated[list[TokenLogprob] | None, Field(exclude_if=is_none)] = None


class GenerateResponse(Timed):
    """A generation's answer, or a line of its stream."""

    response: str
    thinking: Annotated[str | None, Field(exclude_if=is_none)] = None
    logprobs: Annotated[list[TokenLogprob] | None, Field(exclude_if=is_none)] = None


class EmbedResponse(ResponseModel):
    """A vector of length 1 for each text."""

    model: str
    embeddings: list[list[float]]
    total_duration: int
    load_duration: int = 0
    prompt_eval_count: int


class OlderEmbedResponse(ResponseModel):
    """A vector of length 1."""

    embedding: list[float]


class Details(ResponseModel):
    """What kind of model it is."""

    parent_model: str = ""
    format: str
    family: str
    families: list[str]
    parameter_size: str
    quantization_level: str


class Model(ResponseModel):
    """A model. The last block is of one that runs."""

    name: str
    model: str
    size: int
    digest: str
    details: Details
    modified_at: Annotated[str | None, Field(exclude_if=is_none)] = None
    expires_at: Annotated[str | None, Field(exclude_if=is_none)] = None
    size_vram: Annotated[int | None, Field(exclude_if=is_none)] = None
    context_length: Annotated[int | None, Field(exclude_if=is_none)] = None


class ModelList(ResponseModel):
    """All of them."""

    models: list[Model]


class Shown(ResponseModel):
    """What there is to know of a model."""

    modelfile: str
    parameters: str
    template: str
    details: Details
    model_info: dict[str, Any]
    capabilities: list[str]
    modified_at: str


class Version(ResponseModel):
    """The version of Ollama whose interface this is."""

    version: str


class Error(ResponseModel):
    """What was wrong."""

    error: str
