"""/v1/models: what is served."""

from __future__ import annotations

from typing import Literal

from fastapi import Request

from lutmac.server.backend import Backend
from lutmac.server.documents import backend_of, error_responses
from lutmac.server.endpoints import new_router
from lutmac.server.schemas.common import ResponseModel

router = new_router("OpenAI")
_ERRORS = error_responses(without=(400, 408, 413, 415, 429))


class ModelEntry(ResponseModel):
    """A model. What follows owned_by is lutmac's own: figures for people who want to know what answers them."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: Literal["lutmac"] = "lutmac"
    max_model_len: int
    architecture: str
    parameters: int
    bits_per_weight: float
    weight_bytes: int
    isa: str
    threads: int


class ModelList(ResponseModel):
    """All models of the server."""

    object: Literal["list"] = "list"
    data: list[ModelEntry]


@router.get("/v1/models", responses=_ERRORS)
async def list_models(request: Request) -> ModelList:
    """The model, by each of its names."""
    backend = backend_of(request)
    return ModelList(data=[_entry(backend, name) for name in backend.settings.names])


@router.get("/v1/models/{model:path}", responses=_ERRORS)
async def get_model(model: str, request: Request) -> ModelEntry:
    """The model of that name."""
    backend = backend_of(request)
    backend.check_model(model)
    return _entry(backend, model)


def _entry(backend: Backend, name: str) -> ModelEntry:
    info = backend.model.info()
    return ModelEntry(
        id=name,
        created=backend.started,
        max_model_len=info.context,
        architecture=info.architecture,
        parameters=info.parameters,
        bits_per_weight=round(info.bits_per_weight, 3),
        weight_bytes=info.weight_bytes,
        isa=info.isa,
        threads=info.threads,
    )
