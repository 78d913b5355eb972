"""GGUF's names of tensors for Hugging Face's."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

# Hugging Face keeps these in the config; GGUF has them as tensors.
ROPE_FACTORS = "rope_factors"
ROPE_FACTORS_SHORT = "rope_factors_short"
ROPE_FACTORS_LONG = "rope_factors_long"
ROPE_TENSORS = (ROPE_FACTORS, ROPE_FACTORS_SHORT, ROPE_FACTORS_LONG)

_COMMON = {
    ROPE_FACTORS: "rope_freqs",
    ROPE_FACTORS_SHORT: "rope_factors_short",
    ROPE_FACTORS_LONG: "rope_factors_long",
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "self_attn.qkv_proj": "attn_qkv",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
# Of mixtures of experts.
MIXTURE_NAMES: Mapping[str, str] = {
    "mlp.gate": "ffn_gate_inp",
    "mlp.experts.gate_proj": "ffn_gate_exps",
    "mlp.experts.up_proj": "ffn_up_exps",
    "mlp.experts.down_proj": "ffn_down_exps",
    "mlp.gate.e_score_correction_bias": "exp_probs_b.bias",
    **{
        f"mlp.{shared}.{which}_proj": f"ffn_{which}_shexp"
        for shared in ("shared_experts", "shared_expert")
        for which in ("gate", "up", "down")
    },
    "mlp.shared_expert_gate": "ffn_gate_inp_shexp",
}


def gguf_names(different: Mapping[str, str] | None = None, layers: str = "model.layers") -> Callable[[str], str]:
    """The function from a tensor's name to GGUF's: ``model.layers.0.mlp.up_proj.weight`` is ``blk.0.ffn_up.weight``.

    different: names in a layer that only this family has, or for which it has others. GGUF stacks the matrices of a
    layer's experts in one tensor, and those and the weights of norms of heads: ``experts.3.up_proj.weight``, listed as
    ``experts.up_proj``, is ``ffn_up_exps.weight[3]``. A name in ``different`` may have the kind, too:
    ``self_attn.sinks`` is ``attn_sinks.weight``. So may whole names of tensors outside of layers. What GGUF has no name
    for keeps its own. layers: what names within layers begin with.
    """
    table = {**_COMMON, **(different or {})}
    in_layer = re.compile(rf"{re.escape(layers)}\.(\d+)\.(.+)")

    def gguf_name(name: str) -> str:
        if name in ROPE_TENSORS:
            return f"{table[name]}.weight"
        if name in table:
            return table[name]
        within = in_layer.fullmatch(name)
        if within and within[2] in table:
            return f"blk.{within[1]}.{table[within[2]]}"
        stem, _, kind = name.rpartition(".")
        layer = in_layer.fullmatch(stem)
        if not layer:
            return f"{table.get(stem, stem)}.{kind}"
        stacked = re.search(r"\b(experts|heads|norms)\.(\d+)", layer[2])
        if stacked:
            stack = table.get(layer[2].replace(stacked[0], stacked[1]))
            return name if stack is None else f"blk.{layer[1]}.{stack}.{kind}[{stacked[2]}]"
        return f"blk.{layer[1]}.{table[layer[2]]}.{kind}" if layer[2] in table else name

    return gguf_name
