"""Log probabilities as OpenAI's chat interface writes them."""

from __future__ import annotations

from collections.abc import Sequence

from lutmac.engine.sampling import results
from lutmac.server.schemas.common import TokenLogprob, TopLogprob
from lutmac.text.tokenizer import Tokenizer

LOWEST = -9999.0  # what OpenAI writes for a token that cannot be drawn; JSON has no infinity


def token_logprobs(tokenizer: Tokenizer, logprobs: Sequence[results.TokenLogprob]) -> list[TokenLogprob]:
    """One entry for each token, with its alternatives."""
    return [
        TokenLogprob(
            token=token_text(tokenizer, item.token_id),
            logprob=max(item.logprob, LOWEST),
            bytes=list(tokenizer.token_bytes(item.token_id)),
            top_logprobs=[
                TopLogprob(
                    token=token_text(tokenizer, id), logprob=max(logprob, LOWEST), bytes=list(tokenizer.token_bytes(id))
                )
                for id, logprob in item.top
            ],
        )
        for item in logprobs
    ]


def token_text(tokenizer: Tokenizer, id: int) -> str:
    """A token's text; U+FFFD for bytes that are no character alone."""
    return tokenizer.token_bytes(id).decode(errors="replace")
