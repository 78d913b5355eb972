"""One matrix at a time: its weights before, by which method they are rounded, and what that costs."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lutmac.engine.loading.opened import OpenedModel
from lutmac.engine.loading.tensor_source import read_piece, stored_name
from lutmac.engine.quantization.settings import END_GROUP_SIZE, QuantizationSettings
from lutmac.engine.quantization.state import QuantizationState
from lutmac.graph.ir import Floats
from lutmac.lowbit.formats import Format, SmallFloats, SymmetricIntegers
from lutmac.lowbit.matrix import LowBitMatrix
from lutmac.lowbit.reference import dequantize
from lutmac.lowbit.rounding import HALVES, Moments, gptq, output_error, round_to_nearest
from lutmac.lowbit.two_level import two_level_scales


@dataclass
class CurrentWeights:
    """The model's weights as they stand now: quantised where that is done, else the source's.

    input_scales: by matrix, what its columns are multiplied by, where its input was divided by it.
    """

    opened: OpenedModel
    state: QuantizationState
    input_scales: dict[str, Floats] = field(default_factory=dict)

    def matrix(self, name: str) -> Floats:
        """[M, K] float32."""
        return dequantize(self.state.load_matrix(name)[0]) if self.state.has(name) else self.source(name)

    def source(self, name: str) -> Floats:
        """The matrix before it is quantised, its columns scaled."""
        source = self.opened.source
        weights = dequantize(read_piece(source, name))
        source.drop_pages(stored_name(source, name))
        return weights * self.input_scales[name] if name in self.input_scales else weights

    def vector(self, name: str) -> Floats:
        """[width] float32; the new one where a method has changed it."""
        if self.state.has(f"vector:{name}"):
            return self.state.load(f"vector:{name}")["values"]
        return self.opened.source.vector(name)

    def set_vector(self, name: str, values: Floats) -> None:
        """Changes a vector."""
        self.state.save(f"vector:{name}", {"values": values.astype(np.float32)})


def quantize_matrix(w: Floats, bits: int, settings: QuantizationSettings, moments: Moments | None) -> LowBitMatrix:
    """A matrix of the layers by the settings' method. moments: of its inputs, for methods that are calibrated."""
    if settings.tensor_type is not None:
        return _of_type(w, settings, moments)
    group_size = settings.group_size or w.shape[1]
    format = settings.format(bits)
    if settings.method == "mofq":
        return _better_of(w, (SymmetricIntegers(bits), SmallFloats(bits, two_scales=False)), group_size, moments)
    if moments is not None and settings.method in ("gptq", "ternary"):
        return gptq(w, format, group_size, moments)
    importance = None if moments is None or settings.method != "awq" else np.ascontiguousarray(np.diagonal(moments))
    return round_to_nearest(w, format, group_size, importance)


def _of_type(w: Floats, settings: QuantizationSettings, moments: Moments | None) -> LowBitMatrix:
    """A K-quant, or what stands in for it."""
    kind, own = settings.k_quant(w.shape[1]), settings.for_columns(w.shape[1])
    format = kind.format if kind else own.format(own.bits)
    group_size = own.group_size or w.shape[1]
    if moments is None or settings.method == "rtn":
        return round_to_nearest(w, format, group_size, scales=two_level_scales(kind, w) if kind else HALVES)
    importance = np.ascontiguousarray(np.diagonal(moments))
    return gptq(w, format, group_size, moments, scales=two_level_scales(kind, w, importance) if kind else HALVES)


def _better_of(w: Floats, formats: tuple[Format, ...], group_size: int, moments: Moments | None) -> LowBitMatrix:
    """The format with the smaller error of the product (MoFQ: Zhang et al., 2023, "Integer or Floating Point? New
    Outlooks for Low-Bit Quantization on Large Language Models")."""
    made = [round_to_nearest(w, format, group_size) for format in formats]
    return min(made, key=lambda matrix: output_error(dequantize(matrix) - w, moments))


def quantize_end(w: Floats, bits: int) -> LowBitMatrix:
    """An embedding or a head."""
    return round_to_nearest(w, SymmetricIntegers(bits), END_GROUP_SIZE)


def figures(w: Floats, matrix: LowBitMatrix, moments: Moments | None) -> dict[str, float]:
    """What is reported: the mean square of the product's error and of the product, and the number of weights."""
    return {
        "error": output_error(dequantize(matrix) - w, moments),
        "power": output_error(w, moments),
        "weights": float(w.size),
    }
