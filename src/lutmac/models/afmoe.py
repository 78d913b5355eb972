"""Trinity, AFMoE (Arcee, 2025): gated attention with normed heads, norms on both sides of each part, experts.

Windows are in three of four layers, the only ones with rope. https://arxiv.org/abs/2602.17004
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lutmac.graph.ir import Graph, Value
from lutmac.models import Architecture
from lutmac.models.config import DecoderConfig, MixtureConfig
from lutmac.models.config_gguf import read_gguf_decoder_config, read_gguf_windows
from lutmac.models.config_json import read_decoder_config, read_windows
from lutmac.models.config_mixture import Unsaid, gguf_mixture, json_mixture
from lutmac.models.gemma2 import NormedTwice
from lutmac.models.gguf_names import MIXTURE_NAMES, gguf_names
from lutmac.models.metadata import MetadataReader
from lutmac.models.mixture import ExpertNames, MixtureDecoder
from lutmac.models.qwen3 import GGUF_NAMES as NORMED_HEADS_NAMES
from lutmac.models.qwen3 import NormedHeads

GGUF_NAMES = {
    **MIXTURE_NAMES,
    **NORMED_HEADS_NAMES,
    "mlp.router.gate": "ffn_gate_inp",
    "mlp.expert_bias": "exp_probs_b.bias",
    "self_attn.gate_proj": "attn_gate",
    "post_attention_layernorm": "post_attention_norm",
    "pre_mlp_layernorm": "ffn_norm",
    "post_mlp_layernorm": "post_ffw_norm",
}
PERIOD = 4
DEFAULTS: Mapping[str, Any] = {
    "vocab_size": 200192, "hidden_size": 2048, "intermediate_size": 6144, "num_attention_heads": 16, "head_dim": 128,
    "max_position_embeddings": 16384, "rms_norm_eps": 1e-5, "moe_intermediate_size": 1408, "num_dense_layers": 1,
    "num_experts": 64, "num_experts_per_tok": 6, "num_shared_experts": 2, "sliding_window": 1024,
    "global_attn_every_n_layers": PERIOD,
}  # fmt: skip


class GatedAttention(NormedHeads):
    """What attention makes, times the sigmoid of a gate for each of its floats."""

    def gated_attention(self, layer: int, x: Value, attended: Value) -> Value:
        """sigmoid(gate) * attended."""
        name = f"layers.{layer}.attention_gate"
        gate = self.linear(f"model.layers.{layer}.self_attn.gate_proj", x, attended.width, name)
        return self.gated_by("sigmoid", gate, attended, name)


class AfMoe(MixtureDecoder, NormedTwice, GatedAttention):
    """Experts that a bias helps to select."""

    NORMS = ("input_layernorm", "post_attention_layernorm", "pre_mlp_layernorm", "post_mlp_layernorm")
    NAMES = (ExpertNames("mlp", "gate_proj", "up_proj", "down_proj", "router.gate"),)
    SELECTION_BIASES = ("mlp.expert_bias",)


def _with_windows(decoder: DecoderConfig, windows: tuple[int, ...], scale: float) -> DecoderConfig:
    plain = tuple(layer for layer in range(decoder.num_hidden_layers) if not (windows and windows[layer]))
    return replace(decoder, windows=windows, no_rope_layers=plain, embedding_scale=scale)


def read_config(config: Mapping[str, Any]) -> MixtureConfig:
    """The keys of a config.json."""
    config = {**DEFAULTS, **config}
    read, decoder = MetadataReader(config, ""), read_decoder_config(config)
    period, width = read.integer("global_attn_every_n_layers"), read.integer("moe_intermediate_size")
    windows = read_windows(config, decoder.num_hidden_layers, lambda layer: (layer + 1) % period != 0)
    return json_mixture(
        _with_windows(decoder, windows, decoder.hidden_size**0.5 if config.get("mup_enabled") is True else 1.0),
        {**config, "norm_topk_prob": config.get("route_norm", True)},
        scores="sigmoid",
        shared_width=read.integer("num_shared_experts", low=0) * width,
        dense_layers=range(min(read.integer("num_dense_layers", low=0), decoder.num_hidden_layers)),
    )


def read_gguf_config(metadata: Mapping[str, Any]) -> MixtureConfig:
    """GGUF's keys, of models with muP."""
    read, decoder = MetadataReader(metadata, "afmoe"), read_gguf_decoder_config(metadata, "afmoe", "half_split")
    windows = read_gguf_windows(read, decoder.num_hidden_layers, lambda layer: (layer + 1) % PERIOD != 0)
    decoder = _with_windows(decoder, windows, decoder.hidden_size**0.5)
    shared = read.integer("expert_shared_count", low=0) * read.same_for_all_layers("expert_feed_forward_length")
    return gguf_mixture(decoder, metadata, "afmoe", Unsaid("sigmoid", normalized=False), shared_width=shared)


def build(config: MixtureConfig) -> Graph:
    """The graph of one step."""
    return AfMoe(config).model()


ARCHITECTURE = Architecture("afmoe", read_config, read_gguf_config, gguf_names(GGUF_NAMES), build)
