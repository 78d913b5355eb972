"""Several models behind one address: loaded when a request names them, unloaded when they are idle or in the way.

Everything here runs on the server's event loop; files are read and memory is freed on other threads. Models are loaded
and unloaded one at a time, in the order in which requests came.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from time import monotonic, sleep
from typing import Final

from lutmac.engine.forecast import Forecast
from lutmac.errors import LutmacError
from lutmac.server.errors import RETRY_SECONDS, ApiError
from lutmac.server.keep_alive import parse_keep_alive
from lutmac.server.logs import logger
from lutmac.server.memory import give_back
from lutmac.server.model_loading import LoadingAbandonedError, ModelLoader
from lutmac.server.model_names import ModelSource, Roster
from lutmac.server.resident import Lease, Resident
from lutmac.server.served_models import ServedModels
from lutmac.server.settings import Settings

POLL_SECONDS: Final = 0.05  # between two looks at whether the server may end
TOLD_EVERY: Final = 2.0  # seconds between two lines of the log about the same model
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
        self._residents: dict[str, Resident] = {}
        self._sources: dict[Resident, ModelSource] = {}
        self._loads: dict[Resident, asyncio.Task[ApiError | None]] = {}
        self._timers: dict[Resident, asyncio.TimerHandle] = {}
        self._chores: set[asyncio.Task[None]] = set()
        self._one_at_a_time = asyncio.Lock()
        self._released = asyncio.Event()
        self._ended = False

    # Which models there are

    def residents(self) -> list[Resident]:
        """Those of the roster, and those that are loaded though their files are gone."""
        return self._look(now=False)

    def find(self, name: str | None) -> Resident:
        """The model of that name, or where there is none, the first. Raises ApiError (404)."""
        for now in (False, True):
            residents = self._look(now=now)
            if name is None and residents:
                return residents[0]
            wanted = (name, *_other_forms(name)) if name is not None else ()
            for form in wanted:
                for resident in residents:
                    if form in resident.names:
                        return resident
        if name is None:
            raise ApiError(404, "there is no model in the directory yet", code="model_not_found", param="model")
        raise self._unknown(name)

    def _look(self, *, now: bool) -> list[Resident]:
        listed = []
        for source in self._roster.sources(now=now):
            resident = self._residents.get(source.path_or_name)
            if resident is None:
                resident = Resident(source.names, keep_alive=self._keep_alive)
                self._residents[source.path_or_name] = resident
            resident.names = source.names
            self._sources[resident] = source
            listed.append(resident)
        gone = [one for one in self._residents.values() if one not in listed and one.backend is not None]
        return listed + gone

    async def forecasts(self) -> dict[Resident, Forecast | None]:
        """What the files of models say that are not loaded; None where they cannot be read."""
        asked = [one for one in self.residents() if one.backend is None]
        return dict(zip(asked, await asyncio.gather(*(self._described(one) for one in asked)), strict=True))

    async def _described(self, resident: Resident) -> Forecast | None:
        try:
            found = await asyncio.to_thread(self._loader.forecast, self._sources[resident].path_or_name)
            resident.unreadable = None
            return found
        except LutmacError as error:
            resident.unreadable = _public(str(error), self._sources[resident])
            return None

    # Loading

    async def take(self, name: str | None, keep_alive: float | str | None = None) -> Lease:
        """The model, loaded; it waits for that. Raises ApiError: 404, 500, 507."""
        stays = self._keep_alive if keep_alive is None else parse_keep_alive(keep_alive)
        resident = self.find(name)
        while resident.backend is None or resident.leaving:
            await self._wait_for(resident)
        if (timer := self._timers.pop(resident, None)) is not None:
            timer.cancel()
        return Lease(resident, resident.backend, lambda: self._let_go(resident, stays))

    def load(self, name: str) -> None:
        """Has a model loaded, without waiting for it. Raises ApiError: 404; 400 where it is loaded."""
        resident = self.find(name)
        if resident.backend is not None or resident.is_loading:
            raise ApiError(400, "model is already running", param="model")
        self._begin_load(resident)

    async def _wait_for(self, resident: Resident) -> None:
        """Waits until the model has been loaded, together with all others that want it. Raises ApiError."""
        resident.waiting += 1
        task = self._begin_load(resident)
        try:
            failed = await asyncio.shield(task)
        finally:
            resident.waiting -= 1
            if resident.promised:
                resident.promised -= 1
                self._let_go(resident)
            elif not resident.waiting and not resident.is_loading:
                task.cancel()  # nobody wants it any more
        if failed is not None:
            raise ApiError(failed.status, failed.message, code=failed.code, retry_after=failed.retry_after)

    def _begin_load(self, resident: Resident) -> asyncio.Task[ApiError | None]:
        task = self._loads.get(resident)
        if task is None or task.done() or task.cancelling():
            task = self._loads[resident] = asyncio.create_task(self._load(resident))
        return task

    async def _load(self, resident: Resident) -> ApiError | None:
        """Loads the model, in its turn; what to tell those who wait where that fails."""
        try:
            async with self._one_at_a_time:
                if resident.backend is None:
                    await self._bring_in(resident)
        except ApiError as error:
            return error
        except LoadingAbandonedError:
            return ApiError(503, "the server is about to end", code="shutting_down", retry_after=RETRY_SECONDS)
        except (LutmacError, OSError, MemoryError) as error:
            source = self._sources[resident]
            resident.error = _public(str(error) or type(error).__name__, source)
            logger.error("load_failed", extra={"fields": {"model": resident.name, "reason": str(error)}})
            return ApiError(
                500, f"the model {resident.name} cannot be loaded: {resident.error}", code="model_load_failed"
            )
        except Exception as error:
            resident.error = "an unexpected error; the server's log says what"
            logger.error("load_failed", exc_info=error, extra={"fields": {"model": resident.name}})
            return ApiError(500, f"the model {resident.name} cannot be loaded: {resident.error}")
        return None

    async def _bring_in(self, resident: Resident) -> None:
        began, place = monotonic(), self._sources[resident].path_or_name
        found = await asyncio.to_thread(self._loader.forecast, place)
        cache, needed = self._loader.plan(found, resident.name)
        await self._make_room(needed)
        resident.is_loading, resident.bytes, resident.error = True, needed, None
        try:
            report = _Report(resident, lambda: self._ended)
            model = await asyncio.to_thread(self._loader.load, place, found, cache, report)
            resident.bytes = self._loader.taken(model.info())
        except BaseException:
            resident.bytes = 0
            raise
        finally:
            resident.is_loading, resident.progress = False, None
        resident.backend = self._backend(model, resident.names)
        resident.promised, resident.keep_alive = resident.waiting, self._keep_alive
        resident.loads += 1
        resident.used_at, resident.load_seconds = monotonic(), monotonic() - began
        fields = {"model": resident.name, "seconds": round(resident.load_seconds, 2), "bytes": resident.bytes}
        logger.info("loaded", extra={"fields": fields})
        self._watch(resident)  # those who wanted it may have gone

    # Unloading

    def unload(self, name: str) -> None:
        """Has a model unloaded when it has answered what it answers. Raises ApiError: 404, 400."""
        resident = self.find(name)
        if resident.backend is None:
            raise ApiError(400, "model is not running", param="model")
        resident.keep_alive = 0.0
        self._watch(resident)

    async def _make_room(self, needed: int) -> None:
        """Unloads the models that were used least recently, until there is so much memory.

        Those that answer are waited for; they take no new requests meanwhile.
        """
        chosen: list[Resident] = []
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

    def _least_recent(self, lacking: int) -> list[Resident]:
        """Loaded models that together free so much: first those that answer nobody, each kind by its last use."""
        found: list[Resident] = []
        loaded = [one for one in self._residents.values() if one.backend is not None]
        for one in sorted(loaded, key=lambda one: (one.is_busy, one.used_at)):
            if lacking <= 0:
                break
            found.append(one)
            lacking -= one.bytes
        return found

    def _taken(self) -> int:
        return sum(one.bytes for one in self._residents.values())

    async def _put_out(self, resident: Resident, why: str) -> None:
        """Frees a model's memory."""
        resident.leaving = True  # whoever comes now waits until it is gone, and has it loaded again
        backend = resident.forget_backend()
        if (timer := self._timers.pop(resident, None)) is not None:
            timer.cancel()
        try:
            await asyncio.to_thread(backend.model.close)
            del backend
            await asyncio.to_thread(give_back)
        finally:
            freed, resident.bytes, resident.leaving = resident.bytes, 0, False
        logger.info("unloaded", extra={"fields": {"model": resident.name, "why": why, "bytes": freed}})

    def _let_go(self, resident: Resident, keep_alive: float | None = None) -> None:
        """A request has been answered, or has gone. keep_alive: for how long it wants the model to stay."""
        self._released.set()
        if keep_alive is not None:
            resident.keep_alive = keep_alive
        self._watch(resident)

    def _watch(self, resident: Resident) -> None:
        """Sees to it that an idle model is unloaded when its time is up."""
        if (timer := self._timers.pop(resident, None)) is not None:
            timer.cancel()
        left = resident.unloaded_at - monotonic()
        if resident.backend is not None and left < inf and not self._ended:
            loop = asyncio.get_running_loop()
            self._timers[resident] = loop.call_later(max(0.0, left), self._expire, resident)

    def _expire(self, resident: Resident) -> None:
        task = asyncio.create_task(self._put_out_idle(resident))
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

    async def _put_out_idle(self, resident: Resident) -> None:
        async with self._one_at_a_time:
            if resident.backend is None:
                return
            if monotonic() >= resident.unloaded_at:
                await self._put_out(resident, "idle")
            else:  # a request came, or the timer was early by a hair
                self._watch(resident)

    # The end

    def close(self, drain_seconds: float) -> None:
        """Waits so long for what runs, or waits for a model; then ends the rest. Blocks."""
        deadline = monotonic() + drain_seconds
        while any(one.waiting for one in self._residents.values()) and monotonic() < deadline:
            sleep(POLL_SECONDS)
        self._ended = True
        loaded = [one.backend.model for one in list(self._residents.values()) if one.backend is not None]
        for model in loaded:
            model.worker.close(max(0.0, deadline - monotonic()))


class _Report:
    """How far a model has been read, told to its resident and to the log; ends the loading where the server ends."""

    def __init__(self, resident: Resident, has_ended: Callable[[], bool]) -> None:
        self._resident = resident
        self._has_ended = has_ended
        self._told_at = monotonic()

    def __call__(self, done: int, total: int, what: str) -> None:
        if self._has_ended():
            raise LoadingAbandonedError
        self._resident.progress = (done, total)
        if monotonic() - self._told_at >= TOLD_EVERY:
            self._told_at = monotonic()
            percent = round(100 * done / max(1, total))
            logger.info("loading", extra={"fields": {"model": self._resident.name, "percent": percent}})


def _other_forms(name: str) -> tuple[str, ...]:
    """What else clients write for a name."""
    short = name.removesuffix(LATEST)
    return (short, short.removesuffix(".gguf"))


def _public(message: str, source: ModelSource) -> str:
    """An error without the server's directories."""
    folder = source.path_or_name.rpartition("/")[0]
    return message.replace(f"{folder}/", "") if folder else message
