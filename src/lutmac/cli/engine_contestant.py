"""lutmac's engine as a contestant of `lutmac bench`: sequences of fixed tokens, drawn with the default sampling."""

from __future__ import annotations

from dataclasses import dataclass

from lutmac.cli.llama_cpp_peer import fixed_tokens
from lutmac.cli.stopwatch import Span, Stopwatch
from lutmac.engine.running.engine import Engine
from lutmac.engine.running.sequence import Sequence
from lutmac.engine.sampling.sampler import SamplingParams


@dataclass
class EngineContestant:
    """An engine, with or without a tokenizer above it."""

    engine: Engine
    name: str = "lutmac"
    variants: tuple[str, ...] = ("",)

    def prefill(self, variant: str, threads: int, tokens: int) -> Span:
        """Time to the first token behind a prompt of that many tokens."""
        self.engine.threads = threads
        watch = Stopwatch()
        self._run([self._sequence(tokens, 1)])
        return watch.read()

    def decode(self, variant: str, threads: int, depth: int, tokens: int) -> Span:
        """Time for that many tokens after the first one behind max(1, depth) tokens of prompt."""
        return self.decode_streams(threads, 1, depth, tokens)

    def decode_streams(self, threads: int, streams: int, depth: int, tokens: int) -> Span:
        """Time in which each of that many sequences, decoded together, gets that many tokens."""
        self.engine.threads = threads
        sequences = [self._sequence(max(1, depth), 1 + tokens) for _ in range(streams)]
        for sequence in sequences:
            self.engine.submit(sequence)
        while any(sequence.length == sequence.prompt_length for sequence in sequences):
            self.engine.step()
        missing = sum(sequence.max_length - sequence.length for sequence in sequences)
        watch = Stopwatch()
        self._finish(sequences)
        # While some prompts were still on their way, the first sequences may have decoded already.
        return watch.read().scaled(streams * tokens / missing)

    def _sequence(self, prompt_tokens: int, max_tokens: int) -> Sequence:
        engine = self.engine
        prompt = fixed_tokens(prompt_tokens, engine.vocab_size)
        sequence = engine.new_sequence(prompt, prompt_tokens + max_tokens, private=True)
        sequence.sampler = SamplingParams(seed=0).sampler(engine.vocab_size)
        return sequence

    def _run(self, sequences: list[Sequence]) -> None:
        for sequence in sequences:
            self.engine.submit(sequence)
        self._finish(sequences)

    def _finish(self, sequences: list[Sequence]) -> None:
        while not all(sequence.finished for sequence in sequences):
            self.engine.step()
        for sequence in sequences:
            if sequence.error is not None:
                raise sequence.error
