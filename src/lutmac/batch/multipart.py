"""Forms with files in them: multipart/form-data (RFC 7578), of a body that has been read already."""

from __future__ import annotations

from dataclasses import dataclass
from email.parser import BytesParser
from email.policy import HTTP

from lutmac.server.errors import ApiError

MAX_PARTS = 64


@dataclass(frozen=True)
class Part:
    """A field. filename: None where it is no file."""

    data: bytes
    filename: str | None


def read_form(body: bytes, content_type: str) -> dict[str, Part]:
    """The fields by their names. Raises ApiError (400) for what is no form."""
    message = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {content_type}\r\n\r\n".encode("latin-1") + body)
    if not message.is_multipart():
        raise ApiError(400, "the body is no multipart/form-data", code="invalid_form")
    found: dict[str, Part] = {}
    for place, part in enumerate(message.iter_parts()):
        if place >= MAX_PARTS:
            raise ApiError(400, f"the form has more than {MAX_PARTS} fields", code="invalid_form")
        name = part.get_param("name", header="content-disposition")
        data = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(data, bytes):
            found[name] = Part(data, part.get_filename())
    return found
