"""/v1/embeddings: texts as vectors."""

from __future__ import annotations

from base64 import b64encode

import numpy as np
from fastapi import Request
from numpy.typing import NDArray
from starlette.responses import Response

from lutmac.engine.embedding import TextBatch
from lutmac.engine.pooling import unit_length
from lutmac.errors import ContextOverflowError
from lutmac.server.clients import current_client
from lutmac.server.documents import backend_of, error_responses, record_of
from lutmac.server.endpoints import new_router
from lutmac.server.errors import ApiError
from lutmac.server.limits import check_at_most
from lutmac.server.prompt_input import encode_prompts
from lutmac.server.schemas import embeddings as schema

router = new_router("OpenAI")


@router.post("/v1/embeddings", response_model=schema.EmbeddingReply, responses=error_responses())
async def embeddings(asked: schema.EmbeddingRequest, request: Request) -> Response:
    """A vector of length 1 for each text."""
    backend, record = backend_of(request), record_of(request)
    backend.accept(asked)
    limits = backend.settings.limits
    inputs = await encode_prompts(backend, asked.input, "input", limits.inputs, parse_special=False)
    tokens = sum(map(len, inputs))
    check_at_most(tokens, limits.embedding_tokens, "input", "tokens")
    for place, ids in enumerate(inputs):
        if len(ids) > backend.model.context:
            raise ContextOverflowError(
                f"input[{place}] has {len(ids)} tokens, the context holds {backend.model.context}"
            )
    record.model, record.prompt_tokens = backend.name, tokens
    found = unit_length(await backend.model.worker.embed(TextBatch(inputs), current_client.get()))
    if asked.dimensions not in (None, found.shape[1]):
        raise ApiError(400, f"this model's vectors have {found.shape[1]} dimensions", param="dimensions")
    data = [
        schema.Embedding(index=index, embedding=_base64(row) if asked.encoding_format == "base64" else row.tolist())
        for index, row in enumerate(found)
    ]
    usage = schema.EmbeddingUsage(prompt_tokens=tokens, total_tokens=tokens)
    reply = schema.EmbeddingReply(data=data, model=backend.name, usage=usage)
    return Response(reply.model_dump_json(), media_type="application/json")


def _base64(vector: NDArray[np.float32]) -> str:
    return b64encode(vector.astype("<f4").tobytes()).decode()
