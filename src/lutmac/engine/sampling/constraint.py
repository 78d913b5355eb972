"""Which tokens a grammar allows next, by llguidance (https://github.com/guidance-ai/llguidance)."""

from __future__ import annotations

import weakref
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from lutmac.engine.sampling.grammar import JSON_LAYOUT, Grammar
from lutmac.errors import InvalidRequestError

if TYPE_CHECKING:
    from llguidance._lib import JsonCompileOptions

    from lutmac.text.tokenizer import Tokenizer

_vocabularies: weakref.WeakKeyDictionary[Tokenizer, Any] = weakref.WeakKeyDictionary()
_lock = Lock()


class GrammarConstraint:
    """One sequence's place in its grammar."""

    def __init__(self, matcher: Any) -> None:
        """matcher: llguidance's, at its beginning, and not in an error."""
        self._matcher = matcher

    def masked(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """A copy of the logits [vocab] with -inf for what may not follow. Raises InvalidRequestError, see accept."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        self._check()
        allowed = np.unpackbits(bits, count=len(logits), bitorder="little").view(np.bool_)
        return np.where(allowed, logits, np.float32(-np.inf))

    def accept(self, token: int) -> None:
        """Takes note of the token that was drawn.

        Raises InvalidRequestError where going on would take more work than llguidance's limits allow.
        """
        if not self._matcher.is_stopped():
            self._matcher.consume_token(token)
            self._check()

    def _check(self) -> None:
        if self._matcher.is_error():
            raise InvalidRequestError(f"the grammar cannot be followed any further: {_first_line(self._matcher)}")


def compile_grammar(grammar: Grammar, tokenizer: Tokenizer) -> GrammarConstraint:
    """A grammar made ready for a sequence. Safe to call from any thread; work is bounded by llguidance's limits.

    Raises InvalidRequestError where the grammar is malformed, too large or cannot be satisfied, and where llguidance
    is not installed.
    """
    try:
        from llguidance import LLMatcher, LLParserLimits  # noqa: PLC0415 (an extra)
    except ImportError:
        raise InvalidRequestError("grammars need llguidance: pip install 'lutmac[server]'") from None
    with _lock:
        vocabulary = _vocabularies.get(tokenizer)
        if vocabulary is None:
            vocabulary = _vocabularies[tokenizer] = _vocabulary(tokenizer)
    matcher = LLMatcher(vocabulary, _llguidance_text(grammar), log_level=0, limits=LLParserLimits(verbose_errors=False))
    if matcher.is_error():
        raise InvalidRequestError(f"the grammar cannot be used: {_first_line(matcher)}")
    matcher.compute_bitmask()
    if matcher.is_error():
        raise InvalidRequestError(f"the grammar cannot be used: {_first_line(matcher)}")
    if matcher.is_stopped() and not matcher.is_accepting():
        raise InvalidRequestError("the grammar cannot be satisfied: no text fits it")
    return GrammarConstraint(matcher)


def check_grammar(grammar: Grammar) -> None:
    """Raises InvalidRequestError for a grammar that no model can follow, and where llguidance is missing."""
    try:
        from llguidance import LLMatcher, LLParserLimits  # noqa: PLC0415 (an extra)
    except ImportError:
        raise InvalidRequestError("grammars need llguidance: pip install 'lutmac[server]'") from None
    limits = LLParserLimits(verbose_errors=False)
    wrong, messages = LLMatcher.validate_grammar_with_warnings(_llguidance_text(grammar), limits=limits)
    if wrong:
        raise InvalidRequestError(f"the grammar cannot be used: {messages[0].splitlines()[0]}")


def _llguidance_text(grammar: Grammar) -> str:
    from llguidance import LLMatcher  # noqa: PLC0415 (an extra)

    match grammar.kind:
        case "json_schema":
            return LLMatcher.grammar_from_json_schema(grammar.text, defaults=cast("JsonCompileOptions", JSON_LAYOUT))
        case "regex":
            return LLMatcher.grammar_from_regex(grammar.text)
        case "lark":
            return LLMatcher.grammar_from_lark(grammar.text)


def _first_line(matcher: Any) -> str:
    lines = matcher.get_error().splitlines()
    return lines[0] if lines else "unknown"


def _vocabulary(tokenizer: Tokenizer) -> Any:
    """The tokens in the form that llguidance takes; takes about a second for 150,000."""
    from llguidance import LLTokenizer, TokenizerWrapper  # noqa: PLC0415 (an extra)

    ends = sorted(tokenizer.end_of_generation)
    if not ends:
        raise InvalidRequestError("grammars need an end token, which this model's tokenizer does not have")
    return LLTokenizer(TokenizerWrapper(_Vocabulary(tokenizer, ends[0])), eos_token=ends)


class _Vocabulary:
    """What llguidance asks of a tokenizer. Does not keep the tokenizer alive: Rust hides the cycle from Python."""

    def __init__(self, tokenizer: Tokenizer, end: int) -> None:
        ids = range(tokenizer.vocab_size)
        self.eos_token_id = end
        self.bos_token_id = None
        self.tokens = [tokenizer.token_bytes(id) for id in ids]
        self.special_token_ids = [id for id in ids if tokenizer.is_special(id)]
        self._tokenizer = weakref.ref(tokenizer)

    def __call__(self, text: str) -> list[int]:
        tokenizer = self._tokenizer()
        return [] if tokenizer is None else tokenizer.encode(text, add_special=False)
