"""/v1/models: what is served."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from fastapi import Request
from pydantic import Field

from lutmac.engine.forecast import Forecast
from lutmac.server.documents import error_responses, models_of
from lutmac.server.endpoints import new_router
from lutmac.server.model_status import ModelStatus, facts_of, status_of
from lutmac.server.schemas.common import ResponseModel, is_none
from lutmac.server.schemas.request import Request as BodyOfRequest
from lutmac.server.served_model import ServedModel

router = new_router("OpenAI")
_ERRORS = error_responses(without=(400, 408, 413, 415, 429))


class ModelEntry(ResponseModel):
    """A model. What follows owned_by is for people who want to know what answers them, as far as it is known.

    status: llama.cpp's. isa, threads: of a loaded model.
    """

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: Literal["lutmac"] = "lutmac"
    status: ModelStatus
    max_model_len: Annotated[int | None, Field(exclude_if=is_none)] = None
    architecture: Annotated[str | None, Field(exclude_if=is_none)] = None
    parameters: Annotated[int | None, Field(exclude_if=is_none)] = None
    bits_per_weight: Annotated[float | None, Field(exclude_if=is_none)] = None
    weight_bytes: Annotated[int | None, Field(exclude_if=is_none)] = None
    isa: Annotated[str | None, Field(exclude_if=is_none)] = None
    threads: Annotated[int | None, Field(exclude_if=is_none)] = None


class ModelList(ResponseModel):
    """All models of the server."""

    object: Literal["list"] = "list"
    data: list[ModelEntry]


class LoadRequest(BodyOfRequest):
    """Which model is to be loaded, or unloaded."""

    model: str


class Done(ResponseModel):
    """It is done, or under way."""

    success: Literal[True] = True


@router.get("/v1/models", responses=_ERRORS)
async def list_models(request: Request) -> ModelList:
    """The models, by each of their names."""
    models = models_of(request)
    found = await models.forecasts()
    return ModelList(data=[_entry(models.started, one, name, found) for one in models.listed() for name in one.names])


@router.post("/v1/models/load", responses=error_responses())
async def load_model(asked: LoadRequest, request: Request) -> Done:
    """Begins to load a model: `status` of the list says how far it is. llama.cpp's."""
    models_of(request).leave_out_unknown(asked)
    models_of(request).load(asked.model)
    return Done()


@router.post("/v1/models/unload", responses=error_responses())
async def unload_model(asked: LoadRequest, request: Request) -> Done:
    """Unloads a model once it has answered what it answers. llama.cpp's."""
    models_of(request).leave_out_unknown(asked)
    models_of(request).unload(asked.model)
    return Done()


@router.get("/v1/models/{model:path}", responses=_ERRORS)
async def get_model(model: str, request: Request) -> ModelEntry:
    """The model of that name."""
    models = models_of(request)
    return _entry(models.started, models.named(model), model, await models.forecasts())


def _entry(created: int, served: ServedModel, name: str, found: Mapping[ServedModel, Forecast | None]) -> ModelEntry:
    facts = facts_of(served, found)
    entry = ModelEntry(id=name, created=created, status=status_of(served))
    if facts is not None:
        entry.max_model_len, entry.architecture, entry.parameters = facts.context, facts.architecture, facts.parameters
        entry.bits_per_weight, entry.weight_bytes = round(facts.bits_per_weight, 3), facts.weight_bytes
    if served.backend is not None:
        info = served.backend.model.info()
        entry.isa, entry.threads = info.isa, info.threads
    return entry
