"""Fields of requests, made of the table of sampling options (`lutmac.engine.sampling.options`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, StrictFloat, StrictInt, create_model

from lutmac.engine.sampling.options import SAMPLING_OPTIONS, SamplingOption
from lutmac.server.schemas.request import Request

Number = StrictInt | StrictFloat


def _field(row: SamplingOption, *, ranged: bool) -> Any:
    kind: Any = StrictInt if row.integer else Number
    if not ranged:
        return kind | None, None
    least, most = row.http_range
    return Annotated[kind, Field(ge=least, le=most)] | None, None


def _model(name: str, doc: str, *, ranged: bool) -> Any:
    fields: dict[str, Any] = {name: _field(row, ranged=ranged) for name, row in SAMPLING_OPTIONS.items()}
    return create_model(name, __base__=Request, __doc__=doc, __module__=__name__, **fields)


if TYPE_CHECKING:

    class SamplingNumbers(Request):
        """The options, each within its range over HTTP."""

    class AnySamplingNumbers(Request):
        """The options, whose ranges are checked later."""

else:
    SamplingNumbers = _model("SamplingNumbers", "The options, each within its range over HTTP.", ranged=True)
    AnySamplingNumbers = _model("AnySamplingNumbers", "The options, whose ranges are checked later.", ranged=False)


def given_options(asked: Request) -> dict[str, Any]:
    """The options that a request has."""
    return {name: value for name in SAMPLING_OPTIONS if (value := getattr(asked, name)) is not None}
