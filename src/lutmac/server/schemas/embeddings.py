"""/v1/embeddings. https://platform.openai.com/docs/api-reference/embeddings"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import StrictBool

from lutmac.server.schemas.common import PositiveInteger, Prompts, ResponseModel
from lutmac.server.schemas.other_names import EMBEDDING_NAMES
from lutmac.server.schemas.request import Request


class EmbeddingRequest(Request):
    """Texts, or their token ids. encoding_format: base64 is of little-endian float32.

    Beyond OpenAI's fields: prompt_name, truncate and normalize of text-embeddings-inference, prompt of
    sentence-transformers, truncate_prompt_tokens of vLLM (-1: as many as the model takes), input_type of Cohere, Voyage
    and NIM.
    """

    other_names: ClassVar = EMBEDDING_NAMES
    input: Prompts
    model: str | None = None
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: PositiveInteger | None = None
    user: str | None = None
    prompt_name: str | None = None
    prompt: str | None = None
    input_type: str | None = None
    truncate: StrictBool | Literal["NONE", "END"] | None = None
    truncate_prompt_tokens: Literal[-1] | None = None
    normalize: StrictBool | None = None


class Embedding(ResponseModel):
    """A text's vector."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingUsage(ResponseModel):
    """Tokens of a request."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingResponse(ResponseModel):
    """A vector for each text."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage
