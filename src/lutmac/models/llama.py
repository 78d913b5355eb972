"""Llama (Touvron et al., 2023) and the models of its shape: SmolLM2, TinyLlama, Llama 2 and 3, Mistral 7B."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lutmac.errors import CheckpointError, UnsupportedModelError
from lutmac.graph.ir import (
    Activation,
    Add,
    Attention,
    Embed,
    GatherOutputs,
    Graph,
    Logits,
    MatMul,
    Multiply,
    Norm,
    Op,
    Product,
    Rope,
    RopeStore,
    RopeStyle,
    Value,
)
from lutmac.models import Architecture, WeightSource
from lutmac.models.metadata import MetadataReader
from lutmac.models.rope import RopeScaling, make_rope, scaling_from_config, scaling_from_gguf


@dataclass(frozen=True)
class LlamaConfig:
    """Hugging Face's config keys, and two facts of the checkpoint: how rope pairs dimensions, how many it rotates."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    rms_norm_eps: float
    rope_theta: float
    max_position_embeddings: int
    rope_scaling: RopeScaling
    rope_style: RopeStyle
    rotary_dim: int

    def __post_init__(self) -> None:
        """Raises UnsupportedModelError for shapes that no kernel has."""
        if self.num_attention_heads % self.num_key_value_heads:
            raise CheckpointError(
                f"{self.num_attention_heads} attention heads are not a multiple of {self.num_key_value_heads} "
                "key-value heads"
            )
        if self.head_dim % 16 or self.head_dim > 256:
            raise UnsupportedModelError(f"head size {self.head_dim} is not a multiple of 16 up to 256")
        if self.rotary_dim % 2 or self.rotary_dim > self.head_dim:
            raise CheckpointError(f"rope rotates {self.rotary_dim} dimensions of heads of {self.head_dim}")
        for name in ("hidden_size", "intermediate_size"):
            if getattr(self, name) % 32:
                raise UnsupportedModelError(f"{name} {getattr(self, name)} is not a multiple of 32")


class LlamaBuilder:
    """Writes down the operations of one step, top to bottom."""

    def __init__(self, config: LlamaConfig, weights: WeightSource) -> None:
        """Works out the rotary frequencies, which all layers share."""
        self.config = config
        self.weights = weights
        self.ops: list[Op] = []
        self.rope = self._rope()

    def model(self) -> Graph:
        """Embedding, blocks, final norm, head."""
        config = self.config
        embedding = self.weights.matrix("model.embed_tokens.weight", config.vocab_size, config.hidden_size)
        hidden = Value("hidden", config.hidden_size)
        self.ops.append(Embed(embedding, hidden))
        for layer in range(config.num_hidden_layers):
            hidden = self.block(layer, hidden)
        outputs = Value("outputs", config.hidden_size, rows="outputs")
        self.ops.append(GatherOutputs(hidden, outputs))
        final = self.norm("model.norm.weight", outputs, "final")
        head = embedding
        if self.weights.has("lm_head.weight"):
            head = self.weights.matrix("lm_head.weight", config.vocab_size, config.hidden_size)
        self.ops.append(Logits(head, final))
        return Graph(tuple(self.ops))

    def block(self, layer: int, hidden: Value) -> Value:
        """Attention and MLP, each on the norm of the residual stream and added to it."""
        hf, name = f"model.layers.{layer}", f"layers.{layer}"
        x = self.norm(f"{hf}.input_layernorm.weight", hidden, f"{name}.attention_input")
        hidden = self.add(hidden, self.attention(layer, x), f"{name}.hidden_after_attention")
        x = self.norm(f"{hf}.post_attention_layernorm.weight", hidden, f"{name}.mlp_input")
        return self.add(hidden, self.mlp(layer, x), f"{name}.hidden")

    def attention(self, layer: int, x: Value) -> Value:
        """Grouped-query attention (Ainslie et al., 2023) with rotary embeddings (Su et al., 2021)."""
        config = self.config
        hf, name = f"model.layers.{layer}.self_attn", f"layers.{layer}"
        heads, kv_heads, head_dim = config.num_attention_heads, config.num_key_value_heads, config.head_dim
        q = self.linear(f"{hf}.q_proj", x, heads * head_dim, f"{name}.q")
        k = self.linear(f"{hf}.k_proj", x, kv_heads * head_dim, f"{name}.k")
        v = self.linear(f"{hf}.v_proj", x, kv_heads * head_dim, f"{name}.v")
        rotated = Value(f"{name}.q_rotated", q.width)
        attended = Value(f"{name}.attended", q.width)
        self.ops.append(RopeStore(layer, q, k, v, rotated, heads, kv_heads, head_dim, self.rope))
        self.ops.append(Attention(layer, rotated, attended, heads, kv_heads, head_dim, scale=head_dim**-0.5))
        return self.linear(f"{hf}.o_proj", attended, config.hidden_size, f"{name}.attention")

    def mlp(self, layer: int, x: Value) -> Value:
        """SwiGLU (Shazeer, 2020)."""
        hf, name = f"model.layers.{layer}.mlp", f"layers.{layer}"
        width = self.config.intermediate_size
        gate = self.linear(f"{hf}.gate_proj", x, width, f"{name}.gate")
        up = self.linear(f"{hf}.up_proj", x, width, f"{name}.up")
        activated = Value(f"{name}.activated", width)
        gated = Value(f"{name}.gated", width)
        self.ops += [Activation("silu", gate, activated), Multiply(activated, up, gated)]
        return self.linear(f"{hf}.down_proj", gated, self.config.hidden_size, f"{name}.mlp")

    def linear(self, hf: str, x: Value, width: int, name: str) -> Value:
        """A matrix product, with bias where the checkpoint has one."""
        out = Value(name, width, x.rows)
        bias = self.weights.vector(f"{hf}.bias", width) if self.weights.has(f"{hf}.bias") else None
        self.ops.append(MatMul((Product(self.weights.matrix(f"{hf}.weight", width, x.width), x, out, bias),)))
        return out

    def norm(self, hf: str, x: Value, name: str) -> Value:
        """RMSNorm."""
        out = Value(name, x.width, x.rows)
        self.ops.append(Norm(x, self.weights.vector(hf, x.width), self.config.rms_norm_eps, out))
        return out

    def add(self, a: Value, b: Value, name: str) -> Value:
        """Sum of two values."""
        out = Value(name, a.width, a.rows)
        self.ops.append(Add(a, b, out))
        return out

    def _rope(self) -> Rope:
        config, factors = self.config, None
        if self.weights.has(ROPE_FACTORS):
            factors = self.weights.values(ROPE_FACTORS, config.rotary_dim // 2)
            if min(factors) <= 0:
                raise CheckpointError(f"rope factors must be above 0, the file has {min(factors)}")
        return make_rope(config.rope_style, config.rotary_dim, config.rope_theta, config.rope_scaling, factors)


def build(config: LlamaConfig, weights: WeightSource) -> Graph:
    """The graph of one step."""
    return LlamaBuilder(config, weights).model()


def read_gguf_config(metadata: Mapping[str, Any]) -> LlamaConfig:
    """GGUF's keys (docs/gguf.md in ggml-org/ggml) by Hugging Face's names.

    Raises CheckpointError for keys that are missing or malformed, UnsupportedModelError for mixtures of experts.
    """
    read = MetadataReader(metadata, "llama")
    if read.integer("expert_count", 0, low=0):
        raise UnsupportedModelError("llama with a mixture of experts (llama.expert_count) is not supported")
    hidden_size = read.integer("embedding_length")
    heads = read.same_for_all_layers("attention.head_count")
    if not read.has("attention.key_length") and hidden_size % heads:
        raise CheckpointError(f"llama.embedding_length {hidden_size} is not a multiple of {heads} attention heads")
    head_dim = read.integer("attention.key_length", hidden_size // heads)
    if read.integer("attention.value_length", head_dim) != head_dim:
        raise UnsupportedModelError("values of another size than keys (llama.attention.value_length) are not supported")
    context = read.integer("context_length")
    tokens = metadata.get("tokenizer.ggml.tokens")
    return LlamaConfig(
        vocab_size=read.integer("vocab_size") if tokens is None else len(tokens),
        hidden_size=hidden_size,
        intermediate_size=read.same_for_all_layers("feed_forward_length"),
        num_hidden_layers=read.integer("block_count"),
        num_attention_heads=heads,
        num_key_value_heads=read.same_for_all_layers("attention.head_count_kv", heads),
        head_dim=head_dim,
        rms_norm_eps=read.number("attention.layer_norm_rms_epsilon"),
        rope_theta=read.number("rope.freq_base", 10000.0) or 10000.0,
        max_position_embeddings=context,
        rope_scaling=scaling_from_gguf(read, context),
        rope_style="interleaved",  # GGUF files of this architecture hold q and k in that order
        rotary_dim=read.integer("rope.dimension_count", head_dim),
    )


def read_config(config: Mapping[str, Any]) -> LlamaConfig:
    """The keys of a config.json.

    Raises CheckpointError for keys that are missing or malformed, UnsupportedModelError for what no operation has.
    """
    read = MetadataReader(config, "")
    if read.text("hidden_act", "silu") != "silu":
        raise UnsupportedModelError(f"activation {config['hidden_act']!r} is not supported in llama; supported: silu")
    hidden_size, heads = read.integer("hidden_size"), read.integer("num_attention_heads")
    if not read.has("head_dim") and hidden_size % heads:
        raise CheckpointError(f"hidden_size {hidden_size} is not a multiple of {heads} attention heads")
    head_dim = read.integer("head_dim", hidden_size // heads)
    context = read.integer("max_position_embeddings", 2048)
    theta = MetadataReader(config.get("rope_parameters") or {}, "").number(
        "rope_theta", read.number("rope_theta", 10000.0)
    )
    return LlamaConfig(
        vocab_size=read.integer("vocab_size"),
        hidden_size=hidden_size,
        intermediate_size=read.integer("intermediate_size"),
        num_hidden_layers=read.integer("num_hidden_layers"),
        num_attention_heads=heads,
        num_key_value_heads=read.integer("num_key_value_heads", heads),
        head_dim=head_dim,
        rms_norm_eps=read.number("rms_norm_eps", 1e-6),
        rope_theta=theta,
        max_position_embeddings=context,
        rope_scaling=scaling_from_config(config),
        rope_style="half_split",
        rotary_dim=head_dim,
    )


ROPE_FACTORS = "rope_factors"  # Hugging Face keeps these in the config; GGUF has them as a tensor

_GGUF_TENSORS = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def gguf_tensor_name(name: str) -> str:
    """``model.layers.0.self_attn.q_proj.weight`` is ``blk.0.attn_q.weight`` in GGUF."""
    if name == ROPE_FACTORS:
        return "rope_freqs.weight"
    stem, _, kind = name.rpartition(".")
    layer = re.fullmatch(r"model\.layers\.(\d+)\.(.+)", stem)
    if layer:
        return f"blk.{layer[1]}.{_GGUF_TENSORS[layer[2]]}.{kind}"
    return f"{_GGUF_TENSORS[stem]}.{kind}"


ARCHITECTURE = Architecture("llama", read_config, read_gguf_config, gguf_tensor_name, build)
