"""Bits for each matrix under a budget for all: more where they save more error."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field

from lutmac.engine.quantization.forward import Forward
from lutmac.engine.quantization.matrices import CurrentWeights
from lutmac.engine.quantization.settings import BIT_CHOICES, QuantizationSettings
from lutmac.graph.ir import Value
from lutmac.lowbit.reference import dequantize
from lutmac.lowbit.rounding import Moments, output_error, round_to_nearest


@dataclass
class Sensitivities:
    """Measures, on a walk with the weights as they were, what each matrix loses at each number of bits.

    losses: by matrix, for each of BIT_CHOICES the error of its product relative to the product. sizes: its weights.
    """

    weights: CurrentWeights
    settings: QuantizationSettings
    losses: dict[str, tuple[float, ...]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)

    def before(self, name: str, x: Value, forward: Forward, moments: Moments) -> None:
        """Measures one matrix; see walk.Visitor."""
        self.measure(name, moments)

    def measure(self, name: str, moments: Moments | None) -> None:
        """Measures one matrix."""
        w = self.weights.source(name)
        power = output_error(w, moments) or 1.0
        group_size = self.settings.group_size or w.shape[1]
        found = []
        for bits in BIT_CHOICES:
            rounded = round_to_nearest(w, self.settings.format(bits), group_size, quick=True)
            found.append(output_error(dequantize(rounded) - w, moments) / power)
        self.losses[name], self.sizes[name] = tuple(found), w.size


def allocate(
    losses: Mapping[str, tuple[float, ...]], sizes: Mapping[str, int], settings: QuantizationSettings
) -> dict[str, int]:
    """Bits of every matrix: the sum of losses small, the average of ``settings.average_bits`` kept.

    Greedy: all begin with the fewest bits, and the upgrade that gains most for each bit of memory is taken while there
    is room for it.
    """
    assert settings.average_bits is not None
    places = dict.fromkeys(losses, 0)
    overhead = settings.stored_bits(0)
    room = sum(sizes.values()) * (settings.average_bits - overhead - BIT_CHOICES[0])
    upgrades = [_upgrade(name, 0, losses, sizes) for name in losses]
    heapq.heapify(upgrades)
    while upgrades:
        _, cost, name = heapq.heappop(upgrades)
        if cost > room:
            continue
        room -= cost
        places[name] += 1
        if places[name] + 1 < len(BIT_CHOICES):
            heapq.heappush(upgrades, _upgrade(name, places[name], losses, sizes))
    return {name: BIT_CHOICES[place] for name, place in places.items()}


def _upgrade(
    name: str, place: int, losses: Mapping[str, tuple[float, ...]], sizes: Mapping[str, int]
) -> tuple[float, float, str]:
    cost = float((BIT_CHOICES[place + 1] - BIT_CHOICES[place]) * sizes[name])
    return (losses[name][place + 1] - losses[name][place]) / cost, cost, name
