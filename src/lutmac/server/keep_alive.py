"""For how long a model stays in memory: as Ollama writes it, and Go's durations."""

from __future__ import annotations

import re
from math import inf, isfinite
from typing import Final

from lutmac.errors import InvalidRequestError

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION: Final = re.compile(r"-?(?:\d+(?:\.\d+)?(?:ms|[smhd]))+")
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd])")
_NUMBER: Final = re.compile(r"-?\d+(?:\.\d+)?")


def parse_keep_alive(given: float | str, name: str = "keep_alive") -> float:
    """Seconds: of a number, or of a text such as "5m", "1h30m" or "0". Below 0 is for ever, which is infinite.

    name: of the option, for errors. Raises InvalidRequestError for anything else.
    """
    text = given.strip().lower() if isinstance(given, str) else repr(given)
    if _NUMBER.fullmatch(text):
        seconds = float(text)
    elif _DURATION.fullmatch(text):
        seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
        seconds = -seconds if text.startswith("-") else seconds
    elif not isinstance(given, str) and isfinite(given):
        seconds = float(given)
    else:
        raise InvalidRequestError(
            f"{name} is {str(given)[:40]!r}, expected seconds or a duration such as 5m; -1: for ever"
        )
    return inf if seconds < 0 else seconds
