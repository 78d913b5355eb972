"""Reading typed values out of a GGUF file's metadata or a config.json, with an error that names the key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral
from sys import float_info
from typing import Any

from lutmac.errors import CheckpointError, UnsupportedModelError


@dataclass(frozen=True)
class MetadataReader:
    """Looks keys up under an architecture's prefix: ``integer("block_count")`` reads ``llama.block_count``.

    prefix: "" for a config.json, whose keys have none.
    """

    metadata: Mapping[str, Any]
    prefix: str

    def has(self, key: str) -> bool:
        """Whether the key is there."""
        return self._name(key) in self.metadata

    def integer(self, key: str, default: int | None = None, *, low: int = 1, high: int = 2**31 - 1) -> int:
        """An integer within low..high. Raises CheckpointError where it is missing, without default, or is not one."""
        value = self._value(key, default)
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise CheckpointError(f"metadata {self._name(key)} is {_shown(value)}, expected an integer")
        number = int(value)
        if not low <= number <= high:
            raise CheckpointError(f"metadata {self._name(key)} is {number}, expected {low} to {high}")
        return number

    def number(self, key: str, default: float | None = None) -> float:
        """A finite number of at least 0. Raises CheckpointError where it is missing, without default, or is not one."""
        value = self._value(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= float_info.max:
            raise CheckpointError(f"metadata {self._name(key)} is {_shown(value)}, expected a finite number")
        return float(value)

    def text(self, key: str, default: str | None = None) -> str:
        """A string. Raises CheckpointError where it is missing, without default, or is not one."""
        value = self._value(key, default)
        if not isinstance(value, str):
            raise CheckpointError(f"metadata {self._name(key)} is {_shown(value)}, expected a string")
        return value

    def same_for_all_layers(self, key: str, default: int | None = None) -> int:
        """An integer that some files repeat for every layer. Raises UnsupportedModelError where layers differ."""
        value = self._value(key, default)
        if hasattr(value, "__len__") and not isinstance(value, str):
            items = list(value)
            if any(item != items[0] for item in items):
                raise UnsupportedModelError(f"metadata {self._name(key)} differs between layers: {_shown(items)}")
            return MetadataReader({self._name(key): items[0] if items else None}, self.prefix).integer(key)
        return self.integer(key, default)

    def for_layers(self, key: str, layers: int, default: int | None = None) -> tuple[int, ...]:
        """An integer of at least 0 for each layer: a list of them, or one for all. Raises as ``integer``."""
        value = self._value(key, default)
        if not hasattr(value, "__len__") or isinstance(value, str):
            return (self.integer(key, default, low=0),) * layers
        items = list(value)
        if len(items) < layers:
            raise CheckpointError(f"metadata {self._name(key)} has {len(items)} numbers for {layers} layers")
        return tuple(MetadataReader({key: item}, "").integer(key, low=0) for item in items[:layers])

    def _name(self, key: str) -> str:
        return f"{self.prefix}.{key}" if self.prefix else key

    def _value(self, key: str, default: Any) -> Any:
        value = self.metadata.get(self._name(key), default)
        if value is None and not self.prefix:  # a config.json may say null
            value = default
        if value is None:
            raise CheckpointError(f"metadata {self._name(key)} is missing")
        return value


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
