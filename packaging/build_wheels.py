"""Wheels that people can install (`make wheel`): manylinux_2_28 for x86-64 and aarch64, and a source distribution.

The package's Python files go into one wheel without a module. For each architecture zig compiles the native code once,
and links it into a module for Python 3.11 and one for the stable ABI of 3.12 and later; each becomes a wheel.

    python packaging/build_wheels.py [--arch x86_64,aarch64] [--out dist] [--python PYTHON]...
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import nanobind
from glibc import check_module
from zig import GLIBC, write_tools

REPOSITORY = Path(__file__).resolve().parents[1]
BUILD = REPOSITORY / "build" / "wheels"
LARGEST = 5 << 20  # bytes of a wheel
CANDIDATES = ("python3.11", "python3.12", "python3.13", "python3.14", "python3")


@dataclass(frozen=True)
class Python:
    """An interpreter with its headers, for which a module can be built."""

    path: str
    version: tuple[int, int]
    headers: str  # the folder of Python.h: those of x86-64 serve aarch64, too

    @property
    def is_stable_abi(self) -> bool:
        return self.version >= (3, 12)

    @property
    def tag(self) -> str:
        return "cp312-abi3" if self.is_stable_abi else "cp311-cp311"

    def module_name(self, architecture: str) -> str:
        return "_native.abi3.so" if self.is_stable_abi else f"_native.cpython-311-{architecture}-linux-gnu.so"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="x86_64,aarch64", help="architectures, separated by commas")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "dist", help="folder of the wheels")
    parser.add_argument("--python", action="append", default=[], help="an interpreter to build for, beside those found")
    arguments = parser.parse_args()
    pythons = find_pythons(arguments.python)
    if not pythons:
        print("no Python 3.11 or newer with headers was found: name one with --python", file=sys.stderr)
        return 1
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        plain = build_plain(arguments.out, Path(temporary))
        for architecture in arguments.arch.split(","):
            for module, python in build_modules(architecture, pythons):
                print(pack(plain, module, python, architecture, arguments.out))
    return 0


def find_pythons(named: list[str]) -> list[Python]:
    """One interpreter for Python 3.11 and the oldest for the stable ABI. Says where there is none."""
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    installed = [str(path) for path in sorted(versions.glob("3.*/bin/python3"))]
    found = [python for path in [*named, *CANDIDATES, *installed] if (python := examine(path))]
    chosen = []
    for is_stable_abi, wanted in (
        (False, "Python 3.11 for the cp311"),
        (True, "Python 3.12 or newer for the cp312-abi3"),
    ):
        suitable = [each for each in found if each.is_stable_abi == is_stable_abi]
        chosen += sorted(suitable, key=lambda each: each.version)[:1]
        if not suitable:
            print(f"found no {wanted} wheel: install it with its headers, or name it with --python", file=sys.stderr)
    return chosen


def examine(path: str) -> Python | None:
    code = (
        "import sys, sysconfig; print(*sys.version_info[:2], sys.executable, sysconfig.get_path('include'), sep='\\n')"
    )
    if shutil.which(path) is None:
        return None
    done = subprocess.run([path, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        return None
    major, minor, executable, headers = done.stdout.strip().split("\n")
    version = int(major), int(minor)
    is_usable = version >= (3, 11) and Path(headers, "Python.h").exists()
    return Python(executable, version, headers) if is_usable else None


def build_plain(out: Path, temporary: Path) -> Path:
    """The source distribution, into `out`, and the unpacked wheel of the Python files. Returns the latter's folder."""
    build = [sys.executable, "-m", "build", "--no-isolation"]
    run([*build, "--sdist", "--outdir", str(out)])
    run([*build, "--wheel", "--outdir", str(temporary), "-Cwheel.cmake=false", "-Cwheel.py-api=py3"])
    (wheel,) = temporary.glob("*.whl")
    run([sys.executable, "-m", "wheel", "unpack", str(wheel), "--dest", str(temporary / "plain")])
    (folder,) = (temporary / "plain").iterdir()
    return folder


def build_modules(architecture: str, pythons: list[Python]) -> list[tuple[Path, Python]]:
    """The modules of an architecture. They share a build folder, so that the runtime is compiled once."""
    folder = BUILD / architecture
    write_tools(folder / "zig", architecture)
    made = []
    for python in pythons:
        configure(folder, architecture, python)
        run(["ninja", "-C", str(folder / "cmake"), "_native"])
        (built,) = (folder / "cmake").glob("_native*.so")
        module = folder / python.module_name(architecture)
        shutil.move(built, module)  # so that the next one is linked anew
        check_module(module, GLIBC)
        made.append((module, python))
    return made


def configure(folder: Path, architecture: str, python: Python) -> None:
    """What was found for another Python is forgotten."""
    options = {
        "CMAKE_BUILD_TYPE": "Release",
        "CMAKE_TOOLCHAIN_FILE": REPOSITORY / "packaging" / "zig.cmake",
        "LUTMAC_WHEEL_ARCH": architecture,
        "LUTMAC_ZIG": folder / "zig",
        "LUTMAC_LTO": "OFF",  # zig would compile its C++ library again for it
        "SKBUILD": 2,
        "SKBUILD_SABI_COMPONENT": "Development.SABIModule" if python.is_stable_abi else "",
        "Python_EXECUTABLE": python.path,
        "Python_INCLUDE_DIR": python.headers,
        "nanobind_DIR": nanobind.cmake_dir(),
    }
    command = ["cmake", "-S", str(REPOSITORY), "-B", str(folder / "cmake"), "-G", "Ninja"]
    command += ["-UPython_*", "-U_Python*", "-UNB_*", *(f"-D{name}={value}" for name, value in options.items())]
    run(command)


def pack(plain: Path, module: Path, python: Python, architecture: str, out: Path) -> Path:
    """The wheel of the Python files with this module."""
    tag = f"{python.tag}-manylinux_{GLIBC.replace('.', '_')}_{architecture}"
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, plain.name)
        shutil.copytree(plain, folder)
        shutil.copy(module, folder / "lutmac" / module.name)
        (described,) = folder.glob("*.dist-info/WHEEL")
        replaced = ("Tag:", "Root-Is-Purelib:")
        kept = [line for line in described.read_text().splitlines() if line and not line.startswith(replaced)]
        described.write_text("\n".join([*kept, "Root-Is-Purelib: false", f"Tag: {tag}", ""]))
        run([sys.executable, "-m", "wheel", "pack", str(folder), "--dest-dir", str(out)])
    wheel = out / f"{plain.name}-{tag}.whl"
    if (size := wheel.stat().st_size) > LARGEST:
        raise SystemExit(f"{wheel} is {size} bytes: at most {LARGEST}")
    return wheel


def run(command: list[str]) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    if subprocess.run(command, cwd=REPOSITORY, stdout=sys.stderr, env=environment, check=False).returncode:
        raise SystemExit(f"failed: {' '.join(command)}")


if __name__ == "__main__":
    raise SystemExit(main())
