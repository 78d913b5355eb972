"""Translates a client's wish for thinking into the variables of the chat template."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from lutmac.text.template_abilities import THINKING_WORD, TemplateAbilities

_OFF: Final = frozenset({"none", "off", "disabled"})
_EFFORTS: Final = {"minimal": "low", "xhigh": "high", "max": "high"}  # what templates do not know, as what they do


@dataclass(frozen=True)
class Thinking:
    """A client's wish. on: whether to think. effort: how much, such as "low". None: the template's default."""

    on: bool | None = None
    effort: str | None = None
    budget: int | None = None

    @property
    def wanted(self) -> bool | None:
        """Whether to think; None if the client does not say."""
        if self.on is None and self.effort is not None:
            return self.effort not in _OFF
        return self.on

    def variables(self, abilities: TemplateAbilities) -> dict[str, Any]:
        """The variables for the template; empty if it has none for this."""
        on = self.wanted
        found: dict[str, Any] = {} if on is None else dict.fromkeys(abilities.thinking_switches, on)
        if on is not None and abilities.thinking_words:
            found[THINKING_WORD] = abilities.thinking_words[on]
        if self.effort is not None and self.effort not in _OFF and "reasoning_effort" in abilities.variables:
            found["reasoning_effort"] = _EFFORTS.get(self.effort, self.effort)
        if "thinking_budget" in abilities.variables:
            if on is False:
                found["thinking_budget"] = 0
            elif self.budget is not None:
                found["thinking_budget"] = self.budget
        return found


AS_IT_IS: Final = Thinking()
