"""/v1/rerank, as Jina, Cohere, vLLM and llama.cpp have it. https://jina.ai/reranker"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StrictBool

from lutmac.server.schemas.common import PositiveInteger, ResponseModel, Texts, is_none
from lutmac.server.schemas.other_names import RERANK_NAMES
from lutmac.server.schemas.request import Request


class RerankDocument(Request):
    """A document as an object."""

    text: str


class RerankRequest(Request):
    """A query, and the documents that may answer it.

    top_n: so many of the best. return_documents: whether the texts come back. instruction: what is asked of documents,
    of models whose prompt has a place for it. texts, return_text and truncate are text-embeddings-inference's: the
    reply to texts is a list of scores. Texts that are too long are cut whether or not that is asked for.
    """

    other_names: ClassVar = RERANK_NAMES
    query: str
    documents: Annotated[list[str | RerankDocument], Field(fail_fast=True)] | None = None
    model: str | None = None
    top_n: PositiveInteger | None = None
    return_documents: StrictBool | None = None
    instruction: str | None = None
    user: str | None = None
    texts: Texts | None = None
    return_text: StrictBool | None = None
    truncate: StrictBool | None = None


class RankedDocument(ResponseModel):
    """A document's text."""

    text: str


class Ranked(ResponseModel):
    """A document's score; index: its place in the request."""

    index: int
    relevance_score: float
    document: Annotated[RankedDocument | None, Field(exclude_if=is_none)] = None


class RankedText(ResponseModel):
    """The same as text-embeddings-inference has it."""

    index: int
    score: float
    text: Annotated[str | None, Field(exclude_if=is_none)] = None


class RerankUsage(ResponseModel):
    """Tokens of a request: for each document those of the query, too."""

    prompt_tokens: int
    total_tokens: int


class RerankResponse(ResponseModel):
    """The documents, the best first."""

    id: str
    object: Literal["list"] = "list"
    model: str
    usage: RerankUsage
    results: list[Ranked]
