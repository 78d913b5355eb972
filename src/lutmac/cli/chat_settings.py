"""What `/set` changes in a chat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from lutmac.engine.sampling.defaults import default_of
from lutmac.engine.sampling.options import SAMPLING_OPTIONS, check_number
from lutmac.errors import InvalidRequestError

_MAX_TOKENS: Final = "max_tokens"
_SWITCHES: Final = ("think", "thoughts")
_WORDS: Final = {"on": True, "off": False, "yes": True, "no": False, "true": True, "false": False}
_DEFAULT: Final = "default"


class ChatSettings:
    """Sampling options, and the switches for thoughts. What is not set is as the engine and the model have it."""

    def __init__(self, sampling: dict[str, Any], *, think: bool | None, thoughts: bool | None) -> None:
        """sampling: keyword arguments of every reply."""
        self.sampling = sampling
        self.think = think
        self.thoughts = thoughts

    @property
    def max_tokens(self) -> int | None:
        """Most tokens of a reply; None: until the context is full."""
        return self.sampling.get(_MAX_TOKENS)

    def wishes(self, attempt: int) -> dict[str, Any]:
        """Keyword arguments of a reply. attempt: how often its message has been answered before, since one seed gives
        one text."""
        seed = self.sampling.get("seed")
        other_seed = {} if seed is None else {"seed": (seed + attempt) % 2**64}
        return {_MAX_TOKENS: None, **self.sampling, **other_seed}

    def describe(self, defaults: Mapping[str, float]) -> list[str]:
        """A line for each setting. defaults: the model's options of sampling."""
        lines = [
            f"{name} {self.sampling.get(name, 'drawn' if default is None else default)}"
            for name in SAMPLING_OPTIONS
            for default in [default_of(name, defaults)]
        ]
        most = "until the context is full" if self.max_tokens is None else self.max_tokens
        lines.append(f"{_MAX_TOKENS} {most}")
        for name in _SWITCHES:
            value = getattr(self, name)
            lines.append(f"{name} {_DEFAULT if value is None else 'on' if value else 'off'}")
        return lines

    def set(self, name: str, text: str) -> None:
        """Sets one. Raises InvalidRequestError for a name or a value that there is not."""
        name = name.replace("-", "_")
        if name in _SWITCHES:
            if text not in (*_WORDS, _DEFAULT):
                raise InvalidRequestError(f"{name} is {text!r}, expected on, off or {_DEFAULT}")
            setattr(self, name, _WORDS.get(text))
            return
        row = SAMPLING_OPTIONS.get(name)
        if row is None and name != _MAX_TOKENS:
            known = ", ".join((*SAMPLING_OPTIONS, _MAX_TOKENS, *_SWITCHES))
            raise InvalidRequestError(f"there is no setting {name!r}; there are {known}")
        if text == _DEFAULT:
            self.sampling.pop(name, None)
            return
        integer, least, most = (True, 1, 2**31 - 1) if row is None else (row.integer, row.least, row.most)
        value = _number(text, integer=integer)
        check_number(name, value, least, most, integer=integer)
        self.sampling[name] = value


def _number(text: str, *, integer: bool) -> object:
    try:
        return int(text) if integer else float(text)
    except ValueError:
        return text
