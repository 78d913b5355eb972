"""The vocabulary a GGUF file describes: its tokens, what each one is, and which have a role.

Keys and token types: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

# ruff: noqa: RUF001 (the punctuation of other scripts is meant)

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutmac.errors import CheckpointError

_PREFIX = "tokenizer.ggml."

# Converters do not always say which tokens end a reply, so these texts count as well, as they do in llama.cpp.
_END_TEXTS = (
    "<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>", "<end_of_turn>",
    "<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<|end_of_text|>",
    "<end_of_utterance>", "<eos>", "<turn|>", "<|tool_response>", "<｜end▁of▁sentence｜>", "[e~[",
)  # fmt: skip

# Fill-in-the-middle tokens that a model emits when it has run past its answer: the role that names one, and the texts
# to look for where the file leaves it open.
_FILL_END_TEXTS: Mapping[str, tuple[str, ...]] = {
    "fim_pad": ("<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"),
    "fim_rep": ("<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"),
    "fim_sep": ("<|file_sep|>",),
}

# The other fill-in-the-middle marks: control tokens, whatever type the file gives them.
_FILL_TEXTS = (
    "<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<｜fim▁begin｜>", "<PRE>", "▁<PRE>", "<|code_prefix|>",
    "<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<｜fim▁hole｜>", "<SUF>", "▁<SUF>", "<|code_suffix|>",
    "<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<｜fim▁end｜>", "<MID>", "▁<MID>", "<|code_middle|>",
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

    `types[i]` is the `TokenType` of token i; tokens that end a generation or mark a fill are CONTROL even where the
    file calls them something else. `ids` is the inverse of `tokens`.
    """

    tokens: list[str]
    ids: dict[str, int]
    types: NDArray[np.int8]
    bos_id: int | None
    eos_id: int | None
    unknown_id: int | None
    end_of_generation: frozenset[int]

    @classmethod
    def from_gguf(
        cls, metadata: Mapping[str, Any], *, bos_id: int | None = None, eos_id: int | None = None
    ) -> Vocabulary:
        """Read a vocabulary from GGUF metadata; `bos_id` and `eos_id` hold where the metadata names none.

        Raises CheckpointError where the file contradicts itself.
        """
        tokens = strings(metadata, "tokens")
        if not tokens:
            raise CheckpointError(f"the file has no tokenizer: {_PREFIX}tokens is empty")
        types = _token_types(metadata, len(tokens))

        bos, eos, eot, eom, unknown = (
            _role(metadata, key, len(tokens), default)
            for key, default in (("bos", bos_id), ("eos", eos_id), ("eot", None), ("eom", None), ("unknown", None))
        )
        ends = {id for id in (eos, eot, eom) if id is not None}
        fill_ends = _fill_ends(metadata, dict(zip(tokens, range(len(tokens)), strict=True)))
        return cls.from_tokens(
            tokens, types, bos_id=bos, eos_id=eos, unknown_id=unknown, ends=ends, fill_ends=fill_ends
        )

    @classmethod
    def from_tokens(
        cls,
        tokens: list[str],
        types: NDArray[np.int8],
        *,
        bos_id: int | None,
        eos_id: int | None,
        unknown_id: int | None,
        ends: Set[int],
        fill_ends: Set[int] | None = None,
    ) -> Vocabulary:
        """A vocabulary of these tokens; `ends` and the tokens whose texts say so end a generation.

        `fill_ends`: those of them that mark a fill; None looks for their texts too.
        """
        ids = dict(zip(tokens, range(len(tokens)), strict=True))
        by_text = _find(ids, _END_TEXTS) | (_fill_ends({}, ids) if fill_ends is None else fill_ends)
        types = types.copy()
        types[[*by_text, *_find(ids, _FILL_TEXTS)]] = TokenType.CONTROL
        ends = ends | by_text
        for id in _not_an_end_here(ids, ends):
            ends = ends - {id}
            types[id] = TokenType.NORMAL if tokens[id] == "</s>" else TokenType.USER_DEFINED
        return cls(
            tokens=tokens,
            ids=ids,
            types=types,
            bos_id=bos_id,
            eos_id=eos_id,
            unknown_id=unknown_id,
            end_of_generation=frozenset(ends),
        )

    def of_type(self, *types: TokenType) -> list[int]:
        """Ids of all tokens of these types, ascending."""
        found: list[int] = np.flatnonzero(np.isin(self.types, types)).tolist()
        return found


def strings(metadata: Mapping[str, Any], name: str) -> list[str]:
    """The list of strings `tokenizer.ggml.<name>`. Raises CheckpointError where it is missing or something else."""
    value = metadata.get(_PREFIX + name)
    if not isinstance(value, Sequence) or isinstance(value, str) or not set(map(type, value)) <= {str}:
        fault = "missing" if value is None else "no list of strings"
        raise CheckpointError(f"the file's tokenizer cannot be read: {_PREFIX}{name} is {fault}")
    return value if isinstance(value, list) else list(value)


def string(metadata: Mapping[str, Any], name: str) -> str | None:
    """The string `tokenizer.ggml.<name>`, if there is one. Raises CheckpointError where it is something else."""
    value = metadata.get(_PREFIX + name)
    if value is not None and not isinstance(value, str):
        raise CheckpointError(f"the file's tokenizer cannot be read: {_PREFIX}{name} is no string")
    return value


def flag(metadata: Mapping[str, Any], name: str, *, default: bool) -> bool:
    """Whether `tokenizer.ggml.<name>` is set. Raises CheckpointError where it is neither a truth value nor a number."""
    value = metadata.get(_PREFIX + name, default)
    if not isinstance(value, int):
        raise CheckpointError(f"the file's tokenizer cannot be read: {_PREFIX}{name} is neither true nor false")
    return bool(value)


def numbers(metadata: Mapping[str, Any], name: str, size: int) -> NDArray[Any]:
    """The first `size` numbers of `tokenizer.ggml.<name>`. Raises CheckpointError where it holds fewer or others."""
    value = np.asarray(metadata.get(_PREFIX + name, ()))
    if value.ndim != 1 or len(value) < size or value.dtype.kind not in "iuf":
        raise CheckpointError(f"the file's tokenizer cannot be read: {_PREFIX}{name} is no list of {size} numbers")
    return value[:size]


def _role(metadata: Mapping[str, Any], name: str, size: int, default: int | None = None) -> int | None:
    """The token id that `tokenizer.ggml.<name>_token_id` gives; outside a vocabulary of `size`, it is no id."""
    key = f"{_PREFIX}{name}_token_id"
    value = metadata.get(key, default)
    if value is not None and not isinstance(value, int | np.integer):
        raise CheckpointError(f"{key} is {value!r}, not a token id")
    return int(value) if value is not None and 0 <= value < size else None


def _token_types(metadata: Mapping[str, Any], size: int) -> NDArray[np.int8]:
    if _PREFIX + "token_type" not in metadata:
        return np.full(size, TokenType.NORMAL, dtype=np.int8)
    types = numbers(metadata, "token_type", size)
    known = (types >= TokenType.NORMAL) & (types <= TokenType.BYTE)
    return np.where(known, types, TokenType.UNUSED).astype(np.int8)


def _find(ids: Mapping[str, int], texts: Sequence[str]) -> set[int]:
    return {ids[text] for text in texts if text in ids}


def _fill_ends(metadata: Mapping[str, Any], ids: Mapping[str, int]) -> set[int]:
    found: set[int] = set()
    for name, texts in _FILL_END_TEXTS.items():
        named = _role(metadata, name, len(ids))
        found |= {named} if named is not None else _find(ids, texts)
    return found


def _not_an_end_here(ids: Mapping[str, int], ends: Set[int]) -> Set[int]:
    """End texts that mean something else in some vocabularies, recognised by the tokens that stand beside them."""
    present = {text for text in ("<|return|>", "<|call|>", "<|calls|>", "<|flush|>", "<|tool_response>") if text in ids}
    exceptions: set[int] = set()
    calls = present & {"<|call|>", "<|calls|>"}
    if calls and present & {"<|return|>", "<|flush|>"}:  # in these, <|end|> only closes one message of a reply
        exceptions |= _find(ids, ("<|end|>",))
    if "<|tool_response>" in present:  # here </s> is the HTML tag for struck-out text
        exceptions |= _find(ids, ("</s>",))
    return exceptions & ends
