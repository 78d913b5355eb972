"""Whether the server lives, whether it takes requests, and its figures."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from fastapi import Request
from pydantic import Field
from starlette.responses import PlainTextResponse, Response

from lutmac.server.auth import ApiKeys
from lutmac.server.documents import error_responses, models_of
from lutmac.server.endpoints import new_router
from lutmac.server.errors import RETRY_SECONDS, ApiError
from lutmac.server.model_status import ModelStatus, status_of
from lutmac.server.schemas.common import ResponseModel, is_none

router = new_router("operation")


class Health(ResponseModel):
    """The server's state."""

    status: Literal["ok"] = "ok"


class ModelHealth(ModelStatus):
    """A model, and how far it is. names: all that clients may call it, the first is what it is listed as."""

    name: str
    names: list[str]


class ServerHealth(Health):
    """The server's state, and where it has several models, theirs, for those who may use them."""

    models: Annotated[list[ModelHealth] | None, Field(exclude_if=is_none)] = None


@router.get("/health", responses=error_responses(without=(400, 401, 404, 408, 413, 415, 429)))
@router.get("/health/ready", responses=error_responses(without=(400, 401, 404, 408, 413, 415, 429)))
async def ready(request: Request) -> ServerHealth:
    """200 while new requests are taken; 503 once the server has been told to stop."""
    models = models_of(request)
    if models.draining:
        raise ApiError(503, "the server is about to end", retry_after=RETRY_SECONDS)
    if not models.are_several or not _may_know(request, models.settings.api_keys):
        return ServerHealth()
    return ServerHealth(
        models=[ModelHealth(name=one.name, names=list(one.names), **dict(status_of(one))) for one in models.listed()]
    )


def _may_know(request: Request, keys: Iterable[str]) -> bool:
    """Whether whoever asks may know of the models; that the server lives is for everybody."""
    try:
        ApiKeys(keys).check(dict(request.headers.raw))
    except ApiError:
        return False
    return True


@router.get("/health/live", responses=error_responses(without=(400, 401, 404, 408, 413, 415, 429)))
async def live() -> Health:
    """200 as long as the server answers at all."""
    return Health()


@router.get(
    "/metrics",
    response_class=PlainTextResponse,
    responses=error_responses(without=(400, 404, 408, 413, 415, 429)),
)
async def metrics(request: Request) -> Response:
    """Figures for Prometheus."""
    text = models_of(request).metrics.text()
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")
