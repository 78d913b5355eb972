"""Log probabilities of tokens, from raw logits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutmac.engine.sampling.results import TokenLogprob


def token_logprob(logits: NDArray[np.float32], token: int, top: int) -> TokenLogprob:
    """The token's logprob and those of the ``top`` likeliest, from logits [vocab]; of equals the lowest ids come first.

    Summed in float64 in one fixed order, so that equal logits give equal bits. A NaN counts as impossible.
    """
    values = logits.astype(np.float64)
    np.copyto(values, -np.inf, where=np.isnan(values))
    highest = values.max()
    total = highest + np.log(np.exp(values - highest).sum())
    best = likeliest(values, top)
    return TokenLogprob(token, float(values[token] - total), tuple((id, float(values[id] - total)) for id in best))


def likeliest(values: NDArray[Any], top: int) -> list[int]:
    """The ids of the ``top`` largest values [vocab], best first; of equals the lowest ids come first."""
    if not top:
        return []
    count = min(top, len(values))
    threshold = np.partition(values, -count)[-count]
    candidates = np.flatnonzero(values >= threshold)
    found: list[int] = candidates[np.argsort(-values[candidates], kind="stable")][:count].tolist()
    return found
