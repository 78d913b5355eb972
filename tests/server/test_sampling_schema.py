"""Sampling options over HTTP: the fields and ranges that clients see, and what they mean to the engine."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from lutmac.engine.sampling.options import SAMPLING_OPTIONS
from lutmac.server.limits import engine_options
from lutmac.server.schemas.common import SamplingOptions
from lutmac.server.schemas.ollama import Options
from lutmac.server.settings import Limits

# As OpenAI's documentation has them, and vLLM's for what OpenAI lacks.
RANGES: dict[str, tuple[float, float]] = {
    "temperature": (0, 2), "top_p": (0, 1), "top_k": (-1, 2**31 - 1), "min_p": (0, 1), "typical_p": (0, 1),
    "repetition_penalty": (0.01, 10),
    "presence_penalty": (-2, 2), "frequency_penalty": (-2, 2), "seed": (-(2**63), 2**64 - 1),
}  # fmt: skip
MEANINGS = [
    ("top_k", -1, 0), ("top_p", 0, 1e-6), ("top_p", 1, 1), ("seed", -1, 2**64 - 1), ("temperature", 2, 2),
    ("presence_penalty", -2, -2),
]  # fmt: skip


def engine(**given: Any) -> dict[str, Any]:
    return engine_options(SamplingOptions.model_validate(given), Limits(), max_tokens=None)


def test_ranges_are_those_of_the_documentation() -> None:
    fields = SamplingOptions.model_json_schema()["properties"]
    for name, (least, most) in RANGES.items():
        bounds = fields[name]["anyOf"][0]
        found = bounds.get("minimum", bounds.get("ge")), bounds.get("maximum", bounds.get("le"))
        assert found == (least, most), name
        assert fields[name]["anyOf"][-1] == {"type": "null"}


@pytest.mark.parametrize(("name", "value", "meaning"), MEANINGS)
def test_what_only_requests_may_say_means_something_to_the_engine(name: str, value: float, meaning: float) -> None:
    assert engine(**{name: value})[name] == meaning
    assert Options.model_validate({name: value}).model_dump(exclude_none=True) == {name: value}


@pytest.mark.parametrize("name", SAMPLING_OPTIONS)
def test_every_option_is_a_field_and_its_other_names_are(name: str) -> None:
    row = SAMPLING_OPTIONS[name]
    least, most = row.http_range
    for value in (least, most):
        row.check(engine(**{name: int(value) if row.integer else value})[name])
        for alias in row.aliases:
            assert alias.name not in (Options.model_validate({alias.name: 1}).model_extra or {})
    for value in (least - 1, most + 1, True, "1"):
        with pytest.raises(ValidationError):
            SamplingOptions.model_validate({name: value})
