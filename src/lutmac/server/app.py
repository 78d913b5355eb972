"""The application: endpoints, page and middleware around one model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

import lutmac
from lutmac.engine.model import Model
from lutmac.server import (
    chat,
    completions,
    embeddings,
    health,
    llama_cpp,
    llama_cpp_server,
    messages,
    models,
    ollama,
    ollama_models,
    page,
    rerank,
    responses,
    stored_responses,
    tokens,
)
from lutmac.server.documents import document
from lutmac.server.endpoints import Endpoints
from lutmac.server.errors import of_status, of_validation
from lutmac.server.exchange import SCHEMA_HEADER, Exchange, Served
from lutmac.server.model_names import default_name
from lutmac.server.served_models import OneModel, ServedModels
from lutmac.server.settings import Settings

_MODULES = (
    chat, completions, responses, stored_responses, embeddings, rerank, models, messages, tokens, llama_cpp,
    llama_cpp_server, ollama, ollama_models, health, page,
)  # fmt: skip


def create_app(model: Model, settings: Settings, more: Sequence[APIRouter] = ()) -> FastAPI:
    """An ASGI application that serves the model. settings: with at least one name for it. more: further endpoints."""
    return app_of(OneModel(model, settings), more)


def app_of(models: ServedModels, more: Sequence[APIRouter] = ()) -> FastAPI:
    """An ASGI application that serves models. more: further endpoints."""
    app = _endpoints(more)
    enclose(app, models, endpoints_of(app))
    return app


def enclose(app: FastAPI, backend: Served, endpoints: Endpoints) -> None:
    """Puts around an application what every request passes: see `Exchange`. backend: also its ``state.backend``."""
    app.state.backend = backend
    app.add_middleware(Exchange, backend=backend, endpoints=endpoints)
    if backend.settings.origins:  # outside of everything, so that refusals can be read as well
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(backend.settings.origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["*"],
            allow_private_network=True,  # Chrome asks apart whether a page may call a server in its own network
            expose_headers=["x-request-id", "retry-after", SCHEMA_HEADER.decode()],
        )


def endpoints_of(app: FastAPI | None = None) -> Endpoints:
    """The endpoints of an application; default, of any server's."""
    return Endpoints(document(app or _endpoints(), lutmac.__version__)["paths"])


def _endpoints(more: Sequence[APIRouter] = ()) -> FastAPI:
    app = FastAPI(
        title="lutmac", version=lutmac.__version__, docs_url=None, redoc_url=None, redirect_slashes=False,
        exception_handlers={HTTPException: _refuse_status, RequestValidationError: _refuse_request},
    )  # fmt: skip
    for router in (*(module.router for module in _MODULES), *more):
        app.include_router(router)
    app.openapi = lambda: document(app, lutmac.__version__)  # type: ignore[method-assign]
    return app


def default_names(model: Model, path_or_name: str) -> tuple[str, ...]:
    """What a model is called where nobody says: as it was asked for, without directories and suffix."""
    return (default_name(path_or_name) or model.info().name,)


async def _refuse_status(request: Request, error: Any) -> NoReturn:
    raise of_status(error.status_code, request.url.path, request.method) from error


async def _refuse_request(request: Request, error: Any) -> NoReturn:
    raise of_validation(error.errors()) from None
