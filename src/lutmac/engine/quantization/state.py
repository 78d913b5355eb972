"""What a quantisation has done so far, on disk: finished matrices, and how far the calibration is.

Files are written under another name first, so that every file that exists is complete. A run that was stopped goes on
with the same settings. The directory lies beside the destination and is removed when that is complete.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from lutmac.errors import InvalidRequestError
from lutmac.lowbit.matrix import LowBitMatrix, Parameter, TwoLevel, plain_codes

Arrays = dict[str, NDArray[Any]]


class QuantizationState:
    """The directory ``DESTINATION.quantizing``."""

    def __init__(self, destination: Path, settings: Mapping[str, Any]) -> None:
        """Reads what exists, or begins. Raises InvalidRequestError if it was begun with other settings."""
        self.path = destination.with_name(f"{destination.name}.quantizing")
        text = json.dumps(settings, indent=2, sort_keys=True)
        file = self.path / "settings.json"
        if file.is_file() and file.read_text(encoding="utf-8") != text:
            raise InvalidRequestError(
                f"{self.path}: was begun from another source or with other settings; remove it to begin anew"
            )
        self.resumed = file.is_file()
        if not self.resumed:
            shutil.rmtree(self.path, ignore_errors=True)
            self.path.mkdir(parents=True)
            file.write_text(text, encoding="utf-8")

    def remove(self) -> None:
        """When the destination is complete."""
        shutil.rmtree(self.path)

    def has(self, name: str) -> bool:
        """Whether something of that name was saved."""
        return self._place(name).is_file()

    def save(self, name: str, arrays: Arrays) -> None:
        """Arrays under a name; those saved before are replaced."""
        partial = self.path / "partial"
        with partial.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        os.replace(partial, self._place(name))

    def drop(self, name: str) -> None:
        """Removes what was saved, if anything was."""
        self._place(name).unlink(missing_ok=True)

    def load(self, name: str) -> Arrays:
        """What was saved."""
        with np.load(self._place(name), allow_pickle=False) as found:
            return dict(found)

    def save_matrix(self, name: str, matrix: LowBitMatrix, figures: Mapping[str, float]) -> None:
        """A quantised matrix with scales of float16, or under one, and what is to be reported of it."""
        arrays: Arrays = {
            "codes": matrix.source,
            **_arrays("scale", matrix.scale),
            "format": np.array([matrix.bits, matrix.group_size, matrix.zero_point, matrix.ternary], np.float64),
            **{f"figure:{key}": np.array(value) for key, value in figures.items()},
        }
        if matrix.offset is not None:
            arrays |= _arrays("offset", matrix.offset)
        for key, value in (("codebook", matrix.codebook), ("second", matrix.second_codebook)):
            if value is not None:
                arrays[key] = np.asarray(value)
        self.save(name, arrays)

    def load_matrix(self, name: str) -> tuple[LowBitMatrix, dict[str, float]]:
        """A matrix as it was saved, and its figures."""
        found = self.load(name)
        bits, group_size, zero_point, ternary = found["format"].tolist()
        books = [tuple(found[key].tolist()) if key in found else None for key in ("codebook", "second")]
        figures = {key.removeprefix("figure:"): float(v) for key, v in found.items() if key.startswith("figure:")}
        rows, columns = found["codes"].shape
        matrix = LowBitMatrix(
            rows=rows,
            columns=columns,
            bits=int(bits),
            group_size=int(group_size),
            source=found["codes"],
            layout=plain_codes(),
            scale=_parameter("scale", found),
            zero_point=zero_point,
            offset=_parameter("offset", found) if "offset" in found else None,
            codebook=books[0],
            second_codebook=books[1],
            ternary=bool(ternary),
        )
        return matrix, figures

    def quantized(self, name: str) -> LowBitMatrix:
        """A matrix as it was saved."""
        return self.load_matrix(name)[0]

    def _place(self, name: str) -> Path:
        return self.path / f"{quote(name, safe='')}.npz"


def _arrays(name: str, parameter: Parameter) -> Arrays:
    """A scale or an offset as arrays."""
    if isinstance(parameter, TwoLevel):
        per_super = np.array(parameter.groups_per_super)
        return {name: parameter.values, f"{name}:super": parameter.super_scale, f"{name}:groups": per_super}
    return {name: np.asarray(parameter)}


def _parameter(name: str, found: Arrays) -> Parameter:
    """A scale or an offset from its arrays."""
    if f"{name}:super" not in found:
        return found[name]
    return TwoLevel(found[name], found[f"{name}:super"], int(found[f"{name}:groups"]))
