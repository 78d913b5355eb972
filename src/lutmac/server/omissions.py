"""Parts of requests that this server does not support: left out and named in the log, or refused with ``--strict``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from lutmac.server.errors import ApiError
from lutmac.server.logs import RequestRecord, logger

MOST_NAMES: Final = 100  # that the log gets to see: a client may send any number
_ODD: Final = re.compile(r"[^A-Za-z0-9_.:$/()\[\]\" -]")
_LONGEST: Final = 80
_MOST_OF_A_REQUEST: Final = 20


class Omissions:
    """Names each thing that is left out once. For one event loop. strict: whether requests are refused instead."""

    def __init__(self, *, strict: bool = False) -> None:
        """Without names."""
        self.strict = strict
        self._named: set[str] = set()

    def leave_out(self, kind: str, name: str, param: str) -> None:
        """Leaves something out of a request. kind: such as "field". param: where it is.

        Raises ApiError (400) if the server is strict.
        """
        if self.strict:
            raise ApiError(400, f"Unknown {kind}: '{_plain(name)}'.", code=f"unknown_{kind}", param=_plain(param))
        name = _plain(name)
        if f"{kind} {name}" not in self._named and len(self._named) < MOST_NAMES:
            self._named.add(f"{kind} {name}")
            logger.info("ignored", extra={"fields": {"kind": kind, "name": name}})

    def leave_out_of_schema(self, left_out: Iterable[str], param: str, record: RequestRecord) -> None:
        """Leaves parts of a JSON schema out, and names them in the log line of the request and in a header.

        Raises ApiError (400) if the server is strict and there are any.
        """
        for part in left_out:
            if self.strict:
                raise ApiError(400, f"the schema's {_plain(part)} is not supported", param=param)
            if _plain(part) not in record.schema_left_out and len(record.schema_left_out) < _MOST_OF_A_REQUEST:
                record.schema_left_out.append(_plain(part))


def _plain(text: str) -> str:
    """A client's text, made safe for a log and a header."""
    return _ODD.sub("?", text[:_LONGEST])
