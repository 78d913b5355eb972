"""GGUF files with rotated matrices (``prism.hadamard.*``), made of files without."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from tiny_llama import UNNAMED, name_types

Array = np.ndarray
ROTATED = (
    "attn_q", "attn_k", "attn_v", "attn_qkv", "attn_gate", "attn_output", "ffn_gate", "ffn_up", "ffn_down", "ssm_out",
)  # fmt: skip
TYPES = gguf.GGUFValueType


@dataclass
class File:
    """A GGUF file's metadata (key: value, type, type of its elements) and tensors; rows of raw blocks have a type."""

    metadata: dict[str, tuple[Any, TYPES, TYPES | None]]
    tensors: dict[str, Array]
    kinds: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> File:
        reader = gguf.GGUFReader(path)
        metadata = {}
        for entry in reader.fields.values():
            if not entry.name.startswith("GGUF."):
                element = entry.types[-1] if entry.types[0] == TYPES.ARRAY else None
                metadata[entry.name] = (entry.contents(), entry.types[0], element)
        return cls(metadata, {tensor.name: np.array(tensor.data) for tensor in reader.tensors})

    def with_keys(self, keys: Mapping[str, Any]) -> File:
        """With other metadata; None leaves a key out. Lists of numbers are of int8, numbers of uint32."""
        metadata = {key: value for key, value in self.metadata.items() if keys.get(key, ...) is not None}
        for key, value in keys.items():
            if isinstance(value, list):
                texts = value and isinstance(value[0], str)
                wide = not texts and any(abs(number) > 127 for number in value)
                element = TYPES.STRING if texts else TYPES.UINT32 if wide else TYPES.INT8
                metadata[key] = (value, TYPES.ARRAY, element)
            elif value is not None:
                kinds = {bool: TYPES.BOOL, int: TYPES.UINT32, float: TYPES.FLOAT32, str: TYPES.STRING}
                metadata[key] = (value, kinds[type(value)], None)
        return replace(self, metadata=metadata)

    def write(self, path: Path) -> Path:
        writer = gguf.GGUFWriter(str(path), self.metadata["general.architecture"][0])
        for key, value in self.metadata.items():
            if key != "general.architecture":
                writer.add_key_value(key, *value)
        for name, values in self.tensors.items():
            writer.add_tensor(name, values.view(np.int8) if name in self.kinds else values)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        sizes = {"Q2_0": (64, 18), "PQ2_0": (128, 34), "PTQ1_0": (128, 28)}
        shapes = {}
        for name, kind in self.kinds.items():
            rows, stored = self.tensors[name].shape
            shapes[name] = ((rows, stored // sizes[kind][1] * sizes[kind][0]), kind)
        name_types(path, shapes, UNNAMED)
        return path


def transform(size: int) -> Array:
    """The normalised matrix of Sylvester's construction: (-1) to the number of bits that row and column share."""
    parity = np.zeros((size, size), np.int64)
    shared = np.arange(size)[:, None] & np.arange(size)
    while shared.any():
        parity ^= shared & 1
        shared >>= 1
    return (1 - 2 * parity) / size**0.5


def turned(rows: Array, signs: Array, block_size: int) -> Array:
    """Rows as they are stored, of rows as they multiply: times the signs, then each block times the transform."""
    blocks = (rows.astype(np.float64) * signs).reshape(len(rows), -1, block_size)
    return (blocks @ transform(block_size)).reshape(rows.shape)


def turned_back(rows: Array, signs: Array, block_size: int) -> Array:
    """The other way round."""
    blocks = rows.astype(np.float64).reshape(len(rows), -1, block_size)
    return (blocks @ transform(block_size)).reshape(rows.shape) * signs


def grouped(columns: Array, heads: tuple[int, int]) -> Array:
    """Columns by value heads that lie by turns, those of a key head brought together. heads: of keys, of values."""
    keys, values = heads
    return np.ascontiguousarray(columns.reshape(len(columns), values // keys, keys, -1).swapaxes(1, 2)).reshape(
        columns.shape
    )


def all_signs(widths: Iterable[int], seed: int = 5) -> dict[int, Array]:
    rng = np.random.default_rng(seed)
    return {width: rng.choice([-1, 1], width) for width in sorted(widths)}


def is_rotated(name: str) -> bool:
    return name == "output.weight" or name.split(".")[-2] in ROTATED


def rotation_keys(
    names: Iterable[str], block_size: int, signs: Mapping[int, Array] | None, *, tables: Iterable[str] = ()
) -> dict[str, Any]:
    """The metadata of a rotation."""
    keys = {
        "version": 1,
        "transform": "normalized-sylvester-walsh-hadamard",
        "axis": "input-last-dimension",
        "block_size": block_size,
        "sign_mode": "identity" if signs is None else "explicit",
        "weight_names": list(names),
        "inverse_weight_names": list(tables),
    }
    if signs is not None:
        keys |= {"sign_widths": list(map(int, signs)), "sign_values": np.concatenate(list(signs.values())).tolist()}
    return {f"prism.hadamard.{key}": value for key, value in keys.items() if value != []}


def rotated_file(
    plain: File, block_size: int, *, signed: bool = True, heads: tuple[int, int] | None = None, tables: bool = True
) -> File:
    """A file of floats with its matrices rotated: the same model. heads: of DeltaNet's keys and values, to be grouped.

    tables: whether the embedding is rotated, too.
    """
    names = [name for name, values in plain.tensors.items() if values.ndim == 2 and is_rotated(name)]
    lookups = ["token_embd.weight"] if tables else []
    signs = all_signs({plain.tensors[name].shape[1] for name in (*names, *lookups)})
    tensors = dict(plain.tensors)
    for name in (*names, *lookups):
        values = tensors[name]
        if heads is not None and name.endswith("ssm_out.weight"):
            values = grouped(values, heads)
        width = values.shape[1]
        tensors[name] = turned(values, signs[width] if signed else np.ones(width), block_size).astype(np.float32)
    keys = rotation_keys(names, block_size, signs if signed else None, tables=lookups)
    if heads is not None:
        keys["prism.hadamard.gdn_v_grouped"] = True
    return replace(plain.with_keys(keys), tensors=tensors)
