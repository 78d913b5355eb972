"""MLX, as mlx-lm writes it: affine codes of 2 to 8 bits, and its floats mxfp4, nvfp4 and mxfp8.

A layer or an embedding [N, K] has ``weight`` U32 [N, K*b/32], each row a string of codes with the lowest bits first,
and ``scales`` [N, K/group_size]. Affine: ``W = scales * code + biases``. The floats have scales of a byte, no biases.
``quantization`` of config.json gives bits, group_size and mode, for all and, by name, for single layers. The matrices
of experts are stacked, ``switch_mlp.gate_proj.weight`` [experts, N, ...]: each is a module of its own here.
https://ml-explore.github.io/mlx/build/html/python/_autosummary/mlx.core.quantize.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from lutmac.bounded_json import shown
from lutmac.checkpoints.group_affine import group_size_of
from lutmac.checkpoints.quantized_modules import Format, QuantizedModule, names_with_suffix, optional_integer
from lutmac.checkpoints.scaled_weights import bit_string, stored_scales
from lutmac.checkpoints.tensor_files import FLOAT_TYPES, TensorFiles
from lutmac.errors import CheckpointError, UnsupportedModelError
from lutmac.lowbit.formats import E2M1
from lutmac.lowbit.matrix import LowBitMatrix

# By mode of floats: bits, weights of a group, and the type that safetensors would have for its scales.
_FLOATS: Final = {"mxfp4": (4, 32, "F8_E8M0"), "nvfp4": (4, 16, "F8_E4M3"), "mxfp8": (8, 32, "F8_E8M0")}
_AFFINE_BITS: Final = range(2, 9)
_DEFAULTS: Final = {"bits": 4, "group_size": 64, "mode": "affine"}
# What one expert's matrices are called in a Hugging Face directory, by the part before ``switch_mlp``.
_MIXTRAL: Final = {"gate_proj": "w1", "down_proj": "w2", "up_proj": "w3"}


@dataclass(frozen=True)
class _Layer:
    """Where a module's weight lies. stored: the tensors' name. expert: which of a stack, None where there is none."""

    stored: str
    bits: int
    group_size: int
    mode: str
    expert: int | None


class MLX:
    """The quantised layers of a checkpoint; see QuantizationFormat."""

    def __init__(self, files: TensorFiles, config: Mapping[str, Any]) -> None:
        """config: ``quantization`` of config.json."""
        self._files = files
        self._layers: dict[str, _Layer] = {}
        self.modules: dict[str, QuantizedModule] = {}
        for stored in names_with_suffix(files, ".scales"):
            self._add(stored, config)

    def matrix(self, name: str) -> LowBitMatrix:
        """The weight of a layer."""
        files, layer, module = self._files, self._layers[name], self.modules[name]
        part = slice(None) if layer.expert is None else layer.expert
        source = files.array(f"{layer.stored}.weight")[part]
        scales = files.array(f"{layer.stored}.scales")[part]
        dtype, offset = files.tensors[f"{layer.stored}.scales"].dtype, None
        codebook: tuple[float, ...] | None = None
        layout = bit_string(layer.bits)
        if layer.mode == "affine":
            offset = files.array(f"{layer.stored}.biases")[part]
        else:
            dtype = _FLOATS[layer.mode][2]
            codebook = E2M1 if layer.bits == 4 else None
        return LowBitMatrix(
            module.rows,
            module.columns,
            layer.bits,
            layer.group_size,
            source.view(np.uint8),
            layout,
            stored_scales(scales, dtype),
            offset=offset,
            codebook=codebook,
            float8=layer.mode == "mxfp8",
        )

    def _add(self, stored: str, config: Mapping[str, Any]) -> None:
        files, what = self._files, f"{self._files.directory}: {stored}"
        weight, scales = files.tensors.get(f"{stored}.weight"), files.tensors[f"{stored}.scales"]
        bits, group_size, mode = _settings(what, stored, config)
        if weight is None or weight.dtype != "U32" or len(weight.shape) not in (2, 3) or 0 in weight.shape:
            raise CheckpointError(f"{what}.weight is missing, or no matrix of type U32")
        columns = weight.shape[-1] * 32 // bits
        expected = (*weight.shape[:-1], columns // group_size)
        if columns * bits != weight.shape[-1] * 32 or columns % group_size or scales.shape != expected:
            raise CheckpointError(
                f"{what}: weight {weight.shape} and scales {scales.shape} are not {bits} bits in groups of {group_size}"
            )
        parts = [f"{stored}.weight", f"{stored}.scales"]
        if mode == "affine":
            biases = files.tensors.get(f"{stored}.biases")
            if scales.dtype not in FLOAT_TYPES or biases is None or (biases.dtype, biases.shape) != (
                scales.dtype, scales.shape,
            ):  # fmt: skip
                raise CheckpointError(f"{what}: scales and biases are no floats of one type and shape")
            parts.append(f"{stored}.biases")
        elif scales.dtype != "U8":
            raise CheckpointError(f"{what}: scales have type {scales.dtype}, expected U8 for {mode}")
        group_size_of(what, columns, expected[-1], group_size)
        kind = f"MLX {bits}-bit" if mode == "affine" else f"MLX {mode.upper()}"
        for name, expert in _names(stored, weight.shape[0] if len(weight.shape) == 3 else None):
            stacked = 1 if expert is None else weight.shape[0]
            self._layers[name] = _Layer(stored, bits, group_size, mode, expert)
            self.modules[name] = QuantizedModule(name, weight.shape[-2], columns, kind, tuple(parts), stacked)


def _settings(what: str, stored: str, config: Mapping[str, Any]) -> tuple[int, int, str]:
    """Bits, group size and mode of a layer. What it says of itself stands alone: mode and size are not those of all."""
    own = config.get(stored)
    chosen = {**_DEFAULTS, **own} if isinstance(own, Mapping) else config
    mode = chosen.get("mode") or "affine"
    if isinstance(mode, str) and mode in _FLOATS:
        return (*_FLOATS[mode][:2], mode)
    if mode != "affine":
        supported = ", ".join(("affine", *_FLOATS))
        raise UnsupportedModelError(f"{what}: MLX mode {shown(mode)} is not supported; supported: {supported}")
    bits, group_size = optional_integer(chosen, "bits"), optional_integer(chosen, "group_size")
    if bits not in _AFFINE_BITS or group_size is None or group_size < 16:
        raise CheckpointError(f"{what}: {shown(bits)} bits in groups of {shown(group_size)} are no quantisation of MLX")
    assert bits is not None
    return bits, group_size, "affine"


def _names(stored: str, experts: int | None) -> Iterator[tuple[str, int | None]]:
    """The modules of a tensor, and which matrix of its stack each is."""
    if experts is None:
        yield stored, None
        return
    block, _, matrix = stored.partition(".switch_mlp.")
    if block.endswith(".block_sparse_moe"):
        matrix = _MIXTRAL.get(matrix, matrix)
    for expert in range(experts):
        yield f"{block}.experts.{expert}.{matrix}", expert


def _stated(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """``quantization``, or a ``quantization_config`` that has no method but a mode."""
    found = config.get("quantization")
    if isinstance(found, Mapping) and "bits" in found:
        return found
    found = config.get("quantization_config")
    if isinstance(found, Mapping) and "quant_method" not in found and {"bits", "mode"} <= found.keys():
        return found
    return None


FORMAT: Final = Format(("mlx",), MLX, stated=_stated)
