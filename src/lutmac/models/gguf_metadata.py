"""What a decoder's configuration becomes in GGUF's metadata, and what each family adds (docs/gguf.md in ggml)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from lutmac.models.apertus import PARAMETERS, ApertusConfig
from lutmac.models.config import DecoderConfig, MixtureConfig
from lutmac.models.config_json import ACTIVATIONS
from lutmac.models.delta_attention import DeltaConfig
from lutmac.models.delta_net import HybridConfig
from lutmac.models.encoder import EncoderConfig
from lutmac.models.encoder_config import CLASSIFIER_POOLING
from lutmac.models.gemma3n_config import Gemma3nConfig
from lutmac.models.gemma4_config import Gemma4Config
from lutmac.models.gemma4_config import gguf_metadata as gemma4_metadata
from lutmac.models.gguf_delta_net import delta_net_metadata
from lutmac.models.gguf_latents import latent_metadata
from lutmac.models.gguf_mamba2 import granite_hybrid_keys, mamba_keys, nemotron_keys
from lutmac.models.granite_hybrid import GraniteHybridConfig
from lutmac.models.latent_attention import LatentMixtureConfig
from lutmac.models.lfm2 import Lfm2Config
from lutmac.models.nomic_bert import NomicMixtureConfig
from lutmac.models.rope import RopeScaling
from lutmac.models.stablelm import StableLmConfig

RANK: Final = 4  # of llama.cpp's enum llama_pooling_type
Keys = Callable[[Any], Mapping[str, Any]]
_SCORES: Final = {"softmax": 1, "sigmoid": 2}  # GGUF's numbers


def _nothing(_: Any) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True)
class GGUFFamily:
    """How GGUF has a family, and readers such as llama.cpp with it.

    name: its architecture there. biases: whether products may have them. keys: of a configuration, those that only this
    family has, or has otherwise; None: it lacks a key that others have. dense_layers: whether the first layers may be
    without experts. scales_experts: whether the weights of experts may be scaled. long_rope: whether there may be
    factors for each frequency. norms_experts: whether the weights of the experts that a token goes to sum to 1, where
    readers have that fixed; None: the file says it. head: whose weights the head has: the file's tensor for it, the
    embedding's, or either.
    """

    name: str
    biases: bool = False
    keys: Keys = _nothing
    dense_layers: bool = False
    scales_experts: bool = True
    long_rope: bool = False
    norms_experts: bool | None = None
    head: Literal["own", "embedding", "either"] = "either"


def _pattern(config: DecoderConfig) -> Mapping[str, Any]:
    return {"attention.sliding_window_pattern": np.array(config.windows) > 0} if any(config.windows) else {}


def _layer_norms(config: DecoderConfig) -> Mapping[str, Any]:
    return {"attention.layer_norm_epsilon": config.rms_norm_eps}


def _cohere2(config: DecoderConfig) -> Mapping[str, Any]:
    return {**_pattern(config), **_layer_norms(config), "logit_scale": config.logits_scale}


def _granite(config: DecoderConfig) -> Mapping[str, Any]:
    return {
        "logit_scale": 1 / config.logits_scale,
        "embedding_scale": config.embedding_scale,
        "residual_scale": config.residual_scale,
        "attention.scale": attention_scale(config),
    }


def _granite_hybrid(config: GraniteHybridConfig) -> Mapping[str, Any]:
    return {**_granite(config), **granite_hybrid_keys(config)}


def _granite_swa(config: DecoderConfig) -> Mapping[str, Any]:
    rotated = ~np.isin(np.arange(config.num_hidden_layers), config.no_rope_layers)
    return {**_granite(config), **_pattern(config), "attention.rope_pattern": rotated}


def _muse_glimmer(config: DecoderConfig) -> Mapping[str, Any]:
    return {**_pattern(config), "logit_scale": config.logits_scale}


def _stablelm(config: StableLmConfig) -> Mapping[str, Any]:
    return {**_layer_norms(config), "use_parallel_residual": config.parallel}


def _lfm2(config: Lfm2Config) -> Mapping[str, Any]:
    has_heads = np.isin(np.arange(config.num_hidden_layers), config.attention_layers)
    return {
        "attention.head_count_kv": (has_heads * config.num_key_value_heads).astype(np.int32),
        "shortconv.l_cache": config.kernel,
    }


def _shared_count(config: MixtureConfig) -> Mapping[str, Any]:
    return {"expert_shared_count": config.shared_expert_intermediate_size // config.moe_intermediate_size}


def _afmoe(config: MixtureConfig) -> Mapping[str, Any]:
    return {**_pattern(config), **_shared_count(config)}


def _ernie_moe(config: MixtureConfig) -> Mapping[str, Any]:
    return {**_shared_count(config), "interleave_moe_layer_step": 1}


def _apertus(config: ApertusConfig) -> Mapping[str, Any]:
    of_layers = np.array(config.xielu, np.float32).reshape(config.num_hidden_layers, len(PARAMETERS))
    return {f"/xielu.{name}": of_layers[:, place].copy() for place, name in enumerate(PARAMETERS)}


def _gemma3n(config: Gemma3nConfig) -> Mapping[str, Any]:
    widths = config.layer_widths or (config.intermediate_size,) * config.num_hidden_layers
    found = {
        **_pattern(config),
        "feed_forward_length": np.array(widths, np.int32),
        "attention.shared_kv_layers": sum(source != layer for layer, source in enumerate(config.keys_of)),
        "embedding_length_per_layer_input": config.per_layer_width,
        "altup.num_inputs": config.altup_streams,
        "altup.active_idx": config.altup_active,
    }
    deviations = config.sparsity or (None,) * config.num_hidden_layers
    all_gates = -np.inf  # as GGUF writes it
    found["activation_sparsity_scale"] = np.array(
        [all_gates if value is None else value for value in deviations], np.float32
    )
    return found


def _latents(config: LatentMixtureConfig) -> Mapping[str, Any]:
    return {**latent_metadata(config.latents, config.rope.scaling, attention_scale(config)), **_shared_count(config)}


def _delta(config: DeltaConfig) -> Mapping[str, Any]:
    attends = np.isin(np.arange(config.num_hidden_layers), config.attention_layers)
    return {
        **_latents(config),
        "attention.head_count_kv": attends.astype(np.int32),
        "kda.head_dim": config.delta.head_dim,
        "ssm.conv_kernel": config.delta.kernel,
        "rope.dimension_count": config.latents.rope_dim,
    }


def _ling(config: DeltaConfig) -> Mapping[str, Any]:
    return {**_delta(config), "kda.safe_gate": True, "kda.gate_lower_bound": config.delta.lower_bound}


def _encoder(config: EncoderConfig) -> Mapping[str, Any]:
    return {
        **_layer_norms(config),
        "attention.causal": False,
        "/tokenizer.ggml.token_type_count": config.type_vocab_size,
        **({"pooling_type": RANK} if config.classifier_rows == 1 else {}),
    }


def _embedding_gemma(config: DecoderConfig) -> Mapping[str, Any]:
    return {**_pattern(config), "attention.causal": False}


def _nomic_bert(config: EncoderConfig) -> Mapping[str, Any]:
    found = dict(_encoder(config))
    if isinstance(config, NomicMixtureConfig):
        having = [layer for layer in range(config.num_hidden_layers) if layer not in config.dense_layers]
        found["moe_every_n_layers"] = having[1] - having[0] if len(having) > 1 else config.num_hidden_layers
    return found


def _modernbert(config: EncoderConfig) -> Mapping[str, Any]:
    return {
        **_encoder(config),
        **_pattern(config),
        "classifier.pooling_type": next(
            n for n, kind in CLASSIFIER_POOLING.items() if kind == config.classifier_pooling
        ),
        "hidden_act": next((name for name, kind in ACTIVATIONS.items() if kind == config.activation), "gelu"),
    }


# By the names of our architectures; those that GGUF does not know are missing.
FAMILIES: Final[Mapping[str, GGUFFamily]] = {
    "afmoe": GGUFFamily("afmoe", keys=_afmoe, dense_layers=True),
    "apertus": GGUFFamily("apertus", keys=_apertus, head="own"),
    "bailing_hybrid": GGUFFamily("bailingmoe3", keys=_ling, dense_layers=True),
    "bert": GGUFFamily("bert", biases=True, keys=_encoder),
    "bitnet": GGUFFamily("bitnet", head="embedding"),
    "cohere2": GGUFFamily("cohere2", keys=_cohere2, head="embedding"),
    "deepseek": GGUFFamily("deepseek2", keys=_latents, dense_layers=True),
    "ernie4_5": GGUFFamily("ernie4_5"),
    "ernie4_5_moe": GGUFFamily("ernie4_5-moe", keys=_ernie_moe, dense_layers=True, norms_experts=True),
    "exaone4": GGUFFamily("exaone4", keys=_pattern),
    "falcon_h1": GGUFFamily("falcon-h1", keys=mamba_keys),
    "gemma2": GGUFFamily("gemma2", head="embedding"),
    "gemma-embedding": GGUFFamily("gemma-embedding", keys=_embedding_gemma),
    "gemma3": GGUFFamily("gemma3", keys=_pattern),
    "gemma3n": GGUFFamily("gemma3n", keys=_gemma3n),
    "gemma4": GGUFFamily("gemma4"),
    "glm4": GGUFFamily("glm4", biases=True),
    "glm4_moe": GGUFFamily("glm4moe", biases=True, keys=_shared_count, dense_layers=True),
    "gpt_oss": GGUFFamily("gpt-oss", biases=True, head="own"),
    "granite": GGUFFamily("granite", keys=_granite),
    "granitemoe": GGUFFamily("granitemoe", keys=_granite, norms_experts=True),
    "granite_swa": GGUFFamily("granite_swa", keys=_granite_swa, norms_experts=True),
    "granitemoehybrid": GGUFFamily("granitehybrid", keys=_granite_hybrid, norms_experts=True),
    "hunyuan_v1_dense": GGUFFamily("hunyuan-dense", head="embedding"),
    "kimi_linear": GGUFFamily("kimi-linear", keys=_delta, dense_layers=True, norms_experts=True, head="own"),
    "laguna": GGUFFamily("laguna", keys=_pattern, dense_layers=True),
    "lfm2": GGUFFamily("lfm2", keys=_lfm2),
    "lfm2_moe": GGUFFamily("lfm2moe", keys=_lfm2, dense_layers=True, scales_experts=False, norms_experts=True),
    "llama": GGUFFamily("llama", biases=True),
    "mellum": GGUFFamily("mellum", keys=_pattern, norms_experts=True, head="own"),
    "ministral3": GGUFFamily("mistral3"),
    "mistral": GGUFFamily("llama"),
    "mixtral": GGUFFamily("llama", norms_experts=True),
    "muse_glimmer": GGUFFamily("muse-glimmer", keys=_muse_glimmer, head="own"),
    "nemotron_h": GGUFFamily("nemotron_h", keys=nemotron_keys),
    "modernbert": GGUFFamily("modern-bert", biases=True, keys=_modernbert),
    "nomic_bert": GGUFFamily("nomic-bert", biases=True, keys=_nomic_bert),
    "olmo2": GGUFFamily("olmo2", keys=_pattern, head="own"),
    "olmoe": GGUFFamily("olmoe", norms_experts=False, head="own"),
    "phi": GGUFFamily("phi2", biases=True, keys=_layer_norms, head="own"),
    "phi3": GGUFFamily("phi3", long_rope=True),
    "qwen2": GGUFFamily("qwen2", biases=True),
    "qwen2_moe": GGUFFamily("qwen2moe", biases=True, norms_experts=False, head="own"),
    "qwen3": GGUFFamily("qwen3"),
    "qwen3_5": GGUFFamily("qwen35"),
    "qwen3_moe": GGUFFamily("qwen3moe", norms_experts=True),
    "qwen3_next": GGUFFamily("qwen35moe", norms_experts=True),
    "seed_oss": GGUFFamily("seed_oss", biases=True),
    "smollm3": GGUFFamily("smollm3"),
    "stablelm": GGUFFamily("stablelm", biases=True, keys=_stablelm, head="own"),
    "starcoder2": GGUFFamily("starcoder2", biases=True, keys=_layer_norms),
}


def gguf_metadata(family: GGUFFamily, config: DecoderConfig) -> dict[str, Any]:
    """All keys of a configuration, with the architecture in front; a key that begins with / has none."""
    found = {**_of_decoder(family, config), **_of_mixture(family, config), **family.keys(config)}
    return {
        key[1:] if key.startswith("/") else f"{family.name}.{key}": value
        for key, value in found.items()
        if value is not None
    }


def attention_scale(config: DecoderConfig) -> float:
    """What scores are multiplied by."""
    return config.head_dim**-0.5 if config.attention_scale is None else config.attention_scale


def _of_decoder(family: GGUFFamily, config: DecoderConfig) -> dict[str, Any]:
    """Keys without the architecture's prefix."""
    found: dict[str, Any] = {
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size,
        "block_count": config.num_hidden_layers,
        "attention.head_count": np.array(config.layer_heads, np.int32)
        if config.layer_heads
        else config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.key_length": config.head_dim,
        "attention.value_length": config.head_dim,
        "attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        "rope.dimension_count": config.rope.rotary_dim,
        "rope.freq_base": config.rope.theta,
        "vocab_size": config.vocab_size,
        **_scaling(family, config.rope.scaling),
        **(delta_net_metadata(config) if isinstance(config, HybridConfig) else {}),
        **(gemma4_metadata(config) if isinstance(config, Gemma4Config) else {}),
    }
    if config.layer_heads:
        found["attention.head_count"] = np.array(config.layer_heads, np.int32)
    if any(config.windows):
        found["attention.sliding_window"] = max(config.windows)
    if config.local_rope is not None:
        found["rope.freq_base_swa"] = config.local_rope.theta
        if config.local_rope.rotary_dim != config.rope.rotary_dim:
            found["rope.dimension_count_swa"] = config.local_rope.rotary_dim
    if config.attention_softcap:
        found["attn_logit_softcapping"] = config.attention_softcap
    if config.logits_softcap:
        found["final_logit_softcapping"] = config.logits_softcap
    if config.query_beta:
        found["attention.temperature_scale"] = config.query_beta
    return found


def _of_mixture(family: GGUFFamily, config: DecoderConfig) -> dict[str, Any]:
    """Keys of a mixture of experts; none of a decoder without one."""
    if not isinstance(config, MixtureConfig) or not config.num_experts:
        return {}
    found: dict[str, Any] = {
        "expert_count": config.num_experts,
        "expert_used_count": config.num_experts_per_tok,
        "expert_feed_forward_length": config.moe_intermediate_size,
        "expert_gating_func": _SCORES[config.expert_scores],
        "expert_weights_norm": config.norm_topk_prob,
    }
    if family.scales_experts:
        found["expert_weights_scale"] = config.routed_scaling_factor
    if family.dense_layers:
        found["leading_dense_block_count"] = len(config.dense_layers)
    if config.expert_groups > 1:
        found |= {"expert_group_count": config.expert_groups, "expert_group_used_count": config.top_groups}
    if config.shared_expert_intermediate_size:
        found["expert_shared_feed_forward_length"] = config.shared_expert_intermediate_size
    return found


def _scaling(family: GGUFFamily, scaling: RopeScaling) -> Mapping[str, Any]:
    if scaling.kind in ("none", "llama3"):  # the latter is a tensor of factors
        return {}
    if scaling.kind == "longrope" and family.long_rope:  # two tensors of factors
        return {
            "rope.scaling.attn_factor": scaling.attention_scale(),
            "rope.scaling.original_context_length": scaling.original_context,
        }
    found: dict[str, Any] = {"rope.scaling.type": scaling.kind, "rope.scaling.factor": scaling.factor}
    if scaling.kind == "yarn":
        recommended = RopeScaling("yarn", scaling.factor).attention_scale()
        found["rope.scaling.original_context_length"] = scaling.original_context
        if scaling.attention_scale() != recommended:
            found["rope.scaling.attn_factor"] = scaling.attention_scale() / recommended
        found["rope.scaling.yarn_beta_fast"] = scaling.beta_fast
        found["rope.scaling.yarn_beta_slow"] = scaling.beta_slow
    return found
