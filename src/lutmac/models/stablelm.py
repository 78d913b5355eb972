"""StableLM (Bellagente et al., 2024): LayerNorms, also of heads, a quarter of each head rotated, a parallel residual.

https://arxiv.org/abs/2402.17834
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lutmac.graph.ir import Graph, Value, Vector
from lutmac.graph.operations.layer_norm import LayerNorm
from lutmac.models import Architecture
from lutmac.models.config import DecoderConfig
from lutmac.models.config_gguf import read_gguf_decoder_config
from lutmac.models.config_json import read_decoder_config
from lutmac.models.decoder import Decoder
from lutmac.models.gguf_names import gguf_names
from lutmac.models.metadata import MetadataReader

GGUF_NAMES = {"self_attn.q_layernorm.norms": "attn_q_norm", "self_attn.k_layernorm.norms": "attn_k_norm"}


@dataclass(frozen=True)
class StableLmConfig(DecoderConfig):
    """A decoder. parallel: attention and MLP read the same norm."""

    parallel: bool = False


class LayerNormDecoder(Decoder):
    """A decoder whose norms are LayerNorms."""

    def norm(self, hf: str, x: Value, name: str, width: int | None = None) -> Value:
        """LayerNorm, with bias where the checkpoint has one. width: of each segment that is normed by itself."""
        out, width = replace(x, name=name), width or x.width
        weight = Vector(f"{hf}.weight", width)
        weights = (weight,) * (x.width // width)
        self.ops.append(LayerNorm(x, weights, self.config.rms_norm_eps, out, self.bias(hf, width)))
        return out


class StableLm(LayerNormDecoder):
    """Norms of heads, and layers with a parallel residual."""

    config: StableLmConfig

    def __init__(self, config: StableLmConfig) -> None:
        """As a decoder."""
        super().__init__(config)

    def decoder_layer(self, layer: int, hidden: Value) -> Value:
        """Attention and MLP one after the other, or both on the same norm."""
        return (
            self.parallel_decoder_layer(layer, hidden) if self.config.parallel else super().decoder_layer(layer, hidden)
        )

    def queries_keys_values(self, layer: int, x: Value) -> tuple[Value, Value, Value]:
        """Queries and keys, normed where the model does that."""
        q, k, v = super().queries_keys_values(layer, x)
        if not self.has(f"model.layers.{layer}.self_attn.q_layernorm.norms.0.weight"):
            return q, k, v
        return self._normed_heads(layer, "q", q), self._normed_heads(layer, "k", k), v

    def _normed_heads(self, layer: int, which: str, x: Value) -> Value:
        """Each head has a weight of its own."""
        config, out = self.config, replace(x, name=f"layers.{layer}.{which}_normed")
        hf = f"model.layers.{layer}.self_attn.{which}_layernorm.norms"
        heads = range(x.width // config.head_dim)
        weights = tuple(Vector(f"{hf}.{head}.weight", config.head_dim) for head in heads)
        self.ops.append(LayerNorm(x, weights, config.rms_norm_eps, out))
        return out


def with_layer_norm_eps(metadata: Mapping[str, Any], architecture: str) -> dict[str, Any]:
    """A GGUF file's metadata with LayerNorm's epsilon where decoders have RMSNorm's."""
    eps = MetadataReader(metadata, architecture).number("attention.layer_norm_epsilon", 1e-5)
    return {**metadata, f"{architecture}.attention.layer_norm_rms_epsilon": eps}


def read_config(config: Mapping[str, Any]) -> StableLmConfig:
    """The keys of a config.json."""
    defaults = {"vocab_size": 50304, "hidden_size": 2560, "intermediate_size": 6912, "max_position_embeddings": 4096}
    eps = MetadataReader(config, "").number("layer_norm_eps", 1e-5)
    decoder = read_decoder_config({**defaults, "partial_rotary_factor": 0.25, **config, "rms_norm_eps": eps})
    return StableLmConfig(**vars(decoder), parallel=config.get("use_parallel_residual") is True)


def read_gguf_config(metadata: Mapping[str, Any]) -> StableLmConfig:
    """GGUF's keys."""
    decoder = read_gguf_decoder_config(with_layer_norm_eps(metadata, "stablelm"), "stablelm", "half_split")
    parallel = metadata.get("stablelm.use_parallel_residual", False) is True
    return StableLmConfig(**vars(decoder), parallel=parallel)


def build(config: StableLmConfig) -> Graph:
    """The graph of one step."""
    return StableLm(config).model()


ARCHITECTURE = Architecture("stablelm", read_config, read_gguf_config, gguf_names(GGUF_NAMES), build)
