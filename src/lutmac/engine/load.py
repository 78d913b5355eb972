"""Opening a checkpoint: where files and architectures meet."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from threading import Thread
from typing import Generic, Self, TypeVar, get_args

from lutmac.engine.default_context import SHORT_CONTEXT, default_context
from lutmac.engine.embedding.ranking import RankingHead
from lutmac.engine.embedding.ranking_head import ranking_tensors, read_ranking_head
from lutmac.engine.loading.binding import Bound, bind
from lutmac.engine.loading.info import LeftOut, ModelInfo, bytes_per_token
from lutmac.engine.loading.leftovers import left_out
from lutmac.engine.loading.opened import OpenedModel, open_model
from lutmac.engine.loading.resolve import resolve
from lutmac.engine.loading.tuning import current_tuning
from lutmac.engine.loading.weights import CheckpointPacking, Progress, check_all
from lutmac.engine.model import Model
from lutmac.engine.running.engine import Engine
from lutmac.engine.sampling.defaults import usable_defaults
from lutmac.errors import InvalidRequestError
from lutmac.graph.compile import CacheType, Compiled, Limits, Parameters, Precision, compile_schedule
from lutmac.graph.passes import optimize
from lutmac.lowbit.target import resolve_target
from lutmac.models import ModelConfig
from lutmac.models.gguf_names import ROPE_TENSORS
from lutmac.text.tokenizer import Tokenizer

T = TypeVar("T")
MAX_SEQUENCES = 16  # in one step; more wait
MAX_TEXTS = 128  # the same of a model that reads whole texts, which may be short


@dataclass(frozen=True)
class LoadOptions:
    """Arguments of ``load``, checked."""

    threads: int | None = None
    context: int | None = None
    precision: Precision = "default"
    target: str = field(default_factory=resolve_target)
    max_batch_tokens: int = 512
    kv_cache: CacheType = "f16"
    kv_cache_memory: int | None = None

    def __post_init__(self) -> None:
        """Raises InvalidRequestError."""
        if self.precision not in get_args(Precision):
            raise InvalidRequestError(f"precision is {self.precision!r}, expected 'default', 'exact' or 'uniform'")
        if self.kv_cache not in get_args(CacheType):
            raise InvalidRequestError(f"kv_cache is {self.kv_cache!r}, expected 'f16', 'f32' or 'int8'")
        for name, low, high in (
            ("threads", 1, 1024),
            ("context", 2, 2**24),
            ("max_batch_tokens", MAX_SEQUENCES, 65536),
            ("kv_cache_memory", 1, 2**48),
        ):
            value = getattr(self, name)
            if value is not None and not (type(value) is int and low <= value <= high):
                raise InvalidRequestError(f"{name} is {value!r}, expected an integer from {low} to {high}")

    @property
    def thread_count(self) -> int:
        """Threads of a step: as asked for, or as this machine's tuning says."""
        return current_tuning().thread_count if self.threads is None else self.threads

    @property
    def prompt_thread_count(self) -> int:
        """Threads of a step that reads a prompt."""
        return current_tuning().prompt_thread_count if self.threads is None else self.threads


def load(  # noqa: PLR0913 (a public call; all but the model by keyword)
    path_or_name: str | os.PathLike[str],
    *,
    threads: int | None = None,
    context: int | None = None,
    precision: Precision = "default",
    isa: str | None = None,
    max_batch_tokens: int = 512,
    kv_cache: CacheType = "f16",
    kv_cache_memory: int | None = None,
    progress: Progress | None = None,
) -> Model:
    """Loads a model from a GGUF file, a Hugging Face directory or one that ``convert`` wrote, or by a name that
    ``lutmac pull`` has obtained.

    threads: default, one per physical core that the process may use, or what `lutmac tune` found. context: positions of
    one sequence; default, what the model was trained for, or as many from 8192 on as half of the free memory holds.
    precision: "exact" computes products in float on the dequantised weights; default rounds activations, and floats of
    encoders to bf16 where the processor multiplies that (docs/design.md); "uniform" gives prompts the arithmetic of
    replies, also on targets that have a faster one for prompts (docs/design.md, "Roles"). isa: an ISA target to force,
    such as "avx2"; docs/design.md lists all. max_batch_tokens: tokens that run together in one step. kv_cache: what
    keys and values are kept as; "int8" takes 0.52 times the memory and the reading of "f16", "f32" twice as much (with
    precision "exact" it is the reference). kv_cache_memory: bytes for keys and values of all sequences together, states
    of fixed size and their snapshots; default, room for eight of full length, but at most half of the memory that is
    free.
    progress: called with (bytes done, bytes in all, what).

    Raises CheckpointError, UnsupportedModelError, UnsupportedISAError or InvalidRequestError.
    """
    path = resolve(path_or_name)
    options = LoadOptions(
        threads=threads,
        context=context,
        precision=precision,
        target=resolve_target(isa),
        max_batch_tokens=max_batch_tokens,
        kv_cache=kv_cache,
        kv_cache_memory=kv_cache_memory,
    )
    with open_model(path) as opened:
        loaded = _assemble(opened, options, progress)
        head = loaded.ranking_head or read_ranking_head(opened, loaded.tokenizer)
        info = replace(_info(loaded, opened), ranks=head is not None)
        return Model(loaded.engine, loaded.tokenizer, loaded.compiled, info, opened.read_templates(), head)


@dataclass(frozen=True)
class _Loaded:
    """A compiled model whose weights are in memory."""

    config: ModelConfig
    compiled: Compiled
    engine: Engine
    parameters: Parameters
    left_out: tuple[LeftOut, ...]
    tokenizer: Tokenizer
    ranking_head: RankingHead | None


def _assemble(opened: OpenedModel, options: LoadOptions, progress: Progress | None) -> _Loaded:
    """Builds the graph, packs its weights and compiles it."""
    config = opened.config
    limits = _limits(opened, options)
    graph = opened.architecture.graph(config.at_context(limits.max_context))
    check_all(opened.source, graph)
    with _InBackground(opened.read_tokenizer) as tokenizer:  # packing leaves Python idle
        packing = CheckpointPacking(
            opened.source, target=options.target, threads=options.prompt_thread_count, progress=progress
        )
        bound = bind(graph, packing, rounded=config.bidirectional)
        with _InBackground(packing.finish):
            own = ranking_tensors(opened.source)
            ranking_head = read_ranking_head(opened, tokenizer.result()) if own else None
            read = own if ranking_head is not None else ()
            unread = left_out(opened, (*graph.weights(), *graph.vectors(), *ROPE_TENSORS, *read))
            compiled = _compiled(bound, options, limits)
            engine = Engine(
                compiled,
                vocab_size=config.vocab_size,
                threads=options.thread_count,
                kv_cache_memory=options.kv_cache_memory,
            )
            engine.prompt_threads = options.prompt_thread_count
        if progress is not None:  # large vocabularies take longer than their models' packing
            progress(opened.source.nbytes, opened.source.nbytes, "reading the tokenizer")
        return _Loaded(config, compiled, engine, bound.parameters, unread, tokenizer.result(), ranking_head)


def _limits(opened: OpenedModel, options: LoadOptions) -> Limits:
    """What the program is built for. Raises InvalidRequestError for a context beyond what the model was trained for."""
    context = checked_context(options.context, opened.config)
    if opened.config.bidirectional:  # nothing is kept, and a text is in one step
        most = max(options.max_batch_tokens, context)
        return Limits(most, min(MAX_TEXTS, most), context, options.max_batch_tokens)
    limits = Limits(options.max_batch_tokens, MAX_SEQUENCES, context)
    if options.context is not None:
        return limits
    return replace(limits, max_context=default_context(opened, options.kv_cache, limits, options.kv_cache_memory))


def _compiled(bound: Bound, options: LoadOptions, limits: Limits) -> Compiled:
    """The program of a graph whose matrices have their forms; their contents may still be on the way."""
    return compile_schedule(
        optimize(bound.graph, exact=options.precision == "exact"),
        bound.parameters,
        target=options.target,
        precision=options.precision,
        limits=limits,
        cache_type=options.kv_cache,
    )


class _InBackground(Generic[T]):
    """Calls a function on another thread. ``result``, or the end of a ``with``, waits and raises what it raised.

    What the function reads may be closed after the ``with``: it waits also where its block fails.
    """

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._outcome: list[T] = []
        self._error: BaseException | None = None
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def result(self) -> T:
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._outcome[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._thread.join()
        if kind is None:
            self.result()

    def _run(self) -> None:
        try:
            self._outcome.append(self._function())
        except BaseException as error:  # raised again by result
            self._error = error


def checked_context(asked: int | None, config: ModelConfig) -> int:
    """Positions of one sequence; None asks for those that any machine has memory for.

    Raises InvalidRequestError for more than the model was trained for.
    """
    trained = config.max_position_embeddings
    if asked is None:
        return min(trained, SHORT_CONTEXT)
    if asked > trained:
        raise InvalidRequestError(f"context is {asked}, the model was trained for {trained} positions")
    return asked


def _info(loaded: _Loaded, opened: OpenedModel) -> ModelInfo:
    elements = sum(tensor.elements for tensor in opened.tensors)
    compiled, config, engine = loaded.compiled, loaded.config, loaded.engine
    packed: Counter[str] = Counter()
    for name, matrix in loaded.parameters.matrices.items():
        packed[opened.source.tensor_of(name)] += matrix.nbytes  # matrices of a stack together, and pieces of a matrix
    return ModelInfo(
        path=os.fspath(opened.path),
        name=opened.name,
        architecture=opened.architecture_name,
        parameters=elements,
        layers=compiled.layers,
        vocab_size=config.vocab_size,
        context=compiled.limits.max_context,
        trained_context=config.max_position_embeddings,
        rope_scaling=config.at_context(compiled.limits.max_context).rope_scaling,
        file_bytes=opened.file_bytes,
        bits_per_weight=8 * sum(tensor.nbytes for tensor in opened.tensors) / max(1, elements),
        weight_bytes=sum(matrix.nbytes for matrix in loaded.parameters.matrices.values()),
        bytes_per_token=bytes_per_token(compiled.schedule),
        cache_bytes=engine.cache_bytes,
        cache_bytes_per_position=compiled.cache.bytes_per_position,
        sequence_cache_bytes=engine.sequence_cache_bytes,
        slot_bytes=engine.slot_bytes,
        num_slots=engine.num_slots,
        isa=compiled.target,
        threads=engine.threads,
        precision=compiled.precision,
        kv_cache=compiled.cache.type,
        left_out=loaded.left_out,
        embedding=opened.embedding,
        sampling=usable_defaults(opened.sampling, os.fspath(opened.path)),
        tensors=tuple(replace(tensor, packed_bytes=packed[tensor.name]) for tensor in opened.tensors),
    )
