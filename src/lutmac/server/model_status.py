"""What is said of a model in every list of them: its state, and its figures, loaded or not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated

from pydantic import Field

from lutmac.engine.forecast import Forecast
from lutmac.engine.loading.info import ModelInfo
from lutmac.server.schemas.common import ResponseModel, is_none
from lutmac.server.served_model import ServedModel, State


class ModelStatus(ResponseModel):
    """Whether a model is in memory, as llama.cpp says it. progress: while it loads, from 0 to 1.

    failed, error: that it could not be loaded the last time, and why.
    """

    value: State
    progress: Annotated[float | None, Field(exclude_if=is_none)] = None
    failed: Annotated[bool | None, Field(exclude_if=is_none)] = None
    error: Annotated[str | None, Field(exclude_if=is_none)] = None


def status_of(served: ServedModel) -> ModelStatus:
    """The state that it is in."""
    read, error = served.read, served.error or served.unreadable
    return ModelStatus(
        value=served.state,
        progress=None if read is None else round(read, 3),
        failed=True if error is not None else None,
        error=error,
    )


@dataclass(frozen=True)
class ModelFacts:
    """Figures of a model, from memory where it is loaded, else from its files. types: elements of each.

    sampling: options that it recommends.
    """

    path: Path
    name: str
    architecture: str
    layers: int
    parameters: int
    context: int
    file_bytes: int
    weight_bytes: int
    bits_per_weight: float
    types: Mapping[str, int]
    sampling: Mapping[str, float]

    @classmethod
    def of_loaded(cls, info: ModelInfo) -> ModelFacts:
        """Of a loaded model."""
        types: dict[str, int] = {}
        for tensor in info.tensors:
            types[tensor.type] = types.get(tensor.type, 0) + tensor.elements
        return cls(
            Path(info.path), info.name, info.architecture, info.layers, info.parameters, info.context, info.file_bytes,
            info.weight_bytes, info.bits_per_weight, types, info.sampling,
        )  # fmt: skip

    @classmethod
    def of_files(cls, found: Forecast) -> ModelFacts:
        """Of one that is not."""
        return cls(
            found.path, found.name, found.architecture, found.layers, found.parameters, found.context,
            found.file_bytes, found.weight_bytes, found.bits_per_weight, found.types, found.sampling,
        )  # fmt: skip

    @property
    def main_type(self) -> str:
        """The type that most weights have."""
        return max(self.types, key=lambda kind: self.types[kind], default="unknown")

    @property
    def digest(self) -> str:
        """Something that tells files apart."""
        return sha256(f"{self.name} {self.file_bytes}".encode()).hexdigest()


def facts_of(served: ServedModel, found: Mapping[ServedModel, Forecast | None]) -> ModelFacts | None:
    """Figures; None where its files cannot be read. found: what ``ServedModels.forecasts`` gave."""
    if served.backend is not None:
        return ModelFacts.of_loaded(served.backend.model.info())
    forecast = found.get(served)
    return None if forecast is None else ModelFacts.of_files(forecast)
