"""zig as a C++ compiler that CMake understands: clang with the headers and stubs of an old glibc (PyPI: ziglang)."""

from __future__ import annotations

import sysconfig
from pathlib import Path

GLIBC = "2.28"  # of manylinux_2_28: Debian 10, RHEL 8, Ubuntu 20.04 and what is newer

# zig names processors in its own way, and takes no -march on aarch64.
_COMPILER = """#!/bin/sh
for argument do
  shift
  case $argument in
    -march=armv8.2-a*) set -- "$@" "-mcpu=generic+v8_2a${{argument#-march=armv8.2-a}}" ;;
    *) set -- "$@" "$argument" ;;
  esac
done
exec {zig} c++ -target {architecture}-linux-gnu.{glibc} "$@"
"""
_TOOL = '#!/bin/sh\nexec {zig} {tool} "$@"\n'


def write_tools(folder: Path, architecture: str) -> None:
    """Scripts c++, ar and ranlib in a folder, for packaging/zig.cmake. architecture: x86_64 or aarch64."""
    zig = Path(sysconfig.get_path("purelib"), "ziglang", "zig")
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"c++": _COMPILER.format(zig=zig, architecture=architecture, glibc=GLIBC)}
    texts |= {tool: _TOOL.format(zig=zig, tool=tool) for tool in ("ar", "ranlib")}
    for name, text in texts.items():
        path = folder / name
        if not path.exists() or path.read_text() != text:  # a newer script would compile everything again
            path.write_text(text)
            path.chmod(0o755)
