"""BERT and RoBERTa (Devlin et al., 2018; Liu et al., 2019), whose kind MiniLM, BGE, mxbai, E5 and most rerankers are.

https://arxiv.org/abs/1810.04805, https://arxiv.org/abs/1907.11692
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from lutmac.errors import UnsupportedModelError
from lutmac.graph.ir import Graph, Value
from lutmac.models import Architecture
from lutmac.models.config_json import read_activation
from lutmac.models.encoder import Encoder, EncoderConfig
from lutmac.models.encoder_config import gguf_encoder_config, json_encoder_config
from lutmac.models.gguf_names import gguf_names
from lutmac.models.metadata import MetadataReader

LAYERS = "model.encoder.layer"
GGUF_NAMES = {
    "model.embeddings.word_embeddings": "token_embd",
    "model.embeddings.position_embeddings": "position_embd",
    "model.embeddings.token_type_embeddings": "token_types",
    "model.embeddings.LayerNorm": "token_embd_norm",
    "attention.self.qkv": "attn_qkv",
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
    "classifier.dense": "cls",
    "classifier.out_proj": "cls.output",
}
DEFAULTS: Mapping[str, Any] = {
    "vocab_size": 30522, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
    "intermediate_size": 3072, "hidden_act": "gelu", "max_position_embeddings": 512, "type_vocab_size": 2,
    "layer_norm_eps": 1e-12, "pad_token_id": 0,
}  # fmt: skip
# Of transformers, where a RoBERTa's config.json does not say.
ROBERTA_DEFAULTS: Mapping[str, Any] = {"vocab_size": 50265, "layer_norm_eps": 1e-5, "pad_token_id": 1}


class Bert(Encoder):
    """Learned positions, biases, and an MLP without a gate."""

    LAYERS = LAYERS
    PARTS: ClassVar[Mapping[str, str]] = {
        "qkv": "attention.self.qkv",
        "q": "attention.self.query",
        "k": "attention.self.key",
        "v": "attention.self.value",
        "output": "attention.output.dense",
        "attention_norm": "attention.output.LayerNorm",
        "up": "intermediate.dense",
        "down": "output.dense",
        "mlp_norm": "output.LayerNorm",
    }

    def classifier(self, x: Value) -> None:
        """BERT's head reads its pooler; RoBERTa's, and those of GGUF files, have a product of their own or none."""
        if self.has("classifier.out_proj.weight"):
            hidden = self.head_layer("classifier.dense", x) if self.has("classifier.dense.weight") else x
            return self.classifier_logits("classifier.out_proj", hidden)
        return self.classifier_logits("classifier", self.head_layer("model.pooler.dense", x))


def read_config(config: Mapping[str, Any]) -> EncoderConfig:
    """The keys of a config.json. RoBERTa's positions begin behind that of padding."""
    kind = config.get("model_type", "bert")
    config = {**DEFAULTS, **({} if kind == "bert" else ROBERTA_DEFAULTS), **config}
    for key, usual in (("position_embedding_type", "absolute"), ("is_decoder", False)):
        if config.get(key, usual) not in (usual, None):
            raise UnsupportedModelError(f"{kind} with {key} {config[key]!r} is not supported")
    read = MetadataReader(config, "")
    rows = read.integer("max_position_embeddings")
    first = 0 if kind == "bert" else read.integer("pad_token_id", low=0) + 1
    return json_encoder_config(
        config,
        max_position_embeddings=rows - first,
        activation=read_activation(config),
        type_vocab_size=read.integer("type_vocab_size", low=0),
        position_rows=rows,
        first_position=first,
    )


def read_gguf_config(metadata: Mapping[str, Any]) -> EncoderConfig:
    """GGUF's keys; positions begin with the first row, whatever the model was."""
    read = MetadataReader(metadata, "bert")
    return gguf_encoder_config(metadata, "bert", position_rows=read.integer("context_length"))


def build(config: EncoderConfig) -> Graph:
    """The graph of one step."""
    return Bert(config).model()


ARCHITECTURE = Architecture("bert", read_config, read_gguf_config, gguf_names(GGUF_NAMES, LAYERS), build)
