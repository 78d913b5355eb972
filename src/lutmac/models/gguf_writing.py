"""A decoder's configuration as a GGUF file's metadata, and how its tensors differ there (docs/gguf.md in ggml).

What GGUF cannot say is found by reading the metadata back: where that makes another model, there is an error that names
the difference.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from math import isclose
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lutmac.errors import UnsupportedModelError
from lutmac.models import Architecture, ModelConfig, find_architecture
from lutmac.models.bitnet import BitNetConfig
from lutmac.models.config import DecoderConfig, MixtureConfig
from lutmac.models.delta_attention import DeltaConfig
from lutmac.models.delta_net import HybridConfig
from lutmac.models.encoder import EncoderConfig
from lutmac.models.gemma3n_config import Gemma3nConfig
from lutmac.models.gemma4_config import Gemma4Config
from lutmac.models.gguf_attention import attention_form, norms_of_heads
from lutmac.models.gguf_delta_net import HeadOrder
from lutmac.models.gguf_latents import name_to_write
from lutmac.models.gguf_mamba2 import MambaTensors, gguf_form, mamba_tensors
from lutmac.models.gguf_metadata import FAMILIES, GGUFFamily, attention_scale, gguf_metadata
from lutmac.models.gguf_names import ROPE_FACTORS, ROPE_FACTORS_LONG, ROPE_FACTORS_SHORT
from lutmac.models.granite_hybrid import GraniteHybridConfig
from lutmac.models.latent_attention import LatentConfig
from lutmac.models.mamba2 import Mamba2Config
from lutmac.models.muse_glimmer import MuseGlimmerConfig
from lutmac.models.nemotron_h import NemotronHConfig
from lutmac.models.nomic_bert import NomicMixtureConfig, transformers_name
from lutmac.models.qwen3_next import HybridMixtureConfig, has_joint_projections
from lutmac.models.rope import RopeConfig, RopeScaling

EMBEDDING: Final = "model.embed_tokens.weight"
HEAD: Final = "lm_head.weight"
LAST_NORM: Final = "model.norm.weight"
_TOLD_BY_TENSORS: Final = ("optional", "gates_heads", "laurel_rank", "keys_are_values")


@dataclass(frozen=True)
class GGUFModel:
    """What a GGUF file says of a model.

    name: of the architecture in GGUF. metadata: without tokenizer. architecture: what reads it. neighbours: rows of q
    and k come in the order of a rope that pairs neighbours. norm_weight_bias: what is added to norms' weights, but for
    those behind a delta rule, and the last one where last_norm_is_whole. added: vectors that directories lack, by their
    names in `gguf_names`. heads: the order of a DeltaNet's tensors, None where there is none. copies_head: the
    embedding is written a second time, as head, which readers want. table_rows: of the table of layers' own embeddings,
    which may have fewer in a directory; 0: as it is. mamba: what becomes of Mamba2's tensors, None where there is none.
    shared_alone: what is the MLP beside experts elsewhere is a layer's only one. latents: the model, where attention
    has them. first_position: the row of an encoder's positions that GGUF begins with; None of a decoder.
    """

    name: str
    metadata: dict[str, Any]
    architecture: Architecture
    head_dim: int
    neighbours: bool
    norm_weight_bias: float
    added: Mapping[str, tuple[float, ...]]
    heads: HeadOrder | None = None
    copies_head: bool = False
    last_norm_is_whole: bool = False
    table_rows: int = 0
    mamba: MambaTensors | None = None
    shared_alone: bool = False
    latents: LatentConfig | None = None
    first_position: int | None = None

    def tensor_name(self, name: str) -> str:
        """GGUF's name of a tensor, by Hugging Face's. Raises UnsupportedModelError where it has none."""
        head = re.fullmatch(r"(model\.pooler\.dense|classifier)\.(weight|bias)", name)
        if head is not None and self.first_position is not None:
            return f"{'cls.output' if head[1] == 'classifier' else 'cls'}.{head[2]}"
        scale = re.fullmatch(r"model\.layers\.(\d+)\.router\.per_expert_scale", name)
        if scale is not None:  # reading multiplies the experts by it
            return f"blk.{scale[1]}.ffn_down_exps.scale"
        in_parts = self._in_parts(name if self.latents is None else name_to_write(name, self.latents))
        if self.shared_alone:
            in_parts = in_parts.replace(".shared_mlp.output_linear.", ".mlp.down_proj.").replace(
                ".shared_mlp.", ".mlp."
            )
        found = self.architecture.gguf_tensor_name(transformers_name(in_parts))
        if found.startswith("model."):
            raise UnsupportedModelError(f"GGUF's {self.name} has no tensor like {name}")
        return found

    def _in_parts(self, name: str) -> str:
        """Of a matrix that GGUF does not have as one, the names of its parts: those of Granite's MLP beside experts."""
        joint = re.fullmatch(r"(.*\.shared_mlp)\.input_linear\.weight\[(\d+):\d+\]", name)
        if joint is None or not self.architecture.gguf_tensor_name(name).startswith("model."):
            return name
        return f"{joint[1]}.{'up' if int(joint[2]) else 'gate'}_proj.weight"

    def norm_bias(self, name: str) -> float:
        """What is added to a vector."""
        whole = not name.endswith("norm.weight") or (self.last_norm_is_whole and name == LAST_NORM)
        return 0.0 if whole else self.norm_weight_bias

    def parts(self, name: str) -> Mapping[str, NDArray[np.intp] | None]:
        """The names under which a matrix is written, and the rows of it that each has; None: all."""
        if self.copies_head and name == EMBEDDING:
            return {name: None, HEAD: None}
        return (self.heads and self.heads.parts(name)) or {name: None}


def gguf_model(own: str, config: ModelConfig, *, biases: bool) -> GGUFModel:
    """Of a model from a Hugging Face directory; own: its architecture's name. biases: some product has one.

    Raises UnsupportedModelError, naming what GGUF has no word for.
    """
    if own not in FAMILIES or not isinstance(config, DecoderConfig):
        known = ", ".join(FAMILIES)
        raise UnsupportedModelError(f"GGUF cannot be written from a directory of {own!r}; it can from {known}")
    shared_alone = isinstance(config, GraniteHybridConfig) and not config.num_experts
    mamba, norms = mamba_tensors(config), norms_of_heads(config)
    config = attention_form(gguf_form(config))
    family = gguf_family(own, config)
    name = family.name
    _check_family(family, config, biases=biases)
    architecture = find_architecture(name)
    metadata = gguf_metadata(family, config)
    read = architecture.read_gguf_config({**metadata, "general.architecture": name})
    assert isinstance(read, DecoderConfig)
    expected, read = _comparable(config, read)
    for field in fields(expected):
        wanted, found = getattr(expected, field.name), getattr(replace(read, windows=_shown(read)), field.name)
        if wanted != found and field.name != "attention_scale":
            raise UnsupportedModelError(f"GGUF's {name} cannot say that {field.name} is {wanted!s:.80}")
    if not isclose(attention_scale(config), attention_scale(read), rel_tol=1e-9):
        raise UnsupportedModelError(f"GGUF's {name} cannot say that attention_scale is {config.attention_scale}")
    neighbours = read.rope.style == "interleaved" and config.rope.style == "half_split"
    if neighbours and config.rope.rotary_dim != config.head_dim:
        raise UnsupportedModelError(f"GGUF's {name} cannot rotate a part of a head alone")
    rounded = {key: float(np.float32(value)) if isinstance(value, float) else value for key, value in metadata.items()}
    heads = None
    if isinstance(config, HybridConfig) and isinstance(read, HybridConfig):
        heads = HeadOrder(config.delta_net, read.delta_net.tiled)
    return GGUFModel(
        name,
        rounded,
        architecture,
        config.head_dim,
        neighbours,
        config.norm_weight_bias,
        {**_factors(config.rope), **norms},
        heads,
        family.head == "own" and HEAD not in config.optional,
        isinstance(config, MuseGlimmerConfig),
        config.vocab_size if isinstance(config, Gemma3nConfig) else 0,
        mamba,
        shared_alone,
        config if isinstance(config, LatentConfig) else None,
        config.first_position if isinstance(config, EncoderConfig) else None,
    )


def _check_family(family: GGUFFamily, config: DecoderConfig, *, biases: bool) -> None:
    """Raises UnsupportedModelError for what readers of the family do not look for in metadata and tensors."""
    name = family.name
    if family.head == "embedding" and HEAD in config.optional:
        raise UnsupportedModelError(f"GGUF's {name} has no head but its embedding, and this model has")
    fixed = family.norms_experts
    if isinstance(config, MixtureConfig) and config.num_experts and fixed not in (None, config.norm_topk_prob):
        raise UnsupportedModelError(f"GGUF's {name} cannot say that norm_topk_prob is {config.norm_topk_prob}")
    if biases and not family.biases:
        raise UnsupportedModelError(f"GGUF's {name} has no biases, and this model has")


def _comparable(config: DecoderConfig, read: DecoderConfig) -> tuple[DecoderConfig, DecoderConfig]:
    """What reading should find, and what it found, without what only tensors tell."""
    expected = replace(
        config,
        norm_weight_bias=0.0,
        rope=_as_read(config.rope, read.rope),
        windows=_shown(config),
        **{name: getattr(read, name) for name in _TOLD_BY_TENSORS if hasattr(config, name) and hasattr(read, name)},
    )
    if isinstance(expected, Gemma4Config) and isinstance(read, Gemma4Config):
        table = expected.per_layer_vocab if expected.per_layer_width else read.per_layer_vocab
        expected = replace(expected, per_layer_vocab=table)
    if isinstance(expected, Gemma3nConfig) and isinstance(read, Gemma3nConfig):
        expected = replace(expected, per_layer_vocab=read.per_layer_vocab, sparsity=_as_floats(expected))
        read = replace(read, sparsity=_as_floats(read))
    if isinstance(expected, LatentConfig) and isinstance(read, LatentConfig):  # all norms of a file have one eps
        expected = replace(expected, latents=replace(expected.latents, norm_eps=read.latents.norm_eps))
    if isinstance(expected, EncoderConfig) and isinstance(read, EncoderConfig):  # tensors tell of its head
        rows = expected.position_rows - expected.first_position
        expected = replace(expected, position_rows=rows, first_position=0, classifier_rows=read.classifier_rows)
    if isinstance(expected, DeltaConfig):
        expected = replace(expected, delta=replace(expected.delta, rate_is_log=False))
    if isinstance(expected, HybridConfig) and isinstance(read, HybridConfig):
        tiled = read.delta_net.tiled
        expected = replace(expected, delta_net=replace(expected.delta_net, tiled=tiled, rate_is_log=False))
    if isinstance(expected, Mamba2Config):
        expected = replace(expected, mamba=replace(expected.mamba, rate_is_log=False))
    return expected, read


def gguf_family(own: str, config: DecoderConfig) -> GGUFFamily:
    """How GGUF has a model. own: its architecture's name here. config: as GGUF has it."""
    if own == "gemma3" and config.bidirectional:
        return FAMILIES["gemma-embedding"]
    if own == "granitemoehybrid" and not isinstance(config, GraniteHybridConfig):
        return FAMILIES["granitemoe" if isinstance(config, MixtureConfig) else "granite"]
    return replace(FAMILIES[own], **_of_its_kind(config))


def _of_its_kind(config: DecoderConfig) -> dict[str, Any]:
    """What is different where GGUF has another architecture for some of a family's models."""
    if isinstance(config, BitNetConfig) and config.activation != "silu":  # Microsoft's
        return {"name": "bitnet-b1.58", "head": "either"}
    name = None
    if isinstance(config, HybridMixtureConfig) and has_joint_projections(config):
        name = "qwen3next"
    elif isinstance(config, NomicMixtureConfig):
        name = "nomic-bert-moe"
    elif isinstance(config, NemotronHConfig) and config.num_experts:
        name = "nemotron_h_moe"
        if "mlp" in config.kinds:
            raise UnsupportedModelError("GGUF's nemotron_h_moe has no layers of MLPs, and this model has")
    return {} if name is None else {"name": name}


def _as_floats(config: Gemma3nConfig) -> tuple[float | None, ...]:
    """Deviations with as many bits as GGUF has."""
    found = config.sparsity or (None,) * config.num_hidden_layers
    return tuple(None if value is None else float(np.float32(value)) for value in found)


def _as_read(rope: RopeConfig, read: RopeConfig) -> RopeConfig:
    """A rope as reading should find it: llama3's scaling in a tensor, factors that multiply to the same spelled out."""
    scaling = rope.scaling
    if scaling.kind == "longrope":
        scaling = RopeScaling("longrope", 1.0, scaling.original_context, scaling.attention_scale())
    elif scaling.kind == "llama3" or scaling.factor in (0.0, 1.0):
        scaling = RopeScaling()
    elif scaling.kind == "yarn":
        scaling = replace(scaling, attention_factor=scaling.attention_scale())
    return replace(rope, style=read.style, scaling=scaling, factors=())


def _factors(rope: RopeConfig) -> dict[str, tuple[float, ...]]:
    """What the plain frequencies are divided by, where GGUF has that as tensors."""
    scaling = rope.scaling
    if scaling.kind == "longrope":
        return {ROPE_FACTORS_SHORT: scaling.short_factors, ROPE_FACTORS_LONG: scaling.long_factors}
    if scaling.kind == "llama3":
        return {ROPE_FACTORS: _spelled_out(rope)}
    return {ROPE_FACTORS: rope.factors} if rope.factors else {}


def _spelled_out(rope: RopeConfig) -> tuple[float, ...]:
    scaled = rope.rope(0).inverse_frequency
    return tuple(rope.theta ** (-2 * i / rope.rotary_dim) / value for i, value in enumerate(scaled))


def _shown(config: DecoderConfig) -> tuple[int, ...]:
    """Windows, where a layer has one."""
    return config.windows if any(config.windows) else ()
