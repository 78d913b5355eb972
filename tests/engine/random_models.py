"""Models of random weights with states that no family has: their graph, an engine, and their logits by NumPy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutmac import _native
from lutmac.engine.loading.binding import bind
from lutmac.engine.running.engine import Engine
from lutmac.engine.running.sequence import Sequence
from lutmac.engine.sampling.sampler import SamplingParams
from lutmac.graph.compile import Compiled, Limits, Precision, compile_schedule
from lutmac.graph.ir import Graph, Op, Value, Vector, Weight
from lutmac.graph.operations.add import Add
from lutmac.graph.operations.attention import Attention
from lutmac.graph.operations.causal_conv1d import CausalConv1d
from lutmac.graph.operations.embed import Embed
from lutmac.graph.operations.gated_delta_rule import GatedDeltaRule
from lutmac.graph.operations.gather_outputs import GatherOutputs
from lutmac.graph.operations.head_matmul import HeadMatMul
from lutmac.graph.operations.head_rows import HeadRows
from lutmac.graph.operations.latent_store import LatentStore
from lutmac.graph.operations.logits import Logits
from lutmac.graph.operations.matmul import MatMul
from lutmac.graph.operations.rms_norm import RMSNorm
from lutmac.graph.operations.rope_angles import Rope, RopeAngles
from lutmac.graph.operations.rope_store import RopeStore
from lutmac.graph.operations.selective_scan import SelectiveScan
from lutmac.graph.operations.short_conv import ShortConv
from lutmac.graph.operations.slice import Slice
from lutmac.graph.passes import optimize
from lutmac.graph.states import Pages, Slot
from lutmac.lowbit.matrix import AnyMatrix, DenseMatrix
from lutmac.lowbit.packing import Packer
from lutmac.lowbit.target import resolve_target

HIDDEN, VOCABULARY, CONTEXT = 64, 96, 320
Spans = tuple[tuple[int, int], ...]


class Builder:
    """Writes a model down, block by block."""

    def __init__(self) -> None:
        self.ops: list[Op] = []
        self.hidden = Value("hidden", HIDDEN)
        self.angles = Value("angles", 16)
        rope = Rope("half_split", 16, tuple(10000.0 ** (-i / 8) for i in range(8)))
        embedding = Weight("embedding", VOCABULARY, HIDDEN)
        self.ops += [RopeAngles(rope, self.angles), Embed(embedding, self.hidden)]

    def value(self, width: int) -> Value:
        return Value(f"v{len(self.ops)}", width)

    def matmul(self, x: Value, width: int) -> Value:
        self.ops.append(MatMul(Weight(f"w{len(self.ops)}", width, x.width), x, out := self.value(width)))
        return out

    def norm(self, x: Value) -> Value:
        out = Value(f"v{len(self.ops)}", x.width, x.rows)
        self.ops.append(RMSNorm(x, Vector(f"norm{len(self.ops)}", x.width), 1e-5, out))
        return out

    def residual(self, change: Value) -> None:
        self.ops.append(Add(self.hidden, change, out := self.value(HIDDEN)))
        self.hidden = out

    def attention(self, x: Value, heads: int, cache: Pages, *, store: bool = True) -> Value:
        """Attention over a state, which this layer stores or has from another."""
        q = self.matmul(x, heads * cache.head_dim)
        if store:
            k = self.matmul(x, cache.num_kv_heads * cache.head_dim)
            v = self.matmul(x, cache.num_kv_heads * cache.value_dim)
            rotated = self.value(q.width)
            self.ops.append(RopeStore(cache, q, k, v, rotated, heads, self.angles))
            q = rotated
        out = self.value(heads * cache.value_dim)
        self.ops.append(Attention(cache, q, out, heads, cache.head_dim**-0.5))
        return self.matmul(out, HIDDEN)

    def latent_attention(self, x: Value, name: str, heads: int, rank: int) -> Value:
        """Heads of 32 and 16 that are rotated over latents of rank and 16, with values of 32."""
        cache = Pages(f"{name}.latents", 1, rank + 16, rank, latent=True)
        queries, key = self.matmul(x, heads * 48), self.matmul(x, rank + 16)
        self.ops.append(Slice(key, 0, first := self.value(rank)))
        absorbed = self.heads(queries, f"{name}.keys", heads, (rank, 32), rank + 16)
        whole, out = self.value(absorbed.width), Value(f"{name}.attended", heads * rank)
        self.ops.append(LatentStore(cache, absorbed, queries, self.norm(first), key, whole, heads, self.angles))
        self.ops.append(Attention(cache, whole, out, heads, 48**-0.5))
        return self.matmul(self.heads(out, f"{name}.values", heads, (32, rank), 32), HIDDEN)

    def heads(self, x: Value, name: str, heads: int, shape: tuple[int, int], each: int) -> Value:
        """A product for each head, whose results are so far apart."""
        rows, out = Value(f"{name}.rows", shape[1], per_token=heads), Value(f"{name}.out", heads * each)
        weights = tuple(Weight(f"{name}.{head}", *shape) for head in range(heads))
        self.ops += [HeadRows(x, rows), HeadMatMul(weights, rows, out)]
        return out

    def convolution(self, x: Value, name: str, kernel: int) -> Value:
        """A short convolution, whose state is a slot."""
        state, out = Slot(name, ShortConv.slot_bytes(HIDDEN, kernel)), Value(f"{name}.out", HIDDEN)
        weight = Vector(f"{name}.weight", HIDDEN * kernel, (HIDDEN, kernel))
        self.ops.append(ShortConv(state, self.matmul(x, 3 * HIDDEN), weight, out, kernel))
        return self.matmul(out, HIDDEN)

    def delta_rule(
        self, x: Value, name: str, heads: tuple[int, int], sizes: tuple[int, int], *, by_channel: bool, tiled: bool
    ) -> Value:
        """A convolution and the gated delta rule. heads: of keys and of values; sizes: of each."""
        (key_heads, value_heads), (key_dim, value_dim) = heads, sizes
        width = 2 * key_heads * key_dim + value_heads * value_dim
        conv = Slot(f"{name}.conv", CausalConv1d.slot_bytes(width, 4))
        weight, bias = Vector(f"{name}.conv.weight", 4 * width, (width, 4)), Vector(f"{name}.conv.bias", width)
        mixed, convolved = self.matmul(x, width), self.value(width)
        self.ops.append(CausalConv1d(conv, mixed, weight, convolved, 4, bias))
        alpha = self.matmul(x, value_heads * key_dim if by_channel else value_heads)
        beta, out = self.matmul(x, value_heads), Value(f"{name}.out", value_heads * value_dim)
        slot = Slot(name, GatedDeltaRule.slot_bytes(value_heads, key_dim, value_dim))
        rate, bias = Vector(f"{name}.rate", value_heads), Vector(f"{name}.bias", alpha.width)
        self.ops.append(
            GatedDeltaRule(slot, convolved, alpha, beta, rate, bias, out, key_heads, value_heads, key_dim, True, tiled)
        )
        return self.matmul(out, HIDDEN)

    def selective_scan(self, x: Value, name: str, heads: tuple[int, int], sizes: tuple[int, int]) -> Value:
        """Mamba2's scan and its norm. heads: of inputs, and groups of them; sizes: of a head and of a state."""
        (count, groups), (head_dim, state_size) = heads, sizes
        width = count * head_dim
        mixed, step = self.matmul(x, width + 2 * groups * state_size), self.matmul(x, count)
        slot = Slot(name, SelectiveScan.slot_bytes(count, state_size, head_dim))
        rate, bias, skip = (Vector(f"{name}.{which}", count) for which in ("rate", "bias", "skip"))
        limits = {"time_step_min": 0.5, "time_step_max": 2.0} if groups > 1 else {}
        out, normed = self.value(width), Value(f"{name}.normed", width)
        self.ops.append(
            SelectiveScan(slot, mixed, step, rate, bias, skip, out, count, groups, state_size, True, **limits)
        )
        self.ops.append(RMSNorm(out, Vector(f"{name}.norm", width), 1e-5, normed, segment=width // groups))
        return self.matmul(normed, HIDDEN)

    def graph(self) -> Graph:
        outputs = Value("outputs", HIDDEN, rows="outputs")
        self.ops.append(GatherOutputs(self.hidden, outputs))
        self.ops.append(Logits(Weight("head", VOCABULARY, HIDDEN), self.norm(outputs)))
        return Graph(tuple(self.ops))


@dataclass
class RandomModel:
    """A graph with random weights, by name."""

    graph: Graph
    matrices: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    vectors: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    kept: dict[str, Any] = field(default_factory=dict)
    tokens: NDArray[np.int32] = field(default_factory=lambda: np.zeros((1, 0), np.int32))

    def __repr__(self) -> str:
        return f"a model of {len(self.graph.ops)} operations"

    def __post_init__(self) -> None:
        random = np.random.default_rng(0)
        for name, weight in self.graph.weights().items():
            spread = 1.0 if name == "embedding" else 2 * weight.columns**-0.5
            self.matrices[name] = random.normal(0, spread, (weight.rows, weight.columns)).astype(np.float32)
        for name, vector in self.graph.vectors().items():
            mean = -3.0 if name.endswith(".rate") else 1.0  # its logarithm
            self.vectors[name] = random.normal(mean, 0.1, vector.width).astype(np.float32)

    @property
    def has_slots(self) -> bool:
        return any(isinstance(state, Slot) for op in self.graph.ops for state in op.states().values())

    def engine(self, *, max_tokens: int = 64, threads: int = 1, kv_cache_memory: int | None = None) -> Engine:
        """In exact precision, with keys and values in float32."""
        compiled = self.compiled(DenseMatrix, max_tokens=max_tokens)
        return Engine(compiled, vocab_size=VOCABULARY, threads=threads, kv_cache_memory=kv_cache_memory)

    def compiled(
        self,
        form: Callable[[NDArray[np.float32]], AnyMatrix],
        *,
        max_tokens: int,
        target: str | None = None,
        precision: Precision = "exact",
    ) -> Compiled:
        """A program. form: the matrices as they are stored."""
        target = resolve_target(target)
        packing = _Packing(self, Packer(target=target, threads=1), form)
        bound = bind(self.graph, packing)
        packing.finish()
        return compile_schedule(
            optimize(bound.graph, exact=precision == "exact"),
            bound.parameters,
            target=target,
            precision=precision,
            limits=Limits(max_tokens, 16, CONTEXT),
            cache_type="f32",
        )

    def reference(self, tokens: list[int]) -> NDArray[np.float32]:
        """Logits of all tokens."""
        self.tokens, values = np.array([tokens], np.int32), {}
        for op in self.graph.ops:
            read = [values[value.name] for value in op.reads()]
            if isinstance(op, Logits):
                return op.logits(self, read[0])
            results = op.reference(self, *read)
            results = results if isinstance(results, tuple) else (results,)
            values.update(zip((value.name for value in op.writes()), results, strict=True))
        raise AssertionError("a model ends in logits")

    def matrix(self, name: str) -> NDArray[np.float32]:
        return self.matrices[name]

    def vector(self, name: str) -> NDArray[np.float32]:
        return self.vectors[name]


@dataclass
class _Packing:
    model: RandomModel
    packer: Packer
    form: Callable[[NDArray[np.float32]], AnyMatrix]

    def matrix(self, weight: Weight) -> tuple[_native.Matrix, None]:
        return self.packer.add(self.form(self.model.matrices[weight.name])), None

    def vector(self, vector: Vector) -> NDArray[np.float32]:
        return self.model.vectors[vector.name]

    def finish(self) -> None:
        self.packer.finish()


def logits(engine: Engine, tokens: list[int]) -> NDArray[np.float32]:
    """Of all tokens, without the prefix cache."""
    found = np.empty((len(tokens), engine.vocab_size), np.float32)
    sequence = engine.new_sequence(tokens, len(tokens), private=True)
    sequence.sink = lambda position, rows: found.__setitem__(slice(position, position + len(rows)), rows)
    engine.submit(sequence)
    engine.drive(sequence, len(tokens))
    engine.stop(sequence)
    return found


def submit(
    engine: Engine,
    prompt: list[int],
    count: int,
    shared_prefix: int | None = None,
    reply_spans: Spans = (),
) -> Sequence:
    """A sequence that will generate so many tokens, with log probabilities."""
    sequence = engine.new_sequence(prompt, len(prompt) + count, reply_spans=reply_spans)
    sequence.shared_prefix = shared_prefix
    sequence.sampler = SamplingParams(temperature=0).sampler(engine.vocab_size, None, None)
    sequence.top_logprobs = 2
    engine.submit(sequence)
    return sequence


def reply(engine: Engine, prompt: list[int], count: int, reply_spans: Spans = ()) -> tuple[list[int], Any]:
    """The tokens that follow, and their log probabilities."""
    return finish(engine, submit(engine, prompt, count, reply_spans=reply_spans))


def finish(engine: Engine, sequence: Sequence) -> tuple[list[int], Any]:
    engine.drive(sequence, sequence.max_length - 1)
    return sequence.tokens[sequence.prompt_length :].tolist(), list(sequence.logprobs)
