"""How the next token is chosen."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Unpack

import numpy as np
from numpy.typing import NDArray

from lutmac import _native
from lutmac.engine.sampling.options import SAMPLING_OPTIONS, SamplingKeywords, check_number
from lutmac.errors import InvalidRequestError

MAX_LOGIT_BIAS = 1000.0


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


class SamplingParams:
    """The options of a sampler, checked. InvalidRequestError says which one is out of range."""

    def __init__(self, **given: Unpack[SamplingKeywords]) -> None:
        """given: see SamplingKeywords; what is left out has its default."""
        options: Mapping[str, Any] = given
        self.logit_bias: Mapping[int, float] = options.get("logit_bias", {})
        self.numbers = {name: options.get(name, row.default) for name, row in SAMPLING_OPTIONS.items()}
        for name, row in SAMPLING_OPTIONS.items():
            if self.numbers[name] is not None or row.default is not None:
                row.check(self.numbers[name])
        if not isinstance(self.logit_bias, Mapping):
            raise InvalidRequestError(f"logit_bias is {self.logit_bias!r}, expected a mapping of token ids to numbers")

    def sampler(self, vocab_size: int, constraint: Constraint | None = None, floor: Floor | None = None) -> Sampler:
        """A sampler with a state of its own, held to the constraint and the floor if there are any.

        Raises InvalidRequestError for biased ids outside the vocabulary.
        """
        for token, bias in self.logit_bias.items():
            check_number("a token id in logit_bias", token, 0, vocab_size - 1, integer=True)
            check_number(f"logit_bias of token {token}", bias, -MAX_LOGIT_BIAS, MAX_LOGIT_BIAS)
        return Sampler(self, constraint, floor)


class Sampler:
    """Draws one sequence's tokens."""

    def __init__(
        self, params: SamplingParams, constraint: Constraint | None = None, floor: Floor | None = None
    ) -> None:
        """Draws a seed where the parameters have none."""
        self._constraint = constraint
        self._floor = floor
        seed = params.numbers["seed"]
        self.seed = int.from_bytes(os.urandom(8), "little") if seed is None else int(seed)
        self._native = _native.Sampler(
            {name: float(params.numbers[name]) for name, row in SAMPLING_OPTIONS.items() if row.native},
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
