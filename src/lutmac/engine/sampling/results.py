"""What generation hands back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True)
class Timings:
    """How long a reply took, in seconds from when it was asked for.

    prefill_tokens: prompt tokens that had to run (those found in the cache did not), up to the first new token.
    decode_tokens: tokens that followed the first, the end token included.
    """

    prefill_tokens: int
    prefill_seconds: float
    decode_tokens: int
    decode_seconds: float

    @property
    def prefill_tokens_per_second(self) -> float:
        """Rate of reading the prompt."""
        return self.prefill_tokens / self.prefill_seconds if self.prefill_seconds > 0 else 0.0

    @property
    def decode_tokens_per_second(self) -> float:
        """Rate of writing."""
        return self.decode_tokens / self.decode_seconds if self.decode_seconds > 0 else 0.0


@dataclass(frozen=True)
class TokenLogprob:
    """How likely the model found a token: natural logarithms of softmax over its raw logits.

    Raw: before temperature, penalties, biases and grammars. top: the likeliest (id, logprob), best first, as many as
    were asked for.
    """

    token_id: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Completion:
    """A finished reply. finish_reason: "stop" (end token or stop string) or "length" (max_tokens or context).

    token_ids: all that were generated, those of a stop string included. seed: what to pass for the same text again.
    cached_tokens: tokens of the prompt whose keys and values were found in the cache. logprobs: one for each of
    token_ids, where they were asked for. stop_string: the one that ended it, None where something else did.
    end_logprob: of the end token that was drawn, where log probabilities were asked for. prompt_logprobs: one for each
    token of the prompt but the first, which follows nothing, where they were asked for.
    """

    text: str
    token_ids: tuple[int, ...]
    finish_reason: FinishReason
    prompt_tokens: int
    seed: int
    timings: Timings
    cached_tokens: int = 0
    logprobs: tuple[TokenLogprob, ...] | None = None
    stop_string: str | None = None
    end_logprob: TokenLogprob | None = None
    prompt_logprobs: tuple[TokenLogprob | None, ...] | None = None

    def __str__(self) -> str:
        """The text."""
        return self.text


@dataclass(frozen=True)
class PromptProgress:
    """How far a prompt has been read. cached: tokens found in the cache, which count as read. seconds: so far."""

    total: int
    cached: int
    read: int
    seconds: float


@dataclass(frozen=True)
class Chunk:
    """The next piece of a streamed reply; the last one, maybe with empty text, carries the completion.

    token_ids, logprobs: of the tokens read since the chunk before; all chunks together have the completion's. Text that
    may be the beginning of a stop string, or half a character, comes with a later token. prompt_logprobs: in the first.
    progress: of the prompt, where the caller wants to know; such a chunk comes before the first token and holds nothing
    else.
    """

    text: str
    completion: Completion | None = None
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[TokenLogprob, ...] | None = None
    prompt_logprobs: tuple[TokenLogprob | None, ...] | None = None
    progress: PromptProgress | None = None

    @property
    def finish_reason(self) -> FinishReason | None:
        """None until the last chunk."""
        return None if self.completion is None else self.completion.finish_reason

    def __str__(self) -> str:
        """The text."""
        return self.text
