"""Wheels as `make wheel` builds them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fetching

REPOSITORY = Path(__file__).parents[2]
PROGRAM = """
import sys, lutmac
model = lutmac.load(sys.argv[1], threads=1)
print(model.info().isa, model.generate("The capital of France is", max_tokens=1, temperature=0).text)
"""


@pytest.fixture(scope="module")
def aarch64_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel for Python 3.11. What was compiled before is not compiled again."""
    for module in ("ziglang", "elftools", "build"):
        pytest.importorskip(
            module, reason="builds a wheel, which needs the extra `wheel`: make check-wheels installs it"
        )
    out = tmp_path_factory.mktemp("wheels")
    command = [sys.executable, "packaging/build_wheels.py", "--arch", "aarch64", "--out", str(out)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    if not (found := list(out.glob("*-cp311-cp311-manylinux_2_28_aarch64.whl"))):
        pytest.skip(f"needs Python 3.11 with its headers: {done.stderr.strip().splitlines()[0]}")
    return found[0]


@pytest.mark.slow
def test_the_aarch64_wheel_runs(aarch64_wheel: Path, smollm2_path: Path, tmp_path: Path) -> None:
    """In an emulator, with Debian's Python and PyPI's packages for arm64."""
    if shutil.which("qemu-aarch64") is None:
        pytest.skip("needs qemu-aarch64 (Debian: apt-get install qemu-user)")
    try:
        root = fetching.aarch64_python()
        packages = fetching.aarch64_wheels("numpy", "tokenizers", "jinja2", "markupsafe")
    except fetching.CannotFetchError as error:
        pytest.skip(f"needs Python and packages for arm64: {error}")
    shutil.unpack_archive(aarch64_wheel, tmp_path, "zip")
    environment = [f"PYTHONHOME={root / 'usr'}", f"PYTHONPATH={tmp_path}:{packages}"]
    command = ["qemu-aarch64", "-L", str(root), *(word for each in environment for word in ("-E", each))]
    command += [str(root / "usr/bin/python3.11"), "-c", PROGRAM, str(smollm2_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "neon_i8mm  Paris"


def test_a_module_that_needs_a_newer_system_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The module that this machine's compiler built stands for one."""
    pytest.importorskip("elftools", reason="needs the extra `wheel`")
    monkeypatch.syspath_prepend(REPOSITORY / "packaging")
    from glibc import check_module, needed  # noqa: PLC0415 (no package)

    from lutmac import _native  # noqa: PLC0415

    module = Path(_native.__file__)
    libraries, versions = needed(module)
    assert "libc.so.6" in libraries
    assert versions
    with pytest.raises(SystemExit, match="needs glibc"):
        check_module(module, "2.1")
