"""`lutmac quantize`: makes a low-bit model out of any model."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lutmac.cli import options
from lutmac.cli.option_groups import OptionGroup
from lutmac.cli.output import ProgressBar, format_bytes, print_json, print_table
from lutmac.cli.prompt import read_text
from lutmac.errors import InvalidRequestError

if TYPE_CHECKING:
    from lutmac import QuantizationSettings
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
Bits = Annotated[int | None, typer.Option("--bits", "-b", min=1, help="Bits of the weights in the layers; default: 4.")]
GroupSize = Annotated[
    int | None,
    typer.Option("--group-size", "-g", min=0, help="Weights that share a scale; 0: one scale per row; default: 128."),
]
Method = Annotated[MethodName, typer.Option("--method", "-m", help="How weights are rounded.")]
Symmetric = Annotated[
    bool | None,
    typer.Option(
        "--symmetric/--asymmetric", help="Levels around zero, or anywhere (an offset per group); default: anywhere."
    ),
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
EmbeddingBits = Annotated[
    int | None, typer.Option("--embedding-bits", min=1, help="Bits of the embedding; default: 8.")
]
HeadBits = Annotated[int | None, typer.Option("--head-bits", min=1, help="Bits of the head; default: 8.")]
Sequences = Annotated[
    int | None, typer.Option("--sequences", min=1, help="Sequences of 512 tokens to calibrate on; default: 32.")
]
Output = Annotated[
    OutputFormat, typer.Option("--format", help="native: a directory; gguf: a file that others read too.")
]


@dataclass(frozen=True)
class QuantizeOptions(OptionGroup):
    """What the command line says about the low-bit model. None: as the settings have it."""

    bits: Bits = None
    group_size: GroupSize = None
    method: Method = MethodName.rtn
    symmetric: Symmetric = None
    tensor_type: TensorType = None
    calibration: Calibration = None
    evaluation: Evaluation = None
    average_bits: AverageBits = None
    embedding_bits: EmbeddingBits = None
    head_bits: HeadBits = None
    sequences: Sequences = None
    output: Output = OutputFormat.native

    def settings(self) -> QuantizationSettings:
        """What the model is to become. Raises InvalidRequestError for values and options that do not go together."""
        import lutmac  # noqa: PLC0415 - the engine costs more to import than a help text may take

        self._check_together()
        names = ("bits", "group_size", "symmetric", "average_bits", "embedding_bits", "head_bits", "sequences")
        given: dict[str, Any] = {name: value for name in names if (value := getattr(self, name)) is not None}
        if self.tensor_type is not None:
            given["tensor_type"] = self.tensor_type.value
        if given.get("group_size") == 0:
            given["group_size"] = None  # one scale for a row
        return lutmac.QuantizationSettings(method=self.method.value, **given)

    def _check_together(self) -> None:
        """What would have no effect is a mistake."""
        layers = {"--bits": self.bits, "--group-size": self.group_size, "--symmetric": self.symmetric}
        for flag, value in layers.items():
            if value is not None and self.tensor_type is not None:
                raise InvalidRequestError(f"{flag} and --type {self.tensor_type} say the same thing: give one of them")
        if self.bits is not None and self.average_bits is not None:
            raise InvalidRequestError("--bits and --average-bits say the same thing: give one of them")
        if self.method == MethodName.ternary and (self.bits is not None or self.symmetric is not None):
            raise InvalidRequestError("--method ternary has levels of its own: leave --bits and --symmetric out")
        if self.sequences is not None and self.calibration is None:
            raise InvalidRequestError("--sequences are of the text that --calibration names")


def quantize(
    source: options.Model,
    destination: Destination,
    *,
    given: QuantizeOptions,
    threads: options.Threads = None,
    as_json: options.AsJson = False,
) -> None:
    """Quantise a model. A run that was stopped goes on where it was.

    Example: lutmac quantize hf:org/model model-2bit --bits 2 --group-size 64 --method gptq --calibration text.txt
    """
    calibration = None if given.calibration is None else read_text(given.calibration)
    evaluation = None if given.evaluation is None else read_text(given.evaluation)
    settings = given.settings()

    import lutmac  # noqa: PLC0415 - as above

    with ProgressBar(shown=not as_json) as bar:
        made = lutmac.quantize_model(
            source,
            destination,
            settings,
            calibration=calibration,
            evaluation=evaluation,
            output=given.output.value,
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
