"""What cores can do in a cycle, by microarchitecture: a table from what is published of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

VECTOR_CLASSES: Final = ("shuffle", "permute2", "dot", "multiply", "logic", "shift", "float", "convert", "broadcast")


@dataclass(frozen=True)
class Microarchitecture:
    """Ports of the vector units by class of instruction, each named by a character.

    ports256, ports512: for each micro-operation of a class, the ports of which it takes one; of vectors of up to 256
    and of 512 bits. double: a vector of 512 bits takes a port, or a load or store, twice.
    front_end: instructions a cycle; loads, vector_loads, stores likewise. l2_bytes: that come from the second-level
    cache a cycle, beside what is computed meanwhile. share: of the bounds of ports and front end that loops reach,
    since ports are not always chosen well: measured on Zen 4, and taken from there. That a load which repeats 128 bits
    in 512 ("broadcast") takes a port of Zen 4's shuffles follows from measurements, too: else the lookups of avx512 are
    a fourth slower than predicted, and no others.
    Source: uops.info's measurements; AMD's Software Optimization Guide for the Zen 4 microarchitecture (57647).
    """

    name: str
    ports256: dict[str, tuple[str, ...]]
    ports512: dict[str, tuple[str, ...]]
    double: bool
    front_end: float
    loads: float
    vector_loads: float
    stores: float
    l2_bytes: float
    share: float

    def ports(self, name: str, width: int) -> tuple[str, ...]:
        """Of a class of instructions: the ports of each of its micro-operations."""
        return (self.ports512 if width == 512 else self.ports256)[name]

    def slots(self, width: int) -> int:
        """How many times a vector takes a port."""
        return 2 if width == 512 and self.double else 1


_ZEN4_PORTS: Final[dict[str, tuple[str, ...]]] = {
    "shuffle": ("12",),
    "permute2": ("12",),
    "dot": ("01",),
    "multiply": ("03",),
    "logic": ("0123",),
    "shift": ("12",),
    "float": ("01",),
    "convert": ("23",),
    "broadcast": ("12",),
}
# Vectors of 512 bits take ports 0 and 1 together, named 0, or port 5; of Ice Lake and later shuffles of 256 bits run on
# ports 1 and 5 where they stay within 128 bits.
_INTEL_256: Final[dict[str, tuple[str, ...]]] = {
    "shuffle": ("15",),
    "permute2": ("15", "5", "5"),
    "dot": ("01",),
    "multiply": ("01",),
    "logic": ("015",),
    "shift": ("01",),
    "float": ("01",),
    "convert": ("01",),
    "broadcast": (),
}
_INTEL_512: Final[dict[str, tuple[str, ...]]] = {
    "shuffle": ("5",),
    "permute2": ("05", "5", "5"),
    "dot": ("05",),
    "multiply": ("05",),
    "logic": ("05",),
    "shift": ("0",),
    "float": ("05",),
    "convert": ("05",),
    "broadcast": (),
}

ZEN4: Final = Microarchitecture("Zen 4", _ZEN4_PORTS, _ZEN4_PORTS, True, 6, 3, 2, 1, 32, 0.76)
ICE_LAKE: Final = Microarchitecture("Ice Lake", _INTEL_256, _INTEL_512, False, 5, 2, 2, 1, 48, 0.76)
GOLDEN_COVE: Final = Microarchitecture(
    "Sapphire Rapids or Granite Rapids", _INTEL_256, _INTEL_512, False, 6, 2, 2, 1, 48, 0.76
)
CASCADE_LAKE: Final = Microarchitecture(
    "Cascade Lake", {**_INTEL_256, "shuffle": ("5",)}, _INTEL_512, False, 4, 2, 2, 1, 48, 0.76
)

# By vendor, family, and models, first and last.
_TABLE: Final = (
    ("AuthenticAMD", 25, 0x10, 0x1F, ZEN4),
    ("AuthenticAMD", 25, 0x60, 0x7F, ZEN4),
    ("AuthenticAMD", 25, 0xA0, 0xAF, ZEN4),
    ("GenuineIntel", 6, 0x55, 0x55, CASCADE_LAKE),
    ("GenuineIntel", 6, 0x6A, 0x6A, ICE_LAKE),
    ("GenuineIntel", 6, 0x6C, 0x6C, ICE_LAKE),
    ("GenuineIntel", 6, 0x8F, 0x8F, GOLDEN_COVE),
    ("GenuineIntel", 6, 0xCF, 0xCF, GOLDEN_COVE),
    ("GenuineIntel", 6, 0xAD, 0xAE, GOLDEN_COVE),
)


@dataclass(frozen=True)
class Processor:
    """Which one this is, as its system says; unknown parts are empty and 0."""

    vendor: str
    family: int
    model: int
    name: str

    @property
    def microarchitecture(self) -> Microarchitecture | None:
        """What its cores can do; None where the table does not have it."""
        for vendor, family, first, last, found in _TABLE:
            if (vendor, family) == (self.vendor, self.family) and first <= self.model <= last:
                return found
        return None

    def __str__(self) -> str:
        """For people."""
        return f"{self.name or 'a processor without a name'} ({self.vendor} family {self.family} model {self.model})"


def this_processor(path: Path = Path("/proc/cpuinfo")) -> Processor:
    """The first processor that Linux lists."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace").split("\n\n", maxsplit=1)[0]
    except OSError:
        text = ""
    pairs = (line.partition(":") for line in text.splitlines())
    found = {name.strip(): value.strip() for name, _, value in pairs}

    def number(name: str) -> int:
        value = found.get(name, "")
        return int(value) if value.isdecimal() else 0

    return Processor(found.get("vendor_id", ""), number("cpu family"), number("model"), found.get("model name", ""))
