"""Who may come in."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from hashlib import sha256
from hmac import compare_digest
from ipaddress import ip_address
from pathlib import Path

from lutmac.errors import InvalidRequestError
from lutmac.server.errors import ApiError

ENVIRONMENT_VARIABLE = "LUTMAC_API_KEY"
MIN_KEY_LENGTH = 16  # 64 bits where the key is hexadecimal: guesses over a network do not get there


class ApiKeys:
    """The keys, any of which opens the door.

    How long the comparison takes says nothing about them: digests of equal length are compared in constant time, and
    all of them, whichever fits.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        """keys: none leaves the door open."""
        self._digests = [sha256(key.encode()).digest() for key in keys]

    def check(self, headers: Mapping[bytes, bytes]) -> bytes | None:
        """The key that was given, where the server has keys.

        Raises ApiError (401) unless ``Authorization: Bearer`` or ``X-API-Key`` holds one of them.
        """
        if not self._digests:
            return None
        scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer":
            given = headers.get(b"x-api-key", b"")
        if not given:
            raise ApiError(401, "this server wants an API key: send `Authorization: Bearer KEY` or `X-API-Key: KEY`")
        digest = sha256(given.strip()).digest()
        if not sum(compare_digest(digest, known) for known in self._digests):
            raise ApiError(401, "Incorrect API key provided.")
        return given.strip()


def check_host(headers: Mapping[bytes, bytes], allowed: Iterable[str]) -> None:
    """Raises ApiError (403) unless the request names an address, localhost or one of ``allowed`` as its host.

    A web page can have its own name resolve to 127.0.0.1 and so speak to a server that wants no key (DNS rebinding);
    but its requests still carry that name.
    """
    host = headers.get(b"host", b"").decode("latin-1")
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if name.lower() in {"", "localhost", *map(str.lower, allowed)}:
        return
    try:
        ip_address(name)
    except ValueError:
        raise ApiError(
            403, f"this server has no API key and is not known as {name!r}: start it with a key or --allow-host {name}"
        ) from None


def read_keys(file: Path | None) -> tuple[str, ...]:
    """The keys in a file, one a line (# begins a comment), and in $LUTMAC_API_KEY.

    Raises InvalidRequestError for a file that cannot be read or has no key, and for a key that is too short.
    """
    keys = []
    if file is not None:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
            raise InvalidRequestError(f"the API keys in {file} cannot be read: {reason}") from None
        keys = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
        if not keys:
            raise InvalidRequestError(f"{file} holds no API key: write one a line")
    if os.environ.get(ENVIRONMENT_VARIABLE):
        keys.append(os.environ[ENVIRONMENT_VARIABLE].strip())
    for key in keys:
        if len(key) < MIN_KEY_LENGTH or not key.isascii() or not key.isprintable() or " " in key:
            raise InvalidRequestError(
                f"an API key is at least {MIN_KEY_LENGTH} printable ASCII characters without spaces, "
                "as from `openssl rand -hex 24`"
            )
    return tuple(keys)


def check_origin(headers: Mapping[bytes, bytes], allowed: Iterable[str]) -> None:
    """Raises ApiError (403) for a form that a web page of another origin sends: browsers let it without asking."""
    origin, host = headers.get(b"origin", b"").decode("latin-1"), headers.get(b"host", b"").decode("latin-1")
    if origin and origin.partition("://")[2] != host and origin not in allowed:
        raise ApiError(403, f"web pages of {origin[:100]!r} may not send files here: start with --allow-origin")
