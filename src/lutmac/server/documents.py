"""What every endpoint says of itself in the OpenAPI document, and how it reaches the model."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, cast

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi

from lutmac.server.backend import Backend
from lutmac.server.logs import RequestRecord
from lutmac.server.schemas.common import ErrorResponse
from lutmac.server.served_models import Named, ServedModels

_MEANINGS = {
    400: "The request is wrong: the message says what.",
    401: "The API key is missing or wrong.",
    403: "The server is not known by that name.",
    404: "There is no such model or response.",
    408: "The body took too long.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    429: "Too many requests wait already: try again after `Retry-After` seconds.",
    500: "An error of the server's own.",
    503: "The server is about to end.",
    507: "The model does not fit into memory.",
}
Responses = dict[int | str, dict[str, Any]]


def models_of(request: Request) -> ServedModels:
    """The models that the application serves."""
    return cast(ServedModels, request.app.state.backend)


async def model_for(request: Request, asked: Named | None = None, *, keep_alive: float | str | None = None) -> Backend:
    """The model that a request names in its body, or in its query where it has none; loaded until it is answered.

    What nothing is known of in the body is left out. keep_alive: Ollama's. Raises ApiError as ``ServedModels.take``
    does, and 400 where the server is strict and the body has something unknown.
    """
    models = models_of(request)
    name = (asked.model if asked is not None else request.query_params.get("model")) or None
    models.find(name)
    if asked is not None:
        models.leave_out_unknown(asked)
    return held_by(request).enter_context(await models.take(name, keep_alive))


def held_by(request: Request) -> ExitStack:
    """What is let go of when the request has been answered."""
    return cast(ExitStack, request.state.held)


def record_of(request: Request) -> RequestRecord:
    """What is noted of the request."""
    return cast(RequestRecord, request.state.record)


def error_responses(model: type = ErrorResponse, without: tuple[int, ...] = ()) -> Responses:
    """The errors that an endpoint can answer with."""
    return {
        status: {"model": model, "description": text} for status, text in _MEANINGS.items() if status not in without
    }


def streaming_responses(model: type = ErrorResponse) -> Responses:
    """The same, and that a request with ``stream`` is answered by events."""
    events = {"schema": {"description": "Server-sent events, with `stream`."}}
    ok = {"description": "The reply.", "content": {"text/event-stream": events}}
    return {200: ok, **error_responses(model)}


def line_responses(model: type = ErrorResponse) -> Responses:
    """The same for streams of JSON objects, one a line."""
    lines = {"schema": {"description": "Lines of JSON, unless `stream` is false."}}
    ok = {"description": "The reply.", "content": {"application/x-ndjson": lines}}
    return {200: ok, **error_responses(model)}


def document(app: FastAPI, version: str) -> dict[str, Any]:
    """The OpenAPI document. No endpoint answers 422, which FastAPI would promise."""
    if app.openapi_schema is None:
        found = get_openapi(title="lutmac", version=version, routes=app.routes)
        for path in found["paths"].values():
            for operation in path.values():
                operation["responses"].pop("422", None)
        app.openapi_schema = found
    return app.openapi_schema
