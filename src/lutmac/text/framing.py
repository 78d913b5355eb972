"""What goes around a text, and around and between two that a model reads together.

A tokenizer.json says it in its post-processor: https://huggingface.co/docs/tokenizers/api/post-processors
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lutmac.bounded_json import shown
from lutmac.errors import CheckpointError

Json = dict[str, Any]


@dataclass(frozen=True)
class EncodedPair:
    """Two texts as a model reads them together: token ids, and the type of each, which tells the texts apart."""

    ids: list[int]
    types: list[int]


@dataclass(frozen=True)
class PairFrame:
    """Ids before, between and behind two texts. second_type: the token type of the second and of what is behind it."""

    before: tuple[int, ...] = ()
    between: tuple[int, ...] = ()
    after: tuple[int, ...] = ()
    second_type: int = 0

    def join(self, first: Sequence[int], second: Sequence[int], most_tokens: int | None = None) -> EncodedPair:
        """The two as one; where they are too long for most_tokens, the longer one is cut at its end first."""
        if most_tokens is not None:
            room = most_tokens - len(self.before) - len(self.between) - len(self.after)
            lengths = _longest_first(len(first), len(second), max(room, 0))
            first, second = first[: lengths[0]], second[: lengths[1]]
        head, tail = [*self.before, *first, *self.between], [*second, *self.after]
        return EncodedPair(head + tail, [0] * len(head) + [self.second_type] * len(tail))


def _longest_first(first: int, second: int, room: int) -> tuple[int, int]:
    """How much of two texts stays, as `tokenizers` cuts them: the shorter is cut only below half of the room."""
    if first + second <= room:
        return first, second
    shorter = min(first, second)
    if shorter <= room // 2:
        return (shorter, room - shorter) if first <= second else (room - shorter, shorter)
    half, rest = room // 2, room - room // 2
    return (half, rest) if first <= second else (rest, half)


def stages(part: object) -> list[Json]:
    """A normaliser, pre-tokenizer or decoder as the list of its stages; they are the document's own, not copies."""
    if not isinstance(part, dict):
        return []
    if part.get("type") != "Sequence":
        return [part]
    inner = part.get("normalizers") or part.get("pretokenizers") or part.get("decoders") or part.get("processors") or []
    return [stage for item in inner for stage in stages(item)]


def single_frame(post_processor: object) -> tuple[list[int], list[int]]:
    """The ids that a post-processor puts before and after a single text.

    Raises CheckpointError where it names tokens without ids.
    """
    before: list[int] = []
    after: list[int] = []
    for stage in stages(post_processor):
        if stage.get("type") in ("BertProcessing", "RobertaProcessing"):
            before, after = [_framed(stage, "cls")], [_framed(stage, "sep")]
        if stage.get("type") != "TemplateProcessing":
            continue
        target = before
        for item in stage.get("single") or ():
            if "Sequence" in item:
                target = after
                continue
            target += _ids(stage, item)
    return before, after


def pair_frame(post_processor: object) -> PairFrame | None:
    """What a post-processor puts around two texts; None where it says nothing of two. Raises as `single_frame`."""
    found = None
    for stage in stages(post_processor):
        if stage.get("type") in ("BertProcessing", "RobertaProcessing"):
            cls, sep = _framed(stage, "cls"), _framed(stage, "sep")
            twice = stage["type"] == "RobertaProcessing"
            found = PairFrame((cls,), (sep, sep) if twice else (sep,), (sep,), 0 if twice else 1)
        elif stage.get("type") == "TemplateProcessing" and stage.get("pair"):
            found = _of_template(stage)
    return found


def _of_template(stage: Json) -> PairFrame | None:
    parts: list[list[int]] = [[]]
    types: list[object] = []
    for name, item in _items(stage["pair"]):
        if name == "Sequence":
            parts.append([])
            types.append(item["Sequence"].get("type_id", 0))
        else:
            parts[-1] += _ids(stage, item)
    if len(parts) != 3:
        return None
    before, between, after = map(tuple, parts)
    return PairFrame(before, between, after, types[1] if type(types[1]) is int and types[1] >= 0 else 0)


def _items(template: object) -> Iterator[tuple[str, Json]]:
    for item in template if isinstance(template, list) else ():
        if isinstance(item, dict) and isinstance(item.get("Sequence"), dict):
            yield "Sequence", item
        else:
            yield "SpecialToken", item if isinstance(item, dict) else {}


def _ids(stage: Json, item: Json) -> list[int]:
    special = item.get("SpecialToken")
    name = special.get("id") if isinstance(special, dict) else None
    known: Mapping[str, Any] = stage.get("special_tokens", {}).get(name) or {}
    ids = known.get("ids")
    if not isinstance(ids, list) or not all(type(id) is int and id >= 0 for id in ids):
        raise CheckpointError(f"tokenizer.json: the post-processor names {shown(name)}, which has no ids")
    return ids


def _framed(stage: Json, role: str) -> int:
    pair = stage.get(role)
    if not isinstance(pair, list) or len(pair) != 2 or type(pair[1]) is not int or pair[1] < 0:
        raise CheckpointError(f"tokenizer.json: the post-processor's {role} is {shown(pair)}, not a token and its id")
    return pair[1]
