"""What a request may ask for, and the engine's options from what it asks."""

from __future__ import annotations

from typing import Any

from lutmac.engine.sampling.options import SAMPLING_OPTIONS
from lutmac.server.errors import ApiError
from lutmac.server.schemas.common import SamplingOptions
from lutmac.server.schemas.sampling import given_options
from lutmac.server.settings import Limits

_OTHERS = ("ignore_eos", "min_tokens", "stop_token_ids")  # as they are


def engine_options(asked: SamplingOptions, limits: Limits, *, max_tokens: int | None) -> dict[str, Any]:
    """Keyword arguments for the engine: those that were given. Raises ApiError (400) for what exceeds the limits."""
    options = {name: value for name in _OTHERS if (value := getattr(asked, name)) is not None}
    for name, value in given_options(asked).items():
        options[name] = value % 2**64 if name == "seed" else SAMPLING_OPTIONS[name].of_http(value)
    if asked.logit_bias:
        options["logit_bias"] = _biases(asked.logit_bias, limits)
    options["stop"] = check_stops(asked.stop, limits)
    options["max_tokens"] = bounded(max_tokens, limits.max_tokens)
    return options


def bounded(wish: int | None, most: int | None) -> int | None:
    """Of a wish and a limit the smaller one; None and -1 are no limit."""
    return min((value for value in (wish, most) if value not in (None, -1)), default=None)


def check_at_most(count: int, most: int, param: str, what: str) -> None:
    """Raises ApiError (400) for more of something than a request may ask for."""
    if count > most:
        raise ApiError(400, f"{count} {what} are more than this server takes: at most {most}", param=param)


def check_stops(stop: str | list[str] | None, limits: Limits, param: str = "stop") -> list[str]:
    """Stop strings as a list. Raises ApiError (400) for too many, one that is too long, or an empty one."""
    stops = [stop] if isinstance(stop, str) else stop or []
    check_at_most(len(stops), limits.stops, param, "stop strings")
    for text in stops:
        if not text:
            raise ApiError(400, "a stop string is empty", param=param)
        check_at_most(len(text), limits.stop_characters, param, "characters of a stop string")
    return stops


def _biases(given: dict[str, int | float], limits: Limits) -> dict[int, float]:
    check_at_most(len(given), limits.biases, "logit_bias", "biased tokens")
    biases = {}
    for token, bias in given.items():
        if not (token.isascii() and token.isdigit() and len(token) < 10):
            raise ApiError(400, f"{token[:40]!r} is no token id", param="logit_bias")
        biases[int(token)] = float(bias)
    return biases
