"""Errors as clients know them: OpenAI's shape, types and codes, Anthropic's and Ollama's on their own paths.

https://platform.openai.com/docs/guides/error-codes, https://docs.anthropic.com/en/api/errors
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from lutmac.errors import (
    ContextOverflowError,
    EngineClosedError,
    InvalidRequestError,
    LutmacError,
    QueueFullError,
    UnsupportedModelError,
)

_KINDS = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 413: "request_too_large",
          429: "rate_limit_error", 503: "overloaded_error"}  # fmt: skip
_CODES = {400: "invalid_request", 401: "invalid_api_key", 403: "forbidden", 404: "not_found",
          405: "method_not_allowed", 408: "request_timeout", 413: "request_too_large", 415: "unsupported_media_type",
          429: "rate_limit_exceeded", 500: "internal_error", 503: "unavailable"}  # fmt: skip
_TYPE_TAG = re.compile(r"[^a-zA-Z0-9_.]|^(str|int|float|bool|none|dict|list|[A-Z].*)$")
CONTEXT_OVERFLOW = "context_length_exceeded"
RETRY_SECONDS = 5


class ApiError(Exception):
    """An answer that is an error.

    status: of HTTP. code: short and fixed, for programs. param: which parameter was at fault. retry_after: seconds
    after which it is worth trying again.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after: int | None = None,
        more_headers: Mapping[str, str] | None = None,
    ) -> None:
        """code: default, what suits the status. more_headers: of the answer."""
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code or _CODES.get(status)
        self.param = param
        self.retry_after = retry_after
        self._headers = dict(more_headers or {})

    @property
    def headers(self) -> dict[str, str]:
        """What the answer's head says beside the body."""
        return self._headers | ({} if self.retry_after is None else {"Retry-After": str(self.retry_after)})

    def openai(self) -> dict[str, Any]:
        """The body as OpenAI writes it."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        if self.status == 429:
            kind = "rate_limit_error"
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    def anthropic(self, request_id: str | None) -> dict[str, Any]:
        """The body as Anthropic writes it."""
        kind = _KINDS.get(self.status, "invalid_request_error" if self.status < 500 else "api_error")
        message = f"{self.param}: {self.message}" if self.param else self.message
        return {"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id}

    def ollama(self) -> dict[str, Any]:
        """The body as Ollama writes it."""
        return {"error": f"{self.param}: {self.message}" if self.param else self.message}

    def body(self, path: str, request_id: str | None) -> dict[str, Any]:
        """The body that clients of the endpoint at ``path`` expect."""
        if path.startswith("/v1/messages"):
            return self.anthropic(request_id)
        return self.ollama() if path.startswith("/api/") else self.openai()


def as_api_error(error: Exception) -> ApiError:
    """The response for an exception. Details of an unexpected one go to the log only."""
    message = str(error)
    match error:
        case ApiError():
            return error
        case ContextOverflowError():
            found = ApiError(400, message, code=CONTEXT_OVERFLOW)
        case QueueFullError():
            found = ApiError(429, message, retry_after=RETRY_SECONDS)
        case EngineClosedError():
            found = ApiError(503, "the server is about to end", code="shutting_down", retry_after=RETRY_SECONDS)
        case InvalidRequestError() | UnsupportedModelError():
            found = ApiError(400, message)
        case LutmacError():
            found = ApiError(500, message)
        case _:
            found = ApiError(500, "an unexpected error happened while this was answered; the server's log says what")
    return found


def of_status(status: int, path: str, method: str, allowed: Iterable[str] = ()) -> ApiError:
    """The error for a status alone. allowed: the methods of the path."""
    if status == HTTPStatus.NOT_FOUND:
        return ApiError(status, f"there is no {path[:200]} here; /openapi.json lists what there is")
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        methods = ", ".join(sorted(allowed))
        return ApiError(
            status, f"{path} does not take {method[:20]}: it takes {methods}", more_headers={"Allow": methods}
        )
    if status == HTTPStatus.BAD_REQUEST:  # FastAPI could not read the body
        return ApiError(status, "the body is not valid JSON in UTF-8", code="invalid_json")
    return ApiError(status, HTTPStatus(status).phrase)


def missing_parameter(param: str) -> ApiError:
    """The error for a missing field of a request. param: where."""
    return ApiError(400, f"Missing required parameter: '{param}'.", code="missing_required_parameter", param=param)


def of_validation(errors: Sequence[Mapping[str, Any]]) -> ApiError:
    """The first thing that pydantic found wrong, as OpenAI would say it: always 400."""
    first = min(errors, key=_preference)
    place, kind = _place(first["loc"]), first["type"]
    if kind == "json_invalid":
        return ApiError(400, "the body is not valid JSON", code="invalid_json")
    if kind == "missing":
        if place:
            return missing_parameter(place)
        return ApiError(400, "the body is missing", code="missing_required_parameter", param=place)
    if kind == "extra_forbidden":
        return ApiError(400, f"Unknown parameter: '{place}'.", code="unknown_parameter", param=place)
    if kind == "value_error":
        return ApiError(400, str(first["ctx"]["error"]), code="invalid_value", param=place)
    code = "invalid_type" if kind.endswith("_type") else "invalid_value"
    said = "it is empty" if kind == "too_short" and not first["ctx"]["actual_length"] else first["msg"]
    return ApiError(400, f"Invalid '{place}': {said}." if place else said, code=code, param=place)


def _preference(error: Mapping[str, Any]) -> tuple[int, bool]:
    """Ranks the alternatives of a union, the most likely meant first: the deepest error, then the right type."""
    return -len(error["loc"]), error["type"].endswith("_type")


def _place(location: Sequence[str | int]) -> str | None:
    """``("body", "messages", 0, "role")`` as ``messages[0].role``, without pydantic's tags of a union's members."""
    place = ""
    for part in location[1:] if location[:1] == ("body",) else location:
        if isinstance(part, int):
            place += f"[{part}]"
        elif not _TYPE_TAG.search(part):
            place += f".{part}" if place else part
    return place or None
