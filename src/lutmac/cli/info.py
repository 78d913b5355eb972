"""`lutmac info`: what is in a model file, and what it becomes in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lutmac.cli import options
from lutmac.cli.option_groups import OptionGroup
from lutmac.cli.output import ProgressBar, format_bytes, print_json, print_table
from lutmac.errors import InvalidRequestError, UnsupportedModelError

if TYPE_CHECKING:
    from lutmac import Model
    from lutmac.checkpoints.embedding_config import EmbeddingConfig
    from lutmac.cli.file_summary import FileSummary
    from lutmac.engine.loading.info import ModelInfo


Program = Annotated[bool, typer.Option("--program", help="Print the compiled program as one page.")]
Tensors = Annotated[bool, typer.Option("--tensors", help="List every tensor.")]


@dataclass(frozen=True)
class InfoOptions(OptionGroup):
    """What the command line wants to know of a model, beside what it is told anyway."""

    program: Program = False
    tensors: Tensors = False


def info(
    model: options.Model,
    *,
    wanted: InfoOptions,
    loading: options.Loading,
    as_json: options.AsJson = False,
) -> None:
    """Describe a model. What is in its file, and what it takes to run it.

    Example: lutmac info smollm2 --program
    """
    import lutmac  # noqa: PLC0415 - the engine costs more to import than a help text may take
    from lutmac.cli.file_summary import summarize_file  # noqa: PLC0415 - as above
    from lutmac.engine.loading.resolve import resolve  # noqa: PLC0415 - as above

    if wanted.program and wanted.tensors and not as_json:
        raise InvalidRequestError("--program and --tensors print a page each: ask for one")
    path = resolve(model)
    summary = summarize_file(path)
    if wanted.program and summary.problem is not None:
        raise UnsupportedModelError(f"{path}: {summary.problem}: there is no program to print")
    loaded = None
    if summary.problem is None:
        with ProgressBar(shown=not as_json) as bar:
            loaded = lutmac.load(path, progress=bar, **loading.arguments())
    if as_json:
        print_json(_as_dict(summary, loaded, program=wanted.program))
    elif wanted.program and loaded is not None:
        print(loaded.program())
    else:
        _print(summary, loaded, tensors=wanted.tensors)


def _bits_in_memory(model: Model | None) -> dict[str, float]:
    """Bits of a weight as the kernels have it, by type of tensor: types without a kernel take more than in the file."""
    from lutmac.engine.loading.info import bits_in_memory  # noqa: PLC0415 - as below

    return bits_in_memory(model.info().tensors) if model is not None else {}


def _tensor_as_dict(tensor: Any) -> dict[str, object]:
    """A tensor's fields. What is packed says its shape by a native object, whose fields are JSON."""
    kind = getattr(tensor, "kind", None)
    return {**asdict(replace(tensor, kind=None)), "kind": kind.fields()} if kind is not None else asdict(tensor)


def _as_dict(summary: FileSummary, model: Model | None, *, program: bool) -> dict[str, object]:
    """What --json prints: the file, and under "loaded" what it becomes (null where it cannot be run)."""
    report = {
        **asdict(replace(summary, tensors=())),
        "tensors": [_tensor_as_dict(tensor) for tensor in summary.tensors],
        "weights": summary.weights,
        "bits_per_weight": summary.bits_per_weight,
    }
    in_memory = _bits_in_memory(model)
    report["types"] = [
        {**asdict(t), "bits_per_weight": t.bits_per_weight, "bits_in_memory": in_memory.get(t.type)}
        for t in summary.types
    ]
    report["loaded"] = None
    if model is not None:
        figures = model.info()
        report["loaded"] = {
            "isa": figures.isa,
            "threads": figures.threads,
            "precision": figures.precision,
            "context": figures.context,
            "rope_scaling": figures.rope_scaling,
            "left_out": [asdict(left) for left in figures.left_out],
            "embedding": _embedding_as_dict(figures.embedding),
            "sampling": dict(figures.sampling),
            "ranks": figures.ranks,
            "layers": figures.layers,
            "vocab_size": figures.vocab_size,
            "weight_bytes": figures.weight_bytes,
            "bytes_per_token": figures.bytes_per_token,
            "cache_bytes": figures.cache_bytes,
            "sequence_cache_bytes": figures.sequence_cache_bytes,
            "full_sequences": figures.full_sequences,
            "slot_bytes": figures.slot_bytes,
            "num_slots": figures.num_slots,
        }
        if program:
            report["program"] = model.program()
    return report


def _context(figures: ModelInfo) -> str:
    """Positions of a sequence, and why they are fewer than the model was trained for."""
    if figures.context == figures.trained_context:
        return f"{figures.context} tokens"
    return f"{figures.context} tokens; --context {figures.trained_context} is the most"


def _cache(figures: ModelInfo) -> str:
    """What the cache takes for one sequence, and for how many there is room."""
    if not figures.sequence_cache_bytes:
        return "none: a text is read at once, and nothing is kept"
    one, whole = format_bytes(figures.sequence_cache_bytes), format_bytes(figures.cache_bytes)
    room = f"room for {figures.full_sequences} ({whole}), taken as it is used"
    return f"{one} for a sequence of {figures.context} tokens; {room}"


def _snapshots(figures: ModelInfo) -> list[tuple[str, str]]:
    """What is kept of states of fixed size, where a model has such."""
    if not figures.slot_bytes:
        return []
    size, total = format_bytes(figures.slot_bytes), format_bytes(figures.num_slots * figures.slot_bytes)
    return [
        ("states", f"{size} for each sequence that runs"),
        ("snapshots", f"{size} each, {figures.num_slots} ({total}) less those of sequences that run"),
    ]


def _sampling(defaults: Mapping[str, float]) -> str:
    """The options that the file recommends."""
    found = ", ".join(f"{name} {value:g}" for name, value in defaults.items())
    return found or "the file recommends nothing"


def _embedding_as_dict(config: EmbeddingConfig) -> dict[str, object]:
    return {
        "stated": config.stated,
        "pooling": None if config.problem else list(config.pooling),
        "dense": [layer.out_features for layer in config.dense],
        "normalize": config.normalize,
        "dimensions": config.dimensions,
        "max_tokens": config.max_tokens,
        "prompts": dict(config.prompts),
        "default_prompt": config.default_prompt,
        "problem": config.problem,
    }


def _print(summary: FileSummary, model: Model | None, *, tensors: bool) -> None:
    lines = [
        ("file", f"{summary.path} ({format_bytes(summary.bytes)})"),
        ("name", summary.name or "not stated"),
        ("architecture", summary.architecture),
        ("weights", f"{summary.weights / 1e6:.1f} million at {summary.bits_per_weight:.2f} bits"),
        ("trained context", f"{summary.context_length or 'not stated'}"),
    ]
    if model is not None:
        figures = model.info()
        lines += [
            ("layers", str(figures.layers)),
            ("vocabulary", str(figures.vocab_size)),
            ("memory", f"{format_bytes(figures.weight_bytes)} of packed weights"),
            ("read per token", format_bytes(figures.bytes_per_token)),
            ("context", _context(figures)),
            ("rope scaling", figures.rope_scaling),
            ("embeddings", str(figures.embedding)),
            *([("reranking", "scores documents for a query")] if figures.ranks else []),
            ("sampling", _sampling(figures.sampling)),
            ("key-value cache", _cache(figures)),
            *_snapshots(figures),
            ("ISA target", figures.isa),
            ("threads", str(figures.threads)),
        ]
        lines += [
            ("left out", f"{left.what}: {len(left.tensors)} tensors, {format_bytes(left.nbytes)} ({left.tensors[0]})")
            for left in figures.left_out
        ]
    for label, text in lines:
        print(f"{label:<16} {text}")
    if summary.problem is not None:
        print(f"{'cannot be run':<16} {summary.problem}")
    print()
    in_memory = {kind: f"{bits:.2f}" for kind, bits in _bits_in_memory(model).items()}
    rows = [
        [t.type, str(t.tensors), str(t.weights), format_bytes(t.bytes), f"{t.bits_per_weight:.2f}",
         in_memory.get(t.type, "-")]
        for t in summary.types
    ]  # fmt: skip
    print_table(["type", "tensors", "weights", "bytes", "bits per weight", "in memory"], rows)
    if tensors:
        print()
        shapes = [[t.name, t.type_name, "x".join(map(str, t.shape)), format_bytes(t.nbytes)] for t in summary.tensors]
        print_table(["tensor", "type", "shape", "bytes"], shapes, left=2)
