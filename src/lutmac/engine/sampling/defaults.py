"""The sampling options that hold where a caller says nothing: the checkpoint's, else the table's."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from lutmac.engine.sampling.options import SAMPLING_OPTIONS
from lutmac.errors import InvalidRequestError

_log = logging.getLogger("lutmac")


def usable_defaults(stated: Mapping[str, float], where: str) -> dict[str, float]:
    """What a checkpoint states, by names of the table, less what no request could ask for.

    That is left out with a warning that names ``where``: a model runs without it. -1 for top_k is 0, which is all.
    """
    found = {}
    for name, value in stated.items():
        row = SAMPLING_OPTIONS[name]
        least, most = row.http_range
        usable = row.of_http(value) if least <= value <= most else value
        try:
            row.check(usable)
        except InvalidRequestError as error:
            _log.warning("%s: a sampling default is left out: %s", where, error)
        else:
            found[name] = usable
    return found


def default_of(name: str, stated: Mapping[str, float]) -> float | None:
    """What holds where a caller says nothing; None is drawn."""
    return stated.get(name, SAMPLING_OPTIONS[name].default)
