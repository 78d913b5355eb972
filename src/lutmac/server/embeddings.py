"""/v1/embeddings: texts as vectors."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from fastapi import Request
from numpy.typing import NDArray
from starlette.responses import Response

from lutmac.checkpoints.embedding_config import EmbeddingConfig
from lutmac.engine.embedding.embedder import Embedder, EmbeddingOptions
from lutmac.errors import ContextOverflowError, InvalidRequestError
from lutmac.server.backend import Backend
from lutmac.server.clients import current_client
from lutmac.server.documents import error_responses, model_for, record_of
from lutmac.server.endpoints import new_router
from lutmac.server.errors import ApiError
from lutmac.server.limits import check_at_most
from lutmac.server.logs import RequestRecord
from lutmac.server.preparation import in_thread
from lutmac.server.schemas import embeddings as schema

router = new_router("OpenAI")
Inputs = str | Sequence[int] | Sequence[str] | Sequence[Sequence[int]]

# What other services call the two sides of a search, and the names that models give their prompts.
_INPUT_TYPES: Final = {
    "query": ("query",), "search_query": ("query",),
    "document": ("document", "passage", "corpus"), "search_document": ("document", "passage", "corpus"),
    "passage": ("document", "passage", "corpus"),
}  # fmt: skip


@dataclass(frozen=True)
class Embedded:
    """vectors: [n, dimensions]. tokens: of all texts."""

    vectors: NDArray[np.float32]
    tokens: int


@router.post("/v1/embeddings", response_model=schema.EmbeddingResponse, responses=error_responses())
async def embeddings(asked: schema.EmbeddingRequest, request: Request) -> Response:
    """A vector for each text, as the model's file says."""
    backend = await model_for(request, asked)
    return Response(await embedding_response(asked, backend, record_of(request)), media_type="application/json")


async def embedding_response(asked: schema.EmbeddingRequest, backend: Backend, record: RequestRecord) -> bytes:
    """The reply's JSON. Raises as ``embed_inputs`` does."""
    options = _options(asked, backend.model.info().embedding)
    found = await embed_inputs(backend, asked.input, options, record)
    return await in_thread(_body, found, backend.name, base64=asked.encoding_format == "base64")


async def embed_inputs(
    backend: Backend, given: Inputs, options: EmbeddingOptions, record: RequestRecord, param: str = "input"
) -> Embedded:
    """The vectors of a text, of several, or of token ids, in turn with all other requests.

    param: what errors call the texts. What cannot be answered is refused before anything is computed: raises ApiError
    and what ``Worker.embed`` raises.
    """
    embedder = _embedder(backend, options)
    texts = await _encode(backend, embedder, given, param)
    record.model, record.prompt_tokens = backend.name, sum(map(len, texts))
    pooled = await backend.model.worker.embed(embedder.batch(texts), current_client.get())
    return Embedded(await in_thread(embedder.vectors, pooled), record.prompt_tokens)


def _options(asked: schema.EmbeddingRequest, config: EmbeddingConfig) -> EmbeddingOptions:
    is_text = isinstance(asked.input, str) or isinstance(next(iter(asked.input), ""), str)
    if not is_text and (asked.prompt or asked.prompt_name):
        raise ApiError(400, "a prompt goes before texts, not before token ids", param="input")
    prompt, name = asked.prompt, asked.prompt_name
    if asked.input_type is not None and prompt is None and name is None:
        candidates = _INPUT_TYPES.get(asked.input_type, (asked.input_type,))
        name = next((candidate for candidate in candidates if candidate in config.prompts), None)
        prompt = "" if name is None else None
    return EmbeddingOptions(
        normalize=asked.normalize,
        dimensions=asked.dimensions,
        prompt=prompt,
        prompt_name=name,
        truncate=asked.truncate in (True, "END") or asked.truncate_prompt_tokens == -1,
    )


def _embedder(backend: Backend, options: EmbeddingOptions) -> Embedder:
    try:
        return backend.model.embedder(options)
    except InvalidRequestError as error:
        wrong = next((name for name in ("dimensions", "prompt_name") if name in str(error)), None)
        raise ApiError(400, str(error), param=wrong) from None


async def _encode(backend: Backend, embedder: Embedder, given: Inputs, param: str) -> list[list[int]]:
    """Token ids of each text."""
    limits = backend.settings.limits
    one = isinstance(given, str) or (len(given) > 0 and isinstance(given[0], int))
    inputs: Sequence[str | Sequence[int]] = [given] if one else given  # type: ignore[list-item, assignment]
    if not inputs or any(len(item) == 0 for item in inputs):
        raise ApiError(400, f"{param} is empty" if one or not inputs else f"a text of {param} is empty", param=param)
    check_at_most(len(inputs), limits.inputs, param, "texts")
    texts: list[list[int]] = []
    tokens = 0
    for place, item in enumerate(inputs):
        texts.append(await _encode_one(backend, embedder, item, param if one else f"{param}[{place}]", param))
        tokens += len(texts[-1])
        check_at_most(tokens, limits.embedding_tokens, param, "tokens")
    return texts


async def _encode_one(
    backend: Backend, embedder: Embedder, item: str | Sequence[int], place: str, param: str
) -> list[int]:
    try:
        if isinstance(item, str):
            return await backend.preparation.run(lambda: embedder.encode(item), embedder.text_bytes(item))
        vocabulary = backend.model.info().vocab_size
        if max(item) >= vocabulary:
            raise InvalidRequestError(f"token id {max(item)} is not in the vocabulary of {vocabulary}")
        return embedder.fitted(list(item))
    except ContextOverflowError as error:
        message = f"{place}: {error}: shorten it, or send truncate"
        raise ApiError(400, message, code="context_length_exceeded", param=param) from None
    except InvalidRequestError as error:
        raise ApiError(400, f"{place}: {error}", param=param) from None


def _body(found: Embedded, model: str, *, base64: bool) -> bytes:
    """The reply. Row by row: one call for millions of numbers would keep all other threads waiting."""
    usage = schema.EmbeddingUsage(prompt_tokens=found.tokens, total_tokens=found.tokens)
    envelope = schema.EmbeddingResponse(data=[], model=model, usage=usage).model_dump_json()
    rows = [
        schema.Embedding(index=index, embedding=_base64(row) if base64 else row.tolist()).model_dump_json()
        for index, row in enumerate(found.vectors)
    ]
    before, empty, after = envelope.partition('"data":[]')
    return f"{before}{empty[:-1]}{','.join(rows)}]{after}".encode()


def _base64(vector: NDArray[np.float32]) -> str:
    return b64encode(vector.astype("<f4").tobytes()).decode()
