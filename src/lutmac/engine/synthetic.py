"""Models of well-known shapes with random weights, made in memory: for speed, where no checkpoint is at hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import floor, log2, sqrt

import numpy as np

from lutmac import _native
from lutmac.engine.engine import Engine
from lutmac.engine.info import bytes_per_token
from lutmac.engine.tuning import current_tuning
from lutmac.engine.weights import FORMS
from lutmac.errors import InvalidRequestError
from lutmac.graph.compile import CacheType, Compiled, Limits, Parameters, compile_graph
from lutmac.graph.ir import Vector, Weight
from lutmac.graph.passes import expose_hidden_states, optimize
from lutmac.models.config import DecoderConfig
from lutmac.models.llama import build
from lutmac.models.rope import RopeConfig

Progress = Callable[[int, int, str], None]
PACK_TOGETHER = 1 << 28  # weights


def _shape(
    vocab: int, hidden: int, intermediate: int, layers: int, heads: int, kv_heads: int, context: int = 8192
) -> DecoderConfig:
    head_dim = hidden // heads
    return DecoderConfig(
        vocab_size=vocab,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=head_dim,
        rms_norm_eps=1e-5,
        max_position_embeddings=context,
        rope=RopeConfig("half_split", head_dim, 10000.0),
    )


# From the config.json of meta-llama/Llama-2-7b-hf, meta-llama/Meta-Llama-3-8B, 1bitLLM/bitnet_b1_58-3B,
# Qwen/Qwen2.5-3B and HuggingFaceTB/SmolLM2-135M.
SHAPES = {
    "llama-2-7b": _shape(32000, 4096, 11008, 32, 32, 32),
    "llama-3-8b": _shape(128256, 4096, 14336, 32, 32, 8),
    "bitnet-3b": _shape(32000, 3200, 8640, 26, 32, 32),
    "qwen2.5-3b": _shape(151936, 2048, 11008, 36, 16, 2),
    "smollm2-135m": _shape(49152, 576, 1536, 30, 9, 3),
}
TIED = {"qwen2.5-3b", "smollm2-135m"}  # the head is the embedding


@dataclass(frozen=True)
class SyntheticSpec:
    """What is to be made.

    shape: a name in SHAPES. bits and group_size: of every matrix in the layers (group_size 0: one scale per row).
    ternary: five weights in a byte instead, with one scale per row; bits is 2.
    head_bits: of embedding and head, in groups of 32, as llama.cpp's files keep their heads at 6 bits. layers: fewer of
    them, to save time; None is all.
    """

    shape: str
    bits: int
    group_size: int
    head_bits: int = 6
    layers: int | None = None
    ternary: bool = False

    def __post_init__(self) -> None:
        """Raises InvalidRequestError."""
        if self.shape not in SHAPES:
            raise InvalidRequestError(f"no shape is called {self.shape!r}; there are {', '.join(SHAPES)}")
        for name, value in (("bits", self.bits), ("head bits", self.head_bits)):
            if not 1 <= value <= 8:
                raise InvalidRequestError(f"{name} is {value}, expected 1 to 8")
        if self.group_size and self.group_size != 16 and (self.group_size < 32 or self.group_size % 32):
            raise InvalidRequestError(
                f"group size is {self.group_size}, expected 16, a multiple of 32, or 0 for one scale per row"
            )
        if self.ternary and (self.bits, self.group_size) != (2, 0):
            raise InvalidRequestError("ternary weights have 2 bits and one scale per row (group size 0)")
        if self.layers is not None and self.layers < 1:
            raise InvalidRequestError(f"layers is {self.layers}, expected at least 1")

    @property
    def stored_bits(self) -> float:
        """Bits that a weight takes, scales not counted."""
        return 1.6 if self.ternary else self.bits

    @property
    def config(self) -> DecoderConfig:
        """The shape's config with as many layers as asked for."""
        config = SHAPES[self.shape]
        return config if self.layers is None else replace(config, num_hidden_layers=self.layers)

    @property
    def name(self) -> str:
        """For people: shape, bits, group size."""
        groups = f"group {self.group_size}" if self.group_size else "one scale per row"
        layers = "" if self.layers is None else f", {self.layers} layers"
        return f"{self.shape}, {'ternary' if self.ternary else f'{self.bits}-bit'}, {groups}{layers} (random weights)"


@dataclass(frozen=True)
class SyntheticModel:
    """An engine on random weights, and the figures that a benchmark wants."""

    spec: SyntheticSpec
    engine: Engine
    target: str
    bytes_per_token: int
    cache_bytes_per_position: int
    compiled: Compiled
    parameters: Parameters

    def compiled_anew(self) -> SyntheticModel:
        """The same weights in a program made under the tuning that holds now."""
        old = self.compiled
        compiled = compile_graph(old.graph, self.parameters, target=old.target, exact=old.exact, limits=old.limits)
        engine = Engine(compiled, vocab_size=self.engine.vocab_size, threads=self.engine.threads)
        return replace(self, engine=engine, compiled=compiled)


class _RandomWeights:
    """Random tensors by Hugging Face's names."""

    def __init__(self, spec: SyntheticSpec, target: str, threads: int, progress: Progress | None) -> None:
        self.parameters = Parameters({}, {})
        self._spec = spec
        self._progress = progress
        self._packer = _native.Packer(target=target, threads=threads)
        self._pending = self._done = 0
        config = spec.config
        kv = config.num_key_value_heads * config.head_dim
        layer = config.hidden_size * (2 * config.hidden_size + 2 * kv + 3 * config.intermediate_size)
        ends = config.vocab_size * config.hidden_size * (1 if spec.shape in TIED else 2)
        self._total = layer * config.num_hidden_layers + ends

    def has(self, name: str) -> bool:
        """There are no biases and no rope factors; a head where the shape has one of its own."""
        return name == "lm_head.weight" and self._spec.shape not in TIED

    def matrix(self, name: str, rows: int, columns: int, *, first_row: int = 0, of_rows: int | None = None) -> Weight:
        """A random matrix; its values have a variance of about 1 / columns. Parts of a matrix are made one by one."""
        if of_rows is not None:
            name = f"{name}[{first_row}:{first_row + rows}]"
        in_layer = name.startswith("model.layers.")
        bits = self._spec.bits if in_layer else self._spec.head_bits
        group_size = (self._spec.group_size or columns) if in_layer else 32
        exponent = max(-14, floor(log2(sqrt(12 / columns) / 2**bits)))
        packed = self._packer.add_random(
            rows=rows,
            columns=columns,
            bits=bits,
            group_size=group_size,
            scale_exponent=exponent,
            seed=len(self.parameters.matrices),
            ternary=self._spec.ternary and in_layer,
        )
        self.parameters.matrices[name] = packed
        self._pending += rows * columns
        if self._pending >= PACK_TOGETHER:
            self.finish()
        return Weight(name, rows, columns, FORMS[packed.form], packed.bits, packed.group_size, packed.nbytes)

    def finish(self) -> None:
        """Fills the matrices that were asked for."""
        self._packer.finish()
        self._done += self._pending
        self._pending = 0
        if self._progress is not None:
            self._progress(self._done, self._total, "making random weights")

    def vector(self, name: str, width: int) -> Vector:
        """Ones: vectors are the weights of norms."""
        self.parameters.vectors[name] = np.ones(width, dtype=np.float32)
        return Vector(name, width)

    def values(self, name: str, width: int) -> tuple[float, ...]:
        """Nothing asks: `has` denies them."""
        raise InvalidRequestError(f"a synthetic model has no {name}")


def make_synthetic(
    spec: SyntheticSpec,
    *,
    target: str,
    threads: int,
    context: int,
    max_sequences: int = 16,
    max_batch_tokens: int = 512,
    kv_cache: CacheType = "f16",
    progress: Progress | None = None,
) -> SyntheticModel:
    """Makes the model. context: positions of one sequence. Raises InvalidRequestError where the shape has fewer."""
    config = spec.config
    if context > config.max_position_embeddings:
        raise InvalidRequestError(f"{context} tokens exceed the {config.max_position_embeddings} of {spec.shape}")
    current_tuning()
    weights = _RandomWeights(spec, target, threads, progress)
    graph = optimize(expose_hidden_states(build(config, weights)), exact=False)
    weights.finish()
    limits = Limits(max_batch_tokens, max_sequences, context)
    compiled: Compiled = compile_graph(
        graph, weights.parameters, target=target, exact=False, limits=limits, cache_type=kv_cache
    )
    engine = Engine(compiled, vocab_size=config.vocab_size, threads=threads)
    position_bytes = compiled.cache.bytes_per_position
    return SyntheticModel(spec, engine, target, bytes_per_token(graph), position_bytes, compiled, weights.parameters)
