"""What a decoder's configuration says; config_json.py and config_gguf.py read it."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass, replace
from typing import Self

from lutmac.errors import CheckpointError, UnsupportedModelError
from lutmac.graph.ir import Graph
from lutmac.graph.operations.activation import ActivationKind
from lutmac.graph.operations.route import ExpertScores
from lutmac.models import Tensors
from lutmac.models.gguf_names import ROPE_TENSORS
from lutmac.models.rope import RopeConfig, RopeScaling
from lutmac.models.rotation import Rotation


class _Asked:
    """Names that a graph asks for, answered by a checkpoint."""

    def __init__(self, tensors: Tensors) -> None:
        self.found: set[str] = set()
        self._tensors = tensors

    def __contains__(self, name: object) -> bool:
        found = isinstance(name, str) and self._tensors.has(name)
        if found:
            self.found.add(str(name))
        return found


@dataclass(frozen=True)
class DecoderConfig:
    """Hugging Face's config keys, and facts of the checkpoint: how rope pairs dimensions, what its norms' weights mean.

    rope: of all layers but those in no_rope_layers; local_rope: of the windowed ones, where they have their own;
    layer_thetas: of each layer, where they have their own (0: no rope). query_beta: queries grow by
    beta * ln(1 + position // query_period).
    Of each layer, where they differ: layer_heads of attention, layer_kv_heads of keys and values, layer_head_dims their
    size, layer_widths of the MLP. keys_of: the layer whose keys and values each reads, itself or an earlier one.
    windows: for each layer the positions that attention sees, the last ones, 0 for all; empty: all layers see all.
    Scales multiply: attention_scale the scores (None: 1 / sqrt(head_dim)), residual_scale what a layer adds. Softcaps
    bound (0: none). norm_weight_bias is added to norms' weights. round_activations: the input of products in the layers
    is rounded to int8, as BitNet defines it. bidirectional: tokens see what follows them, too, and of a window half to
    each side; what comes out are hidden states. rotation: which matrices were rotated along their input, known of GGUF.
    context: positions that will be in use, 0 for max_position_embeddings.
    optional: tensors that not every checkpoint has and this one does, by Hugging Face's names: a head of its own,
    biases, joint matrices. They are known when ``completed``.
    """

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    rms_norm_eps: float
    max_position_embeddings: int
    rope: RopeConfig
    activation: ActivationKind = "silu"
    windows: tuple[int, ...] = ()
    local_rope: RopeConfig | None = None
    no_rope_layers: tuple[int, ...] = ()
    layer_thetas: tuple[float, ...] = ()
    layer_heads: tuple[int, ...] = ()
    layer_kv_heads: tuple[int, ...] = ()
    layer_head_dims: tuple[int, ...] = ()
    layer_widths: tuple[int, ...] = ()
    keys_of: tuple[int, ...] = ()
    query_beta: float = 0.0
    query_period: int = 0
    attention_scale: float | None = None
    attention_softcap: float = 0.0
    logits_softcap: float = 0.0
    embedding_scale: float = 1.0
    residual_scale: float = 1.0
    logits_scale: float = 1.0
    norm_weight_bias: float = 0.0
    round_activations: bool = False
    bidirectional: bool = False
    rotation: Rotation | None = None
    context: int = 0
    optional: Container[str] = frozenset()

    def __post_init__(self) -> None:
        """Raises UnsupportedModelError for shapes that no kernel has, CheckpointError for those that no model has."""
        if self.num_attention_heads % self.num_key_value_heads:
            raise CheckpointError(_no_multiple(self.num_attention_heads, self.num_key_value_heads))
        for head_dim in (self.head_dim, *self.layer_head_dims):
            if head_dim % 2 or head_dim > 576:
                raise UnsupportedModelError(f"head size {head_dim} is not an even number up to 576")
        largest = max((self.head_dim, *self.layer_head_dims))
        for rope in (self.rope, self.local_rope):
            if rope is not None and (rope.rotary_dim % 2 or rope.rotary_dim > largest):
                raise CheckpointError(f"rope rotates {rope.rotary_dim} dimensions of heads of {largest}")
        for layer in range(self.num_hidden_layers):
            self._check_heads(self.heads(layer), self.kv_heads(layer), self.head_size(layer))
        if self.bidirectional and self.attention_softcap:
            raise UnsupportedModelError("a softcap of attention in both directions is not supported")
        sizes = {"hidden_size": self.hidden_size, "intermediate_size": self.intermediate_size}
        for name, size in (*sizes.items(), *(("intermediate_size", width) for width in self.layer_widths)):
            if size % 32:
                raise UnsupportedModelError(f"{name} {size} is not a multiple of 32")

    @staticmethod
    def _check_heads(heads: int, kv_heads: int, head_dim: int) -> None:
        if heads % kv_heads:
            raise CheckpointError(_no_multiple(heads, kv_heads))
        if heads * head_dim % 32:
            raise UnsupportedModelError(
                f"{heads} heads of size {head_dim} are {heads * head_dim} wide, not a multiple of 32"
            )

    def at_context(self, context: int) -> Self:
        """The same, for that many positions."""
        return replace(self, context=context)

    def completed(self, tensors: Tensors, build: Callable[[Self], Graph]) -> Self:
        """The same with what tensors alone say: those that are optional, and in GGUF the factors of a rope.

        build: the family's graph, which asks for what it may have; a checkpoint answers once, here.
        """
        asked = _Asked(tensors)
        completed = replace(self, rope=self._completed_rope(tensors))
        build(replace(completed, optional=asked))
        return replace(completed, optional=frozenset(asked.found))

    def _completed_rope(self, tensors: Tensors) -> RopeConfig:
        scaling, count = self.rope.scaling, self.rope.rotary_dim // 2
        factors, short, long = (tensors.values(name, count) if tensors.has(name) else () for name in ROPE_TENSORS)
        if short and long:
            original = scaling.original_context or self.max_position_embeddings
            attention = 1.0 if scaling.attention_factor is None else scaling.attention_factor
            scaling = RopeScaling("longrope", 1.0, original, attention, short_factors=short, long_factors=long)
        elif scaling.kind == "longrope" and not scaling.short_factors:  # a GGUF file without the tensors
            scaling = RopeScaling(attention_factor=scaling.attention_factor)
        return replace(self.rope, scaling=scaling, factors=factors or self.rope.factors)

    @property
    def positions(self) -> int:
        """Positions that will be in use."""
        return self.context or self.max_position_embeddings

    @property
    def rope_scaling(self) -> str:
        """For people: how positions beyond the first training's are reached, with those that will be in use."""
        return self.rope.scaling.describe(self.positions)

    def window(self, layer: int) -> int:
        """The positions that a layer's attention sees, 0 for all."""
        return self.windows[layer] if self.windows else 0

    def heads(self, layer: int) -> int:
        """A layer's attention heads."""
        return self.layer_heads[layer] if self.layer_heads else self.num_attention_heads

    def kv_heads(self, layer: int) -> int:
        """A layer's heads of keys and values."""
        return self.layer_kv_heads[layer] if self.layer_kv_heads else self.num_key_value_heads

    def head_size(self, layer: int) -> int:
        """The size of a layer's heads."""
        return self.layer_head_dims[layer] if self.layer_head_dims else self.head_dim

    def mlp_width(self, layer: int) -> int:
        """The inner width of a layer's MLP."""
        return self.layer_widths[layer] if self.layer_widths else self.intermediate_size

    def keys_from(self, layer: int) -> int:
        """The layer whose keys and values a layer reads."""
        return self.keys_of[layer] if self.keys_of else layer

    @property
    def spare_tensors(self) -> tuple[str, ...]:
        """Tensors that checkpoints may hold and no layer reads: of keys and values where another layer's serve."""
        parts = ("k_proj.weight", "k_proj.bias", "v_proj.weight", "v_proj.bias", "k_norm.weight", "v_norm.weight")
        layers = (layer for layer, source in enumerate(self.keys_of) if source != layer)
        return tuple(f"model.layers.{layer}.self_attn.{part}" for layer in layers for part in parts)


def _no_multiple(heads: int, kv_heads: int) -> str:
    return f"{heads} attention heads are not a multiple of {kv_heads} key-value heads"


@dataclass(frozen=True)
class MixtureConfig(DecoderConfig):
    """A decoder with a mixture of experts in its layers, but for those in dense_layers.

    Each token goes to num_experts_per_tok of num_experts, each moe_intermediate_size wide. norm_topk_prob: the weights
    of those chosen sum to 1. expert_scores, routed_scaling_factor, expert_groups, top_groups and
    group_scores: see Route.
    shared_expert_intermediate_size: width of the MLP that all tokens go through beside their experts, 0 for none.
    """

    num_experts: int = 0
    num_experts_per_tok: int = 0
    moe_intermediate_size: int = 0
    norm_topk_prob: bool = True
    dense_layers: tuple[int, ...] = ()
    expert_scores: ExpertScores = "softmax"
    routed_scaling_factor: float = 1.0
    expert_groups: int = 1
    top_groups: int = 1
    group_scores: int = 2
    shared_expert_intermediate_size: int = 0

    def __post_init__(self) -> None:
        """Raises as a decoder's, and CheckpointError where a token goes to more experts than there are."""
        super().__post_init__()
        if self.num_experts_per_tok > self.num_experts:
            raise CheckpointError(f"a token goes to {self.num_experts_per_tok} of {self.num_experts} experts")
        for name in ("moe_intermediate_size", "shared_expert_intermediate_size"):
            if getattr(self, name) % 32:
                raise UnsupportedModelError(f"{name} {getattr(self, name)} is not a multiple of 32")
        if not self.expert_groups >= self.top_groups >= 1 or self.num_experts % self.expert_groups:
            raise CheckpointError(
                f"{self.num_experts} experts are not in {self.expert_groups} groups of which {self.top_groups} count"
            )
