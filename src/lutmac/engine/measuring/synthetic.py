"""Models of well-known shapes with random weights, made in memory: for speed, where no checkpoint is at hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import floor, log2, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lutmac import _native
from lutmac.checkpoints.gguf_types import as_matrix
from lutmac.engine.loading.binding import bind
from lutmac.engine.loading.info import bytes_per_token
from lutmac.engine.loading.tuning import current_tuning
from lutmac.engine.running.engine import Engine
from lutmac.engine.running.memory import available_memory
from lutmac.errors import InvalidRequestError
from lutmac.graph.compile import CacheType, Compiled, Limits, Parameters, compile_schedule
from lutmac.graph.ir import Graph, Vector, Weight
from lutmac.graph.passes import optimize
from lutmac.lowbit.packing import Packer
from lutmac.models import Architecture, gemma4, gemma4_config, gpt_oss, llama, maple, qwen3_5, qwen3_next
from lutmac.models.config import DecoderConfig
from lutmac.models.delta_net import HybridConfig
from lutmac.models.rope import RopeConfig
from lutmac.models.rotation import Rotation

Progress = Callable[[int, int, str], None]
PACK_TOGETHER = 1 << 28  # weights
Q4_0_BLOCK: Final = 18  # bytes of 32 weights
TERNARY_BITS: Final = 8 * 26 / 128  # five weights to a byte, without scales
MEMORY_SHARE: Final = 0.75  # of what is available, for weights


@dataclass(frozen=True)
class Shape:
    """A well-known model's configuration, and its family. biased: products in its layers have biases.

    codes: what people run it in, as --bits has it. period: its layers repeat themselves every so many.
    """

    config: DecoderConfig
    architecture: Architecture
    biased: bool = False
    codes: str = "2"
    period: int = 1

    def graph(self, config: DecoderConfig) -> Graph:
        """The graph of one step."""
        return self.architecture.graph(config)


@dataclass(frozen=True)
class _Optional:
    """The tensors that a shape has of those that not every checkpoint has."""

    head: bool
    biased: bool

    def __contains__(self, name: object) -> bool:
        if name == "lm_head.weight":
            return self.head
        return self.biased and isinstance(name, str) and name.startswith("model.layers.") and name.endswith(".bias")


def _shape(  # noqa: PLR0913, PLR0917 (a row of the table below)
    vocab: int, hidden: int, intermediate: int, layers: int, heads: int, kv_heads: int, context: int = 8192
) -> Shape:
    head_dim = hidden // heads
    config = DecoderConfig(
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
    return Shape(config, llama.ARCHITECTURE)


# What Qwen3.5's models have in common with each other and with Bonsai 2, which is one.
_QWEN35 = {"max_position_embeddings": 262144, "rope_theta": 1e7}


def _qwen35(**sizes: int) -> Shape:
    return Shape(qwen3_5.read_config({**_QWEN35, **sizes}), qwen3_5.ARCHITECTURE, codes="4", period=4)


def _bonsai2() -> Shape:
    """Its inputs are rotated, and its value heads lie by turns, as its files have them."""
    shape = _qwen35(
        hidden_size=5120,
        intermediate_size=17408,
        num_hidden_layers=64,
        num_attention_heads=24,
        linear_num_value_heads=48,
    )
    assert isinstance(shape.config, HybridConfig)
    matrices = (
        "attn_q", "attn_k", "attn_v", "attn_qkv", "attn_gate", "attn_output", "ssm_out", "ffn_gate", "ffn_up",
        "ffn_down",
    )  # fmt: skip
    names = {f"blk.{layer}.{matrix}.weight" for layer in range(64) for matrix in matrices}
    rng = np.random.default_rng(0)
    signs = {width: rng.choice(np.array([-1, 1], np.float32), width) for width in (5120, 6144, 17408)}
    rotation = Rotation(
        1024, signs, frozenset(names | {"output.weight"}), frozenset({"token_embd.weight"}), (128,) * 16
    )
    tiled = replace(shape.config.delta_net, tiled=True)
    return replace(shape, config=replace(shape.config, rotation=rotation, delta_net=tiled), codes="ptq1_0")


def _qwen35_moe(**sizes: int) -> Shape:
    return Shape(qwen3_next.read_config({**_QWEN35, **sizes}), qwen3_next.ARCHITECTURE, codes="4", period=4)


# What is not in llama.cpp's source is assumed: hidden size, key heads, width of experts, vocabulary.
_MAPLE = {
    f"maple.{key}": value
    for key, value in {
        "block_count": 24, "context_length": 131072, "embedding_length": 2048, "vocab_size": 151936,
        "attention.head_count": 16, "attention.head_count_kv": 4, "attention.key_length": 128,
        "attention.value_length": 128, "attention.layer_norm_rms_epsilon": 1e-6, "attention.sliding_window": 512,
        "attention.sliding_window_pattern": 4, "rope.dimension_count": 64, "rope.freq_base": 10000.0,
        "expert_count": 256, "expert_used_count": 8, "expert_feed_forward_length": 512, "swiglu_clamp_exp": 7.0,
    }.items()
}  # fmt: skip


_GEMMA4 = {
    "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 42, "num_key_value_heads": 2,
    "num_kv_shared_layers": 18, "final_logit_softcapping": 30.0,
}  # fmt: skip
# From the config.json of meta-llama/Llama-2-7b-hf, meta-llama/Meta-Llama-3-8B, 1bitLLM/bitnet_b1_58-3B,
# Qwen/Qwen2.5-3B and HuggingFaceTB/SmolLM2-135M; of Qwen3.5-9B, Qwen3.6-35B-A3B and Bonsai 2 27B from headers of their
# GGUF files, and what they leave out from transformers.
SHAPES: dict[str, Shape] = {
    "llama-2-7b": _shape(32000, 4096, 11008, 32, 32, 32),
    "llama-3-8b": _shape(128256, 4096, 14336, 32, 32, 8),
    "bitnet-3b": _shape(32000, 3200, 8640, 26, 32, 32),
    "qwen2.5-3b": _shape(151936, 2048, 11008, 36, 16, 2),
    "smollm2-135m": _shape(49152, 576, 1536, 30, 9, 3),
    "bonsai2-27b": _bonsai2(),
    "qwen3.5-9b": _qwen35(),
    "qwen3.6-35b-a3b": _qwen35_moe(),
    "gemma4-e4b": Shape(gemma4_config.read_config(_GEMMA4), gemma4.ARCHITECTURE, codes="4", period=6),
    "gpt-oss-20b": Shape(
        gpt_oss.read_config({"num_hidden_layers": 24, "num_local_experts": 32}),
        gpt_oss.ARCHITECTURE,
        biased=True,
        codes="4",
        period=2,
    ),
    "maple-20b-a1b": Shape(maple.read_gguf_config(_MAPLE), maple.ARCHITECTURE, codes="ternary", period=4),
}
TIED = {"gemma4-e4b", "qwen2.5-3b", "smollm2-135m"}  # the head is the embedding


@dataclass(frozen=True)
class SyntheticSpec:
    """What is to be made.

    shape: a name in SHAPES. bits and group_size: of every matrix in the layers (group_size 0: one scale per row).
    ternary: five weights in a byte instead, with one scale per row, or for each 128 or 256 weights; bits is 2.
    head_bits: of embedding and head, in groups of 32, as llama.cpp's files keep their heads at 6 bits; they are
    ternary, too, where groups of such weights have a scale, as in Bonsai 2's files. layers: fewer of them; None is all.
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
        if self.ternary and (self.bits != 2 or self.group_size % 128):
            raise InvalidRequestError("ternary weights have 2 bits, and groups of a multiple of 128 or rows (0)")
        if self.layers is not None and self.layers < 1:
            raise InvalidRequestError(f"layers is {self.layers}, expected at least 1")

    @property
    def stored_bits(self) -> float:
        """Bits that a weight takes, scales not counted."""
        return TERNARY_BITS if self.ternary else self.bits

    @property
    def config(self) -> DecoderConfig:
        """The shape's config with as many layers as asked for."""
        shape = SHAPES[self.shape]
        config = replace(shape.config, optional=_Optional(head=self.shape not in TIED, biased=shape.biased))
        return config if self.layers is None else replace(config, num_hidden_layers=self.layers)

    @property
    def _all_layers(self) -> int:
        return SHAPES[self.shape].config.num_hidden_layers

    def fitting(self, memory: int | None = None) -> SyntheticSpec:
        """The same, with fewer layers where memory does not hold all of them. memory: bytes; None: what there is.

        Raises InvalidRequestError where it does not hold one of each kind.
        """
        room, period = (available_memory() if memory is None else memory) * MEMORY_SHARE, SHAPES[self.shape].period
        none, one = (replace(self, layers=count).matrix_bytes() for count in (period, 2 * period))
        most = int((room - (2 * none - one)) // (one - none)) * period
        if most < period:
            raise InvalidRequestError(f"{self.shape} takes {none / 1e9:.1f} GB with {period} layers, more than is free")
        return self if (self.layers or self._all_layers) <= most else replace(self, layers=most)

    def matrix_bytes(self) -> int:
        """Bytes of all matrices that are in memory, scales included."""
        total = 0.0
        for weight in SHAPES[self.shape].graph(self.config).weights().values():
            if weight.streamed:
                continue
            in_layer = weight.name.startswith("model.layers.")
            bits, group = (self.stored_bits, self.group_size) if in_layer else (self.head_bits, 32)
            if self.ternary and self.group_size:
                bits, group = TERNARY_BITS, self.group_size
            total += weight.rows * weight.columns * (bits + 16 / (group or weight.columns)) / 8
        return int(total)

    @property
    def name(self) -> str:
        """For people: shape, bits, group size."""
        groups = f"group {self.group_size}" if self.group_size else "one scale per row"
        layers = "" if self.layers is None else f", {self.layers} of {self._all_layers} layers"
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
        compiled = compile_schedule(
            old.schedule, self.parameters, target=old.target, precision=old.precision, limits=old.limits
        )
        engine = Engine(compiled, vocab_size=self.engine.vocab_size, threads=self.engine.threads)
        return replace(self, engine=engine, compiled=compiled)


class _RandomPacking:
    """Random matrices; see binding.Packing."""

    def __init__(self, spec: SyntheticSpec, graph: Graph, target: str, threads: int, progress: Progress | None) -> None:
        """graph: what it is asked for, in all."""
        self._spec = spec
        self._progress = progress
        self._packer = _native.Packer(target=target, threads=threads)
        self._tables = Packer(target=target, threads=threads)
        self._made = self._pending = self._done = 0
        self._total = sum(weight.rows * weight.columns for weight in graph.weights().values())

    def matrix(self, weight: Weight) -> tuple[_native.Matrix, None]:
        """A random matrix with a variance of about 1 / columns; a table that would stay in a file is of zeros."""
        if weight.streamed:  # in memory that is never written, and so takes none
            blocks = np.zeros(weight.rows * weight.columns // 32 * Q4_0_BLOCK, np.uint8)
            return self._tables.stream(as_matrix("Q4_0", weight.rows, weight.columns, blocks)), None
        in_layer, columns = weight.name.startswith("model.layers."), weight.columns
        ternary = self._spec.ternary and (in_layer or self._spec.group_size > 0)
        bits = self._spec.bits if in_layer or ternary else self._spec.head_bits
        packed = self._packer.add_random(
            rows=weight.rows,
            columns=columns,
            bits=bits,
            group_size=(self._spec.group_size or columns) if in_layer or ternary else 32,
            scale_exponent=max(-14, floor(log2(sqrt(12 / columns) / 2**bits))),
            seed=self._made,
            ternary=ternary,
        )
        self._made += 1
        self._pending += weight.rows * columns
        if self._pending >= PACK_TOGETHER:
            self.finish()
        return packed, None

    def finish(self) -> None:
        """Fills the matrices that were asked for."""
        self._packer.finish()
        self._done += self._pending
        self._pending = 0
        if self._progress is not None:
            self._progress(self._done, self._total, "making random weights")

    def vector(self, vector: Vector) -> NDArray[np.float32]:
        """Ones: vectors are the weights of norms."""
        return np.ones(vector.width, dtype=np.float32)


def make_synthetic(  # noqa: PLR0913 (by keyword)
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
    graph = SHAPES[spec.shape].graph(config)
    packing = _RandomPacking(spec, graph, target, threads, progress)
    bound = bind(graph, packing)
    packing.finish()
    schedule = optimize(bound.graph, exact=False)
    limits = Limits(max_batch_tokens, max_sequences, context)
    compiled: Compiled = compile_schedule(
        schedule, bound.parameters, target=target, precision="default", limits=limits, cache_type=kv_cache
    )
    engine = Engine(compiled, vocab_size=config.vocab_size, threads=threads)
    position_bytes = compiled.cache.bytes_per_position
    return SyntheticModel(spec, engine, target, bytes_per_token(schedule), position_bytes, compiled, bound.parameters)
