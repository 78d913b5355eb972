"""How the next token is chosen."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lutmac import _native
from lutmac.errors import InvalidRequestError

MAX_SEED = 2**64 - 1
MIN_REPETITION_PENALTY = 0.01  # far below anything of use; logits divided by much less are no float32 any more


class Constraint(Protocol):
    """What may follow, as the tokens come."""

    def masked(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """A copy of the logits [vocab] with -inf for what may not follow."""

    def accept(self, token: int) -> None:
        """Takes note of the token that was drawn."""


@dataclass(frozen=True)
class Floor:
    """Tokens that cannot be drawn before so many others are. ends: those that would end a reply."""

    min_tokens: int
    ends: frozenset[int]


@dataclass(frozen=True)
class SamplingParams:
    """The knobs of sampling; the defaults are llama.cpp's. InvalidRequestError says which one is out of range.

    temperature: 0 is greedy. top_k: keep that many of the likeliest tokens; 0 is off. top_p: keep the likeliest that
    together reach this probability; 1 is off. min_p: keep those at least this fraction as likely as the likeliest;
    0 is off. repetition_penalty: divides (or, below zero, multiplies) the logits of tokens already in the context; 1 is
    off. presence_penalty, frequency_penalty: subtracted from the logits of generated tokens once, and once for each
    time, as OpenAI's API has them. logit_bias: added to the logits of these token ids. seed: same seed, same text; None
    draws one.
    """

    temperature: float = 0.8
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.05
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int | None = None

    def __post_init__(self) -> None:
        """Checks every range."""
        _within("temperature", self.temperature, 0.0, 100.0)
        _integer_within("top_k", self.top_k, 0, 2**31 - 1)
        _within("top_p", self.top_p, 0.0, 1.0, above_low=True)
        _within("min_p", self.min_p, 0.0, 1.0)
        _within("repetition_penalty", self.repetition_penalty, MIN_REPETITION_PENALTY, 100.0)
        _within("presence_penalty", self.presence_penalty, -100.0, 100.0)
        _within("frequency_penalty", self.frequency_penalty, -100.0, 100.0)
        if self.seed is not None:
            _integer_within("seed", self.seed, 0, MAX_SEED)
        if not isinstance(self.logit_bias, Mapping):
            raise InvalidRequestError(f"logit_bias is {self.logit_bias!r}, expected a mapping of token ids to numbers")

    def sampler(self, vocab_size: int, constraint: Constraint | None = None, floor: Floor | None = None) -> Sampler:
        """A sampler with a state of its own, held to the constraint and the floor if there are any.

        Raises InvalidRequestError for biased ids outside the vocabulary.
        """
        for token, bias in self.logit_bias.items():
            _integer_within("a token id in logit_bias", token, 0, vocab_size - 1)
            _within(f"logit_bias of token {token}", bias, -1000.0, 1000.0)
        return Sampler(self, constraint, floor)


class Sampler:
    """Draws one sequence's tokens."""

    def __init__(
        self, params: SamplingParams, constraint: Constraint | None = None, floor: Floor | None = None
    ) -> None:
        """Draws a seed where the parameters have none."""
        self._constraint = constraint
        self._floor = floor
        self.seed = int.from_bytes(os.urandom(8), "little") if params.seed is None else params.seed
        self._native = _native.Sampler(
            temperature=params.temperature,
            top_k=params.top_k,
            top_p=params.top_p,
            min_p=params.min_p,
            repetition_penalty=params.repetition_penalty,
            presence_penalty=params.presence_penalty,
            frequency_penalty=params.frequency_penalty,
            logit_bias_ids=np.fromiter(params.logit_bias.keys(), dtype=np.int32, count=len(params.logit_bias)),
            logit_bias=np.fromiter(params.logit_bias.values(), dtype=np.float32, count=len(params.logit_bias)),
            seed=self.seed,
        )

    def sample(self, logits: NDArray[np.float32], tokens: NDArray[np.int32], generated_from: int) -> int:
        """The next token id, from logits [vocab] and the tokens so far, of which those from generated_from are new."""
        if self._constraint is not None:
            logits = self._constraint.masked(logits)
        if self._floor is not None and len(tokens) - generated_from < self._floor.min_tokens:
            logits = _without(self._floor.ends, logits)
        token = self._native.sample(logits, tokens, generated_from)
        if self._constraint is not None:
            self._constraint.accept(token)
        return token


def _without(ids: frozenset[int], logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """The logits without some tokens; as they are where no other token is left."""
    found = logits.copy()
    found[list(ids)] = -np.inf
    return found if np.isfinite(found).any() else logits


def _within(name: str, value: Any, low: float, high: float, *, above_low: bool = False) -> None:
    expected = f"{'above' if above_low else 'at least'} {low:g} and at most {high:g}"
    if isinstance(value, bool) or not isinstance(value, int | float | np.floating | np.integer):
        raise InvalidRequestError(f"{name} is {value!r}, expected a number {expected}")
    if not isfinite(value) or not low <= value <= high or (above_low and value == low):
        raise InvalidRequestError(f"{name} is {value}, expected {expected}")


def _integer_within(name: str, value: Any, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not low <= value <= high:
        raise InvalidRequestError(f"{name} is {value!r}, expected an integer from {low} to {high}")
