"""Several models behind one address: loaded when a request names them, unloaded when they are idle or in the way.

Everything here runs on the server's event loop; files are read and memory is freed on other threads. Models are loaded
and unloaded one at a time, in the order in which requests came.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from math import inf
from pathlib import Path
from time import monotonic, sleep
from typing import Final

from lutmac.engine.forecast import Forecast
from lutmac.engine.generating.worker import OTHERS_SHARE
from lutmac.engine.load import MAX_SEQUENCES
from lutmac.errors import LutmacError, QueueFullError
from lutmac.server.clients import current_client
from lutmac.server.errors import RETRY_SECONDS, ApiError
from lutmac.server.keep_alive import parse_keep_alive
from lutmac.server.logs import logger
from lutmac.server.memory import give_back
from lutmac.server.model_loading import LoadingAbandonedError, LoadReport, ModelLoader, file_stamp
from lutmac.server.model_names import ModelSource, Roster
from lutmac.server.served_model import Lease, ServedModel
from lutmac.server.served_models import ServedModels
from lutmac.server.settings import Settings

POLL_SECONDS: Final = 0.05  # between two looks at whether the server may end
LATEST: Final = ":latest"  # what Ollama's clients append to a name


class SeveralModels(ServedModels):
    """The models of a roster, as many of them in memory as fit."""

    are_several = True

    def __init__(self, roster: Roster, loader: ModelLoader, settings: Settings, keep_alive: float) -> None:
        """loader: knows how much memory there is for all. keep_alive: seconds, or infinite."""
        super().__init__(settings)
        self._roster = roster
        self._loader = loader
        self._keep_alive = keep_alive
        self._served: dict[str, ServedModel] = {}
        self._sources: dict[ServedModel, ModelSource] = {}
        self._loads: dict[ServedModel, asyncio.Task[ApiError | None]] = {}
        self._waiting: Counter[tuple[ServedModel, str]] = Counter()  # requests of each client
        self._timers: dict[ServedModel, asyncio.TimerHandle] = {}
        self._chores: set[asyncio.Task[None]] = set()
        self._one_at_a_time = asyncio.Lock()
        self._released = asyncio.Event()
        self._ended = False

    # Which models there are

    def listed(self) -> list[ServedModel]:
        """Those of the roster, and those that are loaded though their files are gone."""
        return self._look(now=False)

    def find(self, name: str | None) -> ServedModel:
        """The model of that name, or where there is none, the first. Raises ApiError (404)."""
        for now in (False, True):
            all_served = self._look(now=now)
            if name is None and all_served:
                return all_served[0]
            wanted = (name, *_other_forms(name)) if name is not None else ()
            for form in wanted:
                for served in all_served:
                    if form in served.names:
                        return served
        if name is None:
            raise ApiError(404, "there is no model in the directory yet", code="model_not_found", param="model")
        raise self._unknown(name)

    def _look(self, *, now: bool) -> list[ServedModel]:
        listed = []
        for source in self._roster.sources(now=now):
            served = self._served.get(source.path_or_name)
            if served is None:
                served = ServedModel(source.names, keep_alive=self._keep_alive)
                self._served[source.path_or_name] = served
            served.names = source.names
            self._sources[served] = source
            listed.append(served)
        gone = [one for one in self._served.values() if one not in listed and one.backend is not None]
        return listed + gone

    async def forecasts(self) -> dict[ServedModel, Forecast | None]:
        """What the files of models say that are not loaded; None where they cannot be read."""
        asked = [one for one in self.listed() if one.backend is None]
        return dict(zip(asked, await asyncio.gather(*(self._described(one) for one in asked)), strict=True))

    async def _described(self, served: ServedModel) -> Forecast | None:
        try:
            found = await asyncio.to_thread(self._loader.forecast, self._sources[served].path_or_name)
            served.unreadable = None
            return found
        except LutmacError as error:
            served.unreadable = _public(str(error), self._sources[served])
            return None

    # Loading

    async def take(self, name: str | None, keep_alive: float | str | None = None) -> Lease:
        """The model, loaded; it waits for that. Raises ApiError: 404, 500, 507."""
        stays = self._keep_alive if keep_alive is None else parse_keep_alive(keep_alive)
        served = self.find(name)
        await self._put_out_changed(served)
        while served.backend is None or served.leaving:
            await self._wait_for(served)
        if (timer := self._timers.pop(served, None)) is not None:
            timer.cancel()
        return Lease(served, served.backend, lambda: self._let_go(served, stays))

    def load(self, name: str) -> None:
        """Has a model loaded, without waiting for it. Raises ApiError: 404; 400 where it is loaded."""
        served = self.find(name)
        if served.backend is not None or served.is_loading:
            raise ApiError(400, "model is already running", param="model")
        served.is_wanted = True
        self._begin_load(served)

    async def _wait_for(self, served: ServedModel) -> None:
        """Waits until the model has been loaded, together with all others that want it. Raises ApiError."""
        client = current_client.get()
        self._check_waiting(served, client)
        served.waiting += 1
        self._waiting[served, client] += 1
        task = self._begin_load(served)
        try:
            failed = await asyncio.shield(task)
        finally:
            served.waiting -= 1
            self._waiting[served, client] -= 1
            self._waiting += Counter()  # without those that are 0
            if served.promised:
                served.promised -= 1
                self._let_go(served)
            elif not (served.waiting or served.is_wanted or served.is_loading):
                task.cancel()  # nobody wants it any more
        if failed is not None:
            raise ApiError(failed.status, failed.message, code=failed.code, retry_after=failed.retry_after)

    def _check_waiting(self, served: ServedModel, client: str) -> None:
        """Raises QueueFullError where as many wait as could run and wait once it is loaded; see `Worker`."""
        queue = self.settings.limits.queue
        for waiting, limit in (
            (served.waiting, MAX_SEQUENCES + queue),
            (self._waiting[served, client], MAX_SEQUENCES + queue - queue // OTHERS_SHARE),
        ):
            if waiting >= limit:
                raise QueueFullError(f"{waiting} requests wait for {served.name} to be loaded, the limit is {limit}")

    def _begin_load(self, served: ServedModel) -> asyncio.Task[ApiError | None]:
        task = self._loads.get(served)
        if task is None or task.done() or task.cancelling():
            task = self._loads[served] = asyncio.create_task(self._load(served))
        return task

    async def _load(self, served: ServedModel) -> ApiError | None:
        """Loads the model, in its turn; what to tell those who wait where that fails."""
        try:
            async with self._one_at_a_time:
                if served.backend is None:
                    await self._bring_in(served)
        except ApiError as error:
            return error
        except LoadingAbandonedError:
            return ApiError(503, "the server is about to end", code="shutting_down", retry_after=RETRY_SECONDS)
        except (LutmacError, OSError, MemoryError) as error:
            source = self._sources[served]
            served.error = _public(str(error) or type(error).__name__, source)
            logger.error("load_failed", extra={"fields": {"model": served.name, "reason": str(error)}})
            return ApiError(500, f"the model {served.name} cannot be loaded: {served.error}", code="model_load_failed")
        except Exception as error:
            served.error = "an unexpected error; the server's log says what"
            logger.error("load_failed", exc_info=error, extra={"fields": {"model": served.name}})
            return ApiError(500, f"the model {served.name} cannot be loaded: {served.error}")
        finally:
            served.is_wanted = False
        return None

    async def _bring_in(self, served: ServedModel) -> None:
        began, place = monotonic(), self._sources[served].path_or_name
        found = await asyncio.to_thread(self._loader.forecast, place)
        cache, needed = self._loader.plan(found, served.name)
        await self._make_room(needed)
        served.is_loading, served.bytes, served.error = True, needed, None
        try:
            report = LoadReport(served, lambda: self._ended)
            model = await asyncio.to_thread(self._loader.load, place, found, cache, report)
            if self._ended:
                model.close()
                raise LoadingAbandonedError
            served.bytes = self._loader.taken(model.info())
        except BaseException:
            served.bytes = 0
            raise
        finally:
            served.is_loading, served.progress = False, None
        served.backend = self._backend(model, served.names)
        served.promised, served.keep_alive = served.waiting, self._keep_alive
        served.loads += 1
        served.used_at, served.stamp = monotonic(), file_stamp(found.path)
        fields = {"model": served.name, "seconds": round(monotonic() - began, 2), "bytes": served.bytes}
        logger.info("loaded", extra={"fields": fields})
        self._watch(served)  # those who wanted it may have gone

    # Unloading

    def unload(self, name: str) -> None:
        """Has a model unloaded when it has answered what it answers. Raises ApiError: 404, 400."""
        served = self.find(name)
        if served.backend is None:
            raise ApiError(400, "model is not running", param="model")
        served.keep_alive = 0.0
        self._watch(served)

    async def _make_room(self, needed: int) -> None:
        """Unloads the models that were used least recently, until there is so much memory.

        Those that answer are waited for; they take no new requests meanwhile.
        """
        chosen: list[ServedModel] = []
        try:
            while (lacking := self._taken() + needed - self._loader.memory) > 0:
                if not chosen:
                    chosen = self._least_recent(lacking)
                    for one in chosen:
                        one.leaving = True
                self._released.clear()
                idle = next((one for one in chosen if not one.is_busy), None)
                if idle is None:
                    await self._released.wait()
                else:
                    chosen.remove(idle)
                    await self._put_out(idle, "room")
        finally:
            for one in chosen:
                one.leaving = False

    def _least_recent(self, lacking: int) -> list[ServedModel]:
        """Loaded models that together free so much: first those that answer nobody, each kind by its last use."""
        found: list[ServedModel] = []
        loaded = [one for one in self._served.values() if one.backend is not None]
        for one in sorted(loaded, key=lambda one: (one.is_busy, one.used_at)):
            if lacking <= 0:
                break
            found.append(one)
            lacking -= one.bytes
        return found

    def _taken(self) -> int:
        return sum(one.bytes for one in self._served.values())

    async def _put_out(self, served: ServedModel, why: str) -> None:
        """Frees a model's memory."""
        served.leaving = True  # whoever comes now waits until it is gone, and has it loaded again
        backend = served.forget_backend()
        if (timer := self._timers.pop(served, None)) is not None:
            timer.cancel()
        try:
            await asyncio.to_thread(backend.model.close)
            del backend
            await asyncio.to_thread(give_back)
        finally:
            freed, served.bytes, served.leaving = served.bytes, 0, False
        logger.info("unloaded", extra={"fields": {"model": served.name, "why": why, "bytes": freed}})

    def _let_go(self, served: ServedModel, keep_alive: float | None = None) -> None:
        """A request has been answered, or has gone. keep_alive: for how long it wants the model to stay."""
        self._released.set()
        if keep_alive is not None:
            served.keep_alive = keep_alive
        self._watch(served)

    def _watch(self, served: ServedModel) -> None:
        """Sees to it that an idle model is unloaded when its time is up."""
        if (timer := self._timers.pop(served, None)) is not None:
            timer.cancel()
        left = served.unloaded_at - monotonic()
        if served.backend is not None and left < inf and not self._ended:
            loop = asyncio.get_running_loop()
            self._timers[served] = loop.call_later(max(0.0, left), self._expire, served)

    def _expire(self, served: ServedModel) -> None:
        task = asyncio.create_task(self._put_out_idle(served))
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

    async def _put_out_idle(self, served: ServedModel) -> None:
        async with self._one_at_a_time:
            if served.backend is None:
                return
            if monotonic() >= served.unloaded_at:
                await self._put_out(served, "idle")
            else:  # a request came, or the timer was early by a hair
                self._watch(served)

    async def _put_out_changed(self, served: ServedModel) -> None:
        """A model whose file is another by now is loaded again, once nobody is answered by what it was."""

        def has_changed() -> bool:
            backend = served.backend
            if backend is None or served.is_busy:
                return False
            now = file_stamp(Path(backend.model.info().path))
            return now is not None and now != served.stamp

        if has_changed():
            async with self._one_at_a_time:
                if has_changed():
                    await self._put_out(served, "changed")

    # The end

    def close(self, drain_seconds: float) -> None:
        """Waits so long for what runs, or waits for a model; then ends the rest. Blocks."""
        deadline = monotonic() + drain_seconds
        while any(one.waiting for one in list(self._served.values())) and monotonic() < deadline:
            sleep(POLL_SECONDS)
        self._ended = True
        loaded = [one.backend.model for one in list(self._served.values()) if one.backend is not None]
        for model in loaded:
            model.worker.close(max(0.0, deadline - monotonic()))


def _other_forms(name: str) -> tuple[str, ...]:
    """What else clients write for a name."""
    short = name.removesuffix(LATEST)
    return (short, short.removesuffix(".gguf"))


def _public(message: str, source: ModelSource) -> str:
    """An error without the server's directories."""
    folder = source.path_or_name.rpartition("/")[0]
    return message.replace(f"{folder}/", "") if folder else message
