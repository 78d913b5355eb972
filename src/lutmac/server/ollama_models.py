"""What Ollama's endpoints say of models: the one that is served, by each of its names."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Final

from fastapi import Request

from lutmac.server.backend import Backend
from lutmac.server.documents import backend_of, error_responses
from lutmac.server.endpoints import new_router
from lutmac.server.schemas import ollama as schema
from lutmac.server.template_text import chat_template_text

router = new_router("Ollama")
# Programs ask for it to know what they may send; this is the version whose interface these endpoints have.
VERSION: Final = "0.12.6"
FOREVER: Final = "2318-04-16T00:00:00Z"
_ERRORS = error_responses(schema.Error, without=(400, 404, 408, 413, 415, 429))


@router.get("/api/tags", responses=_ERRORS)
async def tags(request: Request) -> schema.ModelList:
    """All models."""
    return schema.ModelList(models=list(_models(backend_of(request))))


@router.get("/api/ps", responses=_ERRORS)
async def running(request: Request) -> schema.ModelList:
    """The models that are loaded: all."""
    backend = backend_of(request)
    more = {"expires_at": FOREVER, "size_vram": 0, "context_length": backend.model.context}
    return schema.ModelList(models=[model.model_copy(update=more) for model in _models(backend)])


@router.post("/api/show", responses=error_responses(schema.Error))
async def show(asked: schema.ModelRequest, request: Request) -> schema.Shown:
    """What there is to know of the model."""
    backend = backend_of(request)
    backend.accept(asked)
    info = backend.model.info()
    kind = info.architecture
    return schema.Shown(
        modelfile=f"FROM {backend.name}",
        parameters="",
        template=chat_template_text(backend.model) or "",
        details=_details(backend),
        model_info={
            "general.architecture": kind,
            "general.basename": info.name,
            "general.parameter_count": info.parameters,
            f"{kind}.block_count": info.layers,
            f"{kind}.context_length": info.context,
        },
        capabilities=_capabilities(backend),
        modified_at=_modified(backend),
    )


@router.get("/api/version", responses=_ERRORS)
async def version() -> schema.Version:
    """The version of Ollama whose interface this is."""
    return schema.Version(version=VERSION)


def _models(backend: Backend) -> Iterator[schema.Model]:
    info, details = backend.model.info(), _details(backend)
    digest = sha256(f"{info.name} {info.file_bytes}".encode()).hexdigest()
    for name in backend.settings.names:
        yield schema.Model(
            name=name, model=name, modified_at=_modified(backend), size=info.file_bytes, digest=digest, details=details
        )


def _details(backend: Backend) -> schema.Details:
    info = backend.model.info()
    elements: dict[str, int] = {}
    for tensor in info.tensors:
        elements[tensor.type] = elements.get(tensor.type, 0) + tensor.elements
    return schema.Details(
        format="gguf" if info.path.endswith(".gguf") else "safetensors",
        family=info.architecture,
        families=[info.architecture],
        parameter_size=_size(info.parameters),
        quantization_level=max(elements, key=lambda kind: elements[kind], default="unknown"),
    )


def _size(parameters: int) -> str:
    """As in 134.5M."""
    return f"{parameters / 1e9:.1f}B" if parameters >= 1e9 else f"{parameters / 1e6:.1f}M"


def _capabilities(backend: Backend) -> list[str]:
    template = chat_template_text(backend.model) or ""
    found = ["completion", "embedding"]
    found += ["tools"] if template else []
    found += ["insert"] if backend.model.tokenizer.vocabulary.fill_marks is not None else []
    return [*found, "thinking"] if "enable_thinking" in template or "<think>" in template else found


def _modified(backend: Backend) -> str:
    try:
        seconds = Path(backend.model.info().path).stat().st_mtime
    except OSError:
        seconds = backend.started
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
