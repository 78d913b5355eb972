"""From a sequence's tokens to a reply: streaming text, stop strings, limits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from lutmac.engine.engine import Engine
from lutmac.engine.results import Chunk, Completion, Timings
from lutmac.engine.sampler import SamplingParams
from lutmac.engine.sequence import Sequence
from lutmac.errors import ContextOverflowError, InvalidRequestError

if TYPE_CHECKING:
    from lutmac.text.tokenizer import Tokenizer

DEFAULT_MAX_TOKENS = 256


class GenerationOptions(TypedDict, total=False):
    """Keyword arguments of every call that generates; SamplingParams and GenerationParams say what they mean."""

    max_tokens: int | None
    stop: str | list[str] | tuple[str, ...] | None
    ignore_eos: bool
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float
    logit_bias: Mapping[int, float]
    seed: int | None


@dataclass(frozen=True)
class GenerationParams:
    """What ends a reply, and how its tokens are drawn.

    max_tokens: None is up to the end of the context. stop: the reply ends before any of these strings. ignore_eos:
    end tokens end nothing (for benchmarks).
    """

    max_tokens: int | None = DEFAULT_MAX_TOKENS
    stop: tuple[str, ...] = ()
    ignore_eos: bool = False
    sampling: SamplingParams = field(default_factory=SamplingParams)


def parse_options(options: Mapping[str, Any]) -> GenerationParams:
    """Checks keyword arguments. Raises InvalidRequestError for an unknown name or a value out of range."""
    known = set(GenerationOptions.__annotations__)
    for name in options:
        if name not in known:
            raise InvalidRequestError(f"unknown parameter {name!r}; known: {', '.join(sorted(known))}")
    max_tokens = options.get("max_tokens", DEFAULT_MAX_TOKENS)
    if max_tokens is not None and (isinstance(max_tokens, bool) or not isinstance(max_tokens, int) or max_tokens < 1):
        raise InvalidRequestError(f"max_tokens is {max_tokens!r}, expected an integer of at least 1 or None")
    sampling = {item.name: options[item.name] for item in fields(SamplingParams) if item.name in options}
    return GenerationParams(
        max_tokens, _stop_strings(options.get("stop")), bool(options.get("ignore_eos")), SamplingParams(**sampling)
    )


def _stop_strings(stop: object) -> tuple[str, ...]:
    if stop is None:
        return ()
    strings = (stop,) if isinstance(stop, str) else stop
    if not isinstance(strings, list | tuple) or not all(isinstance(item, str) and item for item in strings):
        raise InvalidRequestError(f"stop is {stop!r}, expected a string that is not empty, or a list of such")
    return tuple(strings)


class StopMatcher:
    """Passes text on until a stop string appears; holds back what may turn out to be the beginning of one."""

    def __init__(self, stops: tuple[str, ...]) -> None:
        """stops: strings that are not empty."""
        self._stops = stops
        self._held = ""
        self.matched = False

    def push(self, text: str) -> str:
        """The text that is sure to stand before any stop string."""
        if not self._stops or self.matched:
            return "" if self.matched else text
        self._held += text
        places = [place for place in map(self._held.find, self._stops) if place >= 0]
        if places:
            self.matched = True
            return self._held[: min(places)]
        keep = max(self._overlap(stop) for stop in self._stops)
        sure, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return sure

    def flush(self) -> str:
        """What is held back, when nothing more can follow."""
        return "" if self.matched else self._held

    def _overlap(self, stop: str) -> int:
        """Length of the longest end of the held text that begins the stop string."""
        longest = min(len(stop) - 1, len(self._held))
        return next((n for n in range(longest, 0, -1) if self._held.endswith(stop[:n])), 0)


def new_sequence(engine: Engine, tokenizer: Tokenizer, prompt: list[int], params: GenerationParams) -> Sequence:
    """A sequence ready to be submitted. Raises ContextOverflowError where the prompt leaves no room for a reply."""
    context = engine.max_context
    if len(prompt) >= context:
        raise ContextOverflowError(
            f"the prompt has {len(prompt)} tokens, the context holds {context} with at least one for the reply"
        )
    room = context - len(prompt)
    length = len(prompt) + (room if params.max_tokens is None else min(params.max_tokens, room))
    sequence = engine.new_sequence(prompt, length)
    sequence.sampler = params.sampling.sampler(engine.vocab_size)
    sequence.stop_ids = frozenset() if params.ignore_eos else frozenset(tokenizer.end_of_generation)
    return sequence


def stream_sequence(
    engine: Engine, tokenizer: Tokenizer, sequence: Sequence, params: GenerationParams
) -> Iterator[Chunk]:
    """Runs a sequence and yields its text as it becomes certain. Closing the iterator stops the sequence."""
    reply = _Reply(tokenizer, sequence, StopMatcher(params.stop))
    engine.submit(sequence)
    try:
        while not (sequence.finished and reply.read == sequence.length):
            engine.drive(sequence, reply.read)
            text = reply.take()
            if reply.matcher.matched:
                yield Chunk(text, reply.completion("stop"))
                return
            if text:
                yield Chunk(text)
        rest = reply.flush()
        yield Chunk(rest, reply.completion("length" if sequence.finish_reason == "length" else "stop"))
    finally:
        engine.stop(sequence)


class _Reply:
    """The text side of a sequence: how far it has been read, and when."""

    def __init__(self, tokenizer: Tokenizer, sequence: Sequence, matcher: StopMatcher) -> None:
        self.matcher = matcher
        self.read = sequence.length
        self._sequence = sequence
        self._decoder = tokenizer.stream_decoder(prompt=sequence.tokens.tolist())
        self._texts: list[str] = []
        self._began, self._core_began = perf_counter(), process_time()
        self._first_at = self._core_first_at = 0.0

    def take(self) -> str:
        """The text of the next unread token, if there is one."""
        if not self._first_at:
            self._first_at, self._core_first_at = perf_counter(), process_time()
        if self.read == self._sequence.length:
            return ""
        token = int(self._sequence.tokens[self.read])
        self.read += 1
        return self._passed(self._decoder.push(token))

    def flush(self) -> str:
        """What was held back to the end."""
        text = self._passed(self._decoder.flush())
        rest = self.matcher.flush()
        self._texts.append(rest)
        return text + rest

    def completion(self, reason: Literal["stop", "length"]) -> Completion:
        """The reply as a whole."""
        sequence, now = self._sequence, perf_counter()
        ids = tuple(sequence.tokens[sequence.prompt_length : self.read].tolist())
        drawn = len(ids) + (sequence.finish_reason == "stop" and self.read == sequence.length)
        timings = Timings(
            prefill_tokens=sequence.prompt_length - sequence.reused,
            prefill_seconds=self._first_at - self._began,
            decode_tokens=drawn - 1,
            decode_seconds=now - self._first_at,
            prefill_core_seconds=self._core_first_at - self._core_began,
            decode_core_seconds=process_time() - self._core_first_at,
        )
        assert sequence.sampler is not None
        seed = sequence.sampler.seed
        return Completion("".join(self._texts), ids, reason, sequence.prompt_length, seed, timings)

    def _passed(self, text: str) -> str:
        passed = self.matcher.push(text)
        self._texts.append(passed)
        return passed


def collect(chunks: Iterator[Chunk]) -> Completion:
    """The completion at the end of a stream."""
    completion = None
    for chunk in chunks:
        completion = chunk.completion
    assert completion is not None
    return completion
