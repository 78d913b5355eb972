"""What a model is to be quantised to, and how."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal, get_args

from lutmac.errors import InvalidRequestError
from lutmac.lowbit.formats import AsymmetricIntegers, Format, SmallFloats, SymmetricIntegers, Ternary
from lutmac.lowbit.quantize import GROUP_SIZES
from lutmac.lowbit.two_level import K_QUANTS, SUPER_BLOCK, KQuant

Method = Literal["rtn", "gptq", "awq", "ternary", "afpq", "mofq"]
CALIBRATED: Final = ("gptq", "awq", "mofq")
END_GROUP_SIZE: Final = 32  # of embedding and head, whose bits are many
# For rows that K-quants cannot hold: bits, group size and symmetry of Q4_1, Q4_0, Q5_1 and Q8_0.
FALLBACKS: Final = {
    "Q2_K": (4, 32, False),
    "Q3_K": (4, 32, True),
    "Q4_K": (4, 32, False),
    "Q5_K": (5, 32, False),
    "Q6_K": (8, 32, True),
}
BIT_CHOICES: Final = (2, 3, 4, 5, 6, 8)  # that a budget chooses from


@dataclass(frozen=True)
class QuantizationSettings:
    """bits, group_size: of every matrix in the layers (group_size None: one scale for a row).

    average_bits: a budget for codes and scales together, in place of bits; matrices get bits by what they lose.
    embedding_bits, head_bits: of the ends; where they are one matrix it gets the larger.
    tensor_type: a K-quant ("Q4_K") for the layers, in place of bits, group_size and symmetric; what has rows that are
    no multiple of its 256 weights gets the type of FALLBACKS.
    sequences, length: tokens of the calibration text that are used.
    """

    bits: int = 4
    group_size: int | None = 128
    method: Method = "rtn"
    symmetric: bool = False
    average_bits: float | None = None
    embedding_bits: int = 8
    head_bits: int = 8
    tensor_type: str | None = None
    sequences: int = 32
    length: int = 512

    def __post_init__(self) -> None:
        """Raises InvalidRequestError, which names what is wrong."""
        if self.method not in get_args(Method):
            raise InvalidRequestError(f"method is {self.method!r}, expected one of {', '.join(get_args(Method))}")
        for name, bits in (("bits", self.bits), ("embedding bits", self.embedding_bits), ("head bits", self.head_bits)):
            if bits not in range(1, 9):
                raise InvalidRequestError(f"{name} is {bits}, expected 1 to 8")
        if self.group_size is not None and self.group_size not in GROUP_SIZES:
            allowed = ", ".join(map(str, GROUP_SIZES))
            raise InvalidRequestError(f"group size is {self.group_size}, expected {allowed}, or 0 for one per row")
        if self.sequences < 1 or self.length < 2:
            raise InvalidRequestError("calibration needs at least one sequence of two tokens")
        self._check_together()

    def _check_together(self) -> None:
        """What goes with which method."""
        if self.method in ("afpq", "mofq") and self.bits not in (3, 4):
            raise InvalidRequestError(f"{self.method} has floats of 3 and 4 bits, not of {self.bits}")
        if self.average_bits is not None and self.method not in ("rtn", "gptq", "awq"):
            raise InvalidRequestError(f"average bits go with rtn, gptq and awq, not with {self.method}")
        if self.average_bits is not None and not 2 < self.average_bits <= 9:
            raise InvalidRequestError(f"average bits is {self.average_bits}, expected above 2, up to 9")
        if self.tensor_type is not None and self.tensor_type not in K_QUANTS:
            raise InvalidRequestError(f"type is {self.tensor_type!r}, expected one of {', '.join(K_QUANTS)}")
        if self.tensor_type is not None and (self.method not in ("rtn", "gptq") or self.average_bits is not None):
            raise InvalidRequestError(f"{self.tensor_type} is made by rtn and gptq, without average bits")

    def k_quant(self, columns: int) -> KQuant | None:
        """Of matrices with rows of so many weights; None where it is bits and group_size that count."""
        return K_QUANTS[self.tensor_type] if self.tensor_type and columns % SUPER_BLOCK == 0 else None

    def for_columns(self, columns: int) -> QuantizationSettings:
        """The settings of a matrix with such rows: with bits, group_size and symmetric as the type asks for."""
        if self.tensor_type is None:
            return self
        kind = self.k_quant(columns)
        bits, group_size, symmetric = (
            (kind.bits, kind.group_size, not kind.offsets) if kind else (*FALLBACKS[self.tensor_type],)
        )
        return replace(self, bits=bits, group_size=group_size, symmetric=symmetric)

    def format(self, bits: int) -> Format:
        """The number format of a matrix in the layers."""
        if self.method == "ternary":
            return Ternary(packed=self.group_size is None or self.group_size % 128 == 0)
        if self.method == "afpq":
            return SmallFloats(bits, two_scales=True)
        return SymmetricIntegers(bits) if self.symmetric else AsymmetricIntegers(bits)

    def stored_bits(self, bits: int) -> float:
        """Bits of a weight in the layers with its share of scale and offset, for budgets."""
        return bits + (16 if self.symmetric else 32) / (self.group_size or 4096)
