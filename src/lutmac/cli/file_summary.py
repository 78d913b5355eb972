"""What stands in a model file, whether or not lutmac can run it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lutmac.checkpoints import GGUFTensor, HuggingFaceCheckpoint, StoredTensor, open_gguf, open_huggingface
from lutmac.checkpoints.native import NativeCheckpoint, NativeTensor, is_native, open_native
from lutmac.engine.loading.listing import list_weights
from lutmac.engine.loading.opened import check_is_model, open_model
from lutmac.errors import LutmacError


@dataclass(frozen=True)
class TypeSummary:
    """The tensors of one type."""

    type: str
    tensors: int
    weights: int
    bytes: int

    @property
    def bits_per_weight(self) -> float:
        """Bits that one weight takes in the file, scales and offsets included."""
        return 8 * self.bytes / self.weights


@dataclass(frozen=True)
class FileSummary:
    """A model file. context_length: as trained, None where the file does not say. problem: why it cannot be run."""

    path: str
    name: str | None
    architecture: str
    context_length: int | None
    bytes: int
    types: tuple[TypeSummary, ...]
    tensors: tuple[GGUFTensor, ...] | tuple[StoredTensor, ...] | tuple[NativeTensor, ...]
    problem: str | None

    @property
    def weights(self) -> int:
        """Weights of all tensors."""
        return sum(summary.weights for summary in self.types)

    @property
    def bits_per_weight(self) -> float:
        """Bits that one weight takes on average."""
        return 8 * sum(summary.bytes for summary in self.types) / max(1, self.weights)


def summarize_file(path: Path) -> FileSummary:
    """Reads the headers of a GGUF file or a directory. Raises CheckpointError where it cannot be read."""
    if path.is_dir():
        return _summarize_directory(path)
    with open_gguf(path) as file:
        check_is_model(path, file.metadata.get("general.type"))
        name, context = file.metadata.get("general.name"), file.metadata.get(f"{file.architecture}.context_length")
        return FileSummary(
            path=str(path),
            name=name if isinstance(name, str) else None,
            architecture=file.architecture,
            context_length=context if isinstance(context, int) else None,
            bytes=file.nbytes,
            types=_summarize_types(list(file.tensors.values())),
            tensors=tuple(file.tensors.values()),
            problem=_problem(path),
        )


def _summarize_directory(path: Path) -> FileSummary:
    if is_native(path):
        with open_native(path) as native:
            return _of_directory(native, tuple(native.tensors.values()))
    with open_huggingface(path) as checkpoint:
        return _of_directory(checkpoint, tuple(checkpoint.tensors.values()))


def _of_directory(
    checkpoint: HuggingFaceCheckpoint | NativeCheckpoint,
    tensors: tuple[StoredTensor, ...] | tuple[NativeTensor, ...],
) -> FileSummary:
    context = checkpoint.config.get("max_position_embeddings")
    return FileSummary(
        path=str(checkpoint.path),
        name=checkpoint.path.resolve().name,
        architecture=checkpoint.model_type,
        context_length=context if isinstance(context, int) else None,
        bytes=checkpoint.nbytes,
        types=_summarize_types(tensors),
        tensors=tensors,
        problem=_problem(checkpoint.path),
    )


def _summarize_types(tensors: Sequence[GGUFTensor | StoredTensor | NativeTensor]) -> tuple[TypeSummary, ...]:
    """One entry per type, the one with the most bytes first."""
    kinds = {tensor.type_name for tensor in tensors}
    of_kind = {kind: [tensor for tensor in tensors if tensor.type_name == kind] for kind in kinds}
    summaries = [
        TypeSummary(kind, len(group), sum(t.elements for t in group), sum(t.nbytes for t in group))
        for kind, group in of_kind.items()
    ]
    return tuple(sorted(summaries, key=lambda summary: -summary.bytes))


def _problem(path: Path) -> str | None:
    """Why the model cannot be run, as far as its headers tell."""
    try:
        with open_model(path) as opened:
            list_weights(opened)
    except LutmacError as error:
        return str(error).removeprefix(f"{path}: ")
    return None
