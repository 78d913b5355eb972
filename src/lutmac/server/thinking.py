"""How much a model is to think, as clients ask for it, in the variables that its template reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from lutmac.text.template_abilities import TemplateAbilities

_OFF: Final = frozenset({"none", "off", "disabled"})
_EFFORTS: Final = {"minimal": "low", "xhigh": "high", "max": "high"}  # what templates do not know, as what they do


@dataclass(frozen=True)
class Thinking:
    """What a client asks for. on: whether to think; effort: how much, such as "low"; None: as the template has it."""

    on: bool | None = None
    effort: str | None = None
    budget: int | None = None

    @property
    def wanted(self) -> bool | None:
        """Whether to think; None where the client does not say."""
        if self.on is None and self.effort is not None:
            return self.effort not in _OFF
        return self.on

    def variables(self, abilities: TemplateAbilities) -> dict[str, Any]:
        """What the template gets to see; nothing where it can switch nothing."""
        on = self.wanted
        found: dict[str, Any] = {} if on is None else dict.fromkeys(abilities.thinking_switches, on)
        if self.effort is not None and self.effort not in _OFF and "reasoning_effort" in abilities.variables:
            found["reasoning_effort"] = _EFFORTS.get(self.effort, self.effort)
        if "thinking_budget" in abilities.variables:
            if on is False:
                found["thinking_budget"] = 0
            elif self.budget is not None:
                found["thinking_budget"] = self.budget
        return found


AS_IT_IS: Final = Thinking()
