"""`lutmac.quantize_model`: a model to a smaller one, in the native format or in GGUF."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lutmac.checkpoints.destination import Destination
from lutmac.checkpoints.native_writer import NativeWriter
from lutmac.engine.load import load
from lutmac.engine.loading.convert import write_matrix, write_text_files
from lutmac.engine.loading.listing import WeightList, list_weights
from lutmac.engine.loading.opened import OpenedModel, open_model
from lutmac.engine.loading.resolve import resolve
from lutmac.engine.loading.tuning import current_tuning
from lutmac.engine.quantization.gguf_output import check_output, write_gguf
from lutmac.engine.quantization.layers import LayerQuantizer
from lutmac.engine.quantization.matrices import CurrentWeights, figures, quantize_end
from lutmac.engine.quantization.settings import CALIBRATED, QuantizationSettings
from lutmac.engine.quantization.state import QuantizationState
from lutmac.errors import InvalidRequestError
from lutmac.graph.ir import Graph
from lutmac.graph.operations.logits import Logits
from lutmac.lowbit.target import resolve_target

Progress = Callable[[int, int, str], None]
EVALUATED_WINDOWS = 8


@dataclass(frozen=True)
class QuantizedTensor:
    """A matrix that was quantised.

    error: the norm of its product's error over the norm of the product, on the calibration text. Without one: the norm
    of W - W' over the norm of W.
    """

    name: str
    bits: int
    weights: int
    error: float
    bytes: int


@dataclass(frozen=True)
class QuantizedModel:
    """What was made. perplexity_before, perplexity_after: None where no text was given to measure them on.

    source_bits: bits of a weight of the source, scales included; below 16, it had lost something already.
    """

    path: Path
    tensors: tuple[QuantizedTensor, ...]
    bytes: int
    perplexity_before: float | None
    perplexity_after: float | None
    source_bits: float

    @property
    def average_bits(self) -> float:
        """Bits of a weight of the matrices, scales included."""
        return 8 * sum(tensor.bytes for tensor in self.tensors) / sum(tensor.weights for tensor in self.tensors)


def quantize_model(  # noqa: PLR0913 (a public call; options by keyword)
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    settings: QuantizationSettings | None = None,
    *,
    calibration: str | None = None,
    evaluation: str | Sequence[int] | None = None,
    output: Literal["native", "gguf"] = "native",
    threads: int | None = None,
    progress: Progress | None = None,
) -> QuantizedModel:
    """Quantises a model and writes it.

    source: what ``load`` takes; what is low-bit already is dequantised first. calibration: text whose tokens the
    methods gptq, awq and mofq are fitted to; others only measure their errors by it. evaluation: text (or tokens) for
    the perplexities before and after; default, what follows the calibration's tokens in its text. output: "gguf"
    writes one file, as far as GGUF has the type. progress: called with (done, in all, what).

    What is finished is kept in ``DESTINATION.quantizing`` until all is, so that a run which was stopped goes on.

    Raises what ``load`` raises, and InvalidRequestError.
    """
    settings = settings or QuantizationSettings()
    if settings.method in CALIBRATED and calibration is None:
        raise InvalidRequestError(f"{settings.method} needs a calibration text")
    path, target = resolve(source), Path(destination)
    with open_model(path) as opened, Destination(target) as place:
        if output == "gguf":
            check_output(opened, settings)
        tokens, rest = _calibration_tokens(opened, calibration, settings)
        state = QuantizationState(target, _fingerprint(path, settings, calibration, output))
        graph, listed = list_weights(opened)
        weights = CurrentWeights(opened, state)
        LayerQuantizer(graph, weights, settings, state, tokens, progress).run()
        _quantize_ends(graph, weights, settings)
        if output == "gguf":
            sizes = _write_gguf(opened, listed, weights, place.unfinished)
        else:
            sizes = _write_native(
                opened, listed, weights, place.make_directory(), threads or current_tuning().thread_count
            )
        place.publish()
        tensors = tuple(_report(name, state, size) for name, size in sizes.items())
        source_bits = (
            8 * sum(entry.nbytes for entry in opened.tensors) / sum(entry.elements for entry in opened.tensors)
        )
    state.remove()
    text: Any = evaluation if evaluation is not None else rest
    before, after = (_perplexity(model, text, threads, progress) for model in (path, target))
    files = target.rglob("*") if target.is_dir() else [target]
    size = sum(file.stat().st_size for file in files if file.is_file())
    return QuantizedModel(target, tensors, size, before, after, source_bits)


def _calibration_tokens(
    opened: OpenedModel, text: str | None, settings: QuantizationSettings
) -> tuple[NDArray[np.int32] | None, list[int]]:
    """The tokens [sequences, length] that are used, and those that follow."""
    if text is None:
        return None, []
    ids = opened.read_tokenizer().encode(text, add_special=False)
    count = min(settings.sequences, len(ids) // settings.length)
    if count == 0:
        raise InvalidRequestError(
            f"the calibration text has {len(ids)} tokens, fewer than one sequence of {settings.length}"
        )
    used = count * settings.length
    return np.array(ids[:used], np.int32).reshape(count, settings.length), ids[used:]


def _fingerprint(path: Path, settings: QuantizationSettings, calibration: str | None, output: str) -> dict[str, Any]:
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    stats = {file.name: [file.stat().st_size, file.stat().st_mtime_ns] for file in files if file.is_file()}
    text = None if calibration is None else hashlib.sha256(calibration.encode()).hexdigest()
    return {**asdict(settings), "source": str(path.resolve()), "files": stats, "text": text, "output": output}


def _quantize_ends(graph: Graph, weights: CurrentWeights, settings: QuantizationSettings) -> None:
    """The embeddings and the head; one matrix that is both gets the larger bits."""
    bits: dict[str, int] = {}
    for op in graph.ops:
        if op.LOOKS_UP or isinstance(op, Logits):
            wanted = settings.embedding_bits if op.LOOKS_UP else settings.head_bits
            for weight in op.matrices():
                bits[weight.name] = max(wanted, bits.get(weight.name, 0))
    for name, count in bits.items():
        if not weights.state.has(name):
            w = weights.source(name)
            matrix = quantize_end(w, count)
            weights.state.save_matrix(name, matrix, figures(w, matrix, None))


def _write_native(
    opened: OpenedModel, listed: WeightList, weights: CurrentWeights, directory: Path, threads: int
) -> dict[str, int]:
    """The bytes of each matrix."""
    write_text_files(opened, directory)
    target, sizes = resolve_target(), {}
    names = [*listed.vectors, *listed.matrices]
    with NativeWriter(directory, target=target, names=names) as writer:
        for name in listed.vectors:
            writer.add_vector(name, weights.vector(name))
        for name in listed.matrices:
            matrix, _ = weights.state.load_matrix(name)
            sizes[name] = write_matrix(writer, name, matrix, target=target, threads=threads)
        writer.finish()
    return sizes


def _write_gguf(opened: OpenedModel, listed: WeightList, weights: CurrentWeights, path: Path) -> dict[str, int]:
    """The bytes of each matrix."""
    return write_gguf(
        opened,
        path,
        {name: partial(weights.state.quantized, name) for name in listed.matrices},
        {name: partial(weights.vector, name) for name in listed.vectors},
    )


def _report(name: str, state: QuantizationState, size: int) -> QuantizedTensor:
    matrix, found = state.load_matrix(name)
    error = math.sqrt(found["error"] / found["power"]) if found["power"] else 0.0
    return QuantizedTensor(name, matrix.bits, int(found["weights"]), error, size)


def _perplexity(path: Path, text: Any, threads: int | None, progress: Progress | None) -> float | None:
    """On a text, or on token ids. None where there is less than a window of it."""
    if not isinstance(text, str) and len(text) < 512:
        return None
    model = load(path, threads=threads, context=512)
    return model.perplexity(text, ctx=512, windows=EVALUATED_WINDOWS, progress=progress).perplexity
