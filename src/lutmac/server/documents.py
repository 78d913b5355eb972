"""What every endpoint says of itself in the OpenAPI document, and how it reaches the model."""

from __future__ import annotations

from typing import Any, cast

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi

from lutmac.server.backend import Backend
from lutmac.server.logs import RequestRecord
from lutmac.server.schemas.common import ErrorResponse

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
}
Responses = dict[int | str, dict[str, Any]]


def backend_of(request: Request) -> Backend:
    """The model that the application serves."""
    return cast(Backend, request.app.state.backend)


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
