"""The prompt for filling in the middle of a file, with other files before it.

The pattern is Qwen2.5-Coder's (https://arxiv.org/pdf/2409.12186), in the order in which llama.cpp has it.
"""

from __future__ import annotations

from collections.abc import Sequence

from lutmac.errors import InvalidRequestError
from lutmac.server.schemas.llama_cpp import ExtraFile
from lutmac.text.tokenizer import Tokenizer

MARKS = 8  # positions kept for marks
PREFIX_SHARE = 0.75  # of the room that prefix and suffix have


def infill_prompt(tokenizer: Tokenizer, prefix: str, suffix: str, files: Sequence[ExtraFile], room: int) -> list[int]:
    """Token ids. room: how many there may be.

    What does not fit is left out: of the prefix its beginning, of the suffix its end, then of the files the first ones.
    Raises InvalidRequestError where the vocabulary has no marks for filling in the middle.
    """
    marks = tokenizer.vocabulary.fill_marks
    if marks is None:
        raise InvalidRequestError("this model cannot fill in the middle: its vocabulary has no marks for it")
    room = max(0, room - MARKS)
    prefix = _last(tokenizer, prefix, int(room * PREFIX_SHARE))
    suffix = _first(tokenizer, suffix, room - int(room * PREFIX_SHARE))
    fill = tokenizer.encode_fill(prefix, suffix)
    extra = _extra(tokenizer, files)[-max(0, room - len(fill)) :] if room > len(fill) else []
    begins_with_bos = fill[0] == tokenizer.bos_id
    return [*fill[:begins_with_bos], *extra, *fill[begins_with_bos:]]


def _extra(tokenizer: Tokenizer, files: Sequence[ExtraFile]) -> list[int]:
    marks = tokenizer.vocabulary.fill_marks
    assert marks is not None

    def encode(text: str) -> list[int]:
        return tokenizer.encode(text, add_special=False)

    if not files:
        return []
    found = [marks.repo, *encode("myproject\n")] if marks.repo is not None else []
    for file in files:
        if marks.separator is not None:
            found += [marks.separator, *encode(f"{file.filename}\n")]
        else:
            found += encode("\n\n--- snippet ---\n\n")
        found += encode(file.text)
    return [*found, marks.separator, *encode("filename\n")] if marks.separator is not None else found


def _last(tokenizer: Tokenizer, text: str, count: int) -> str:
    """The end of a text, of so many tokens."""
    ids = tokenizer.encode(text, add_special=False)
    return text if len(ids) <= count else tokenizer.decode(ids[len(ids) - count :], skip_special=False)


def _first(tokenizer: Tokenizer, text: str, count: int) -> str:
    """The beginning of a text, of so many tokens."""
    ids = tokenizer.encode(text, add_special=False)
    return text if len(ids) <= count else tokenizer.decode(ids[:count], skip_special=False)
