"""Builds and runs the native test programs: kernels, operations, programs, sampler, threads.

As they are, under sanitizers, and for aarch64 under emulation, which tests the ISA targets ``neon`` and ``neon_i8mm``
on any machine. Under the address sanitizer AVX-VNNI, VBMI and AMX are emulated, so that ``avxvnni`` and
``avx512vbmi`` are tested on every processor that has AVX-512, and ``amx`` on those that have its BF16 and GFNI too.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAMS = [
    ["kernels_test"],
    ["prompt_test"],
    ["bfloat16_test"],
    ["ops_test"],
    ["recurrence_test"],
    ["rowwise_test"],
    ["sampler_test"],
    ["program_test"],
    ["threads_test"],
]
PROGRAMS += [["kernels_fuzz", "0"]]  # its corpus; new seeds, so many seconds of them, are for whoever changes a kernel
CROSS_COMPILER, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64"


@dataclass(frozen=True)
class NativeBuild:
    """Programs in a folder, and the targets that must have been among those they checked."""

    folder: Path
    emulator: tuple[str, ...] = ()
    targets: tuple[str, ...] = ("portable",)


def configure_and_build(folder: Path, *options: str) -> None:
    configure = ["cmake", "-S", str(ROOT), "-B", str(folder), "-DLUTMAC_BUILD_TESTS=ON", *options]
    for command in (configure, ["cmake", "--build", str(folder), "--parallel", "2"]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session", params=["release", "address", "thread", "aarch64"])
def native_build(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> NativeBuild:
    cross = request.param == "aarch64"
    needed = ["cmake", CROSS_COMPILER, EMULATOR] if cross else ["cmake", "c++"]
    missing = [command for command in needed if shutil.which(command) is None]
    if missing:
        pytest.skip(f"not found: {', '.join(missing)} (Debian: g++-aarch64-linux-gnu, qemu-user)")
    folder = tmp_path_factory.mktemp(request.param)
    if cross:
        configure_and_build(folder, "--toolchain", str(ROOT / "cmake" / "aarch64.cmake"))
        return NativeBuild(folder, (EMULATOR, "-cpu", "max"), ("neon", "neon_i8mm"))
    options = [] if request.param == "release" else [f"-DLUTMAC_SANITIZE={request.param}"]
    if request.param == "address":
        options += ["-DLUTMAC_EMULATE=avxvnni;avx512vbmi;amx-tile;amx-bf16"]
    if request.param == "thread":  # what threads do is the same on every target
        options += ["-DLUTMAC_TARGETS=avx2;portable"]
    configure_and_build(folder, *options)
    return NativeBuild(folder)


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program[0])
def test_native_program_passes(native_build: NativeBuild, program: list[str]) -> None:
    if native_build.emulator and program[0] == "threads_test":
        pytest.skip("the emulator aborts in a child that is forked from a process with threads")
    command = [*native_build.emulator, str(native_build.folder / program[0]), *program[1:]]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    if program[0] in ("kernels_test", "ops_test", "recurrence_test", "rowwise_test"):
        for target in native_build.targets:
            assert f"{target}: checked" in result.stdout
