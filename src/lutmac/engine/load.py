"""Opening a checkpoint: where files and architectures meet."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from threading import Thread
from typing import Any, Generic, Literal, TypeVar

from lutmac.checkpoints.gguf import GGUFFile, open_gguf
from lutmac.engine.engine import Engine
from lutmac.engine.info import ModelInfo, TensorInfo, bytes_per_token
from lutmac.engine.model import Model
from lutmac.engine.resolve import resolve
from lutmac.engine.tuning import current_tuning
from lutmac.errors import CheckpointError, InvalidRequestError
from lutmac.graph.compile import Compiled, Limits, Parameters, compile_graph
from lutmac.graph.ir import Form, Vector, Weight
from lutmac.graph.passes import optimize
from lutmac.lowbit.packing import Packer
from lutmac.lowbit.target import resolve_target
from lutmac.models import Architecture, ModelConfig, find_architecture
from lutmac.text.tokenizer import Tokenizer

Progress = Callable[[int, int, str], None]
Precision = Literal["default", "exact"]
DEFAULT_CONTEXT = 8192  # at most, where the caller does not say
T = TypeVar("T")
MAX_SEQUENCES = 16  # in one step; more wait
PACK_TOGETHER = 128 << 20  # bytes of the file: a small model at once, of a large one never much twice in memory
FORMS: dict[str, Form] = {"plain": "plain", "tables": "tables", "integers": "integers"}


@dataclass(frozen=True)
class LoadOptions:
    """Checked arguments of ``load``."""

    threads: int
    context: int | None
    exact: bool
    target: str
    max_batch_tokens: int


def load(
    path_or_name: str | os.PathLike[str],
    *,
    threads: int | None = None,
    context: int | None = None,
    precision: Precision = "default",
    isa: str | None = None,
    max_batch_tokens: int = 512,
    progress: Progress | None = None,
) -> Model:
    """Loads a model from a GGUF file, or by a name that ``lutmac pull`` has obtained.

    threads: default, one per physical core that the process may use, or what `lutmac tune` found. context: positions of
    one sequence; default, what the model was trained for, at most 8192. precision: "exact" computes products in float
    on the dequantised weights. isa: an ISA target to force ("avx512", "avx2", "portable"). max_batch_tokens: tokens
    that run together in one step.
    progress: called with (bytes done, bytes in all, what).

    Raises CheckpointError, UnsupportedModelError, UnsupportedISAError or InvalidRequestError.
    """
    path = resolve(path_or_name)
    options = _checked(threads, context, precision, resolve_target(isa), max_batch_tokens)
    with open_gguf(path) as file:
        architecture = find_architecture(file.architecture)
        file.check_supported()
        config = architecture.read_gguf_config(file.metadata)
        weights = GGUFWeights(file, architecture, options, progress)
        graph = optimize(architecture.build(config, weights), exact=options.exact)
        tokenizer = _InBackground(lambda: Tokenizer.from_gguf(file.metadata))  # packing leaves Python idle
        weights.finish()
        limits = Limits(options.max_batch_tokens, MAX_SEQUENCES, _context(options.context, config))
        compiled = compile_graph(graph, weights.parameters, target=options.target, exact=options.exact, limits=limits)
        engine = Engine(compiled, vocab_size=config.vocab_size, threads=options.threads)
        info = _info(file, config, compiled, engine, weights.parameters)
        return Model(engine, tokenizer.result(), compiled, info, file.metadata)


class _InBackground(Generic[T]):
    """Calls a function on another thread; ``result`` waits, and raises what it raised."""

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

    def _run(self) -> None:
        try:
            self._outcome.append(self._function())
        except BaseException as error:  # raised again by result
            self._error = error


class GGUFWeights:
    """A GGUF file's tensors by Hugging Face's names; what was asked for is packed by ``finish`` at the latest."""

    def __init__(
        self, file: GGUFFile, architecture: Architecture, options: LoadOptions, progress: Progress | None
    ) -> None:
        """progress: called after each tensor."""
        self.parameters = Parameters()
        self._file = file
        self._gguf_name = architecture.gguf_tensor_name
        self._progress = progress
        self._weights: dict[str, Weight] = {}
        self._packer = Packer(target=options.target, threads=options.threads)
        self._pending: list[str] = []  # tensors that the packer has yet to read
        self._pending_bytes = 0
        self._done = 0
        self._total = sum(tensor.nbytes for tensor in file.tensors.values())

    def has(self, name: str) -> bool:
        """Whether the file holds this tensor."""
        return self._gguf_name(name) in self._file.tensors

    def matrix(self, name: str, rows: int, columns: int) -> Weight:
        """A matrix. Raises CheckpointError where it is missing or misshapen."""
        if name not in self._weights:
            gguf_name = self._checked_shape(name, (rows, columns))
            packed = self._packer.add(self._file.matrix(gguf_name))
            self.parameters.matrices[name] = packed
            form = FORMS[packed.form]
            self._weights[name] = Weight(name, rows, columns, form, packed.bits, packed.group_size, packed.nbytes)
            self._pending.append(gguf_name)
            self._pending_bytes += self._file.tensors[gguf_name].nbytes
            if self._pending_bytes >= PACK_TOGETHER:
                self.finish()
        return self._weights[name]

    def finish(self) -> None:
        """Packs the matrices that were asked for, and gives the file's pages back."""
        self._packer.finish()
        for gguf_name in self._pending:
            self._file.drop_pages(gguf_name)
            self._report(gguf_name)
        self._pending.clear()
        self._pending_bytes = 0

    def vector(self, name: str, width: int) -> Vector:
        """A vector. Raises CheckpointError where it is missing or has another width."""
        gguf_name = self._checked_shape(name, (width,))
        self.parameters.vectors[name] = self._file.vector(gguf_name)
        self._report(gguf_name)
        return Vector(name, width)

    def values(self, name: str, width: int) -> tuple[float, ...]:
        """A vector's values."""
        values: list[float] = self._file.vector(self._checked_shape(name, (width,))).tolist()
        return tuple(values)

    def _checked_shape(self, name: str, shape: tuple[int, ...]) -> str:
        gguf_name = self._gguf_name(name)
        tensor = self._file.tensors.get(gguf_name)
        if tensor is None:
            raise CheckpointError(f"{self._file.path}: tensor {gguf_name} is missing")
        if tuple(tensor.shape) != shape:
            raise CheckpointError(f"{self._file.path}: tensor {gguf_name} has shape {tensor.shape}, expected {shape}")
        return gguf_name

    def _report(self, gguf_name: str) -> None:
        self._done += self._file.tensors[gguf_name].nbytes
        if self._progress is not None:
            self._progress(self._done, self._total, "loading")


def _checked(
    threads: int | None, context: int | None, precision: str, target: str, max_batch_tokens: int
) -> LoadOptions:
    if precision not in ("default", "exact"):
        raise InvalidRequestError(f"precision is {precision!r}, expected 'default' or 'exact'")
    for name, value, low, high in (
        ("threads", threads, 1, 1024),
        ("context", context, 2, 2**24),
        ("max_batch_tokens", max_batch_tokens, MAX_SEQUENCES, 65536),
    ):
        if value is not None and not (type(value) is int and low <= value <= high):
            raise InvalidRequestError(f"{name} is {value!r}, expected an integer from {low} to {high}")
    tuned = current_tuning()
    count = tuned.thread_count if threads is None else threads
    return LoadOptions(count, context, precision == "exact", target, max_batch_tokens)


def _context(asked: int | None, config: ModelConfig) -> int:
    trained = config.max_position_embeddings
    if asked is None:
        return min(trained, DEFAULT_CONTEXT)
    if asked > trained:
        raise InvalidRequestError(f"context is {asked}, the model was trained for {trained} positions")
    return asked


def _info(file: GGUFFile, config: ModelConfig, compiled: Compiled, engine: Engine, parameters: Parameters) -> ModelInfo:
    tensors = tuple(TensorInfo(t.name, tuple(t.shape), t.type_name, t.nbytes) for t in file.tensors.values())
    elements = sum(tensor.elements for tensor in file.tensors.values())
    name: Any = file.metadata.get("general.name")
    return ModelInfo(
        path=os.fspath(file.path),
        name=name if isinstance(name, str) else os.path.basename(file.path),
        architecture=file.architecture,
        parameters=elements,
        layers=len(compiled.cache.layer_groups),
        vocab_size=config.vocab_size,
        context=compiled.limits.max_context,
        trained_context=config.max_position_embeddings,
        file_bytes=os.path.getsize(file.path),
        bits_per_weight=8 * sum(tensor.nbytes for tensor in tensors) / elements,
        weight_bytes=sum(matrix.nbytes for matrix in parameters.matrices.values()),
        bytes_per_token=bytes_per_token(compiled.graph),
        cache_bytes=engine.cache_bytes,
        cache_bytes_per_position=compiled.cache.bytes_per_position,
        isa=compiled.target,
        threads=engine.threads,
        precision="exact" if compiled.exact else "default",
        tensors=tensors,
    )
