"""ERNIE 4.5's mixtures of experts (Baidu, 2025). https://ernie.baidu.com/blog/publication/ERNIE_Technical_Report.pdf"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lutmac.graph.ir import Graph
from lutmac.models import Architecture
from lutmac.models.config import MixtureConfig
from lutmac.models.config_gguf import read_gguf_decoder_config
from lutmac.models.config_json import read_decoder_config
from lutmac.models.config_mixture import gguf_mixture, json_mixture
from lutmac.models.gguf_names import MIXTURE_NAMES, gguf_names
from lutmac.models.metadata import MetadataReader
from lutmac.models.mixture import MixtureDecoder

_GGUF, _BIAS = "ernie4_5-moe", "mlp.moe_statics.e_score_correction_bias"
DEFAULTS: Mapping[str, Any] = {
    "vocab_size": 103424, "hidden_size": 2560, "intermediate_size": 12288, "num_hidden_layers": 28,
    "num_attention_heads": 20, "num_key_value_heads": 4, "max_position_embeddings": 131072, "rms_norm_eps": 1e-5,
    "rope_theta": 5e5, "moe_intermediate_size": 1536, "moe_k": 6, "moe_num_experts": 64, "moe_num_shared_experts": 2,
    "moe_layer_start_index": 1, "moe_layer_end_index": -1, "moe_layer_interval": 1,
}  # fmt: skip


class Ernie45Moe(MixtureDecoder):
    """Experts that a bias helps to select, and a shared MLP."""

    SELECTION_BIASES = (_BIAS,)


def read_config(config: Mapping[str, Any]) -> MixtureConfig:
    """The keys of a config.json. Experts are in every ``moe_layer_interval``-th layer from a first to a last one."""
    config = {**DEFAULTS, **config}
    read, decoder = MetadataReader(config, ""), read_decoder_config(config, "interleaved")
    layers, interval = decoder.num_hidden_layers, read.integer("moe_layer_interval")
    first = read.integer("moe_layer_start_index", low=0)
    last = layers - 1 if config["moe_layer_end_index"] in (-1, None) else read.integer("moe_layer_end_index", low=0)
    width = read.integer("moe_num_shared_experts", low=0) * read.integer("moe_intermediate_size")
    dense = (layer for layer in range(layers) if not first <= layer <= last or (layer + 1) % interval)
    return json_mixture(decoder, config, shared_width=width, dense_layers=dense)


def read_gguf_config(metadata: Mapping[str, Any]) -> MixtureConfig:
    """GGUF's keys."""
    shared = MetadataReader(metadata, _GGUF).integer("expert_shared_feed_forward_length", 0, low=0)
    decoder = read_gguf_decoder_config(metadata, _GGUF, "interleaved")
    return gguf_mixture(decoder, metadata, _GGUF, shared_width=shared)


def build(config: MixtureConfig) -> Graph:
    """The graph of one step."""
    return Ernie45Moe(config).model()


ARCHITECTURE = Architecture(
    "ernie4_5_moe", read_config, read_gguf_config, gguf_names({**MIXTURE_NAMES, _BIAS: "exp_probs_b.bias"}), build
)
