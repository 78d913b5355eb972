"""What a checkpoint says about embeddings: how hidden states become a vector, and what a text is prepared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from lutmac.bounded_json import shown
from lutmac.checkpoints.dense_module import DenseModule, gguf_dense_sizes
from lutmac.errors import UnsupportedModelError

Pooling = Literal["mean", "last", "cls", "max", "mean_sqrt_len_tokens", "weightedmean"]

# llama.cpp's enum llama_pooling_type, which `<architecture>.pooling_type` is of.
_GGUF_POOLING: Final[Mapping[int, Pooling]] = {1: "mean", 2: "cls", 3: "last"}
_GGUF_PROBLEMS: Final[Mapping[int, str]] = {
    0: "pooling_type is 0, a vector for each token and none for the text; choose a pooling",
    4: "pooling_type is 4, the model ranks pairs of texts",
}


_GGUF_DENSE: Final = ("gemma-embedding",)  # whose files may have dense layers


@dataclass(frozen=True)
class EmbeddingConfig:
    """How a checkpoint makes a vector of a text. The defaults are those for one that does not say.

    stated: whether it says. pooling: of the final hidden states; the vectors of several are put one behind the other.
    include_prompt: whether a prompt's tokens count in that. dense: layers behind the pooling. normalize: whether the
    vector is scaled to length 1. dimensions: only the first so many values of that are given; None is all. prompts:
    what may be put before a text, by name; default_prompt: the one that is where none is asked for. max_tokens: of a
    text, prompt, BOS and EOS included; None is the context. lower_case: whether texts are lower-cased first. problem:
    why there is no vector, unless the caller says how to pool.
    """

    stated: bool = False
    pooling: tuple[Pooling, ...] = ("mean",)
    include_prompt: bool = True
    dense: tuple[DenseModule, ...] = ()
    normalize: bool = True
    dimensions: int | None = None
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt: str | None = None
    max_tokens: int | None = None
    lower_case: bool = False
    problem: str | None = None

    def __str__(self) -> str:
        """One line for people: "last, normalized"."""
        if self.problem is not None:
            return f"none: {self.problem}"
        parts = [" + ".join(self.pooling) + ("" if self.stated else " (the file does not say)")]
        parts += [f"dense to {layer.out_features}" for layer in self.dense]
        parts += ["normalized"] if self.normalize else []
        parts += [f"prompts {', '.join(self.prompts)}"] if self.prompts else []
        return ", ".join(parts)


def gguf_embedding_config(metadata: Mapping[str, Any], architecture: str) -> EmbeddingConfig:
    """What `<architecture>.pooling_type` says; llama.cpp scales every vector to length 1."""
    kind = metadata.get(f"{architecture}.pooling_type")
    if kind is None:
        return EmbeddingConfig()
    if type(kind) is int and kind in _GGUF_POOLING:
        return EmbeddingConfig(stated=True, pooling=(_GGUF_POOLING[kind],))
    known = _GGUF_PROBLEMS.get(kind) if type(kind) is int else None
    return EmbeddingConfig(stated=True, problem=known or f"pooling_type is {shown(kind)}, which is not supported")


def gguf_pooling(config: EmbeddingConfig, architecture: str) -> dict[str, int]:
    """The metadata for gguf_embedding_config; none where the checkpoint does not say.

    Raises UnsupportedModelError for what GGUF cannot say.
    """
    if not config.stated or config.problem is not None:
        return {}
    kinds = [kind for kind, pooling in _GGUF_POOLING.items() if (pooling,) == config.pooling]
    if not kinds or (config.dense and architecture not in _GGUF_DENSE) or not config.include_prompt:
        raise UnsupportedModelError(f"GGUF cannot say how this model makes embeddings ({config})")
    found = {"pooling_type": kinds[0], **gguf_dense_sizes(config.dense)}
    return {f"{architecture}.{key}": value for key, value in found.items()}
