"""Filling in the middle: the marks by which code models are asked for what stands between two texts.

Bavarian et al. 2022 (https://arxiv.org/abs/2207.14255). GGUF names the marks by keys; elsewhere they are known by the
texts that models give them.
"""

# ruff: noqa: RUF001 (the punctuation of other scripts is meant)

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

TEXTS: Final[Mapping[str, tuple[str, ...]]] = {
    "fim_pre": (
        "<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<｜fim▁begin｜>", "<PRE>", "▁<PRE>", "<|code_prefix|>",
        "<|prefix|>",
    ),
    "fim_suf": (
        "<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<｜fim▁hole｜>", "<SUF>", "▁<SUF>", "<|code_suffix|>",
        "<|suffix|>",
    ),
    "fim_mid": (
        "<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<｜fim▁end｜>", "<MID>", "▁<MID>", "<|code_middle|>",
        "<|middle|>",
    ),
    "fim_pad": ("<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"),
    "fim_rep": ("<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"),
    "fim_sep": ("<|file_sep|>",),
}  # fmt: skip
"""What marks are called, by the role that GGUF's ``tokenizer.ggml.<role>_token_id`` gives them."""

OLDER_KEYS: Final[Mapping[str, str]] = {"fim_pre": "prefix", "fim_suf": "suffix", "fim_mid": "middle"}
"""What the roles were called before."""

ENDS: Final = ("fim_pad", "fim_rep", "fim_sep")
"""Roles whose tokens a model emits when it has run past its answer."""


@dataclass(frozen=True)
class FillMarks:
    """The ids of the tokens that stand before the text in front, the text behind, and what is to be filled in.

    pad: the end of a filling. repo, separator: what the name of a repository and each of its files come after. None
    where the vocabulary has none.
    """

    prefix: int
    suffix: int
    middle: int
    pad: int | None = None
    repo: int | None = None
    separator: int | None = None

    @classmethod
    def of_roles(cls, ids: Mapping[str, int | None]) -> FillMarks | None:
        """The marks of these ids by role; None unless the three that a prompt needs are there."""
        prefix, suffix, middle, pad, repo, separator = map(ids.get, TEXTS)
        if prefix is None or suffix is None or middle is None:
            return None
        return cls(prefix, suffix, middle, pad, repo, separator)


def find_roles(
    named: Mapping[str, int | None], ids: Mapping[str, int], may_be_mark: Callable[[int], bool]
) -> dict[str, int | None]:
    """The id of each role: the one that the file names, else that of the first of its texts that may be a mark."""
    return {
        role: named[role]
        if named.get(role) is not None
        else next((ids[text] for text in texts if text in ids and may_be_mark(ids[text])), None)
        for role, texts in TEXTS.items()
    }
