"""Attention whose keys and values are made of one small latent per token: MLA of DeepSeek-V2 (2024).

https://arxiv.org/abs/2405.04434. The latent alone is kept. Its products that make keys and values are absorbed: that of
keys into queries, so that these meet the latent itself, and that of values into what attention makes. Prompts and
generation run the same way, since another would have other bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from lutmac.errors import CheckpointError, UnsupportedModelError
from lutmac.graph.ir import Value, Vector, Weight
from lutmac.graph.operations.attention import Attention
from lutmac.graph.operations.head_matmul import HeadMatMul
from lutmac.graph.operations.head_rows import HeadRows
from lutmac.graph.operations.latent_store import LatentStore
from lutmac.graph.operations.rms_norm import RMSNorm
from lutmac.graph.operations.slice import Slice
from lutmac.graph.states import Pages
from lutmac.models.config import DecoderConfig, MixtureConfig
from lutmac.models.decoder import Decoder
from lutmac.models.metadata import MetadataReader
from lutmac.models.rope import RopeScaling

GGUF_NAMES: Final = {
    "self_attn.q_a_proj": "attn_q_a",
    "self_attn.q_a_layernorm": "attn_q_a_norm",
    "self_attn.q_b_proj": "attn_q_b",
    "self_attn.kv_a_proj_with_mqa": "attn_kv_a_mqa",
    "self_attn.kv_a_layernorm": "attn_kv_a_norm",
    "self_attn.kv_b_proj": "attn_kv_b",
    "self_attn.k_b_proj.heads": "attn_k_b",
    "self_attn.v_b_proj.heads": "attn_v_b",
}
LARGEST: Final = 576  # of a latent, as DeepSeek's are


@dataclass(frozen=True)
class Latents:
    """Sizes: of the latents of queries (0: none, one product makes them), and of keys and values (``kv_rank``); of a
    head's part without position, of that with it (``rope_dim``, one key for all heads), and of its value.

    norm_eps: of the norms of latents.
    """

    q_rank: int
    kv_rank: int
    nope_dim: int
    rope_dim: int
    value_dim: int
    norm_eps: float = 1e-6

    def __post_init__(self) -> None:
        """Raises UnsupportedModelError for shapes that no kernel has."""
        sizes = {"q_lora_rank": self.q_rank, "kv_lora_rank": self.kv_rank, "qk_nope_head_dim": self.nope_dim}
        for name, size in sizes.items():
            if size % 32:
                raise UnsupportedModelError(f"{name} {size} is not a multiple of 32")
        if self.rope_dim % 2:
            raise UnsupportedModelError(f"qk_rope_head_dim {self.rope_dim} is not even")
        if self.size > LARGEST:
            raise UnsupportedModelError(f"latents of {self.kv_rank} and {self.rope_dim} are larger than {LARGEST}")

    @property
    def size(self) -> int:
        """What is kept of a token."""
        return self.kv_rank + self.rope_dim

    @property
    def head_dim(self) -> int:
        """Of a query, before it is absorbed."""
        return self.nope_dim + self.rope_dim


@dataclass(frozen=True)
class LatentConfig(DecoderConfig):
    """A decoder with latents. head_dim is that of values; attention_scale is given."""

    latents: Latents = Latents(0, 512, 128, 64, 128)

    @property
    def spare_tensors(self) -> tuple[str, ...]:
        """Files that hold the two parts of ``kv_b_proj`` apart may have it beside them."""
        layers = (f"model.layers.{layer}.self_attn" for layer in range(self.num_hidden_layers))
        whole = (f"{hf}.kv_b_proj.weight" for hf in layers if key_matrix(hf, 0) in self.optional)
        return (*super().spare_tensors, *whole)


@dataclass(frozen=True)
class LatentMixtureConfig(LatentConfig, MixtureConfig):
    """The same with experts."""


class LatentDecoder(Decoder):
    """Attention over latents."""

    config: LatentConfig

    def __init__(self, config: LatentConfig) -> None:
        """As a decoder."""
        super().__init__(config)

    def attention(self, layer: int, x: Value) -> Value:
        """Queries, absorbed; the latent; attention over latents; values made of what that gives."""
        config, latents, name = self.config, self.config.latents, f"layers.{layer}"
        heads, hf = config.num_attention_heads, f"model.layers.{layer}.self_attn"
        queries, key, normed = self.queries_and_latent(layer, x)
        q = self.absorbed(layer, queries)
        whole, rope = replace(q, name=f"{name}.q_latent"), self.rope(layer)
        cache, angles = self.keys_values(layer), self._angles.get(rope)
        self.ops.append(LatentStore(cache, q, queries, normed, key, whole, heads, angles, rope.style))
        attended = Value(f"{name}.attended_latents", heads * latents.kv_rank)
        scale = latents.head_dim**-0.5 if config.attention_scale is None else config.attention_scale
        self.ops.append(Attention(cache, whole, attended, heads, scale))
        rows = self.head_rows(attended, latents.kv_rank, f"{name}.attended_rows")
        values = Value(f"{name}.attended", heads * latents.value_dim)
        matrices = tuple(self.value_matrix(hf, head) for head in range(heads))
        self.ops.append(HeadMatMul(matrices, rows, values))
        return self.attention_output(layer, self.gated_attention(layer, x, values))

    def keys_values(self, layer: int) -> Pages:
        """The latents that a layer attends to."""
        latents = self.config.latents
        return Pages(f"layers.{layer}.latents", 1, latents.size, latents.kv_rank, latent=True)

    def queries_and_latent(self, layer: int, x: Value) -> tuple[Value, Value, Value]:
        """Queries of all heads; the latent as its product makes it; and its first part, normed."""
        latents, hf, name = self.config.latents, f"model.layers.{layer}.self_attn", f"layers.{layer}"
        width = self.config.num_attention_heads * latents.head_dim
        key_product, q_rank = f"{hf}.kv_a_proj_with_mqa", latents.q_rank
        if q_rank:
            small = self.linear(f"{hf}.q_a_proj", x, q_rank, f"{name}.q_a")
            key = self.linear(key_product, x, latents.size, f"{name}.latent")
            small = self.latent_norm(f"{hf}.q_a_layernorm", small, f"{name}.q_a_normed")
            queries = self.linear(f"{hf}.q_b_proj", small, width, f"{name}.q")
        else:
            queries = self.linear(f"{hf}.q_proj", x, width, f"{name}.q")
            key = self.linear(key_product, x, latents.size, f"{name}.latent")
        first = Value(f"{name}.latent_values", latents.kv_rank)
        self.ops.append(Slice(key, 0, first))
        return queries, key, self.latent_norm(f"{hf}.kv_a_layernorm", first, f"{name}.latent_normed")

    def absorbed(self, layer: int, queries: Value) -> Value:
        """Queries that meet latents, less their last parts, which lie behind each."""
        latents, name, heads = self.config.latents, f"layers.{layer}", self.config.num_attention_heads
        rows = self.head_rows(queries, latents.nope_dim, f"{name}.query_rows")
        q = Value(f"{name}.q_absorbed", heads * latents.size)
        hf = f"model.layers.{layer}.self_attn"
        self.ops.append(HeadMatMul(tuple(self.key_matrix(hf, head) for head in range(heads)), rows, q))
        return q

    def key_matrix(self, hf: str, head: int) -> Weight:
        """[kv_rank, nope_dim]: a part of ``kv_b_proj`` turned, or as GGUF files since 2025 have it."""
        latents, name = self.config.latents, key_matrix(hf, head)
        if self.has(name):
            return Weight(name, latents.kv_rank, latents.nope_dim)
        first, rows = self._place(head)
        stored, columns = f"{hf}.kv_b_proj.weight", latents.nope_dim
        return Weight.turned_part_of(stored, latents.kv_rank, columns, first_row=first, of_rows=rows)

    def value_matrix(self, hf: str, head: int) -> Weight:
        """[value_dim, kv_rank]: a part of ``kv_b_proj``, or as GGUF files since 2025 have it."""
        latents, name = self.config.latents, f"{hf}.v_b_proj.heads.{head}.weight"
        if self.has(name):
            return Weight(name, latents.value_dim, latents.kv_rank)
        first, rows = self._place(head)
        stored, first = f"{hf}.kv_b_proj.weight", first + latents.nope_dim
        return Weight.part_of(stored, latents.value_dim, latents.kv_rank, first_row=first, of_rows=rows)

    def head_rows(self, x: Value, width: int, name: str) -> Value:
        """A row for each head, of the first ``width`` floats."""
        rows = Value(name, width, per_token=self.config.num_attention_heads)
        self.ops.append(HeadRows(x, rows))
        return rows

    def latent_norm(self, hf: str, x: Value, name: str) -> Value:
        """RMSNorm of a latent."""
        out = replace(x, name=name)
        self.ops.append(RMSNorm(x, Vector(f"{hf}.weight", x.width), self.config.latents.norm_eps, out))
        return out

    def _place(self, head: int) -> tuple[int, int]:
        """The first row of a head in ``kv_b_proj``, and how many that has."""
        each = self.config.latents.nope_dim + self.config.latents.value_dim
        return head * each, self.config.num_attention_heads * each


def key_matrix(hf: str, head: int) -> str:
    """The name of a head's key matrix where it is stored by itself. hf: of the attention."""
    return f"{hf}.k_b_proj.heads.{head}.weight"


def read_latents(config: Mapping[str, Any]) -> Latents:
    """The keys of a config.json; norms of latents have transformers' eps."""
    read = MetadataReader(config, "")
    return Latents(
        read.integer("q_lora_rank", 0, low=0),
        read.integer("kv_lora_rank"),
        read.integer("qk_nope_head_dim"),
        read.integer("qk_rope_head_dim"),
        read.integer("v_head_dim"),
    )


def latent_keys(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config.json as ``read_decoder_config`` reads it: heads of the size of values, of which none shares a key."""
    return {**config, "head_dim": config.get("v_head_dim"), "num_key_value_heads": config.get("num_attention_heads")}


def read_gguf_latents(read: MetadataReader) -> Latents:
    """GGUF's keys. Without ``key_length_mla`` (files from before 2025) the plain keys are the heads'."""
    absorbed = read.has("attention.key_length_mla")
    keys = read.integer("attention.key_length_mla" if absorbed else "attention.key_length")
    values = read.integer("attention.value_length_mla" if absorbed else "attention.value_length")
    rope_dim = read.integer("rope.dimension_count")
    if rope_dim >= keys:
        raise CheckpointError(f"{read.prefix}.rope.dimension_count {rope_dim} is not below the {keys} of a key")
    return Latents(
        read.integer("attention.q_lora_rank", 0, low=0),
        read.integer("attention.kv_lora_rank"),
        keys - rope_dim,
        rope_dim,
        values,
        read.number("attention.layer_norm_rms_epsilon"),
    )


def gguf_latent_keys(metadata: Mapping[str, Any], architecture: str, latents: Latents) -> dict[str, Any]:
    """A file's metadata as ``read_gguf_decoder_config`` reads them: heads of the size of values, none shares a key."""
    heads = metadata.get(f"{architecture}.attention.head_count")
    return {
        **metadata,
        f"{architecture}.attention.key_length": latents.value_dim,
        f"{architecture}.attention.value_length": latents.value_dim,
        f"{architecture}.attention.head_count_kv": heads,
    }


def latent_scale(latents: Latents, scaling: RopeScaling, all_dimensions: float) -> float:
    """The attention scale. all_dimensions: DeepSeek's ``mscale_all_dim``, by which YaRN's factor grows it twice."""
    if scaling.kind == "none" or not all_dimensions or scaling.factor <= 1:
        return float(latents.head_dim**-0.5)
    usual = RopeScaling("yarn", scaling.factor).attention_scale() - 1
    return float(latents.head_dim**-0.5 * (usual * all_dimensions + 1) ** 2)
