"""compressed-tensors, as llm-compressor writes it, and other tools after it.

A layer is in one of the library's formats, which its tensors tell:

| format | tensors of a layer |
| --- | --- |
| pack-quantized | see pack_quantized.py |
| int-quantized, float-quantized, naive-quantized | ``weight`` I8 or FP8, ``weight_scale``, ``weight_zero_point`` |
| nvfp4-pack-quantized | ``weight_packed`` U8, ``weight_scale`` E4M3, over ``weight_global_scale`` |
| mxfp4-pack-quantized, mxfp8-quantized | ``weight_packed`` U8 or ``weight`` FP8, ``weight_scale`` a U8 exponent |

Activations, keys and values that the configuration would have quantised too stay as they are.
https://github.com/vllm-project/compressed-tensors
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from lutmac.bounded_json import shown
from lutmac.checkpoints.pack_quantized import packed_matrix, packed_module
from lutmac.checkpoints.quantized_modules import Format, QuantizedModule, names_with_suffix, pair_of_integers
from lutmac.checkpoints.scaled_weights import ScaledWeight, scaled_matrix, scaled_module
from lutmac.checkpoints.tensor_files import TensorFiles
from lutmac.errors import UnsupportedModelError
from lutmac.lowbit.matrix import LowBitMatrix

FORMATS: Final = (
    "pack-quantized", "int-quantized", "float-quantized", "naive-quantized", "nvfp4-pack-quantized",
    "mxfp4-pack-quantized", "mxfp8-quantized", "mixed-precision", "dense",
)  # fmt: skip
# Rotations that are in the weights already; all others would have to be done to activations.
_OFFLINE: Final = ("weight_input", "weight_output")


class CompressedTensors:
    """The quantised layers of a checkpoint; see QuantizationFormat."""

    def __init__(self, files: TensorFiles, config: Mapping[str, Any]) -> None:
        """config: quantization_config."""
        for found in (config.get("format"), *(group.get("format") for group in _groups(config))):
            if found is not None and found not in FORMATS:
                raise UnsupportedModelError(
                    f"{files.directory}: compressed-tensors format {shown(found)} is not supported; supported: "
                    f"{', '.join(FORMATS)}"
                )
        _refuse_rotations(files, config)
        for name in names_with_suffix(files, ".bitmask"):
            raise UnsupportedModelError(f"{files.directory}: {name}: sparse weights (bitmask) are not supported")
        self._files = files
        self._scaled: dict[str, ScaledWeight] = {}
        self.modules: dict[str, QuantizedModule] = {}
        schemes = list(_schemes(config))
        bits = max((scheme["num_bits"] for scheme in schemes if scheme.get("type", "int") == "int"), default=8)
        blocks = next((pair for scheme in schemes if (pair := pair_of_integers(scheme.get("block_structure")))), None)
        for name in names_with_suffix(files, ".weight_packed"):
            if files.tensors[f"{name}.weight_packed"].dtype == "U8":
                self._add(self._float4(name))
            else:
                self.modules[name] = packed_module(files, name)
        for name in names_with_suffix(files, ".weight_scale"):
            if name not in self.modules:
                zero = self._there(f"{name}.weight_zero_point")
                self._add(ScaledWeight(name, f"{name}.weight", f"{name}.weight_scale", zero, blocks=blocks, bits=bits))

    def matrix(self, name: str) -> LowBitMatrix:
        """The weight of a layer."""
        if name in self._scaled:
            return scaled_matrix(self._files, self._scaled[name], self.modules[name])
        return packed_matrix(self._files, self.modules[name])

    def _float4(self, name: str) -> ScaledWeight:
        zero, total = self._there(f"{name}.weight_zero_point"), self._there(f"{name}.weight_global_scale")
        return ScaledWeight(name, f"{name}.weight_packed", f"{name}.weight_scale", zero, total, divides=True)

    def _there(self, name: str) -> str | None:
        return name if name in self._files.tensors else None

    def _add(self, w: ScaledWeight) -> None:
        if f"{w.name}.weight_g_idx" in self._files.tensors:
            raise UnsupportedModelError(f"{self._files.directory}: {w.name}: weight_g_idx is not supported here")
        self._scaled[w.name] = w
        self.modules[w.name] = scaled_module(self._files, w)


def _groups(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The entries of ``config_groups``."""
    groups = config.get("config_groups")
    for group in groups.values() if isinstance(groups, Mapping) else ():
        if isinstance(group, Mapping):
            yield group


def _schemes(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What the configuration says of weights: an entry for each group of layers."""
    for group in _groups(config):
        weights = group.get("weights")
        if isinstance(weights, Mapping) and type(weights.get("num_bits")) is int and 1 <= weights["num_bits"] <= 8:
            yield weights


def _refuse_rotations(files: TensorFiles, config: Mapping[str, Any]) -> None:
    """Raises UnsupportedModelError for a model that rotates activations (QuIP, SpinQuant) when it runs."""
    transforms = config.get("transform_config")
    for group in _groups(transforms) if isinstance(transforms, Mapping) else ():
        applied = group.get("apply")
        for entry in applied if isinstance(applied, list) else ():
            if not isinstance(entry, Mapping) or entry.get("location") not in _OFFLINE:
                raise UnsupportedModelError(
                    f"{files.directory}: transform_config rotates activations while the model runs; not supported"
                )


FORMAT: Final = Format(("compressed-tensors", "sparseml"), CompressedTensors)
