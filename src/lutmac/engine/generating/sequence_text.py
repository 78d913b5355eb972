"""The text of a sequence: which tokens are read, and which text no later token can change."""

from __future__ import annotations

from collections.abc import Container, Iterator
from time import perf_counter
from typing import TYPE_CHECKING, Literal

from lutmac.engine.generating.stop_strings import StopMatcher
from lutmac.engine.running.sequence import Sequence
from lutmac.engine.sampling.results import Chunk, Completion, PromptProgress, Timings, TokenLogprob

if TYPE_CHECKING:
    from lutmac.text.tokenizer import Tokenizer


class SequenceText:
    """Reads a sequence while another thread may be extending it.

    read: tokens of the sequence that have been looked at, the prompt's included. done: whether the last chunk is out.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        sequence: Sequence,
        stops: tuple[str, ...],
        min_tokens: int = 0,
        shown: Container[int] = (),
    ) -> None:
        """stops: stop strings; they count from the text behind min_tokens tokens on.

        shown: control tokens whose names are text.
        """
        self._stops_from = sequence.prompt_length + min_tokens
        self.read = sequence.prompt_length
        self.done = False
        self._sequence = sequence
        self._tokenizer = tokenizer
        self._stops = stops
        self._shown_tokens = shown
        self._matcher = StopMatcher(stops, tokenizer.split_control)
        self._decoder = tokenizer.stream_decoder(shown=shown, prompt=sequence.tokens[: self.read].tolist())
        self._texts: list[str] = []
        self._shown = self.read
        self._began = perf_counter()
        self._first_at = 0.0
        self._told = 0  # tokens of the prompt

    def reading(self) -> PromptProgress | None:
        """How far the prompt has been read, where that is news."""
        sequence = self._sequence
        read = min(sequence.computed, sequence.prompt_length)
        if sequence.finished:
            read = sequence.prompt_length
        if read <= self._told:
            return None
        self._told = read
        return PromptProgress(sequence.prompt_length, sequence.reused, read, perf_counter() - self._began)

    def ready(self) -> Iterator[Chunk]:
        """The chunks that are certain by now; the last one of all has the completion."""
        finished = self._sequence.finished  # before the length, which is final once this is set
        if not self._first_at and (finished or self.read < self._sequence.length):
            self._first_at = perf_counter()
        while self.read < self._sequence.length:
            text = self._take()
            if self._matcher.matched:
                yield self._last(text, "stop")
                return
            if text:
                yield self._chunk(text)
        if finished:
            text = self._matcher.push(self._decoder.flush()) + self._matcher.flush()
            yield self._last(text, "length" if self._sequence.finish_reason == "length" else "stop")

    def _take(self) -> str:
        """The text of the next unread token."""
        token = int(self._sequence.tokens[self.read])
        self.read += 1
        text = self._decoder.push(token)
        if self.read <= self._stops_from:
            return text
        is_text = token in self._shown_tokens or not self._tokenizer.is_special(token)
        return self._matcher.push(text if is_text else token)

    @property
    def _stop_string(self) -> str | None:
        """The stop string that ended the reply; it may be the text of the end token."""
        end = self._sequence.end_token
        text = None if end is None or self._matcher.matched else self._tokenizer.token_text(end)
        return text if text in self._stops else self._matcher.stop

    def _chunk(self, text: str, completion: Completion | None = None) -> Chunk:
        self._texts.append(text)
        begin, self._shown = self._shown, self.read
        scores = self._prompt_logprobs if begin == self._sequence.prompt_length and len(self._texts) == 1 else None
        return Chunk(text, completion, self._ids(begin), self._logprobs(begin), scores)

    def _last(self, text: str, reason: Literal["stop", "length"]) -> Chunk:
        self.done = True
        return self._chunk(text, self._completion("".join([*self._texts, text]), reason))

    def _ids(self, begin: int) -> tuple[int, ...]:
        return tuple(self._sequence.tokens[begin : self.read].tolist())

    def _logprobs(self, begin: int) -> tuple[TokenLogprob, ...] | None:
        sequence = self._sequence
        if sequence.top_logprobs is None:
            return None
        return tuple(sequence.logprobs[begin - sequence.prompt_length : self.read - sequence.prompt_length])

    @property
    def _prompt_logprobs(self) -> tuple[TokenLogprob | None, ...] | None:
        scores = self._sequence.prompt_scores
        return None if scores is None else scores.logprobs

    def _completion(self, text: str, reason: Literal["stop", "length"]) -> Completion:
        sequence, now = self._sequence, perf_counter()
        begin = sequence.prompt_length
        drawn = self.read - begin + (sequence.finish_reason == "stop" and self.read == sequence.length)
        timings = Timings(
            prefill_tokens=begin - sequence.reused,
            prefill_seconds=self._first_at - self._began,
            decode_tokens=max(0, drawn - 1),
            decode_seconds=now - self._first_at,
        )
        assert sequence.sampler is not None
        seed = sequence.sampler.seed
        ended = sequence.end_token is not None and sequence.top_logprobs is not None and self.read == sequence.length
        return Completion(
            text=text,
            token_ids=self._ids(begin),
            finish_reason=reason,
            prompt_tokens=begin,
            seed=seed,
            timings=timings,
            cached_tokens=sequence.reused,
            logprobs=self._logprobs(begin),
            stop_string=self._stop_string,
            end_logprob=sequence.logprobs[-1] if ended else None,
            prompt_logprobs=self._prompt_logprobs,
        )
