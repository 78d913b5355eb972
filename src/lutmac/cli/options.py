"""Options that several commands share, each written once."""

from __future__ import annotations

import inspect
import json
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from lutmac.cli.model_words import complete_model
from lutmac.cli.option_groups import Flags, OptionGroup
from lutmac.engine.sampling.options import SAMPLING_OPTIONS, check_number
from lutmac.errors import InvalidRequestError

DEFAULT_MODEL = "smollm2"  # as in engine/loading/resolve.py, whose import takes too long for a help text


class Precision(StrEnum):
    """How activations enter the products."""

    default = "default"
    exact = "exact"
    uniform = "uniform"


class KVCache(StrEnum):
    """What keys and values are kept as."""

    f16 = "f16"
    f32 = "f32"
    int8 = "int8"


Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A GGUF file, a Hugging Face directory, or a name that `lutmac pull` takes.",
        autocompletion=complete_model,
    ),
]
OptionalModel = Annotated[
    str,
    typer.Argument(
        metavar="[MODEL]",
        help=f"A GGUF file, a Hugging Face directory, or a name that `lutmac pull` takes; default: {DEFAULT_MODEL}.",
        show_default=False,
        autocompletion=complete_model,
    ),
]
Threads = Annotated[int | None, typer.Option("--threads", "-t", min=1, help="Threads; default: the usable cores.")]
Context = Annotated[
    int | None,
    typer.Option(
        "--context",
        "-c",
        min=1,
        help="Longest sequence in tokens; default: as the model was trained for, if half of the free memory holds it.",
    ),
]
PrecisionOption = Annotated[
    Precision,
    typer.Option(
        "--precision",
        help="exact keeps activations in float32: slow, the reference. uniform computes prompts as replies are, where "
        "the processor has a faster way for prompts.",
    ),
]
KVCacheOption = Annotated[
    KVCache,
    typer.Option(
        "--kv-cache",
        help="int8 halves the memory of a long context and what a token reads of it; f32 is the reference.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
System = Annotated[str | None, typer.Option("--system", "-s", help="System message in front of the conversation.")]
Think = Annotated[
    bool | None,
    typer.Option("--think/--no-think", help="Think before the reply or not, where the chat template has a switch."),
]
Thoughts = Annotated[
    bool | None, typer.Option("--thoughts/--no-thoughts", help="Show the model's thoughts; default: on a terminal.")
]

MaxTokens = Annotated[
    int | None,
    typer.Option("--max-tokens", "-n", min=1, help="Most tokens to generate; default: until the context is full."),
]
LogitBias = Annotated[
    list[str] | None, typer.Option("--logit-bias", metavar="ID=BIAS", help="Added to a token's logit; repeatable.")
]
Stop = Annotated[list[str] | None, typer.Option("--stop", help="Text that ends the reply; repeatable.")]


@dataclass(frozen=True)
class Computing(OptionGroup):
    """How a model computes, whatever its longest sequence is."""

    threads: Threads = None
    precision: PrecisionOption = Precision.default
    kv_cache: KVCacheOption = KVCache.f16

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of ``lutmac.load``."""
        return {**vars(self), "precision": self.precision.value, "kv_cache": self.kv_cache.value}


@dataclass(frozen=True)
class Loading(Computing):
    """How a model is loaded."""

    context: Context = None


@dataclass(frozen=True)
class Talking(OptionGroup):
    """What a chat is like."""

    system: System = None
    think: Think = None
    thoughts: Thoughts = None

    @property
    def given(self) -> list[str]:
        """The flags that were given."""
        return [f"--{name}" for name, value in vars(self).items() if value is not None]


class Sampling(OptionGroup):
    """What the command line says about sampling. What it leaves out is the model's default, or else the engine's."""

    def __init__(self, **given: Any) -> None:
        """given: by the names of `flags`; None is absence."""
        self._given = {name: value for name, value in given.items() if value is not None}

    @classmethod
    def flags(cls) -> Flags:
        """One for each row of the table, and those that are no numbers."""
        hints: dict[str, Any] = {"max_tokens": MaxTokens}
        for name, row in SAMPLING_OPTIONS.items():
            default = "drawn" if row.default is None else f"the model's, else {row.default:g}"
            help_text = f"{row.help} Default: {default}."
            hints[name] = Annotated[(int if row.integer else float) | None, typer.Option(row.flag, help=help_text)]
        hints |= {"logit_bias": LogitBias, "stop": Stop}
        kind = inspect.Parameter.KEYWORD_ONLY
        return [inspect.Parameter(name, kind, default=None, annotation=hint) for name, hint in hints.items()]

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments for the engine: those that were given.

        Raises InvalidRequestError for a number out of its range and a malformed bias.
        """
        given = dict(self._given)
        for name, row in SAMPLING_OPTIONS.items():
            if name in given:
                check_number(row.flag, given[name], row.least, row.most, integer=row.integer)
        if "logit_bias" in given:
            given["logit_bias"] = dict(parse_logit_bias(text) for text in given["logit_bias"])
        return given


def parse_logit_bias(text: str) -> tuple[int, float]:
    """`"42=-1.5"` to (42, -1.5). Raises InvalidRequestError for anything else."""
    token, _, bias = text.partition("=")
    try:
        return int(token), float(bias)
    except ValueError:
        raise InvalidRequestError(f"--logit-bias {text!r} is not of the form ID=BIAS, as in 42=-1.5") from None


def parse_bytes(text: str, option: str) -> int:
    """`"4G"` to 4 * 2**30; K, M, G and T are powers of 1024. Raises InvalidRequestError for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if found is None:
        raise InvalidRequestError(f"{option} {text!r} is no number of bytes, as in 4G or 500M")
    return int(float(found[1]) * 1024 ** " KMGT".index(found[2].upper() or " "))


def parse_counts(text: str, option: str) -> list[int]:
    """`"1,2"` to [1, 2]. Raises InvalidRequestError for anything else, naming the option."""
    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError:
        counts = []
    if not counts or min(counts) < 1:
        raise InvalidRequestError(f"{option} {text!r} is not a list of positive numbers, as in 1,2")
    return counts


def check_width(bits: int, group_size: int) -> None:
    """Raises InvalidRequestError for bits or a group size that no kernel has."""
    if bits > 8:
        raise InvalidRequestError(f"--bits {bits} is more than 8")
    if group_size and group_size != 16 and group_size % 32:
        raise InvalidRequestError(f"--group-size {group_size} is neither 16 nor a multiple of 32, nor 0 for a row")


def write_json(path: Path, value: object) -> None:
    """Writes JSON to a file. Raises InvalidRequestError where that cannot be done."""
    try:
        path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise InvalidRequestError(f"cannot write {path}: {error.strerror}") from None
