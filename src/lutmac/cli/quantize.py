"""`lutmac quantize`: makes a low-bit model out of any model."""

from __future__ import annotations

import re
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lutmac.cli import options
from lutmac.cli.eval import read_text
from lutmac.cli.output import ProgressBar, format_bytes, print_json, print_table

if TYPE_CHECKING:
    from lutmac.engine.quantization.model import QuantizedModel, QuantizedTensor


class MethodName(StrEnum):
    """How weights are rounded."""

    rtn = "rtn"
    gptq = "gptq"
    awq = "awq"
    ternary = "ternary"
    afpq = "afpq"
    mofq = "mofq"


class TypeName(StrEnum):
    """K-quants, by GGUF's names."""

    Q2_K = "Q2_K"
    Q3_K = "Q3_K"
    Q4_K = "Q4_K"
    Q5_K = "Q5_K"
    Q6_K = "Q6_K"


class OutputFormat(StrEnum):
    """What is written."""

    native = "native"
    gguf = "gguf"


Destination = Annotated[Path, typer.Argument(metavar="DST", help="What to write; it must not exist.")]
Bits = Annotated[int, typer.Option("--bits", "-b", min=1, help="Bits of the weights in the layers.")]
GroupSize = Annotated[
    int, typer.Option("--group-size", "-g", min=0, help="Weights that share a scale; 0: one scale per row.")
]
Method = Annotated[MethodName, typer.Option("--method", "-m", help="How weights are rounded.")]
Symmetric = Annotated[
    bool, typer.Option("--symmetric/--asymmetric", help="Levels around zero, or anywhere (an offset per group).")
]
TensorType = Annotated[
    TypeName | None, typer.Option("--type", help="A K-quant of GGUF, in place of bits, group size and symmetry.")
]
Calibration = Annotated[
    Path | None, typer.Option("--calibration", metavar="FILE", help="Text to fit gptq, awq and mofq to.")
]
Evaluation = Annotated[
    Path | None,
    typer.Option("--evaluation", metavar="FILE", help="Text for perplexity; default: the calibration's rest."),
]
AverageBits = Annotated[
    float | None, typer.Option("--average-bits", help="Bits per weight, scales included, spread by need.")
]
EmbeddingBits = Annotated[int, typer.Option("--embedding-bits", min=1, help="Bits of the embedding.")]
HeadBits = Annotated[int, typer.Option("--head-bits", min=1, help="Bits of the head.")]
Sequences = Annotated[int, typer.Option("--sequences", min=1, help="Sequences of 512 tokens to calibrate on.")]
Output = Annotated[
    OutputFormat, typer.Option("--format", help="native: a directory; gguf: a file that others read too.")
]


def quantize(
    source: options.Model,
    destination: Destination,
    *,
    bits: Bits = 4,
    group_size: GroupSize = 128,
    method: Method = MethodName.rtn,
    symmetric: Symmetric = False,
    tensor_type: TensorType = None,
    calibration: Calibration = None,
    evaluation: Evaluation = None,
    average_bits: AverageBits = None,
    embedding_bits: EmbeddingBits = 8,
    head_bits: HeadBits = 8,
    sequences: Sequences = 32,
    output: Output = OutputFormat.native,
    threads: options.Threads = None,
    as_json: options.AsJson = False,
) -> None:
    """Quantise a model. A run that was stopped goes on where it was.

    Example: lutmac quantize hf:org/model model-2bit --bits 2 --group-size 64 --method gptq --calibration text.txt
    """
    calibration_text = None if calibration is None else read_text(calibration)
    evaluation_text = None if evaluation is None else read_text(evaluation)

    import lutmac  # noqa: PLC0415 - the engine costs more to import than a help text may take

    settings = lutmac.QuantizationSettings(
        bits=bits,
        group_size=group_size or None,
        method=method.value,
        symmetric=symmetric,
        average_bits=average_bits,
        embedding_bits=embedding_bits,
        head_bits=head_bits,
        tensor_type=None if tensor_type is None else tensor_type.value,
        sequences=sequences,
    )
    with ProgressBar(shown=not as_json) as bar:
        made = lutmac.quantize_model(
            source,
            destination,
            settings,
            calibration=calibration_text,
            evaluation=evaluation_text,
            output=output.value,
            threads=threads,
            progress=bar,
        )
    if as_json:
        print_json({**asdict(made), "path": str(made.path), "average_bits": made.average_bits})
    else:
        _print(made)


HALF_BITS = 15.5  # of a source that has more, all matrices are floats of at least 16 bits


def _print(made: QuantizedModel) -> None:
    parts: dict[str, list[QuantizedTensor]] = {}
    for tensor in made.tensors:
        layer = re.search(r"layers\.(\d+)\.", tensor.name)
        parts.setdefault(f"layer {layer[1]}" if layer else tensor.name, []).append(tensor)
    rows = []
    for name, tensors in parts.items():
        weights, size = sum(tensor.weights for tensor in tensors), sum(tensor.bytes for tensor in tensors)
        error = sum(tensor.error for tensor in tensors) / len(tensors)
        rows.append([name, f"{8 * size / weights:.2f}", f"{error:.4f}", format_bytes(size)])
    print_table(["", "bits per weight", "relative error", "size"], rows)
    if made.source_bits < HALF_BITS:
        print(f"\nthe source was quantised already ({made.source_bits:.2f} bits per weight): what it lost stays lost")
    print(f"\n{made.path}: {made.average_bits:.2f} bits per weight, {format_bytes(made.bytes)}")
    if made.perplexity_before is not None and made.perplexity_after is not None:
        print(f"perplexity {made.perplexity_before:.3f} before, {made.perplexity_after:.3f} after")
