"""The options of sampling: one table, from which all that names them is made.

A row is a keyword of SamplingKeywords. From it come the keyword's type for Python's callers, the flag of the command
line, the field of HTTP requests with its range and its other names, the checks, and what the native sampler is told by
that name. This module imports nothing of the engine, so that a help text costs little.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Annotated, Any, Final, TypedDict, get_args, get_origin, get_type_hints

from lutmac.errors import InvalidRequestError

MAX_INTEGER = 2**31 - 1


@dataclass(frozen=True)
class OtherServersName:
    """What other servers call an option."""

    name: str
    whose: str


@dataclass(frozen=True)
class SamplingOption:
    """A row of the table: a number that callers may set.

    default: None is drawn. least, most: its range. help: for the command line. http: the range over HTTP, if that is
    wider; a value outside of least and most then means the nearest in it. aliases: other names over HTTP. native:
    whether the native sampler has it, under this name. name, integer: from the keyword's name and type.
    """

    default: float | None
    least: float
    most: float
    help: str
    http: tuple[float, float] | None = None
    aliases: tuple[OtherServersName, ...] = ()
    native: bool = True
    name: str = ""
    integer: bool = False

    @property
    def flag(self) -> str:
        """Of the command line."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def http_range(self) -> tuple[float, float]:
        """The values that a request may have."""
        return self.http or (self.least, self.most)

    @property
    def llama_cpp_name(self) -> str:
        """What llama.cpp's server calls it."""
        return next((alias.name for alias in self.aliases if "llama.cpp" in alias.whose.split(", ")), self.name)

    def check(self, value: object) -> None:
        """Raises InvalidRequestError for a value that is not a number in the range."""
        check_number(self.name, value, self.least, self.most, integer=self.integer)

    def of_http(self, value: float) -> float:
        """The value in the range that a value over HTTP means."""
        return min(max(value, self.least), self.most)


def _other(name: str, whose: str) -> OtherServersName:
    return OtherServersName(name, whose)


class SamplingKeywords(TypedDict, total=False):
    """Keyword arguments that say how tokens are drawn; the defaults are the model's, or else llama.cpp's.

    temperature: 0 is greedy. top_k: keep that many of the likeliest tokens; 0 is off. top_p: keep the likeliest that
    together reach this probability; 1 is off. typical_p: the same of those whose surprise is nearest to the expected
    one (https://arxiv.org/abs/2202.00666); 1 is off. min_p: keep those at least this fraction as likely as the
    likeliest; 0 is off. repetition_penalty: divides (or, below zero, multiplies) the logits of tokens already in the
    context; 1 is off. presence_penalty, frequency_penalty: subtracted from the logits of generated tokens once, and
    once for each time, as OpenAI's API has them. logit_bias: added to the logits of these token ids. seed: same seed,
    same text; None draws one.
    """

    # OpenAI's documentation has the ranges over HTTP of temperature and penalties, other servers write -1 for no top_k.
    temperature: Annotated[float, SamplingOption(0.8, 0, 100, "Randomness; 0 is greedy.", http=(0, 2))]
    top_k: Annotated[
        int,
        SamplingOption(40, 0, MAX_INTEGER, "Draw from the k likeliest tokens; 0: all.", http=(-1, MAX_INTEGER)),
    ]
    top_p: Annotated[
        float, SamplingOption(0.95, 1e-6, 1, "Draw from the likeliest tokens that make up p.", http=(0, 1))
    ]
    typical_p: Annotated[
        float,
        SamplingOption(
            1.0, 0, 1, "Draw from the tokens nearest to the expected surprise that make up p.",
            aliases=(_other("typical", "KoboldCpp"), _other("typ_p", "llama.cpp's page")),
        ),
    ]  # fmt: skip
    min_p: Annotated[float, SamplingOption(0.05, 0, 1, "Drop tokens below this share of the likeliest one.")]
    # Logits divided by much less than 0.01 are no float32 any more.
    repetition_penalty: Annotated[
        float,
        SamplingOption(
            1.0, 0.01, 100, "Above 1: makes tokens seen so far less likely.", http=(0.01, 10),
            aliases=(_other("repeat_penalty", "llama.cpp, Ollama, LM Studio"),),
        ),
    ]  # fmt: skip
    presence_penalty: Annotated[
        float, SamplingOption(0.0, -100, 100, "Taken off the logit of tokens generated so far.", http=(-2, 2))
    ]
    frequency_penalty: Annotated[
        float, SamplingOption(0.0, -100, 100, "Taken off the logit for each time a token was generated.", http=(-2, 2))
    ]
    seed: Annotated[
        int | None,
        SamplingOption(
            None, 0, 2**64 - 1, "Same seed, same text.", http=(-(2**63), 2**64 - 1), native=False,
            aliases=(_other("random_seed", "Mistral"),),
        ),
    ]  # fmt: skip
    logit_bias: Mapping[int, float]


def _rows() -> dict[str, SamplingOption]:
    found = {}
    for name, hint in get_type_hints(SamplingKeywords, include_extras=True).items():
        if get_origin(hint) is Annotated:
            kind, row = get_args(hint)
            found[name] = replace(row, name=name, integer=int in (kind, *get_args(kind)))
    return found


SAMPLING_OPTIONS: Final[Mapping[str, SamplingOption]] = _rows()


def check_number(name: str, value: Any, least: float, most: float, *, integer: bool = False) -> None:
    """Raises InvalidRequestError, naming the value, for what is no number from least to most. NumPy's are numbers."""
    wanted = f"an integer from {least} to {most}" if integer else f"a number from {least:g} to {most:g}"
    is_number = not isinstance(value, bool) and isinstance(value, Integral if integer else Real)
    if not is_number or not least <= value <= most:
        raise InvalidRequestError(f"{name} is {value!r}, expected {wanted}")
