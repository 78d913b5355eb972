"""The marks between which models think before they answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class ThoughtMarks:
    """What opens thoughts, and what closes them.

    spoken: whether what opens them is part of them: a template that gets them back does not write it again.
    """

    opening: str
    closing: str
    spoken: bool = False


THINK: Final = ThoughtMarks("<think>", "</think>")
THOUGHT_MARKS: Final = (
    THINK,
    ThoughtMarks("<seed:think>", "</seed:think>"),
    ThoughtMarks("<mm:think>", "</mm:think>"),
    ThoughtMarks("[THINK]", "[/THINK]"),
    ThoughtMarks("<|START_THINKING|>", "<|END_THINKING|>"),
    ThoughtMarks("<|channel>thought", "<channel|>"),
    ThoughtMarks("<|inner_prefix|>", "<|inner_suffix|>"),
    ThoughtMarks("<|begin_of_thought|>", "<|end_of_thought|>"),
    ThoughtMarks("<thought>", "</thought>"),
    ThoughtMarks("<thinking>", "</thinking>"),
    ThoughtMarks("<reasoning>", "</reasoning>"),
    ThoughtMarks("Here is my thought process:", "Here is my response:"),
    ThoughtMarks("Here are my reasoning steps:", "[BEGIN FINAL RESPONSE]", spoken=True),
)
HARMONY: Final = ThoughtMarks("<|channel|>analysis<|message|>", "<|end|><|start|>assistant")
WRAPPERS: Final = {
    "<|START_RESPONSE|>": "<|END_RESPONSE|>",
    "<|START_TEXT|>": "<|END_TEXT|>",
    "<|begin_of_solution|>": "<|end_of_solution|>",
    "<response>": "</response>",
    "<answer>": "</answer>",
}
"""What stands around the answer in families that mark it, beside their thoughts."""


def find_marks(template: str) -> tuple[ThoughtMarks, ...]:
    """The marks that a chat template knows."""
    return tuple(marks for marks in THOUGHT_MARKS if marks.opening in template or marks.closing in template)


def open_marks(text: str, known: tuple[ThoughtMarks, ...]) -> ThoughtMarks | None:
    """The marks that are open at the end of a text; None where there are none, or all are closed."""
    last = max(known, key=lambda marks: text.rfind(marks.opening), default=None)
    if last is None or text.rfind(last.opening) < 0:
        return None
    return last if text.rfind(last.opening) > text.rfind(last.closing) else None
