"""A decoder whose MLPs are mixtures of experts (Shazeer et al., 2017; Fedus et al., 2021)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from lutmac.graph.ir import Value, Vector, Weight
from lutmac.graph.operations.activation import Activation
from lutmac.graph.operations.add import Add
from lutmac.graph.operations.expert_gather import ExpertGather
from lutmac.graph.operations.expert_matmul import ExpertMatMul
from lutmac.graph.operations.expert_sum import ExpertSum
from lutmac.graph.operations.route import Route
from lutmac.models.config import MixtureConfig
from lutmac.models.decoder import Decoder


@dataclass(frozen=True)
class ExpertNames:
    """Hugging Face's names: of the part in a layer, of an expert's matrices, of the router's product in the part.

    mixture: "" where the layer itself has the experts. layers: what the names of layers begin with.
    """

    mixture: str
    gate: str
    up: str
    down: str
    router: str = "gate"
    layers: str = "model.layers"

    def within(self, layer: int) -> str:
        """The name of the part in a layer."""
        return f"{self.layers}.{layer}.{self.mixture}".removesuffix(".")


@dataclass(frozen=True)
class SharedNames:
    """Hugging Face's names in a layer: of the MLP that all tokens go through, and of its gate.

    gate_up, down: its products within it; gate_up has the rows of both, where the checkpoint has that matrix.
    """

    mlp: str
    gate: str | None = None
    gate_up: str = "gate_up_proj"
    down: str = "down_proj"


class MixtureDecoder(Decoder):
    """Routes each token to some experts, and adds up what they make of it.

    NAMES: by what names checkpoints may go, the usual ones first. SELECTION_BIASES: what is added to scores to select
    experts, by the names in a layer that it may go by. EXPERT_SCALES: what multiplies each expert's weight, by its name
    in a layer. SHARED: of the MLP beside the experts.
    """

    NAMES: ClassVar[tuple[ExpertNames, ...]] = (ExpertNames("mlp", "gate_proj", "up_proj", "down_proj"),)
    SELECTION_BIASES: ClassVar[tuple[str, ...]] = ()
    EXPERT_SCALES: ClassVar[str | None] = None
    SHARED: ClassVar[SharedNames] = SharedNames("mlp.shared_experts")
    config: MixtureConfig

    def __init__(self, config: MixtureConfig) -> None:
        """As a decoder; finds out by which names the experts go."""
        super().__init__(config)
        layer = next((i for i in range(config.num_hidden_layers) if i not in config.dense_layers), 0)
        self.names = next((names for names in self.NAMES if self._goes_by(layer, names)), self.NAMES[0])

    def mlp(self, layer: int, x: Value) -> Value:
        """The experts' outputs times their weights, and the shared MLP's beside them."""
        config, name = self.config, f"layers.{layer}"
        if layer in config.dense_layers:
            return super().mlp(layer, x)
        shared = self.shared_mlp(layer, x) if config.shared_expert_intermediate_size else None
        choices, starts = self.route(layer, x)
        out = self.routed(layer, x, choices, starts)
        if shared is None:
            return out
        both = Value(f"{name}.mlp", config.hidden_size)
        self.ops.append(Add(shared, out, both))
        return both

    def routed(self, layer: int, x: Value, choices: Value, starts: Value) -> Value:
        """The experts' outputs times their weights. choices, starts: what ``route`` makes."""
        config, name, names = self.config, f"layers.{layer}", self.names
        gathered = replace(x, name=f"{name}.gathered", per_token=config.num_experts_per_tok)
        self.ops.append(ExpertGather(x, choices, gathered))
        gate, up = self.gates_and_ups(layer, gathered, starts)
        gated = self.gated_experts(layer, gate, up)
        down = self.of_experts(layer, names.down, gated, starts, config.hidden_size, f"{name}.down")
        out = Value(f"{name}.routed", config.hidden_size)
        self.ops.append(ExpertSum(down, choices, out))
        return out

    def routed_without_gates(self, layer: int, x: Value, choices: Value, starts: Value) -> Value:
        """The same of experts that have no gate; as wide as x."""
        config, name, names = self.config, f"layers.{layer}", self.names
        gathered = replace(x, name=f"{name}.gathered", per_token=config.num_experts_per_tok)
        self.ops.append(ExpertGather(x, choices, gathered))
        up = self.of_experts(layer, names.up, gathered, starts, config.moe_intermediate_size, f"{name}.experts_up")
        activated = replace(up, name=f"{name}.experts_activated")
        self.ops.append(Activation(config.activation, up, activated))
        down = self.of_experts(layer, names.down, activated, starts, x.width, f"{name}.down")
        out = Value(f"{name}.routed", x.width)
        self.ops.append(ExpertSum(down, choices, out))
        return out

    def gates_and_ups(self, layer: int, x: Value, starts: Value) -> tuple[Value, Value]:
        """What the experts' activation reads; GGUF files may have one stack for both."""
        name, names, width = f"layers.{layer}.experts", self.names, self.config.moe_intermediate_size
        stack = f"{self.names.within(layer)}.experts"
        if not self.has(f"{stack}.0.gate_up_proj.weight"):
            gate = self.of_experts(layer, names.gate, x, starts, width, f"{name}_gate")
            return gate, self.of_experts(layer, names.up, x, starts, width, f"{name}_up")
        gate, up = (replace(x, name=f"{name}_{part}", width=width) for part in ("gate", "up"))
        joint = [f"{stack}.{expert}.gate_up_proj.weight" for expert in range(self.config.num_experts)]
        for out, first in ((gate, 0), (up, width)):
            parts = (Weight.part_of(j, width, x.width, first_row=first, of_rows=2 * width) for j in joint)
            self.ops.append(ExpertMatMul(tuple(parts), x, starts, out))
        return gate, up

    def route(self, layer: int, x: Value) -> tuple[Value, Value]:
        """Each token's choices, and where the rows of each expert start."""
        config, name, hf = self.config, f"layers.{layer}", f"model.layers.{layer}"
        logits = self.linear(f"{self.names.within(layer)}.{self.names.router}", x, config.num_experts, f"{name}.router")
        choices = Value(f"{name}.choices", 3 * config.num_experts_per_tok)
        starts = Value(f"{name}.starts", 2 * config.num_experts + 1)
        biases = (f"{hf}.{bias}" for bias in self.SELECTION_BIASES)
        bias = next((Vector(b, config.num_experts, (config.num_experts,)) for b in biases if self.has(b)), None)
        scales = None if self.EXPERT_SCALES is None else f"{hf}.{self.EXPERT_SCALES}"
        self.ops.append(
            Route(
                logits,
                choices,
                starts,
                config.num_experts_per_tok,
                config.norm_topk_prob,
                config.expert_scores,
                config.routed_scaling_factor,
                bias,
                config.expert_groups,
                config.top_groups,
                Vector(scales, config.num_experts) if scales is not None and self.has(scales) else None,
                config.group_scores,
            )
        )
        return choices, starts

    def gated_experts(self, layer: int, gate: Value, up: Value) -> Value:
        """The activation of the experts."""
        return self.gated(gate, up, f"layers.{layer}.experts")

    def shared_names(self) -> SharedNames:
        """What the MLP beside the experts is called."""
        return self.SHARED

    def shared_mlp(self, layer: int, x: Value) -> Value:
        """The MLP that all tokens go through, times its gate where it has one."""
        names, name, hf = self.shared_names(), f"layers.{layer}.shared", f"model.layers.{layer}"
        mlp, width = f"{hf}.{names.mlp}", self.config.shared_expert_intermediate_size
        if self.has(f"{mlp}.{names.gate_up}.weight"):
            gate, up = self.parts(f"{mlp}.{names.gate_up}", x, {f"{name}_gate": width, f"{name}_up": width})
        else:
            gate = self.linear(f"{mlp}.gate_proj", x, width, f"{name}_gate")
            up = self.linear(f"{mlp}.up_proj", x, width, f"{name}_up")
        gated = self.gated(gate, up, name)
        out = self.linear(f"{mlp}.{names.down}", gated, self.config.hidden_size, f"{name}_mlp")
        if names.gate is None:
            return out
        share = self.linear(f"{hf}.{names.gate}", x, 1, f"{name}_share")
        return self.gated_by("sigmoid", share, out, f"{name}_gate")

    def of_experts(self, layer: int, matrix: str, x: Value, starts: Value, width: int, name: str) -> Value:
        """For the rows of each expert, the product with its matrix, and a bias where the checkpoint has them."""
        stack = f"{self.names.within(layer)}.experts"
        experts = [f"{stack}.{expert}.{matrix}" for expert in range(self.config.num_experts)]
        weights = tuple(self.expert_weight(layer, expert, matrix, (width, x.width)) for expert in range(len(experts)))
        biases = tuple(bias for expert in experts if (bias := self.bias(expert, width)) is not None)
        out = replace(x, name=name, width=width)
        self.ops.append(ExpertMatMul(weights, x, starts, out, biases or None))
        return out

    def expert_weight(self, layer: int, expert: int, matrix: str, shape: tuple[int, int]) -> Weight:
        """An expert's matrix. shape: its rows and columns."""
        return Weight(f"{self.names.within(layer)}.experts.{expert}.{matrix}.weight", *shape)

    def _goes_by(self, layer: int, names: ExpertNames) -> bool:
        hf = names.within(layer)
        return self.has(f"{hf}.experts.0.{names.gate}.weight") and self.has(f"{hf}.{names.router}.weight")
