"""Prompts that are not conversations: a text, several, or token ids."""

from __future__ import annotations

from collections.abc import Sequence

from lutmac.server.backend import Backend
from lutmac.server.errors import ApiError
from lutmac.server.limits import check_at_most


async def encode_prompts(
    backend: Backend,
    given: str | Sequence[int] | Sequence[str] | Sequence[Sequence[int]],
    param: str,
    most: int,
    *,
    parse_special: bool,
    add_special: bool = True,
) -> list[list[int]]:
    """Token ids of a text, of several, or as they are. Raises ApiError (400).

    parse_special: whether the texts of control tokens become these tokens. add_special: whether texts get BOS and EOS
    where the model wants them.
    """
    one = isinstance(given, str) or (len(given) > 0 and isinstance(given[0], int))
    texts: Sequence[str | Sequence[int]] = [given] if one else given  # type: ignore[list-item, assignment]
    if not texts:
        raise ApiError(400, f"{param} is empty", param=param)
    check_at_most(len(texts), most, param, "texts")
    vocabulary = backend.model.info().vocab_size
    prompts = []
    for text in texts:
        if isinstance(text, str):
            ids = await backend.encode(
                text, parse_special=parse_special, add_special=add_special, bounded=True, param=param
            )
        else:
            ids = list(text)
        if not ids:
            raise ApiError(400, f"{param} is empty, and this model has no token to begin a text with", param=param)
        if max(ids) >= vocabulary:
            raise ApiError(400, f"token id {max(ids)} is not in the vocabulary of {vocabulary}", param=param)
        prompts.append(ids)
    return prompts
