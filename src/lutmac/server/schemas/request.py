"""What every body of a request is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, model_validator

from lutmac.server.schemas.other_names import OtherName, read_other_names


class Request(BaseModel):
    """A body, or a part of one.

    null is absence. What other servers have by another name is read by that name (`other_names`); what is known by no
    name is kept apart and left to `Omissions`.
    """

    model_config = ConfigDict(extra="allow", allow_inf_nan=False, strict=True, protected_namespaces=())
    other_names: ClassVar[tuple[OtherName, ...]] = ()

    @model_validator(mode="before")
    @classmethod
    def _by_known_names(cls, given: Any) -> Any:
        return read_other_names(cls.other_names, given) if isinstance(given, dict) else given

    def unknown_names(self, place: str = "") -> Iterator[tuple[str, str]]:
        """Names in here that nothing is known of, each with its place, as in ``("x", "messages.x")``."""
        for name in self.model_extra or ():
            yield name, f"{place}{name}"
        for name in type(self).model_fields:
            value = getattr(self, name)
            for part in value if isinstance(value, list) else (value,):
                if isinstance(part, Request):
                    yield from part.unknown_names(f"{place}{name}.")
