"""What Ollama's endpoints say of models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from time import monotonic, time
from typing import Final

from fastapi import Request

from lutmac.engine.forecast import Forecast
from lutmac.server.documents import error_responses, models_of
from lutmac.server.endpoints import new_router
from lutmac.server.errors import ApiError
from lutmac.server.model_status import ModelFacts, facts_of
from lutmac.server.schemas import ollama as schema
from lutmac.server.served_model import NEVER, ServedModel
from lutmac.server.served_models import ServedModels
from lutmac.server.template_text import chat_template_text

router = new_router("Ollama")
# Programs ask for it to know what they may send; this is the version whose interface these endpoints have.
VERSION: Final = "0.12.6"
FOREVER: Final = "2318-04-16T00:00:00Z"
_ERRORS = error_responses(schema.Error, without=(400, 404, 408, 413, 415, 429))


@router.get("/api/tags", responses=_ERRORS)
async def tags(request: Request) -> schema.ModelList:
    """All models whose files can be read."""
    models = models_of(request)
    found = await models.forecasts()
    listed = [model for one in models.listed() for model in _models(models, one, found)]
    return schema.ModelList(models=listed)


@router.get("/api/ps", responses=_ERRORS)
async def running(request: Request) -> schema.ModelList:
    """The models that are loaded, with the time at which they are unloaded if no request comes."""
    models = models_of(request)
    listed = []
    for one in models.listed():
        if one.backend is None:
            continue
        more: dict[str, object] = {
            "expires_at": _expiry(one), "size_vram": 0, "context_length": one.backend.model.context,
        }  # fmt: skip
        if one.bytes:
            more["size"] = one.bytes
        listed += [model.model_copy(update=more) for model in _models(models, one, {})]
    return schema.ModelList(models=listed)


@router.post("/api/show", responses=error_responses(schema.Error))
async def show(asked: schema.ModelRequest, request: Request) -> schema.Shown:
    """What there is to know of the model, which need not be loaded for that."""
    models = models_of(request)
    one = models.find(asked.model or asked.name)
    models.leave_out_unknown(asked)
    found = await models.forecasts()
    facts = facts_of(one, found)
    if facts is None:
        raise ApiError(500, f"the model {one.name} cannot be read: {one.unreadable}", code="model_load_failed")
    kind, template = facts.architecture, _template(one, found)
    return schema.Shown(
        modelfile=f"FROM {one.name}",
        parameters=_parameters(facts.sampling),
        template=template,
        details=_details(facts),
        model_info={
            "general.architecture": kind,
            "general.basename": facts.name,
            "general.parameter_count": facts.parameters,
            f"{kind}.block_count": facts.layers,
            f"{kind}.context_length": facts.context,
        },
        capabilities=_capabilities(one, template),
        modified_at=_modified(models, facts),
    )


@router.get("/api/version", responses=_ERRORS)
async def version() -> schema.Version:
    """The version of Ollama whose interface this is."""
    return schema.Version(version=VERSION)


def _parameters(sampling: Mapping[str, float]) -> str:
    """A line for each option that the model recommends, by Ollama's names, as in a Modelfile."""
    named = {"repetition_penalty": "repeat_penalty"}
    return "\n".join(f"{named.get(name, name):<30} {value:g}" for name, value in sampling.items())


def _models(
    models: ServedModels, served: ServedModel, found: Mapping[ServedModel, Forecast | None]
) -> Iterator[schema.Model]:
    """The model by each of its names."""
    facts = facts_of(served, found)
    if facts is None:
        return
    for name in served.names:
        yield schema.Model(
            name=name,
            model=name,
            modified_at=_modified(models, facts),
            size=facts.file_bytes,
            digest=facts.digest,
            details=_details(facts),
        )


def _details(facts: ModelFacts) -> schema.Details:
    return schema.Details(
        format="gguf" if facts.path.suffix == ".gguf" else "safetensors",
        family=facts.architecture,
        families=[facts.architecture],
        parameter_size=_size(facts.parameters),
        quantization_level=facts.main_type,
    )


def _size(parameters: int) -> str:
    """As in 134.5M."""
    return f"{parameters / 1e9:.1f}B" if parameters >= 1e9 else f"{parameters / 1e6:.1f}M"


def _template(served: ServedModel, found: Mapping[ServedModel, Forecast | None]) -> str:
    if served.backend is not None:
        return chat_template_text(served.backend.model) or ""
    forecast = found.get(served)
    template = forecast.chat_templates.get("default") if forecast is not None else None
    return template if isinstance(template, str) else ""


def _capabilities(served: ServedModel, template: str) -> list[str]:
    """Whether it fills in is in its vocabulary, which is read when it is loaded."""
    backend = served.backend
    if backend is not None and backend.model.engine.reads_whole_texts:
        return ["embedding"]
    found = ["completion", "embedding"]
    found += ["tools"] if template else []
    fills = backend is not None and backend.model.tokenizer.vocabulary.fill_marks is not None
    found += ["insert"] if fills else []
    return [*found, "thinking"] if "enable_thinking" in template or "<think>" in template else found


def _expiry(served: ServedModel) -> str:
    """When it is unloaded if nothing happens; while it answers, counted from now."""
    left = served.keep_alive if served.users else served.unloaded_at - monotonic()
    return FOREVER if left == NEVER else _written(time() + max(0.0, left))


def _modified(models: ServedModels, facts: ModelFacts) -> str:
    try:
        seconds = facts.path.stat().st_mtime
    except OSError:
        seconds = models.started
    return _written(seconds)


def _written(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
