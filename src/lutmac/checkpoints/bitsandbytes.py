"""bitsandbytes: NF4 and FP4 (Dettmers et al., 2023, "QLoRA") and LLM.int8() (Dettmers et al., 2022).

4 bits: ``weight`` holds N*K codes, two in a byte, the first in its high bits, in whatever type; ``weight.quant_map``
the 16 values that they stand for; ``weight.absmax`` the scale of each block of weights, row after row; and
``weight.quant_state.bitsandbytes__nf4`` (or fp4) is JSON with the shape and the size of a block. With double
quantisation absmax is a byte, an entry of ``weight.nested_quant_map`` times ``weight.nested_absmax`` of its block, plus
an offset. 8 bits: ``weight`` I8 [N, K], ``SCB`` [N] the largest magnitude of each row, which 127 stands for.
https://huggingface.co/docs/bitsandbytes
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lutmac.bounded_json import parse_json, shown
from lutmac.checkpoints.group_affine import group_size_of
from lutmac.checkpoints.quantized_modules import (
    Format,
    QuantizedModule,
    checked_shape,
    names_with_suffix,
    require_shape,
)
from lutmac.checkpoints.scaled_weights import bit_string
from lutmac.checkpoints.tensor_files import FLOAT_TYPES, TensorFiles
from lutmac.errors import CheckpointError, UnsupportedModelError
from lutmac.lowbit.matrix import BitFields, BlockLayout, LowBitMatrix

_STATE: Final = ".weight.quant_state.bitsandbytes__"
_TYPES: Final = ("nf4", "fp4")
_MOST_STATE_BYTES: Final = 65536
_MOST_OFFSET: Final = 1e30  # within float32
_CODES_STORAGE: Final = ("U8", "I8", "F16", "BF16", "F32")
# What LLM.int8() multiplies the product of an integer and its row's magnitude by: 1/127 in the library's precision.
_PER_CODE: Final = np.float32(7.874015718698502e-3)


@dataclass(frozen=True)
class _State:
    """The JSON of a layer of 4 bits. nested_blocksize: 0 without double quantisation."""

    rows: int
    columns: int
    blocksize: int
    nested_blocksize: int
    nested_offset: float

    @property
    def blocks(self) -> int:
        """Scales of the layer."""
        return -(-self.rows * self.columns // self.blocksize)


class BitsAndBytes:
    """The quantised layers of a checkpoint; see QuantizationFormat."""

    def __init__(self, files: TensorFiles, config: Mapping[str, Any]) -> None:
        """config: quantization_config; everything that is needed stands beside the weights."""
        self._files = files
        self._states: dict[str, _State] = {}
        self.modules: dict[str, QuantizedModule] = {}
        for kind in _TYPES:
            for name in names_with_suffix(files, f".weight.quant_state.bitsandbytes__{kind}"):
                self.modules[name] = self._four_bits(name, kind)
        for name in names_with_suffix(files, ".SCB"):
            self.modules[name] = self._eight_bits(name)
        for part, missing in ((".weight.absmax", "quant_state"), (".weight_format", "SCB")):
            for name in names_with_suffix(files, part):
                if name not in self.modules:
                    raise CheckpointError(
                        f"{files.directory}: {name}: has no {missing}; save it anew with transformers"
                    )

    def matrix(self, name: str) -> LowBitMatrix:
        """The weight of a layer."""
        module = self.modules[name]
        return self._codebook(module, self._states[name]) if name in self._states else self._integers(module)

    def _four_bits(self, name: str, kind: str) -> QuantizedModule:
        files, weight = self._files, f"{name}.weight"
        state = self._states[name] = self._state(name, f"{name}{_STATE}{kind}")
        if files.tensors.get(weight) is None or files.tensors[weight].dtype not in _CODES_STORAGE:
            raise CheckpointError(f"{files.directory}: tensor {weight} with the codes of {name} is missing")
        if files.tensors[weight].nbytes * 2 != state.rows * state.columns:
            raise CheckpointError(
                f"{files.directory}: tensor {weight} has {files.tensors[weight].nbytes} bytes, "
                f"not 4-bit codes of {state.rows}x{state.columns}"
            )
        require_shape(files, f"{weight}.quant_map", (16,), ("F32",))
        parts = [weight, f"{weight}.absmax", f"{weight}.quant_map", f"{name}{_STATE}{kind}"]
        if state.nested_blocksize:
            nested = -(-state.blocks // state.nested_blocksize)
            require_shape(files, f"{weight}.absmax", (state.blocks,), ("U8",))
            require_shape(files, f"{weight}.nested_absmax", (nested,), ("F32",))
            require_shape(files, f"{weight}.nested_quant_map", (256,), ("F32",))
            parts += [f"{weight}.nested_absmax", f"{weight}.nested_quant_map"]
        else:
            require_shape(files, f"{weight}.absmax", (state.blocks,), FLOAT_TYPES)
        return QuantizedModule(name, state.rows, state.columns, f"bitsandbytes {kind.upper()}", tuple(parts))

    def _state(self, name: str, tensor: str) -> _State:
        files, what = self._files, f"{self._files.directory}: {name}: quant_state"
        if checked_shape(files, tensor, ("U8",), 1)[0] > _MOST_STATE_BYTES:
            raise CheckpointError(f"{what} has more than {_MOST_STATE_BYTES} bytes")
        found = parse_json(files.array(tensor).tobytes(), what)
        found = found if isinstance(found, dict) else {}
        shape, size, nested = found.get("shape"), found.get("blocksize"), found.get("nested_blocksize", 0)
        offset = found.get("nested_offset", 0.0)
        if not isinstance(shape, list) or len(shape) != 2 or not all(type(n) is int and 0 < n < 2**31 for n in shape):
            raise CheckpointError(f"{what} has shape {shown(shape)}, not that of a matrix")
        if type(size) is not int or size < 32 or size % 32 or type(nested) is not int or nested < 0:
            raise CheckpointError(f"{what} has blocks of {shown(size)} and {shown(nested)}, expected multiples of 32")
        if type(offset) is not float or not abs(offset) < _MOST_OFFSET:
            raise CheckpointError(f"{what} has nested_offset {shown(offset)}, expected a number")
        return _State(shape[0], shape[1], size, nested, offset)

    def _codebook(self, module: QuantizedModule, state: _State) -> LowBitMatrix:
        files, weight = self._files, f"{module.name}.weight"
        values = files.array(f"{weight}.quant_map")
        if not np.isfinite(values).all():
            raise CheckpointError(f"{files.directory}: tensor {weight}.quant_map has values that are not finite")
        # Where a row is no whole number of blocks, they go on in the next row: each part of one is a group then.
        group = math.gcd(state.columns, state.blocksize)
        group_size_of(f"{files.directory}: {module.name}", module.columns, module.columns // group, group)
        scale = np.repeat(self._scales(module.name, state), state.blocksize // group)
        pairs = files.array(weight).reshape(-1).view(np.uint8)
        return LowBitMatrix(
            rows=module.rows,
            columns=module.columns,
            bits=4,
            group_size=group,
            source=(pairs >> 4 | pairs << 4).reshape(module.rows, -1),  # the low bits first
            layout=bit_string(4),
            scale=scale[: module.rows * module.columns // group].reshape(module.rows, -1),
            codebook=tuple(values.tolist()),
        )

    def _scales(self, name: str, state: _State) -> NDArray[np.float32]:
        """Of all blocks [blocks], as the library computes them."""
        files, weight = self._files, f"{name}.weight"
        if not state.nested_blocksize:
            return files.vector(f"{weight}.absmax")
        nested = np.repeat(files.array(f"{weight}.nested_absmax"), state.nested_blocksize)[: state.blocks]
        values = files.array(f"{weight}.nested_quant_map")[files.array(f"{weight}.absmax")]
        scales: NDArray[np.float32] = values * nested + np.float32(state.nested_offset)
        return scales

    def _eight_bits(self, name: str) -> QuantizedModule:
        files = self._files
        rows, columns = checked_shape(files, f"{name}.weight", ("I8",), 2)
        require_shape(files, f"{name}.SCB", (rows,), ("F32",))
        parts = [f"{name}.weight", f"{name}.SCB"]
        if f"{name}.weight_format" in files.tensors:
            checked_shape(files, f"{name}.weight_format", ("U8", "I64", "I32"), 0)
            if files.array(f"{name}.weight_format").item():
                raise UnsupportedModelError(f"{files.directory}: {name}: its integers do not lie row by row")
            parts.append(f"{name}.weight_format")
        return QuantizedModule(name, rows, columns, "bitsandbytes INT8", tuple(parts))

    def _integers(self, module: QuantizedModule) -> LowBitMatrix:
        files = self._files
        return LowBitMatrix(
            rows=module.rows,
            columns=module.columns,
            bits=8,
            group_size=group_size_of(f"{files.directory}: {module.name}", module.columns, 1, None),
            source=files.array(f"{module.name}.weight").view(np.uint8),
            layout=BlockLayout(32, 32, (BitFields(0, 32, 0, 0, 8),), xor=0x80),
            scale=(files.array(f"{module.name}.SCB") * _PER_CODE).reshape(-1, 1),
            zero_point=128.0,
        )


FORMAT: Final = Format(("bitsandbytes",), BitsAndBytes, endings=(".SCB",))
