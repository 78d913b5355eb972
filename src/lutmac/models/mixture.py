"""A decoder whose MLPs are mixtures of experts (Shazeer et al., 2017; Fedus et al., 2021)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from lutmac.graph.ir import Value, Weight
from lutmac.graph.operations.expert_gather import ExpertGather
from lutmac.graph.operations.expert_matmul import ExpertMatMul
from lutmac.graph.operations.expert_sum import ExpertSum
from lutmac.graph.operations.route import Route
from lutmac.models.config import MixtureConfig
from lutmac.models.decoder import Decoder


@dataclass(frozen=True)
class ExpertNames:
    """Hugging Face's names: of the part in a layer, and of an expert's matrices."""

    mixture: str
    gate: str
    up: str
    down: str


class MixtureDecoder(Decoder):
    """Routes each token to some experts, and adds up what they make of it.

    NAMES: by what names checkpoints may go, the usual ones first.
    """

    NAMES: ClassVar[tuple[ExpertNames, ...]] = (ExpertNames("mlp", "gate_proj", "up_proj", "down_proj"),)
    config: MixtureConfig

    def __init__(self, config: MixtureConfig) -> None:
        """As a decoder; finds out by which names the experts go."""
        super().__init__(config)
        layer = next((i for i in range(config.num_hidden_layers) if i not in config.dense_layers), 0)
        self.names = next(
            (
                names
                for names in self.NAMES
                if self.has(f"model.layers.{layer}.{names.mixture}.experts.0.{names.gate}.weight")
            ),
            self.NAMES[0],
        )

    def mlp(self, layer: int, x: Value) -> Value:
        """The experts' outputs times their weights."""
        config, name = self.config, f"layers.{layer}"
        if layer in config.dense_layers:
            return super().mlp(layer, x)
        names, hf = self.names, f"model.layers.{layer}.{self.names.mixture}"
        logits = self.linear(f"{hf}.gate", x, config.num_experts, f"{name}.router")
        choices = Value(f"{name}.choices", 3 * config.num_experts_per_tok)
        starts = Value(f"{name}.starts", config.num_experts + 1)
        self.ops.append(Route(logits, choices, starts, config.num_experts_per_tok, config.norm_topk_prob))
        gathered = replace(x, name=f"{name}.gathered", per_token=config.num_experts_per_tok)
        self.ops.append(ExpertGather(x, choices, gathered))
        width = config.moe_intermediate_size
        gate = self.of_experts(hf, names.gate, gathered, starts, width, f"{name}.gate")
        up = self.of_experts(hf, names.up, gathered, starts, width, f"{name}.up")
        gated = self.gated(gate, up, name)
        down = self.of_experts(hf, names.down, gated, starts, config.hidden_size, f"{name}.down")
        out = Value(f"{name}.mlp", config.hidden_size)
        self.ops.append(ExpertSum(down, choices, out))
        return out

    def of_experts(self, hf: str, matrix: str, x: Value, starts: Value, width: int, name: str) -> Value:
        """For the rows of each expert, the product with its matrix."""
        weights = tuple(
            Weight(f"{hf}.experts.{expert}.{matrix}.weight", width, x.width)
            for expert in range(self.config.num_experts)
        )
        out = replace(x, name=name, width=width)
        self.ops.append(ExpertMatMul(weights, x, starts, out))
        return out
