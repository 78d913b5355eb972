"""How a model writes its replies: which family's calls, and which marks stand around its thoughts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lutmac.server.tools.families import CLOSINGS, INSIDE, OPENINGS, Family, find_family
from lutmac.server.tools.harmony import MARKS
from lutmac.server.tools.thoughts import HARMONY, THINK, THOUGHT_MARKS, WRAPPERS, ThoughtMarks, find_marks

if TYPE_CHECKING:
    from lutmac.text.chat import ChatTemplate
    from lutmac.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class ReplyStyle:
    """family: that the template belongs to. known: marks of thoughts that the template or the vocabulary has.

    shown: control tokens that have to be seen in the text, since they are marks.
    """

    family: Family
    known: tuple[ThoughtMarks, ...]
    shown: frozenset[int]

    @property
    def marks(self) -> tuple[ThoughtMarks, ...]:
        """The marks that may open thoughts: models learn `<think>` whatever their template says."""
        return self.known or (THINK,)


def find_style(template: ChatTemplate, tokenizer: Tokenizer, *, with_tools: bool) -> ReplyStyle:
    """The style of a model's replies to a chat, with tools or without."""
    source = template.for_chat(with_tools=with_tools).source
    family = find_family(source)
    if family.name == "harmony":
        return ReplyStyle(family, (HARMONY,), _control_tokens(MARKS, tokenizer))
    known = find_marks(source) or tuple(
        marks for marks in THOUGHT_MARKS if tokenizer.token_id(marks.opening) is not None
    )
    texts = [text for marks in known for text in (marks.opening, marks.closing)]
    if known:
        texts += [*WRAPPERS, *WRAPPERS.values()]
    if with_tools:
        texts += [*OPENINGS, *CLOSINGS, *INSIDE]
    return ReplyStyle(family, known, _control_tokens(texts, tokenizer))


def _control_tokens(texts: Iterable[str], tokenizer: Tokenizer) -> frozenset[int]:
    ids = (tokenizer.token_id(text) for text in texts)
    return frozenset(id for id in ids if id is not None and tokenizer.is_special(id)) - tokenizer.end_of_generation
