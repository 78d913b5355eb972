"""Architectures: one file per family, and the registry that finds it by the name in a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol, Self

from lutmac.errors import UnsupportedModelError
from lutmac.graph.ir import Graph
from lutmac.models.rotation import Rotation, rotated

# Architecture as a GGUF file or config.json's model_type names it -> the module that builds it.
REGISTRY = {
    "afmoe": "lutmac.models.afmoe",
    "apertus": "lutmac.models.apertus",
    "bailing_hybrid": "lutmac.models.bailing_hybrid",
    "bailingmoe2": "lutmac.models.bailing_moe2",
    "bailingmoe3": "lutmac.models.bailing_hybrid",
    "bert": "lutmac.models.bert",
    "bitnet": "lutmac.models.bitnet",
    "bitnet-25": "lutmac.models.bitnet",
    "bitnet-b1.58": "lutmac.models.bitnet",
    "cohere2": "lutmac.models.cohere2",
    "deepseek2": "lutmac.models.deepseek",
    "deepseek_v2": "lutmac.models.deepseek",
    "deepseek_v3": "lutmac.models.deepseek",
    "ernie4_5": "lutmac.models.ernie4_5",
    "ernie4_5-moe": "lutmac.models.ernie4_5_moe",
    "ernie4_5_moe": "lutmac.models.ernie4_5_moe",
    "exaone4": "lutmac.models.exaone4",
    "falcon-h1": "lutmac.models.falcon_h1",
    "falcon_h1": "lutmac.models.falcon_h1",
    "gemma-embedding": "lutmac.models.embedding_gemma",
    "gemma2": "lutmac.models.gemma2",
    "gemma3": "lutmac.models.gemma3",
    "gemma3_text": "lutmac.models.gemma3",
    "gemma3n": "lutmac.models.gemma3n",
    "gemma3n_text": "lutmac.models.gemma3n",
    "gemma4": "lutmac.models.gemma4",
    "gemma4_text": "lutmac.models.gemma4",
    "gemma4_unified": "lutmac.models.gemma4",
    "gemma4_unified_text": "lutmac.models.gemma4",
    "glm4": "lutmac.models.glm4",
    "glm4_moe": "lutmac.models.glm4_moe",
    "glm4_moe_lite": "lutmac.models.deepseek",
    "glm4moe": "lutmac.models.glm4_moe",
    "gpt-oss": "lutmac.models.gpt_oss",
    "gpt_oss": "lutmac.models.gpt_oss",
    "granite": "lutmac.models.granite",
    "granite_swa": "lutmac.models.granite_swa",
    "granitehybrid": "lutmac.models.granite_hybrid",
    "granitemoe": "lutmac.models.granite_moe",
    "granitemoe_swa": "lutmac.models.granite_swa",
    "granitemoehybrid": "lutmac.models.granite_hybrid",
    "granitemoeshared": "lutmac.models.granite_moe",
    "hunyuan-dense": "lutmac.models.hunyuan_dense",
    "hunyuan_v1_dense": "lutmac.models.hunyuan_dense",
    "internlm3": "lutmac.models.llama",
    "kimi-linear": "lutmac.models.kimi_linear",
    "kimi_linear": "lutmac.models.kimi_linear",
    "laguna": "lutmac.models.laguna",
    "lfm2": "lutmac.models.lfm2",
    "lfm2_moe": "lutmac.models.lfm2_moe",
    "lfm2moe": "lutmac.models.lfm2_moe",
    "lfm3": "lutmac.models.lfm3",
    "llama": "lutmac.models.llama",
    "maple": "lutmac.models.maple",
    "mellum": "lutmac.models.mellum",
    "ministral3": "lutmac.models.ministral3",
    "mistral": "lutmac.models.mistral",
    "mistral3": "lutmac.models.ministral3",
    "mixtral": "lutmac.models.mixtral",
    "modern-bert": "lutmac.models.modernbert",
    "modernbert": "lutmac.models.modernbert",
    "muse-glimmer": "lutmac.models.muse_glimmer",
    "muse_glimmer": "lutmac.models.muse_glimmer",
    "muse_glimmer_text": "lutmac.models.muse_glimmer",
    "nemotron_h": "lutmac.models.nemotron_h",
    "nemotron_h_moe": "lutmac.models.nemotron_h",
    "nomic-bert": "lutmac.models.nomic_bert",
    "nomic-bert-moe": "lutmac.models.nomic_bert",
    "nomic_bert": "lutmac.models.nomic_bert",
    "olmo2": "lutmac.models.olmo2",
    "olmo3": "lutmac.models.olmo2",
    "olmoe": "lutmac.models.olmoe",
    "phi": "lutmac.models.phi",
    "phi2": "lutmac.models.phi",
    "phi3": "lutmac.models.phi3",
    "qwen2": "lutmac.models.qwen2",
    # The text of those that read images, under its own name or, in older files, with the rest.
    "qwen2_moe": "lutmac.models.qwen2_moe",
    "qwen2moe": "lutmac.models.qwen2_moe",
    "qwen2_5_vl": "lutmac.models.qwen2",
    "qwen2_5_vl_text": "lutmac.models.qwen2",
    "qwen2_vl": "lutmac.models.qwen2",
    "qwen2_vl_text": "lutmac.models.qwen2",
    "qwen2vl": "lutmac.models.qwen2",
    "qwen3": "lutmac.models.qwen3",
    "qwen35": "lutmac.models.qwen3_5",
    "qwen35moe": "lutmac.models.qwen3_next",
    "qwen3_5": "lutmac.models.qwen3_5",
    "qwen3_5_moe": "lutmac.models.qwen3_next",
    "qwen3_5_moe_text": "lutmac.models.qwen3_next",
    "qwen3_5_text": "lutmac.models.qwen3_5",
    "qwen3_moe": "lutmac.models.qwen3_moe",
    "qwen3_next": "lutmac.models.qwen3_next",
    "qwen3_vl_moe_text": "lutmac.models.qwen3_moe",
    "qwen3_vl_text": "lutmac.models.qwen3",
    "qwen3moe": "lutmac.models.qwen3_moe",
    "qwen3next": "lutmac.models.qwen3_next",
    "qwen3vl": "lutmac.models.qwen3",
    "qwen3vlmoe": "lutmac.models.qwen3_moe",
    "roberta": "lutmac.models.bert",
    "seed_oss": "lutmac.models.seed_oss",
    "smollm3": "lutmac.models.smollm3",
    "stablelm": "lutmac.models.stablelm",
    "starcoder2": "lutmac.models.starcoder2",
    "xlm-roberta": "lutmac.models.bert",
}
# Left out by name: as GGUF files and directories call them.
_TOO_LARGE = {
    **dict.fromkeys(("kimi_k2", "kimi_k25", "kimi-k3"), "Kimi K2 and its successors"),
    **dict.fromkeys(("deepseek_v32", "deepseek_v4", "deepseek32", "deepseek4"), "DeepSeek V3.2 and V4"),
    **dict.fromkeys(("glm_moe_dsa", "glm5_next", "glm5_next_text", "glm-dsa", "glm5-next"), "GLM-5"),
    **dict.fromkeys(("qwen4_exp", "qwen4_exp_text", "qwen4exp"), "Qwen4-Exp"),
}
# What a checkpoint's "architectures" says where its model_type says less: 1bitLLM's models call themselves llamas.
_BY_CLASS = {"BitnetForCausalLM": "bitnet"}


class Tensors(Protocol):
    """What a checkpoint holds, by Hugging Face's names."""

    def has(self, name: str) -> bool:
        """Whether the checkpoint holds this tensor."""

    def values(self, name: str, width: int) -> tuple[float, ...]:
        """A small vector's values. Raises CheckpointError where it has another width."""

    def rows(self, name: str) -> int:
        """Rows of a matrix, 0 where there is none."""


class ModelConfig(Protocol):
    """What the engine asks of any architecture's config."""

    @property
    def vocab_size(self) -> int:
        """Token ids are below this."""

    @property
    def num_hidden_layers(self) -> int:
        """Layers of the model itself, without those that guess further tokens."""

    @property
    def max_position_embeddings(self) -> int:
        """Positions that the model was trained for."""

    @property
    def rope_scaling(self) -> str:
        """For people: how positions beyond the first training's are reached, with those that will be in use."""

    @property
    def bidirectional(self) -> bool:
        """Whether tokens see what follows them: it makes hidden states of whole texts, and generates none."""

    @property
    def rotation(self) -> Rotation | None:
        """Which matrices were rotated along their input, None where none was."""

    @property
    def spare_tensors(self) -> tuple[str, ...]:
        """Names of tensors that checkpoints may hold and the model does not read."""

    def at_context(self, context: int) -> Self:
        """The same, for that many positions."""

    def completed(self, tensors: Tensors, build: Callable[[Any], Graph]) -> Self:
        """The same with what tensors alone say. build: the family's graph, which asks for what it may have."""


@dataclass(frozen=True)
class Architecture:
    """A family of models.

    read_config: Hugging Face's config.json to the family's config. read_gguf_config: a GGUF file's metadata to it.
    gguf_tensor_name: Hugging Face's name of a tensor to GGUF's. build: a config to the graph of one step, without the
    rotations that ``graph`` puts in front of products.
    """

    name: str
    read_config: Callable[[Mapping[str, Any]], ModelConfig]
    read_gguf_config: Callable[[Mapping[str, Any]], ModelConfig]
    gguf_tensor_name: Callable[[str], str]
    build: Callable[[Any], Graph]

    def complete(self, config: ModelConfig, tensors: Tensors) -> ModelConfig:
        """What a checkpoint's metadata say, completed from the names and shapes of its tensors.

        Raises UnsupportedModelError where its rotations do not fit its matrices.
        """
        completed = config.completed(tensors, self.build)
        if completed.rotation is not None:
            self.graph(completed)
        return completed

    def graph(self, config: ModelConfig) -> Graph:
        """What a step computes."""
        graph = self.build(config)
        return graph if config.rotation is None else rotated(graph, config.rotation, self.gguf_tensor_name)


def architecture_name(model_type: str, config: Mapping[str, Any]) -> str:
    """The architecture of a Hugging Face checkpoint: its model_type, but for those that are something else."""
    classes = config.get("architectures")
    first = classes[0] if isinstance(classes, list) and classes else None
    return _BY_CLASS.get(first, model_type) if isinstance(first, str) else model_type


def find_architecture(name: str) -> Architecture:
    """The architecture of that name. Raises UnsupportedModelError, naming it and those that are supported."""
    if name in _TOO_LARGE:
        raise UnsupportedModelError(
            f"architecture {name!r} ({_TOO_LARGE[name]}) is too large for the machines that lutmac is for, and left out"
        )
    if name not in REGISTRY:
        raise UnsupportedModelError(f"architecture {name!r} is not supported; supported: {', '.join(sorted(REGISTRY))}")
    architecture: Architecture = import_module(REGISTRY[name]).ARCHITECTURE
    return architecture
