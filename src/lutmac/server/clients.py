"""Names the client of a request. Limits count by client, so that one cannot use up what others need."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from hashlib import sha256
from ipaddress import IPv6Address, ip_address
from typing import Any, Final

current_client: ContextVar[str] = ContextVar("current_client", default="")
"""The client whose request this task answers."""

_NETWORK_BITS: Final = 64  # of an IPv6 address: whoever has one address has all that begin so


def name_client(scope: Mapping[str, Any], key: bytes | None) -> str:
    """A name for the client of a request: made of its API key, or without one of its address.

    key: that was accepted. The key cannot be found from the name.
    """
    if key:
        return f"key-{sha256(key).hexdigest()[:16]}"
    address = (scope.get("client") or ("",))[0]
    try:
        found = ip_address(address)
    except ValueError:
        return str(address)
    if isinstance(found, IPv6Address):
        found = found.ipv4_mapped or IPv6Address(int(found) >> (128 - _NETWORK_BITS) << (128 - _NETWORK_BITS))
    return str(found)
