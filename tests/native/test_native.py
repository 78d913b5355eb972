"""Builds and runs the native test programs: kernels, operations, sampler against references in double; threads."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def native_build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cmake = shutil.which("cmake")
    if cmake is None or shutil.which("c++") is None:
        pytest.skip("cmake and a C++ compiler are needed to build the native tests")
    build = tmp_path_factory.mktemp("native")
    subprocess.run([cmake, "-S", ROOT, "-B", build, "-DLUTMAC_BUILD_TESTS=ON"], check=True, capture_output=True)
    subprocess.run([cmake, "--build", build, "--parallel", "2"], check=True, capture_output=True)
    return build


@pytest.mark.slow
@pytest.mark.parametrize("program", ["kernels_test", "ops_test", "sampler_test", "threads_test"])
def test_native_program_passes(native_build: Path, program: str) -> None:
    result = subprocess.run([native_build / program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
