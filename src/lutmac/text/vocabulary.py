"""The vocabulary a GGUF file describes: its tokens, what each one is, and which have a role.

Keys and token types: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

# ruff: noqa: RUF001 (the punctuation of other scripts is meant)

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutmac.errors import CheckpointError
from lutmac.text import fill

PREFIX = "tokenizer.ggml."

# Converters do not always say which tokens end a reply, so control tokens with these texts do so as well, as in
# llama.cpp. Elsewhere the texts are ordinary: Qwen's </s> is made by a merge, Gemma's is the HTML tag.
_END_TEXTS = (
    "<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>", "<end_of_turn>",
    "<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<|end_of_text|>",
    "<end_of_utterance>", "<eos>", "<turn|>", "<|tool_response>", "<｜end▁of▁sentence｜>", "[e~[",
)  # fmt: skip


class TokenType(IntEnum):
    """What a token is, numbered as in GGUF."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True)
class Vocabulary:
    """Tokens by id, and the roles some of them play.

    `types[i]` is the `TokenType` of token i, as the file has it. `ids` is the inverse of `tokens`. `fill_marks`: those
    for filling in the middle, None where there are none.
    """

    tokens: list[str]
    ids: dict[str, int]
    types: NDArray[np.int8]
    bos_id: int | None
    eos_id: int | None
    unknown_id: int | None
    end_of_generation: frozenset[int]
    fill_marks: fill.FillMarks | None

    @classmethod
    def from_gguf(
        cls,
        metadata: Mapping[str, Any],
        *,
        bos_id: int | None = None,
        eos_id: int | None = None,
        unknown_id: int | None = None,
    ) -> Vocabulary:
        """Read a vocabulary from GGUF metadata; `bos_id`, `eos_id`, `unknown_id` hold where the metadata names none.

        Raises CheckpointError where the file contradicts itself.
        """
        tokens = strings(metadata, "tokens")
        if not tokens:
            raise CheckpointError(f"the file has no tokenizer: {PREFIX}tokens is empty")
        bos, eos, eot, eom, unknown = (
            role(metadata, key, len(tokens), default)
            for key, default in (
                ("bos", bos_id),
                ("eos", eos_id),
                ("eot", None),
                ("eom", None),
                ("unknown", unknown_id),
            )
        )
        ends = {id for id in (eos, eot, eom) if id is not None}
        fills = {kind: _fill_role(metadata, kind, len(tokens)) for kind in fill.TEXTS}
        if PREFIX + "token_type" in metadata:
            types = _token_types(metadata, len(tokens))
        else:
            named = ends | {id for id in (bos, *fills.values()) if id is not None}
            merges = strings(metadata, "merges") if PREFIX + "merges" in metadata else []
            types = _guessed_types(tokens, named, merges)
        return cls.from_tokens(tokens, types, bos_id=bos, eos_id=eos, unknown_id=unknown, ends=ends, fills=fills)

    @classmethod
    def from_tokens(  # noqa: PLR0913 (by keyword)
        cls,
        tokens: list[str],
        types: NDArray[np.int8],
        *,
        bos_id: int | None,
        eos_id: int | None,
        unknown_id: int | None,
        ends: Set[int],
        fills: Mapping[str, int | None] | None = None,
    ) -> Vocabulary:
        """A vocabulary of these tokens; `ends` and the control tokens whose texts say so end a generation.

        `fills`: the marks for filling in the middle, by role; texts tell those that it leaves open.
        """
        ids = dict(zip(tokens, range(len(tokens)), strict=True))
        named = fills or {}
        marks = fill.find_roles(named, ids, lambda id: types[id] in (TokenType.CONTROL, TokenType.USER_DEFINED))
        by_text = _find(ids, _END_TEXTS) | {id for id in map(marks.get, fill.ENDS) if id is not None}
        ends = ends | {id for id in map(named.get, fill.ENDS) if id is not None}
        ends = ends | {id for id in by_text if types[id] == TokenType.CONTROL}
        return cls(
            tokens=tokens,
            ids=ids,
            types=types,
            bos_id=bos_id,
            eos_id=eos_id,
            unknown_id=unknown_id,
            end_of_generation=frozenset(ends - _not_an_end_here(ids, ends)),
            fill_marks=fill.FillMarks.of_roles(marks),
        )

    def of_type(self, *types: TokenType) -> list[int]:
        """Ids of all tokens of these types, ascending."""
        found: list[int] = np.flatnonzero(np.isin(self.types, types)).tolist()
        return found


def is_text(token: str) -> bool:
    """Whether a token is UTF-8, not bytes that were read as surrogates (PEP 383)."""
    try:
        token.encode()
    except UnicodeEncodeError:
        return False
    return True


def strings(metadata: Mapping[str, Any], name: str) -> list[str]:
    """The list of strings `tokenizer.ggml.<name>`. Raises CheckpointError where it is missing or something else."""
    value = metadata.get(PREFIX + name)
    if not isinstance(value, Sequence) or isinstance(value, str) or not set(map(type, value)) <= {str}:
        fault = "missing" if value is None else "no list of strings"
        raise CheckpointError(f"the file's tokenizer cannot be read: {PREFIX}{name} is {fault}")
    return value if isinstance(value, list) else list(value)


def string(metadata: Mapping[str, Any], name: str) -> str | None:
    """The string `tokenizer.ggml.<name>`, if there is one. Raises CheckpointError where it is something else."""
    value = metadata.get(PREFIX + name)
    if value is not None and not isinstance(value, str):
        raise CheckpointError(f"the file's tokenizer cannot be read: {PREFIX}{name} is no string")
    return value


def flag(metadata: Mapping[str, Any], name: str, *, default: bool = False) -> bool:
    """Whether `tokenizer.ggml.<name>` is set. Raises CheckpointError where it is neither a truth value nor a number."""
    value = metadata.get(PREFIX + name, default)
    if not isinstance(value, int):
        raise CheckpointError(f"the file's tokenizer cannot be read: {PREFIX}{name} is neither true nor false")
    return bool(value)


def numbers(metadata: Mapping[str, Any], name: str, size: int) -> NDArray[Any]:
    """The first `size` numbers of `tokenizer.ggml.<name>`. Raises CheckpointError where it holds fewer or others."""
    value = np.asarray(metadata.get(PREFIX + name, ()))
    if value.ndim != 1 or len(value) < size or value.dtype.kind not in "iuf":
        raise CheckpointError(f"the file's tokenizer cannot be read: {PREFIX}{name} is no list of {size} numbers")
    return value[:size]


def role(metadata: Mapping[str, Any], name: str, size: int, default: int | None = None) -> int | None:
    """The token id that `tokenizer.ggml.<name>_token_id` gives; outside a vocabulary of `size`, it is no id."""
    key = f"{PREFIX}{name}_token_id"
    value = metadata.get(key, default)
    if value is not None and not isinstance(value, int | np.integer):
        raise CheckpointError(f"{key} is {value!r}, not a token id")
    return int(value) if value is not None and 0 <= value < size else None


def _token_types(metadata: Mapping[str, Any], size: int) -> NDArray[np.int8]:
    types = numbers(metadata, "token_type", size)
    known = (types >= TokenType.NORMAL) & (types <= TokenType.BYTE)
    return np.where(known, types, TokenType.UNUSED).astype(np.int8)


def _guessed_types(tokens: Sequence[str], named: Set[int], merges: Sequence[str]) -> NDArray[np.int8]:
    """The types of a file that has none: control tokens are those with a role, and those that are called like one.

    A token that a merge makes is text.
    """
    ids = dict(zip(tokens, range(len(tokens)), strict=True))
    texts = {*_END_TEXTS, *(text for texts in fill.TEXTS.values() for text in texts)}
    texts -= {merge.replace(" ", "") for merge in merges}
    types = np.full(len(tokens), TokenType.NORMAL, dtype=np.int8)
    types[[*named, *_find(ids, texts)]] = TokenType.CONTROL
    return types


def _find(ids: Mapping[str, int], texts: Iterable[str]) -> set[int]:
    return {ids[text] for text in texts if text in ids}


def _fill_role(metadata: Mapping[str, Any], kind: str, size: int) -> int | None:
    found = role(metadata, kind, size)
    return role(metadata, fill.OLDER_KEYS[kind], size) if found is None and kind in fill.OLDER_KEYS else found


def _not_an_end_here(ids: Mapping[str, int], ends: Set[int]) -> set[int]:
    """End texts that mean something else in some vocabularies, recognised by the ends that stand beside them."""

    def is_end(text: str) -> bool:
        return ids.get(text) in ends

    if (is_end("<|call|>") or is_end("<|calls|>")) and (is_end("<|return|>") or is_end("<|flush|>")):
        return _find(ids, ("<|end|>",))  # in these it only closes one message of a reply
    return set()
