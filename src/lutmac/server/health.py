"""Whether the server lives, whether it takes requests, and its figures."""

from __future__ import annotations

from typing import Literal

from fastapi import Request
from starlette.responses import PlainTextResponse, Response

from lutmac.server.documents import backend_of, error_responses
from lutmac.server.endpoints import new_router
from lutmac.server.errors import RETRY_SECONDS, ApiError
from lutmac.server.schemas.common import ResponseModel

router = new_router("operation")


class Health(ResponseModel):
    """The server's state."""

    status: Literal["ok"] = "ok"


@router.get("/health", responses=error_responses(without=(400, 401, 404, 408, 413, 415, 429)))
@router.get("/health/ready", responses=error_responses(without=(400, 401, 404, 408, 413, 415, 429)))
async def ready(request: Request) -> Health:
    """200 while new requests are taken; 503 once the server has been told to stop."""
    if backend_of(request).draining:
        raise ApiError(503, "the server is about to end", retry_after=RETRY_SECONDS)
    return Health()


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
    text = backend_of(request).metrics.text()
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")
