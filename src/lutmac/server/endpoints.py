"""The paths of the server, other spellings of them, and the JSON body that handlers get."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from starlette.responses import Response

_PAGE: Final = {"/": {"GET"}, "/static/{name}": {"GET"}, "/openapi.json": {"GET"}}
_VERSION: Final = "/v1"


class Endpoints:
    """Paths with their methods, as an OpenAPI document has them."""

    def __init__(self, paths: Mapping[str, Mapping[str, Any]]) -> None:
        """paths: of the document. The page and the document itself are added."""
        methods = {path: {name.upper() for name in operations} for path, operations in paths.items()} | _PAGE
        self._methods = {path: frozenset(found) for path, found in methods.items()}
        self._patterns = [
            (re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path))), path) for path in methods if "{" in path
        ]

    def __contains__(self, path: str) -> bool:
        """Whether there is an endpoint."""
        return self.find(path) is not None

    def find(self, path: str) -> str | None:
        """The endpoint of a path, as the document writes it; None where there is none."""
        if path in self._methods:
            return path
        return next((name for pattern, name in self._patterns if pattern.fullmatch(path)), None)

    def canonical(self, path: str) -> str:
        """The path without doubled and trailing slashes, and with /v1 if the client left that out."""
        single = re.sub("/{2,}", "/", path)
        found = single.rstrip("/") or "/"
        return found if found in self or _VERSION + found not in self else _VERSION + found

    def allowed(self, path: str, method: str) -> frozenset[str]:
        """The methods of a path, with HEAD if it has GET; empty if there is no such path for ``method``."""
        name = self.find(path)
        found = self._methods[name] if name is not None else frozenset()
        if name is not None and "{" in name and method == "POST" and "POST" not in found:
            return (
                frozenset()
            )  # /v1/responses/compact: what is posted to is never an id, but an endpoint that is not there
        return found | {"HEAD"} if "GET" in found else found


def new_router(tag: str | None) -> APIRouter:
    """A router for endpoints. tag: in the OpenAPI document; None leaves them out of it."""
    return APIRouter(tags=[tag] if tag else None, include_in_schema=tag is not None, route_class=JsonRoute)


class JsonRoute(APIRoute):
    """A route whose handler gets the body that `Exchange` has read already: it is parsed once."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's, with another request."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            return await handler(_ReadRequest(request.scope, request.receive))

        return handle


class _ReadRequest(Request):
    async def json(self) -> Any:
        """The body's value, as it was read."""
        state = self.scope.get("state", {})
        return state["json"] if "json" in state else await super().json()
