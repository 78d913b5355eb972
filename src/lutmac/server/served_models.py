"""The models of a server, and what they share; what stands behind the endpoints."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from time import time
from typing import Protocol

from lutmac.engine.forecast import Forecast
from lutmac.engine.model import Model
from lutmac.engine.running.stats import EngineStats
from lutmac.server.backend import Backend
from lutmac.server.background import BackgroundResponses
from lutmac.server.errors import ApiError
from lutmac.server.metrics import EngineCollector, Metrics, ModelFigures
from lutmac.server.omissions import Omissions
from lutmac.server.preparation import Preparation
from lutmac.server.response_store import ResponseStore
from lutmac.server.served_model import Lease, ServedModel
from lutmac.server.settings import Settings

MOST_NAMED = 30  # models, in an error that lists them


class Named(Protocol):
    """A request's body that may say which model it is for."""

    @property
    def model(self) -> str | None:
        """The model's name."""

    def unknown_names(self) -> Iterable[tuple[str, str]]:
        """Names in it that nothing is known of, each with its place."""


class ServedModels(ABC):
    """The models of a server.

    draining: whether the server has been told to stop, and takes nothing new. responses: those that can be gone on
    from. background: those that are written while nobody waits. omissions: what becomes of what requests have and this
    server lacks.
    """

    are_several: bool

    def __init__(self, settings: Settings) -> None:
        """Nothing is loaded."""
        self.settings = settings
        self.draining = False
        self.started = int(time())
        self.preparation = Preparation()
        self.omissions = Omissions(strict=settings.strict)
        self.responses = ResponseStore(settings.limits.stored_bytes, settings.timeouts.stored)
        self.background = BackgroundResponses(self.responses)
        self.metrics = Metrics(EngineCollector(self._figures), by_model=self.are_several)

    @abstractmethod
    def listed(self) -> list[ServedModel]:
        """All models, in the order in which they are listed."""

    @abstractmethod
    def find(self, name: str | None) -> ServedModel:
        """The model that a request means by a name, or by none. Raises ApiError (404)."""

    @abstractmethod
    async def take(self, name: str | None, keep_alive: float | str | None = None) -> Lease:
        """The model of that name, in memory until the lease ends.

        keep_alive: Ollama's, for how long it then stays. Raises ApiError: 404 where there is none, 500 where it cannot
        be loaded, 507 where it does not fit.
        """

    @abstractmethod
    def load(self, name: str) -> None:
        """Has a model loaded, without waiting for it. Raises ApiError: 404; 400 where it is loaded."""

    @abstractmethod
    def unload(self, name: str) -> None:
        """Has a model unloaded when it has answered what it answers.

        Raises ApiError: 404; 400 where it is not loaded.
        """

    @abstractmethod
    async def forecasts(self) -> dict[ServedModel, Forecast | None]:
        """What the files of models say that are not loaded; None where they cannot be read."""

    @abstractmethod
    def close(self, drain_seconds: float) -> None:
        """Waits so long for what runs, then ends the rest. Blocks."""

    def named(self, name: str) -> ServedModel:
        """The model that is listed by that name. Raises ApiError (404)."""
        for served in self.listed():
            if name in served.names:
                return served
        raise self._unknown(name)

    def leave_out_unknown(self, asked: Named) -> None:
        """Leaves out what nothing is known of. Raises ApiError (400) where the server is strict."""
        for name, place in asked.unknown_names():
            self.omissions.leave_out("parameter", name, place)

    def _backend(self, model: Model, names: tuple[str, ...]) -> Backend:
        return Backend(model, names, self.settings, self.metrics, self.preparation, self.omissions)

    def _unknown(self, name: str) -> ApiError:
        names = [name for served in self.listed() for name in served.names]
        others = f" and {len(names) - MOST_NAMED} others" if len(names) > MOST_NAMED else ""
        shown = ", ".join(names[:MOST_NAMED]) + others if names else "none yet"
        return ApiError(
            404, f"The model {name[:200]!r} does not exist; this server has {shown}",
            code="model_not_found", param="model",
        )  # fmt: skip

    def _figures(self) -> ModelFigures:
        """What the metrics say of the engines, by model where there are several."""
        all_served = self.listed()
        if not self.are_several:
            return ModelFigures({(): all_served[0].stats()})
        engines: dict[tuple[str, ...], EngineStats] = {(one.name,): one.stats() for one in all_served if one.was_loaded}
        return ModelFigures(engines, ("model",), {one.name: one.figures() for one in all_served})


class OneModel(ServedModels):
    """A server of one model, which is loaded and stays so.

    Coding agents and editors send models' names of their own, so that any name will do unless the server is strict.
    """

    are_several = False

    def __init__(self, model: Model, settings: Settings) -> None:
        """settings: with at least one name for the model."""
        super().__init__(settings)
        self._model = model
        self._only = ServedModel(settings.names, self._backend(model, settings.names))

    def listed(self) -> list[ServedModel]:
        """The model."""
        return [self._only]

    def find(self, name: str | None) -> ServedModel:
        """The model. Raises ApiError (404) for another name where the server is strict."""
        return self._only if name is None or not self.settings.strict else self.named(name)

    async def take(self, name: str | None, keep_alive: float | str | None = None) -> Lease:
        """The model. Raises ApiError (404) as ``find`` does."""
        served = self.find(name)
        assert served.backend is not None
        return Lease(served, served.backend, lambda: None)

    def load(self, name: str) -> None:
        """Raises ApiError (400): it is loaded."""
        self.find(name)
        raise ApiError(400, "model is already running", param="model")

    def unload(self, name: str) -> None:
        """Raises ApiError (400): the only model stays."""
        self.find(name)
        raise ApiError(400, "this server has one model, which stays loaded", param="model")

    async def forecasts(self) -> dict[ServedModel, Forecast | None]:
        """None: it is loaded."""
        return {}

    def close(self, drain_seconds: float) -> None:
        """Waits so long for what runs, then ends the rest. Blocks."""
        self._model.worker.close(drain_seconds)
