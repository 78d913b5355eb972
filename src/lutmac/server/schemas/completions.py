"""/v1/completions, /tokenize and /detokenize. https://platform.openai.com/docs/api-reference/completions"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StrictBool, StrictInt, field_validator

from lutmac.engine.sampling.options import MAX_INTEGER
from lutmac.server.schemas.chat import AnyTool, ChatMessage, ResponseFormat
from lutmac.server.schemas.common import (
    MAX_DETOKENIZED,
    MAX_MESSAGES,
    JsonObject,
    Prompts,
    ReplyCount,
    ResponseModel,
    SamplingOptions,
    StreamOptions,
    TokenIds,
    Usage,
    is_none,
)
from lutmac.server.schemas.other_names import COMPLETION_NAMES, TOKENIZE_NAMES
from lutmac.server.schemas.request import Request


class CompletionRequest(SamplingOptions):
    """Texts to continue. logprobs: how many likely tokens to name beside each drawn one, and with echo each of a
    prompt.

    best_of: so many are made, and the n with the highest log probability per token are the answer. suffix: text behind
    what is to be filled in, for models that know how. add_special_tokens: such as BOS.
    """

    other_names: ClassVar = COMPLETION_NAMES
    prompt: Prompts
    model: str | None = None
    stream: StrictBool | None = None
    stream_options: StreamOptions | None = None
    n: ReplyCount | None = None
    best_of: ReplyCount | None = None
    max_tokens: Annotated[StrictInt, Field(ge=-1, le=MAX_INTEGER)] | None = None
    logprobs: Annotated[StrictInt, Field(ge=0, le=20)] | None = None
    echo: StrictBool | None = None
    suffix: str | None = None
    response_format: ResponseFormat | None = None
    add_special_tokens: StrictBool = True
    user: str | None = None


class CompletionLogprobs(ResponseModel):
    """Log probabilities of the tokens; those of a prompt's first token are null.

    text_offset: where in the text each begins, in characters.
    """

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class CompletionChoice(ResponseModel):
    """One of the continuations, or what is new in it."""

    index: int
    text: str
    logprobs: CompletionLogprobs | None = None
    finish_reason: Literal["stop", "length"] | None


class CompletionResponse(ResponseModel):
    """The answer, or an event of a stream; usage is in the answer and in a stream's last event."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: Annotated[Usage | None, Field(exclude_if=is_none)] = None


class TokenizeRequest(Request):
    """A text, or a conversation as the model's template writes it.

    add_special_tokens: such as BOS. parse_special: the texts of control tokens in the prompt become these tokens.
    with_pieces: llama.cpp's name for tokens with their texts.
    """

    other_names: ClassVar = TOKENIZE_NAMES
    model: str | None = None
    prompt: str | None = None
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=MAX_MESSAGES, fail_fast=True)] | None = None
    tools: list[AnyTool] | None = None
    add_generation_prompt: StrictBool | None = None
    continue_final_message: StrictBool | None = None
    chat_template_kwargs: JsonObject | None = None
    add_special_tokens: StrictBool = True
    parse_special: StrictBool = True
    return_token_strs: StrictBool | None = None
    with_pieces: StrictBool | None = None


class TokenPiece(ResponseModel):
    """A token, and its text, or its bytes where these are no text alone."""

    id: int
    piece: str | list[int]


class TokenizeResponse(ResponseModel):
    """Token ids, or with with_pieces (llama.cpp's) tokens and their texts."""

    tokens: list[int] | list[TokenPiece]
    count: int
    max_model_len: int
    token_strs: Annotated[list[str] | None, Field(exclude_if=is_none)] = None


class TokenizerInfo(ResponseModel):
    """What there is to know of the tokenizer, by Hugging Face's names, as vLLM and lm-eval have them."""

    tokenizer_class: str
    vocab_size: int
    model_max_length: int
    bos_token: str | None
    eos_token: str | None
    pad_token: str | None
    add_bos_token: bool
    add_eos_token: bool
    eos_token_ids: list[int]
    chat_template: str | None


class DetokenizeRequest(Request):
    """Token ids."""

    model: str | None = None
    tokens: TokenIds

    @field_validator("tokens", mode="before")
    @classmethod
    def _few_enough(cls, given: Any) -> Any:
        """Before each is looked at, which takes the server's time."""
        if isinstance(given, list) and len(given) > MAX_DETOKENIZED:
            raise ValueError(f"{len(given)} tokens are more than are detokenised at once: at most {MAX_DETOKENIZED}")
        return given


class DetokenizeResponse(ResponseModel):
    """The text that they stand for, by vLLM's name and by llama.cpp's."""

    prompt: str
    content: str
