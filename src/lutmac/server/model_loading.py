"""Loading the models of a server into the memory that there is for all of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic
from typing import Any, Final

from lutmac.engine.forecast import BESIDE_WEIGHTS, OF_A_TOKEN, Forecast, forecast
from lutmac.engine.load import LoadOptions, load
from lutmac.engine.loading.info import ModelInfo
from lutmac.engine.loading.resolve import resolve
from lutmac.engine.loading.weights import Progress
from lutmac.engine.model import Model
from lutmac.engine.running.memory import available_memory
from lutmac.errors import CheckpointError, LutmacError, UnsupportedModelError
from lutmac.server.errors import ApiError
from lutmac.server.logs import logger
from lutmac.server.served_model import ServedModel

SHARE: Final = 0.8  # of the memory that is free when the server starts; the rest is for others, and for files' pages
CACHE_SHARE: Final = 0.25  # of the memory for all models that the keys and values of one may take, where nobody says
TOLD_EVERY: Final = 2.0  # seconds between two lines of the log about the same model
MOST_REMEMBERED: Final = 256  # forecasts


class LoadingAbandonedError(Exception):
    """The server ends."""


class ModelLoader:
    """Loads models, each with a share of the memory. memory: bytes for all models together."""

    def __init__(self, memory: int | None, arguments: Mapping[str, Any]) -> None:
        """memory: default, most of what is free now. arguments: of ``lutmac.load``, for every model.

        A context beyond what a model was trained for is cut down to that. Raises InvalidRequestError.
        """
        LoadOptions(**arguments)  # what is wrong with them shows before a model is asked for
        self.memory = int(available_memory() * SHARE) if memory is None else memory
        self._arguments = dict(arguments)
        self._cache_memory: int | None = self._arguments.pop("kv_cache_memory", None)
        self._most_cache = int(self.memory * CACHE_SHARE) if self._cache_memory is None else self._cache_memory
        self._known: dict[tuple[str, int, int], Forecast | LutmacError] = {}

    def forecast(self, path_or_name: str) -> Forecast:
        """What a model will take, from its headers; remembered until its file changes.

        Raises CheckpointError and UnsupportedModelError.
        """
        path = resolve(path_or_name)
        stamp = file_stamp(path)
        if stamp is None:
            raise CheckpointError(f"{path}: no such file")
        key = (os.fspath(path), *stamp)
        found = self._known.get(key)
        if found is None:
            options = {name: self._arguments[name] for name in ("context", "kv_cache") if name in self._arguments}
            try:
                found = forecast(path, kv_cache_memory=self._most_cache, **options)
            except (CheckpointError, UnsupportedModelError) as error:
                found = error
            while len(self._known) >= MOST_REMEMBERED:
                self._known.pop(next(iter(self._known)), None)
            self._known[key] = found
        if isinstance(found, LutmacError):
            raise type(found)(str(found))
        return found

    def plan(self, found: Forecast, name: str) -> tuple[int, int]:
        """Bytes of the model's cache, and of all of it. Raises ApiError (507) where it cannot fit."""
        room = self.memory - found.model_bytes
        cache = self._cache_memory
        if cache is None:
            cache = max(found.cache_least, min(found.cache_wanted, self._most_cache, room))
        if cache > room:
            raise ApiError(
                507,
                f"the model {name} needs {_size(found.model_bytes + cache)} ({_size(found.model_bytes)} for itself and "
                f"{_size(cache)} for a context of {found.context} tokens), and this server has {_size(self.memory)} "
                "for its models: start it with more --memory, or with less --context",
                code="insufficient_memory",
                param="model",
            )
        return cache, found.model_bytes + cache

    def load(self, path_or_name: str, found: Forecast, cache: int, progress: Progress) -> Model:
        """The model, loaded. cache: bytes. Raises what ``lutmac.load`` raises, and what progress does."""
        arguments = {**self._arguments, "context": found.context, "kv_cache_memory": cache}
        return load(path_or_name, progress=progress, **arguments)

    def taken(self, info: ModelInfo) -> int:
        """What a loaded model is counted with: all that it can come to take."""
        return info.weight_bytes + info.cache_bytes + BESIDE_WEIGHTS + OF_A_TOKEN * info.vocab_size


class LoadReport:
    """How far a model has been read, told to its served and to the log; ends the loading where the server ends."""

    def __init__(self, served: ServedModel, has_ended: Callable[[], bool]) -> None:
        """has_ended: whether the server has been told to."""
        self._served = served
        self._has_ended = has_ended
        self._told_at = monotonic()

    def __call__(self, done: int, total: int, what: str) -> None:
        """Takes note of progress, see `lutmac.load`. Raises LoadingAbandonedError."""
        if self._has_ended():
            raise LoadingAbandonedError
        self._served.progress = (done, total)
        if monotonic() - self._told_at >= TOLD_EVERY:
            self._told_at = monotonic()
            percent = round(100 * done / max(1, total))
            logger.info("loading", extra={"fields": {"model": self._served.name, "percent": percent}})


def file_stamp(path: Path) -> tuple[int, int] | None:
    """Changes when a file does, or what files a directory has; None where it is gone."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def _size(nbytes: int) -> str:
    return f"{nbytes / 1e9:.2f} GB" if nbytes >= 1e9 else f"{nbytes / 1e6:.0f} MB"
