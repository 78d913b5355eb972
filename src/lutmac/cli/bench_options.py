"""What `lutmac bench` is told, and which options go with what is measured."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from lutmac.cli import options
from lutmac.cli.option_groups import OptionGroup
from lutmac.errors import InvalidRequestError

if TYPE_CHECKING:
    from lutmac.cli.measure import Plan

Kind = Literal["a model", "kernels", "--synthetic"]

PROMPT_TOKENS: Final = 128
DECODE_TOKENS: Final = 64
REPEAT: Final = 5
BITS: Final = "2"
GROUP_SIZE: Final = 128
ARRAY_GHZ: Final = 1.0


class Peer(StrEnum):
    """Engines that lutmac can be measured against."""

    llama_cpp = "llama.cpp"


ThreadCounts = Annotated[
    str | None,
    typer.Option("--threads", "-t", metavar="N[,N...]", help="Thread counts, as in 1,2; default: the usable cores."),
]
PromptTokens = Annotated[
    int | None,
    typer.Option(
        "--prompt-tokens", "--prompt", "-p", min=1, help=f"Tokens per measured prefill; default: {PROMPT_TOKENS}."
    ),
]
DecodeTokens = Annotated[
    int | None, typer.Option("--decode-tokens", min=1, help=f"Tokens per measured decode; default: {DECODE_TOKENS}.")
]
Depth = Annotated[
    int | None,
    typer.Option("--context", "-c", min=0, help="Tokens in the KV cache before decoding begins; default: none."),
]
Repeat = Annotated[int, typer.Option("--repeat", "-r", min=1, help="Measured runs, after one that is not.")]
CacheOption = Annotated[
    options.KVCache | None,
    typer.Option("--kv-cache", help="What keys and values are kept as; default: f16."),
]
Versus = Annotated[
    Peer | None, typer.Option("--vs", help="Measure this engine on the same file in the same run (MODEL).")
]
Synthetic = Annotated[
    str | None,
    typer.Option(
        "--synthetic",
        metavar="SHAPE",
        help="Random weights instead of a file: llama-2-7b, llama-3-8b, bitnet-3b, qwen2.5-3b, smollm2-135m, "
        "bonsai2-27b, qwen3.5-9b, qwen3.6-35b-a3b, gemma4-e4b, gpt-oss-20b or maple-20b-a1b; fewer layers where memory "
        "is short.",
    ),
]
Bits = Annotated[
    str | None,
    typer.Option(
        "--bits",
        metavar="N[,N...]",
        help="Bits per weight, 1 to 8, or ternary, ptq1_0 and tq1_0: with a scale per row, or for each 128 and 256 "
        "weights; for kernels also iq4_nl, mxfp4, nvfp4 and nf4. Default: what people run a shape in, else "
        f"{BITS} (--synthetic and kernels).",
    ),
]
GroupSize = Annotated[
    int | None,
    typer.Option(
        "--group-size",
        min=0,
        help=f"Weights that share a scale; 0: a row (--synthetic and kernels); default: {GROUP_SIZE}.",
    ),
]
Layers = Annotated[int | None, typer.Option("--layers", min=1, help="Fewer layers than the shape has (--synthetic).")]
Streams = Annotated[
    str | None,
    typer.Option("--streams", metavar="N[,N...]", help="Also decode so many sequences together."),
]
Bounds = Annotated[
    bool | None,
    typer.Option("--bounds", help="On each ISA target: what a kernel reaches beside what it could (kernels)."),
]
ArrayClock = Annotated[
    float | None,
    typer.Option(
        "--array-clock",
        metavar="GHZ",
        min=0.001,
        help=f"Clock of the LUT Tensor Core array beside --bounds; default: {ARRAY_GHZ:g}.",
    ),
]
Arrays = Annotated[int | None, typer.Option("--arrays", min=1, help="So many such arrays; default: 1.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the JSON to a file, too.")]
Plot = Annotated[
    Path | None, typer.Option("--plot", metavar="DIR", help="Draw pictures (--synthetic with several bits; kernels).")
]
TraceFile = Annotated[
    Path | None,
    typer.Option(
        "--trace",
        metavar="FILE",
        help="Run once more and write what each thread did when, for chrome://tracing or ui.perfetto.dev (MODEL and "
        "--synthetic).",
    ),
]

# What each option goes with, where it is not everything.
_GOES_WITH: Final[dict[str, tuple[Kind, ...]]] = {
    "prompt_tokens": ("a model", "--synthetic"),
    "decode_tokens": ("a model", "--synthetic"),
    "context": ("a model", "--synthetic"),
    "kv_cache": ("a model", "--synthetic"),
    "streams": ("a model", "--synthetic"),
    "vs": ("a model",),
    "bits": ("--synthetic", "kernels"),
    "group_size": ("--synthetic", "kernels"),
    "layers": ("--synthetic",),
    "plot": ("--synthetic", "kernels"),
    "bounds": ("kernels",),
    "array_clock": ("kernels",),
    "arrays": ("kernels",),
    "trace": ("a model", "--synthetic"),
}


@dataclass(frozen=True)
class BenchOptions(OptionGroup):
    """What the command line says about a measurement. None: as it is where nobody says anything."""

    threads: ThreadCounts = None
    prompt_tokens: PromptTokens = None
    decode_tokens: DecodeTokens = None
    context: Depth = None
    repeat: Repeat = REPEAT
    kv_cache: CacheOption = None
    vs: Versus = None
    synthetic: Synthetic = None
    bits: Bits = None
    group_size: GroupSize = None
    layers: Layers = None
    streams: Streams = None
    output: Output = None
    plot: Plot = None
    bounds: Bounds = None
    array_clock: ArrayClock = None
    arrays: Arrays = None
    trace: TraceFile = None

    def kind(self, model: str | None) -> Kind:
        """What is measured. Raises InvalidRequestError for nothing, two things, and options that do not go with it."""
        if (model is None) == (self.synthetic is None):
            raise InvalidRequestError("bench wants either a model (or `kernels`) or --synthetic SHAPE")
        kind: Kind = "--synthetic" if model is None else "kernels" if model == "kernels" else "a model"
        for name, kinds in _GOES_WITH.items():
            if getattr(self, name) is not None and kind not in kinds:
                raise InvalidRequestError(f"--{name.replace('_', '-')} goes with {' or '.join(kinds)}, not with {kind}")
        self._check_bounds()
        return kind

    def _check_bounds(self) -> None:
        for name, value in (("--array-clock", self.array_clock), ("--arrays", self.arrays)):
            if value is not None and not self.bounds:
                raise InvalidRequestError(f"{name} goes with --bounds")
        if self.bounds:
            wrong = "--threads" if self.threads is not None else "--plot" if self.plot is not None else None
            if wrong is not None:
                raise InvalidRequestError(f"{wrong} does not go with --bounds, which measures one thread in tables")

    def check_output(self) -> None:
        """Raises InvalidRequestError where results could not be written: before anything is measured."""
        for path in (self.output, self.trace):
            if path is not None and (path.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK)):
                raise InvalidRequestError(f"cannot write {path}: no such directory, or none to write in")
        if self.plot is not None:
            from lutmac.cli.plots import check_matplotlib  # noqa: PLC0415 - rarely asked for

            check_matplotlib()

    @property
    def thread_counts(self) -> list[int] | None:
        """Numbers of threads; None: the usable cores. Raises InvalidRequestError."""
        return None if self.threads is None else options.parse_counts(self.threads, "--threads")

    @property
    def stream_counts(self) -> list[int]:
        """Numbers of sequences that are decoded together. Raises InvalidRequestError."""
        return [] if self.streams is None else options.parse_counts(self.streams, "--streams")

    def bit_widths(self, default: str) -> list[str]:
        """What --bits has between its commas, or the default."""
        return [part.strip() for part in (self.bits or default).split(",")]

    @property
    def weights_per_scale(self) -> int:
        """Weights that share a scale; 0: a row."""
        return GROUP_SIZE if self.group_size is None else self.group_size

    def plan(self) -> Plan:
        """What is measured of a model."""
        from lutmac.cli.measure import Plan  # noqa: PLC0415 - imports the engine

        cache = options.KVCache.f16 if self.kv_cache is None else self.kv_cache
        return Plan(
            self.prompt_tokens or PROMPT_TOKENS,
            self.decode_tokens or DECODE_TOKENS,
            self.context or 0,
            self.repeat,
            cache.value,
            traced=self.trace is not None,
        )
