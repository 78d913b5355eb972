"""Builds and runs the native test programs: kernels, operations, programs, sampler, threads.

As they are, under sanitizers, and for aarch64 under emulation, which tests the ISA targets ``neon`` and ``neon_i8mm``
on any machine. Under the address sanitizer AVX-VNNI, VBMI and AMX are emulated, so that ``avxvnni`` and
``avx512vbmi`` are tested on every processor that has AVX-512, and ``amx`` on those that have its BF16 and GFNI too.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# The longest first: as many as there are cores run at a time.
PROGRAMS = [
    "ops_test",
    "kernels_test",
    "rowwise_test",
    "byte_rows_test",
    "recurrence_test",
    "prompt_test",
    "prompt_attention_test",
    "bfloat16_test",
    "program_test",
    "threads_test",
    "sampler_test",
    "kernels_fuzz",
]
FUZZ_SECONDS = "0"  # the corpus; new seeds are for whoever changes a kernel
BUILDS = {
    "release": PROGRAMS,
    "address": PROGRAMS,
    "thread": ["recurrence_test", "program_test", "threads_test"],  # those that start threads
    # Prompts' arithmetic and that of bf16 are x86-64's. The emulator aborts in the child of a process with threads.
    "aarch64": [name for name in PROGRAMS if "prompt" not in name and name not in ("bfloat16_test", "threads_test")],
}
CROSS_COMPILER, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64"
EMULATED = "avxvnni;avx512vbmi;amx-tile;amx-bf16"
TARGETS_NAMED = {"kernels_test", "ops_test", "recurrence_test", "rowwise_test"}  # they print each that they check
CORES = len(os.sched_getaffinity(0))
# cmake and ninja as the Makefile installs them beside Python, else the system's.
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def options_of(build: str) -> list[str]:
    """How CMake is called for it, beside what all builds have."""
    if build == "release":
        return []
    if build == "aarch64":
        return ["--toolchain", str(ROOT / "cmake" / "aarch64.cmake")]
    # What threads do is the same on every target.
    more = "-DLUTMAC_TARGETS=avx2;portable" if build == "thread" else f"-DLUTMAC_EMULATE={EMULATED}"
    return [f"-DLUTMAC_SANITIZE={build}", more]


def make(build: str, folder: str) -> None:
    generator = ["-G", "Ninja"] if shutil.which("ninja", path=PATH) else []
    configure = ["cmake", "-S", str(ROOT), "-B", folder, *generator, "-DLUTMAC_BUILD_TESTS=ON", *options_of(build)]
    for command in (configure, ["cmake", "--build", folder, "--parallel", str(CORES), "--target", *BUILDS[build]]):
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PATH": PATH})
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("build", BUILDS)
def test_native_programs_pass(build: str) -> None:
    cross = build == "aarch64"
    needed = ["cmake", CROSS_COMPILER, EMULATOR] if cross else ["cmake", "c++"]
    missing = [command for command in needed if shutil.which(command, path=PATH) is None]
    if missing:
        pytest.skip(f"not found: {', '.join(missing)} (Debian: g++-aarch64-linux-gnu, qemu-user)")

    def run(program: str) -> subprocess.CompletedProcess[str]:
        command = [EMULATOR, "-cpu", "max"] if cross else []
        command += [f"{folder}/{program}", *([FUZZ_SECONDS] if program == "kernels_fuzz" else [])]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    (ROOT / "build").mkdir(exist_ok=True)
    # As deep as the folder in which the package is built: a compiler cache then knows the objects by their paths.
    with tempfile.TemporaryDirectory(dir=ROOT / "build", prefix=f"native-{build}-") as folder:
        make(build, folder)
        with ThreadPoolExecutor(CORES) as pool:
            done = dict(zip(BUILDS[build], pool.map(run, BUILDS[build]), strict=True))
    failed = {program: each.stdout + each.stderr for program, each in done.items() if each.returncode != 0}
    assert not failed, "\n".join(f"{program}:\n{text}" for program, text in failed.items())
    for program in TARGETS_NAMED.intersection(BUILDS[build]):
        for target in ("neon", "neon_i8mm") if cross else ("portable",):
            assert f"{target}: checked" in done[program].stdout, program
