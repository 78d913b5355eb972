"""/v1/rerank: documents in the order in which they answer a query."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import uuid4

from fastapi import Request

from lutmac.engine.embedding.ranking import Ranker
from lutmac.errors import ContextOverflowError, InvalidRequestError
from lutmac.server.backend import Backend
from lutmac.server.clients import current_client
from lutmac.server.documents import error_responses, model_for, record_of
from lutmac.server.endpoints import new_router
from lutmac.server.errors import CONTEXT_OVERFLOW, ApiError
from lutmac.server.limits import check_at_most
from lutmac.server.logs import RequestRecord
from lutmac.server.schemas import rerank as schema
from lutmac.text.framing import EncodedPair

router = new_router("Jina, Cohere")
Reply = schema.RerankResponse | list[schema.RankedText]


@dataclass(frozen=True)
class _Score:
    """index: of the document. text: its text."""

    index: int
    value: float
    text: str


@router.post("/v1/rerank", responses=error_responses())
@router.post("/v1/reranking", responses=error_responses())
async def rerank(asked: schema.RerankRequest, request: Request) -> Reply:
    """The documents that answer the query best, with a score of each."""
    backend, record = await model_for(request, asked), record_of(request)
    texts, param = _texts(asked)
    best = (await _ranked(asked, texts, param, backend, record))[: asked.top_n]
    if param == "texts":
        return [
            schema.RankedText(index=one.index, score=one.value, text=one.text if asked.return_text else None)
            for one in best
        ]
    results = [
        schema.Ranked(
            index=one.index,
            relevance_score=one.value,
            document=schema.RankedDocument(text=one.text) if asked.return_documents else None,
        )
        for one in best
    ]
    tokens = record.prompt_tokens or 0
    usage = schema.RerankUsage(prompt_tokens=tokens, total_tokens=tokens)
    return schema.RerankResponse(id=f"rerank-{uuid4().hex}", model=backend.name, usage=usage, results=results)


def _texts(asked: schema.RerankRequest) -> tuple[list[str], str]:
    """The documents, and the name of their field."""
    if (asked.texts is None) == (asked.documents is None):
        raise ApiError(400, "give documents, or texts as text-embeddings-inference has it", param="documents")
    if asked.texts is not None:
        return asked.texts, "texts"
    return [item if isinstance(item, str) else item.text for item in asked.documents or ()], "documents"


async def _ranked(
    asked: schema.RerankRequest, texts: list[str], param: str, backend: Backend, record: RequestRecord
) -> list[_Score]:
    """All documents, the best first; of equal ones in the order of the request.

    What cannot be answered is refused before anything is computed: raises ApiError and what ``Worker.embed`` raises.
    """
    limits = backend.settings.limits
    try:
        ranker = backend.model.ranker(asked.instruction)
    except InvalidRequestError as error:
        raise ApiError(400, str(error), param="instruction" if "instruction" in str(error) else "model") from None
    if not texts:
        raise ApiError(400, f"{param} is empty", param=param)
    check_at_most(len(texts), limits.inputs, param, "texts")
    pairs: list[EncodedPair] = []
    tokens = 0
    for place, text in enumerate(texts):
        pairs.append(await _encode(backend, ranker, asked.query, text, f"{param}[{place}]"))
        tokens += len(pairs[-1].ids)
        check_at_most(tokens, limits.embedding_tokens, param, "tokens")
    record.model, record.prompt_tokens = backend.name, tokens
    made = await backend.model.worker.embed(ranker.batch(pairs), current_client.get())
    found = zip(ranker.scores(made), texts, strict=True)
    scores = [_Score(index, float(value), text) for index, (value, text) in enumerate(found)]
    return sorted(scores, key=lambda score: -score.value)


async def _encode(backend: Backend, ranker: Ranker, query: str, text: str, place: str) -> EncodedPair:
    try:
        return await backend.preparation.run(lambda: ranker.encode(query, text), ranker.text_bytes(query, text))
    except ContextOverflowError as error:
        raise ApiError(400, f"{place}: {error}: the query is too long", code=CONTEXT_OVERFLOW, param="query") from None
