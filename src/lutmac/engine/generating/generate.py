"""From a caller's options to a sequence, and from the sequence to its reply."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Sequence as TokenSequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from lutmac.engine.generating.sequence_text import SequenceText
from lutmac.engine.running.engine import Engine
from lutmac.engine.running.sequence import Sequence
from lutmac.engine.sampling.constraint import compile_grammar
from lutmac.engine.sampling.grammar import Grammar
from lutmac.engine.sampling.options import SamplingKeywords
from lutmac.engine.sampling.prompt_scores import PromptScores
from lutmac.engine.sampling.results import Chunk, Completion
from lutmac.engine.sampling.sampler import Floor, SamplingParams
from lutmac.errors import ContextOverflowError, InvalidRequestError

if TYPE_CHECKING:
    from lutmac.text.tokenizer import Tokenizer

DEFAULT_MAX_TOKENS = 256
MAX_TOP_LOGPROBS = 20
MAX_STOP_CHARACTERS = 100_000  # of all stop strings of a request together
_NONE: Final[Mapping[str, float]] = {}


class GenerationOptions(SamplingKeywords, total=False):
    """Keyword arguments of every call that generates; GenerationParams says what these mean."""

    max_tokens: int | None
    stop: str | list[str] | tuple[str, ...] | None
    ignore_eos: bool
    stop_token_ids: TokenSequence[int]
    min_tokens: int
    shown_tokens: frozenset[int]
    shared_prefix: int | None
    reply_spans: TokenSequence[tuple[int, int]]
    logprobs: int | None
    prompt_logprobs: int | None
    grammar: Grammar | None


@dataclass(frozen=True)
class GenerationParams:
    """What ends a reply, and how its tokens are drawn.

    max_tokens: None is up to the end of the context; 0 only reads the prompt. stop: the reply ends before any of these
    strings. ignore_eos: end tokens end nothing (for benchmarks). logprobs: how many of the likeliest tokens are told at
    each place, 0 to 20, beside the one that was drawn; None: nothing is. prompt_logprobs: the same of the prompt's
    tokens. grammar: what the reply has to fit; its end is then the only place where an end token can be drawn.
    stop_token_ids: tokens that end the reply as end tokens do. min_tokens: before so many tokens are drawn, nothing
    ends the reply: no end token, stop token or stop string; a grammar that leaves nothing else has its way.
    shown_tokens: control tokens whose names are part of the text. shared_prefix: how many of the prompt's tokens a
    later prompt is likely to begin with, where more may differ: states of fixed size are kept as they are there.
    reply_spans: spans [begin, end) of the prompt's tokens that are earlier replies. Where prompts have an arithmetic of
    their own, these tokens are computed as they were when they were generated. `Model.chat` and conversations say both
    themselves.
    """

    max_tokens: int | None = DEFAULT_MAX_TOKENS
    stop: tuple[str, ...] = ()
    ignore_eos: bool = False
    logprobs: int | None = None
    grammar: Grammar | None = None
    stop_token_ids: frozenset[int] = frozenset()
    min_tokens: int = 0
    prompt_logprobs: int | None = None
    sampling: SamplingParams = field(default_factory=SamplingParams)
    shown_tokens: frozenset[int] = frozenset()
    shared_prefix: int | None = None
    reply_spans: tuple[tuple[int, int], ...] = ()


def parse_options(options: Mapping[str, Any], defaults: Mapping[str, float] = _NONE) -> GenerationParams:
    """Checks keyword arguments. defaults: the checkpoint's options of sampling, which hold where these say nothing.

    Raises InvalidRequestError for an unknown name or a value out of range."""
    known = GenerationOptions.__optional_keys__
    for name in options:
        if name not in known:
            raise InvalidRequestError(f"unknown parameter {name!r}; known: {', '.join(sorted(known))}")
    max_tokens = options.get("max_tokens", DEFAULT_MAX_TOKENS)
    if max_tokens is not None and (isinstance(max_tokens, bool) or not isinstance(max_tokens, int) or max_tokens < 0):
        raise InvalidRequestError(f"max_tokens is {max_tokens!r}, expected an integer of at least 0 or None")
    logprobs, prompt_logprobs, grammar = (options.get(name) for name in ("logprobs", "prompt_logprobs", "grammar"))
    for name, value in (("logprobs", logprobs), ("prompt_logprobs", prompt_logprobs)):
        if value is not None and (type(value) is not int or not 0 <= value <= MAX_TOP_LOGPROBS):
            raise InvalidRequestError(f"{name} is {value!r}, expected an integer from 0 to {MAX_TOP_LOGPROBS} or None")
    if grammar is not None and not isinstance(grammar, Grammar):
        raise InvalidRequestError(f"grammar is a {type(grammar).__name__}, expected a lutmac.Grammar")
    sampling: Any = {name: options[name] for name in SamplingKeywords.__optional_keys__ if name in options}
    sampling = {**defaults, **sampling}
    stop, ignore_eos = _stop_strings(options.get("stop")), bool(options.get("ignore_eos"))
    stop_ids, least = _stop_token_ids(options.get("stop_token_ids")), options.get("min_tokens") or 0
    if type(least) is not int or least < 0:
        raise InvalidRequestError(f"min_tokens is {least!r}, expected an integer of at least 0")
    shown, shared = frozenset(options.get("shown_tokens") or ()), options.get("shared_prefix")
    if shared is not None and (type(shared) is not int or shared < 0):
        raise InvalidRequestError(f"shared_prefix is {shared!r}, expected an integer of at least 0 or None")
    return GenerationParams(
        max_tokens,
        stop,
        ignore_eos,
        logprobs,
        grammar,
        stop_ids,
        least,
        prompt_logprobs,
        SamplingParams(**sampling),
        shown,
        shared,
        _reply_spans(options.get("reply_spans")),
    )


def _reply_spans(given: object) -> tuple[tuple[int, int], ...]:
    spans = () if given is None else given
    if not isinstance(spans, list | tuple) or not all(map(_is_span, spans)):
        raise InvalidRequestError(f"reply_spans is {given!r}, expected pairs of integers: begin and end of each reply")
    return tuple((begin, end) for begin, end in spans)


def _is_span(span: object) -> bool:
    pair = span if isinstance(span, list | tuple) else ()
    return len(pair) == 2 and all(type(end) is int for end in pair) and 0 <= pair[0] <= pair[1]


def _stop_token_ids(given: object) -> frozenset[int]:
    if given is None:
        return frozenset()
    ids = tuple(given) if isinstance(given, list | tuple | set | frozenset) else ("",)
    if not all(type(id) is int and id >= 0 for id in ids):
        raise InvalidRequestError(f"stop_token_ids is {given!r}, expected a list of token ids")
    return frozenset(ids)


def _stop_strings(stop: object) -> tuple[str, ...]:
    if stop is None:
        return ()
    strings = (stop,) if isinstance(stop, str) else stop
    if not isinstance(strings, list | tuple) or not all(isinstance(item, str) and item for item in strings):
        raise InvalidRequestError(f"stop is {stop!r}, expected a string that is not empty, or a list of such")
    characters = sum(map(len, strings))
    if characters > MAX_STOP_CHARACTERS:
        raise InvalidRequestError(f"the stop strings have {characters} characters, at most {MAX_STOP_CHARACTERS} go")
    return tuple(strings)


def check_prompt(engine: Engine, prompt: list[int], params: GenerationParams) -> None:
    """Raises ContextOverflowError if the prompt leaves no room for a reply, InvalidRequestError for wrong ids and for
    models that generate nothing.
    """
    engine.check_generates()
    if len(prompt) + (params.max_tokens != 0) > engine.max_context:
        raise ContextOverflowError.of_prompt(len(prompt), engine.max_context)
    if not prompt:
        raise InvalidRequestError("the prompt is empty")
    for id in (min(prompt), max(prompt)):
        if not 0 <= id < engine.vocab_size:
            raise InvalidRequestError(f"token id {id} is not in the vocabulary of {engine.vocab_size}")


def new_sequence(engine: Engine, tokenizer: Tokenizer, prompt: list[int], params: GenerationParams) -> Sequence:
    """A sequence ready to be submitted.

    Raises what check_prompt raises, and InvalidRequestError for a grammar that cannot be compiled. Compiling may
    take tenths of a second.
    """
    check_prompt(engine, prompt, params)
    room = engine.max_context - len(prompt)
    length = len(prompt) + (room if params.max_tokens is None else min(params.max_tokens, room))
    sequence = engine.new_sequence(prompt, length, reply_spans=params.reply_spans)
    constraint = None if params.grammar is None else compile_grammar(params.grammar, tokenizer)
    for id in params.stop_token_ids:
        if id >= engine.vocab_size:
            raise InvalidRequestError(f"stop token id {id} is not in the vocabulary of {engine.vocab_size}")
    sequence.stop_ids = params.stop_token_ids
    ends = frozenset(tokenizer.end_of_generation)
    if constraint is not None or not params.ignore_eos:
        sequence.stop_ids |= ends
    floor = Floor(params.min_tokens, sequence.stop_ids | ends) if params.min_tokens else None
    sequence.sampler = params.sampling.sampler(engine.vocab_size, constraint, floor)
    sequence.top_logprobs = params.logprobs
    sequence.shared_prefix = params.shared_prefix
    if params.prompt_logprobs is not None:
        sequence.prompt_scores = PromptScores(sequence.tokens, params.prompt_logprobs)
        sequence.sink = sequence.prompt_scores.add
    return sequence


def stream_sequence(
    engine: Engine,
    tokenizer: Tokenizer,
    sequence: Sequence,
    params: GenerationParams,
    *,
    tells_progress: bool = False,
) -> Iterator[Chunk]:
    """Runs a sequence and yields its text as it becomes certain. Closing the iterator stops the sequence.

    tells_progress: whether chunks say how far the prompt has been read.
    """
    reply = SequenceText(tokenizer, sequence, params.stop, params.min_tokens, params.shown_tokens)
    engine.submit(sequence)
    try:
        while tells_progress and sequence.computed < sequence.prompt_length and not sequence.finished:
            engine.step_or_wait()
            if (progress := reply.reading()) is not None:
                yield Chunk("", progress=progress)
        while not reply.done:
            engine.drive(sequence, reply.read)
            yield from reply.ready()
    finally:
        engine.stop(sequence)


def collect(chunks: Iterator[Chunk]) -> Completion:
    """The completion at the end of a stream."""
    completion = None
    for chunk in chunks:
        completion = chunk.completion
    assert completion is not None
    return completion
