"""How many tokens of prompts a step may take, from the time that earlier steps took."""

from __future__ import annotations

from lutmac.engine.running.step_planner import SHORT_PROMPT, Room

# A new sequence waits for the step that is running and then for its own. The first takes at most this many times the
# time of a short prompt alone; its own takes 1, plus a quarter of this for the oldest prompt. So the first token comes
# within 1.25 + 1.0 + 0.3 = 2.6 times the time alone, which leaves something for noise below 3.
STEP_OF_SHORT_PROMPTS = 1.25
KERNEL_TOKENS = 4  # that every target's products take together; a part of it costs nearly as much
SMALL_STEP = 8  # tokens; smaller steps are those of decoding alone
FRESHNESS = 0.1  # share of the newest measurement in an average
SHALLOW = 256  # positions; attention costs next to nothing before


class _Average:
    """A moving average of (tokens, seconds)."""

    def __init__(self) -> None:
        self.tokens = 0.0
        self.seconds = 0.0

    @property
    def known(self) -> bool:
        return self.tokens > 0

    def add(self, tokens: int, seconds: float) -> None:
        share = FRESHNESS if self.known else 1.0
        self.tokens += share * (tokens - self.tokens)
        self.seconds += share * (seconds - self.seconds)


class _Line:
    """The time of a step as a straight line over its tokens, through the averages of small and of large steps."""

    def __init__(self, small: _Average | None = None) -> None:
        """Without measurements. small: another line's small steps, which count as long as this one has none."""
        self.small = _Average()
        self._other_small = small or self.small
        self._large = _Average()
        self._shallow = _Average()  # of large steps at the beginning of their sequences, as a short prompt's is

    @property
    def known(self) -> bool:
        return self._large.known

    @property
    def slope(self) -> float:
        """The time of a token, in seconds."""
        return self._line(self._large)[1]

    def record(self, tokens: int, seconds: float, deepest: int) -> None:
        """Records a step. deepest: the highest position in it."""
        if tokens < SMALL_STEP:
            self.small.add(tokens, seconds)
            return
        self._large.add(tokens, seconds)
        if deepest < SHALLOW:
            self._shallow.add(tokens, seconds)

    def tokens_beside(self, newcomer: int) -> int:
        """Tokens of a step that takes at most STEP_OF_SHORT_PROMPTS times as long as ``newcomer`` tokens alone."""
        if not self._large.known:
            return max(newcomer, KERNEL_TOKENS)
        begin, slope = self._line(self._large)
        short = begin + slope * newcomer
        if self._shallow.known:
            shallow_begin, shallow_slope = self._line(self._shallow)
            short = min(short, shallow_begin + shallow_slope * newcomer)
        fit = int((STEP_OF_SHORT_PROMPTS * short - begin) / slope)
        return max(KERNEL_TOKENS, fit // KERNEL_TOKENS * KERNEL_TOKENS)

    def _line(self, large: _Average) -> tuple[float, float]:
        """The time of an empty step, and of each token, in seconds."""
        small = self.small if self.small.known else self._other_small
        if not small.known or large.tokens <= small.tokens:
            return 0.0, large.seconds / large.tokens
        # A token costs something, however the noise falls.
        slope = max(
            (large.seconds - small.seconds) / (large.tokens - small.tokens), 0.01 * large.seconds / large.tokens
        )
        return max(0.0, large.seconds - slope * large.tokens), slope


class Pace:
    """Measures steps, and says how many tokens of prompts fit into a step that is short enough.

    Where prompts have their own arithmetic, generated tokens and those of prompts are measured apart: a step with both
    counts as one of prompts, without what its generated tokens take.
    """

    def __init__(self, *, by_role: bool = False) -> None:
        """Without measurements: the first bounded step takes as many tokens as a short prompt has.

        by_role: whether prompts have their own arithmetic.
        """
        self._generated = _Line()
        self._prompts = _Line(self._generated.small) if by_role else self._generated

    def record(self, tokens: int, seconds: float, deepest: int, *, generated: int = 0) -> None:
        """Records a step. deepest: the highest position in it. generated: how many of the tokens are generated."""
        prompts = tokens - generated
        if self._prompts is self._generated:
            self._prompts.record(tokens, seconds, deepest)
        elif not prompts:
            self._generated.record(generated, seconds, deepest)
        else:
            beside = self._generated.slope * generated if self._generated.known else 0.0
            self._prompts.record(prompts, max(seconds - beside, seconds * prompts / tokens), deepest)

    def room(self) -> Room:
        """How many tokens the next step may take."""
        price = 1.0
        if self._prompts is not self._generated and self._prompts.known and self._generated.known:
            price = max(1.0, self._generated.slope / self._prompts.slope)
        return Room(self._prompts.tokens_beside(SHORT_PROMPT), self._generated.tokens_beside(1), price)
