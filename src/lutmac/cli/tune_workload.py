"""What `lutmac tune` measures: a prompt and a reply of a model of random weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from lutmac import _native
from lutmac.cli.engine_contestant import EngineContestant
from lutmac.cli.measure import long_enough
from lutmac.cli.tune_search import Phase, Price, Prices
from lutmac.engine.loading.tuning import Tuning
from lutmac.engine.measuring.synthetic import SyntheticModel

PROMPT_TOKENS: Final = 128
DECODE_TOKENS: Final = 32


class Workload:
    """Prefill and decode of a model, which a tuning applies to as if it were loaded under it."""

    def __init__(self, model: SyntheticModel) -> None:
        """model: of random weights."""
        self._model = model
        self._made: dict[tuple[int, int], EngineContestant] = {}

    def prices(self, tuning: Tuning, phases: Sequence[Phase]) -> Prices:
        """What the phases take: of one prompt, and of one reply."""
        tuning.apply()
        key = (tuning.tasks_per_product, tuning.block_kilobytes)
        if key not in self._made:
            self._made[key] = EngineContestant(self._model.compiled_anew().engine)
        return {phase: self._price(self._made[key], tuning, phase) for phase in phases}

    @staticmethod
    def _price(contestant: EngineContestant, tuning: Tuning, phase: Phase) -> Price:
        usable = _native.default_threads()
        if phase == "prefill":
            threads = tuning.prompt_threads or usable
            times, span = long_enough(lambda: contestant.prefill("", threads, PROMPT_TOKENS))
        else:
            threads = tuning.threads or usable
            times, span = long_enough(lambda: contestant.decode("", threads, 1, DECODE_TOKENS))
        # A machine may count no joules above its idle ones.
        energy = span.core_seconds if span.joules is None else max(span.joules, 1e-9)
        return Price(span.seconds / times, energy / times)
