"""AWQ's layout (Lin et al., 2023), version "gemm", as AutoAWQ and AutoRound write it.

A layer [N, K] has ``qweight`` int32 [K, N/8], 8 output features of 4 bits in each word; ``qzeros`` int32 [G, N/8];
``scales`` [G, N]. Nibble i of a word, the lowest first, is feature ``(0, 2, 4, 6, 1, 3, 5, 7)[i]`` of its 8.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lutmac.checkpoints.group_affine import exact_scales, group_affine, group_size_of
from lutmac.checkpoints.quantized_modules import (
    Format,
    QuantizedModule,
    checked_shape,
    names_with_suffix,
    optional_integer,
    require_shape,
)
from lutmac.checkpoints.tensor_files import FLOAT_TYPES, TensorFiles
from lutmac.errors import UnsupportedModelError
from lutmac.lowbit.matrix import LowBitMatrix

BITS: Final = 4
# Where in a word, in nibbles, each of 8 consecutive features lies.
_NIBBLE_OF_FEATURE: Final = (0, 4, 1, 5, 2, 6, 3, 7)

_ROWS_AT_ONCE: Final = 64


class AWQ:
    """The quantised layers of an AWQ checkpoint; see QuantizationFormat."""

    def __init__(self, files: TensorFiles, config: Mapping[str, Any], *, label: str = "AWQ") -> None:
        """config: quantization_config."""
        version = str(config.get("version") or "gemm").lower()
        if version != "gemm":
            raise UnsupportedModelError(f"{files.directory}: AWQ version {version!r} is not supported; supported: gemm")
        bits = config.get("bits", config.get("w_bit", BITS))
        if bits != BITS:
            raise UnsupportedModelError(f"{files.directory}: AWQ with {bits} bits is not supported; supported: {BITS}")
        self._files = files
        self._group_size = optional_integer(config, "group_size") or optional_integer(config, "q_group_size")
        self.modules = {name: self._module(name, label) for name in names_with_suffix(files, ".qweight")}

    def _module(self, name: str, label: str) -> QuantizedModule:
        files = self._files
        columns, words = checked_shape(files, f"{name}.qweight", ("I32", "U32"), 2)
        groups, rows = checked_shape(files, f"{name}.scales", FLOAT_TYPES, 2)
        require_shape(files, f"{name}.qweight", (columns, rows // 8), ("I32", "U32"))
        require_shape(files, f"{name}.qzeros", (groups, words), ("I32", "U32"))
        require_shape(files, f"{name}.scales", (groups, words * 8), FLOAT_TYPES)
        parts = tuple(f"{name}.{part}" for part in ("qweight", "qzeros", "scales"))
        return QuantizedModule(name, rows, columns, f"{label} {BITS}-bit", parts)

    def matrix(self, name: str) -> LowBitMatrix:
        """The weight of a layer."""
        files, module = self._files, self.modules[name]
        scales = files.array(f"{name}.scales")
        what = f"{files.directory}: {name}"
        return group_affine(
            _features(files.array(f"{name}.qweight")),
            bits=BITS,
            group_size=group_size_of(what, module.columns, scales.shape[0], self._group_size),
            scale=exact_scales(scales.T, files.tensors[f"{name}.scales"].dtype),
            zeros=_features(files.array(f"{name}.qzeros")),
        )


def _features(words: NDArray[Any]) -> NDArray[np.uint8]:
    """[L, N/8] words of 8 features each: [N, L], a byte for each."""
    length, count = words.shape
    found = np.empty((count, 8, length), np.uint8)
    for first in range(0, length, _ROWS_AT_ONCE):
        columns = np.ascontiguousarray(words[first : first + _ROWS_AT_ONCE].T).view(np.uint8)
        nibbles = columns.reshape(count, -1, 4)  # byte i holds nibbles 2i and 2i + 1
        for feature, nibble in enumerate(_NIBBLE_OF_FEATURE):
            part = nibbles[:, :, nibble // 2]
            found[:, feature, first : first + _ROWS_AT_ONCE] = (
                part >> np.uint8(4) if nibble % 2 else part & np.uint8(15)
            )
    return found.reshape(8 * count, length)


FORMAT: Final = Format(("awq",), AWQ, other_file="quant_config.json")
