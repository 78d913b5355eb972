"""Log probabilities as /v1/completions writes them: of a reply's tokens, and with ``echo`` of the prompt's."""

from __future__ import annotations

from codecs import getincrementaldecoder
from collections.abc import Iterable

from lutmac.engine.sampling.results import Chunk, TokenLogprob
from lutmac.server.logprobs import LOWEST, token_text
from lutmac.server.schemas.completions import CompletionLogprobs
from lutmac.text.tokenizer import Tokenizer


class LogprobWriter:
    """Writes a continuation's entries as they come.

    text_offset: in characters of the text, of which control tokens that are not shown have none.
    """

    def __init__(self, tokenizer: Tokenizer, prompt: list[int], *, echo: bool, hidden: int) -> None:
        """prompt: its tokens. echo: whether they have entries. hidden: first ones that its text does not show."""
        self._tokenizer = tokenizer
        self._prompt = prompt
        self._echo = echo
        self._hidden = hidden
        self._decoder = getincrementaldecoder("utf-8")("replace")
        self._offset = 0

    def write(self, chunk: Chunk) -> CompletionLogprobs:
        """The entries of a chunk: those of the prompt with the first, and with echo that of an end token with the last.

        An end token has no text. It has an entry there since whoever scores texts counts on one for each token drawn.
        """
        found = CompletionLogprobs(tokens=[], token_logprobs=[], top_logprobs=[], text_offset=[])
        if self._echo and chunk.prompt_logprobs is not None:
            for place, (id, item) in enumerate(zip(self._prompt, chunk.prompt_logprobs, strict=True)):
                self._add(found, id, item, is_shown=place >= self._hidden)
        for drawn in chunk.logprobs or ():
            self._add(found, drawn.token_id, drawn, is_shown=not self._tokenizer.is_special(drawn.token_id))
        if self._echo and chunk.completion is not None and (end := chunk.completion.end_logprob) is not None:
            self._add(found, end.token_id, end, is_shown=False)
        return found

    def _add(self, found: CompletionLogprobs, id: int, item: TokenLogprob | None, *, is_shown: bool) -> None:
        found.tokens.append(token_text(self._tokenizer, id))
        found.text_offset.append(self._offset)
        found.token_logprobs.append(None if item is None else max(item.logprob, LOWEST))
        found.top_logprobs.append(None if item is None else self._alternatives(item))
        if is_shown:
            self._offset += len(self._decoder.decode(self._tokenizer.token_bytes(id)))

    def _alternatives(self, item: TokenLogprob) -> dict[str, float]:
        """The likeliest tokens by their texts; of several with the same text the likeliest counts."""
        found: dict[str, float] = {}
        for id, logprob in item.top:
            found.setdefault(token_text(self._tokenizer, id), max(logprob, LOWEST))
        return found


def join_logprobs(parts: Iterable[CompletionLogprobs]) -> CompletionLogprobs:
    """The entries of a whole continuation."""
    found = CompletionLogprobs(tokens=[], token_logprobs=[], top_logprobs=[], text_offset=[])
    for part in parts:
        found.tokens += part.tokens
        found.token_logprobs += part.token_logprobs
        found.top_logprobs += part.top_logprobs
        found.text_offset += part.text_offset
    return found
