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
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
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
CORES = len(os.sched_getaffinity(0))
# cmake and ninja as the Makefile installs them beside Python, else the system's.
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


@dataclass(frozen=True)
class NativeBuild:
    """What each program printed, and the targets that must have been among those they checked."""

    done: dict[str, Future[subprocess.CompletedProcess[str]]]
    targets: tuple[str, ...] = ("portable",)


def configure_and_build(folder: Path, programs: list[str], *options: str) -> None:
    generator = ["-G", "Ninja"] if shutil.which("ninja", path=PATH) else []
    configure = ["cmake", "-S", str(ROOT), "-B", str(folder), *generator, "-DLUTMAC_BUILD_TESTS=ON", *options]
    for command in (configure, ["cmake", "--build", str(folder), "--parallel", str(CORES), "--target", *programs]):
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PATH": PATH})
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def native_build(request: pytest.FixtureRequest) -> Iterator[NativeBuild]:
    cross = request.param == "aarch64"
    needed = ["cmake", CROSS_COMPILER, EMULATOR] if cross else ["cmake", "c++"]
    missing = [command for command in needed if shutil.which(command, path=PATH) is None]
    if missing:
        pytest.skip(f"not found: {', '.join(missing)} (Debian: g++-aarch64-linux-gnu, qemu-user)")
    options = []
    if cross:
        options += ["--toolchain", str(ROOT / "cmake" / "aarch64.cmake")]
    elif request.param != "release":
        options += [f"-DLUTMAC_SANITIZE={request.param}"]
    if request.param == "address":
        options += ["-DLUTMAC_EMULATE=avxvnni;avx512vbmi;amx-tile;amx-bf16"]
    if request.param == "thread":  # what threads do is the same on every target
        options += ["-DLUTMAC_TARGETS=avx2;portable"]
    (ROOT / "build").mkdir(exist_ok=True)
    # As deep as the folder in which the package is built: a compiler cache then knows the objects by their paths.
    with tempfile.TemporaryDirectory(dir=ROOT / "build", prefix=f"native-{request.param}-") as folder:
        configure_and_build(Path(folder), BUILDS[request.param], *options)
        pool = ThreadPoolExecutor(CORES)
        emulator = [EMULATOR, "-cpu", "max"] if cross else []
        try:
            done = {
                name: pool.submit(run, [*emulator, f"{folder}/{name}", *([FUZZ_SECONDS] if "fuzz" in name else [])])
                for name in BUILDS[request.param]
            }
            yield NativeBuild(done, ("neon", "neon_i8mm") if cross else ("portable",))
        finally:
            pool.shutdown(cancel_futures=True)


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("native_build", "program"),
    [(build, program) for build, programs in BUILDS.items() for program in programs],
    indirect=["native_build"],
    scope="session",
)
def test_native_program_passes(native_build: NativeBuild, program: str) -> None:
    result = native_build.done[program].result()
    assert result.returncode == 0, result.stdout + result.stderr
    if program in ("kernels_test", "ops_test", "recurrence_test", "rowwise_test"):
        for target in native_build.targets:
            assert f"{target}: checked" in result.stdout
