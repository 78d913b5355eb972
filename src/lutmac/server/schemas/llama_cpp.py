"""llama.cpp's own interface, which editors speak. https://github.com/ggml-org/llama.cpp/tree/master/tools/server"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field, StrictBool, StrictInt, field_validator

from lutmac.engine.sampling.options import MAX_INTEGER
from lutmac.server.schemas.chat import AnyTool, ChatMessage, ResponseFormat
from lutmac.server.schemas.common import (
    MAX_MESSAGES,
    JsonObject,
    ResponseModel,
    SamplingOptions,
)
from lutmac.server.schemas.other_names import FORMAT_NAMES, LENGTH_NAMES, SAMPLING_NAMES
from lutmac.server.schemas.request import Request
from lutmac.server.schemas.sampling import Number

RANDOM_SEEDS = (-1, 2**32 - 1)
Prompt = str | list[StrictInt | str | list[StrictInt | str]]


class CompletionOptions(SamplingOptions):
    """What a completion may be asked for beside its prompt. The parameters of the last block change nothing here.

    response_fields: the fields of the answer that are wanted, as in ``timings/prompt_n``. t_max_predict_ms: time for
    the text after its first token, which is up once a line has ended; 0 is no limit.
    """

    other_names: ClassVar = (*SAMPLING_NAMES, *LENGTH_NAMES, *FORMAT_NAMES)
    model: str | None = None
    max_tokens: Annotated[StrictInt, Field(ge=-1, le=MAX_INTEGER)] = -1
    temperature: Annotated[Number, Field(ge=-1, le=100)] | None = None
    stream: StrictBool = False
    n_cmpl: Annotated[StrictInt, Field(ge=1, le=128)] = 1
    n_probs: Annotated[StrictInt, Field(ge=0, le=20)] = 0
    response_format: ResponseFormat | None = None
    return_tokens: StrictBool = False
    return_progress: StrictBool = False
    timings_per_token: StrictBool = False
    response_fields: list[str] | None = None
    t_max_predict_ms: Annotated[StrictInt, Field(ge=0, le=MAX_INTEGER)] = 0

    cache_prompt: StrictBool | None = None
    id_slot: StrictInt | None = None
    samplers: list[str] | str | None = None
    n_keep: StrictInt | None = None
    n_cache_reuse: StrictInt | None = None
    t_max_prompt_ms: Number | None = None

    @field_validator("temperature")
    @classmethod
    def _greedy(cls, given: float | None) -> float | None:
        """Below 0 is greedy."""
        return None if given is None else max(given, 0)

    @field_validator("seed")
    @classmethod
    def _drawn(cls, given: int | None) -> int | None:
        """These mean that one is to be drawn."""
        return None if given in RANDOM_SEEDS else given

    @field_validator("logit_bias", mode="before")
    @classmethod
    def _pairs(cls, given: Any) -> Any:
        """``[[id, bias], [id, false]]``, beside OpenAI's object. false: never."""
        if not isinstance(given, list):
            return given
        if not all(isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], int) for pair in given):
            raise ValueError("logit_bias is an object, or a list of pairs of a token id and a number")
        return {str(id): -100 if bias is False else max(-100, min(bias, 100)) for id, bias in given}


class CompletionRequest(CompletionOptions):
    """Texts to continue: a text, token ids, both mixed, or a list of such."""

    prompt: Prompt


class ExtraFile(Request):
    """Another file, for its context."""

    text: str = ""
    filename: str = "tmp"


class InfillRequest(CompletionOptions):
    """What is to be filled in: prompt stands between the two, and is the beginning of the current line."""

    input_prefix: str = ""
    input_suffix: str = ""
    input_extra: list[ExtraFile] = Field(default_factory=list)
    prompt: str = ""


class TemplateRequest(Request):
    """A conversation, to be written as the model's template writes it."""

    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=MAX_MESSAGES, fail_fast=True)]
    model: str | None = None
    tools: list[AnyTool] | None = None
    chat_template_kwargs: JsonObject | None = None
    add_generation_prompt: StrictBool | None = None


class TemplateResponse(ResponseModel):
    """The prompt, as text."""

    prompt: str


class Slot(ResponseModel):
    """A place for a reply."""

    id: int
    n_ctx: int
    speculative: bool = False
    is_processing: bool


class GenerationSettings(ResponseModel):
    """What holds where a request does not say."""

    id: int = 0
    n_ctx: int
    params: JsonObject


class Props(ResponseModel):
    """What is served, and how."""

    default_generation_settings: GenerationSettings
    total_slots: int
    model_alias: str
    model_path: str
    chat_template: str
    bos_token: str
    eos_token: str
    modalities: dict[str, bool]
    build_info: str
    is_sleeping: bool = False
