"""A chat as a template has written it."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class MessagePlace:
    """The characters [begin, end) that a template wrote for a message, with header and end mark.

    open: whether the message goes on behind them.
    """

    role: str
    begin: int
    end: int
    open: bool = False


@dataclass(frozen=True)
class Rendered:
    """What a template made. messages: where those lie that it wrote in a loop of its own, in order."""

    text: str
    messages: tuple[MessagePlace, ...] = ()

    @property
    def tail(self) -> str:
        """What stands behind the last message."""
        return self.text[self.messages[-1].end :] if self.messages else ""

    def cut(self, length: int) -> Rendered:
        """Its first so many characters, which end within a message."""
        kept = [replace(place, end=min(place.end, length)) for place in self.messages if place.begin < length]
        if kept:
            kept[-1] = replace(kept[-1], open=True)
        return Rendered(self.text[:length], tuple(kept))

    def followed_by(self, role: str, text: str) -> Rendered:
        """With the beginning of one more message."""
        place = MessagePlace(role, len(self.text), len(self.text) + len(text), open=True)
        return Rendered(self.text + text, (*self.messages, place))
