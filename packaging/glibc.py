"""Whether a compiled module runs where its wheel's tag says."""

from __future__ import annotations

from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection

# What every manylinux system has, of what C++ code needs: PEP 600.
ALLOWED = {
    "libc.so.6",
    "libm.so.6",
    "libpthread.so.0",
    "libdl.so.2",
    "librt.so.1",
    "ld-linux-x86-64.so.2",
    "ld-linux-aarch64.so.1",
}


def check_module(path: Path, glibc: str) -> None:
    """Raises SystemExit where a module needs a newer glibc than this, or another library."""
    libraries, versions = needed(path)
    if strangers := libraries - ALLOWED:
        raise SystemExit(f"{path} needs {', '.join(sorted(strangers))}, which not every system has")
    newest = max(versions, key=as_numbers, default="0")
    if as_numbers(newest) > as_numbers(glibc):
        raise SystemExit(f"{path} needs glibc {newest}: at most {glibc}")


def needed(path: Path) -> tuple[set[str], set[str]]:
    """The libraries that a module needs, and the versions of glibc's symbols."""
    with path.open("rb") as file:
        elf = ELFFile(file)
        libraries = {tag.needed for tag in elf.get_section_by_name(".dynamic").iter_tags("DT_NEEDED")}
        section = elf.get_section_by_name(".gnu.version_r")
        symbols = []
        if isinstance(section, GNUVerNeedSection):
            symbols = [symbol.name for _, symbols in section.iter_versions() for symbol in symbols]
    return libraries, {name.removeprefix("GLIBC_") for name in symbols if name.startswith("GLIBC_")}


def as_numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))
