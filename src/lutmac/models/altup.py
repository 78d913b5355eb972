"""Alternating updates (AltUp: Baykal et al., 2023): a wide residual stream in parts, of which layers compute one.

https://arxiv.org/abs/2301.13310
"""

from __future__ import annotations

from dataclasses import replace

from lutmac.graph.ir import Value, Vector
from lutmac.graph.operations.add import Add
from lutmac.graph.operations.altup_correct import AltupCorrect
from lutmac.graph.operations.altup_predict import AltupPredict
from lutmac.graph.operations.concatenate import Concatenate
from lutmac.graph.operations.match_magnitude import MatchMagnitude
from lutmac.graph.operations.scale import Scale
from lutmac.graph.operations.slice import Slice
from lutmac.models.decoder import Decoder


class AltUp(Decoder):
    """Streams lie side by side in one value, each as wide as the embedding.

    streams: how many. active: the one that layers compute.
    """

    streams: int
    active: int

    def spread(self, hidden: Value) -> Value:
        """The streams that layers begin with: the embedding, and products with it that are as long."""
        for stream in range(1, self.streams):
            name = f"altup.spread_{stream}"
            own = Value(f"{name}_own", self.config.hidden_size)
            first = self.stream(hidden, 0, f"{name}_first") if stream > 1 else hidden
            product = self.linear(f"model.altup_projections.{stream - 1}", first, first.width, f"{name}_product")
            both = Value(name, hidden.width + own.width)
            self.ops += [MatchMagnitude(product, first, own), Concatenate(hidden, own, both)]
            hidden = both
        return hidden

    def gathered(self, streams: Value) -> Value:
        """One stream of all: the mean of the first and of products with the others that are as long."""
        first = total = self.stream(streams, 0, "altup.gathered_0")
        for stream in range(1, self.streams):
            name = f"altup.gathered_{stream}"
            own, summed = (replace(first, name=f"{name}_{part}") for part in ("own", "sum"))
            x = self.stream(streams, stream, name)
            product = self.linear(f"model.altup_unembed_projections.{stream - 1}", x, x.width, f"{name}_product")
            self.ops += [MatchMagnitude(product, first, own), Add(total, own, summed)]
            total = summed
        mean = replace(first, name="altup.mean")
        self.ops.append(Scale(total, mean, 1 / self.streams))
        return mean

    def predicted(self, layer: int, streams: Value) -> Value:
        """What each stream will be, as far as the streams before a layer tell."""
        name = f"layers.{layer}.altup"
        routed = self.routed_streams(layer, self.stream(streams, self.active, f"{name}_active"), f"{name}_before")
        out = replace(streams, name=f"{name}_predicted")
        coefficients = self.coefficients(layer, "prediction_coefs", self.streams**2)
        self.ops.append(AltupPredict(streams, routed, coefficients, out, 1 / self.config.hidden_size))
        return out

    def corrected(self, layer: int, predicted: Value, computed: Value) -> Value:
        """The streams behind a layer. computed: the active one, as the layer makes it."""
        name = f"layers.{layer}.altup"
        routed = self.routed_streams(layer, computed, f"{name}_behind")
        active = self.stream(predicted, self.active, f"{name}_expected")
        change, out = replace(computed, name=f"{name}_innovation"), replace(predicted, name=f"{name}_corrected")
        coefficients = self.coefficients(layer, "correction_coefs", self.streams)
        self.ops.append(Add(computed, active, change, -1.0))
        self.ops.append(AltupCorrect(predicted, change, out, routed, coefficients, 1 / self.config.hidden_size))
        return out

    def added_to_others(self, streams: Value, change: Value, name: str) -> Value:
        """The streams, a change added to all but the first."""
        out = replace(streams, name=name)
        self.ops.append(AltupCorrect(streams, change, out))
        return out

    def stream(self, streams: Value, index: int, name: str) -> Value:
        """One of the streams."""
        out = replace(streams, name=name, width=self.config.hidden_size)
        self.ops.append(Slice(streams, index * out.width, out))
        return out

    def routed_streams(self, layer: int, x: Value, name: str) -> Value:
        """What the router makes of a stream, a float for each."""
        hf = f"model.layers.{layer}.altup"
        x = self.norm(f"{hf}.router_norm", x, f"{name}_normed")
        return self.linear(f"{hf}.modality_router", x, self.streams, f"{name}_routed")

    def coefficients(self, layer: int, which: str, rows: int) -> Vector:
        """One of the small trained matrices, [rows, streams]."""
        hf = f"model.layers.{layer}.altup.{which}.weight"
        return Vector(hf, rows * self.streams, (rows, self.streams))
