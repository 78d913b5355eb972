"""The configurations that encoders are tested in: what config.json of real checkpoints says, of small models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TOKENS = [(7 * i * i + 3 * i + 11) % 300 for i in range(300)]  # more than a span of attention, and than the windows
KEPT = slice(3, None, 37)  # positions whose hidden states are committed
SECOND = 170  # the first token of the second text, where types are told apart


@dataclass(frozen=True)
class EncoderCase:
    """One configuration. head: transformers' class of a model that classifies texts, None for one without a head.

    tokens: how many of TOKENS. pair: whether types are told apart.
    """

    config: Mapping[str, Any]
    head: str | None = None
    tokens: int = len(TOKENS)
    pair: bool = False


def case(model_type: str, head: str | None = None, *, pair: bool = False, **changes: Any) -> EncoderCase:
    config: dict[str, Any] = {
        "model_type": model_type,
        "vocab_size": 320,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": 320,
        "layer_norm_eps": 1e-5,
        "pad_token_id": 0,
        "bos_token_id": 300,
        "eos_token_id": 301,
    }
    config |= changes
    if head is not None:
        config["architectures"] = [head]
    return EncoderCase({key: value for key, value in config.items() if value is not ...}, head, pair=pair)


ODD = {"hidden_size": 96, "num_attention_heads": 3, "vocab_size": 333, "intermediate_size": 160}
THIN = {"num_attention_heads": 8}  # heads of 8: less than a vector
GEMMA = {
    "layer_norm_eps": ..., "rms_norm_eps": 1e-6, "num_hidden_layers": 7, "num_key_value_heads": 1, "head_dim": 32,
    "query_pre_attn_scalar": 32, "sliding_window": 24, "hidden_activation": "gelu_pytorch_tanh",
    "use_bidirectional_attention": True, "tie_word_embeddings": True,
}  # fmt: skip
MODERN = {"layer_norm_eps": ..., "norm_eps": 1e-5, "local_attention": 24, "num_hidden_layers": 4}
CASES: Mapping[str, EncoderCase] = {
    "bert": case("bert"),
    "bert-odd": case("bert", **ODD, layer_norm_eps=1e-12),
    "bert-thin": case("bert", **THIN, hidden_act="gelu_new", type_vocab_size=1),
    "bert-classifier": case("bert", "BertForSequenceClassification", pair=True, num_labels=1),
    "roberta": case("roberta", pad_token_id=1, type_vocab_size=1),
    "xlm-roberta": case("xlm-roberta", pad_token_id=1, type_vocab_size=1),
    "xlm-roberta-classifier": case(
        "xlm-roberta", "XLMRobertaForSequenceClassification", pad_token_id=1, type_vocab_size=1, num_labels=3
    ),
    "nomic": case("nomic_bert"),
    "nomic-odd": case("nomic_bert", **ODD),
    "nomic-moe": case(
        "nomic_bert",
        num_hidden_layers=4,
        moe_every_n_layers=2,
        num_experts=6,
        moe_top_k=2,
        type_vocab_size=1,
        activation_function="gelu",
        rotary_emb_base=10000.0,
        moe_normalize_expert_weights=False,
    ),
    "modernbert": case("modernbert", **MODERN),
    "modernbert-odd": case("modernbert", **{**MODERN, **ODD}),
    "modernbert-classifier": case(
        "modernbert", "ModernBertForSequenceClassification", **MODERN, num_labels=1, classifier_pooling="mean"
    ),
    "modernbert-classifier-cls": case(
        "modernbert", "ModernBertForSequenceClassification", **MODERN, num_labels=2, classifier_pooling="cls"
    ),
    "embedding-gemma": case("gemma3_text", **GEMMA),
}
