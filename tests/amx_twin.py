"""The package with ISA target amx on processors without a matrix unit, whose instructions plain C++ stands for.

``python tests/amx_twin.py`` prints the folder for PYTHONPATH. It is built once for each state of the C++ sources.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "lutmac"
EMULATED, TARGETS = "amx-tile;amx-bf16", "amx;avx512vbmi;avx512;portable"


class CannotBuildError(Exception):
    """There is no compiler, or nothing that fetches what a build takes."""


def folder() -> Path:
    """A folder with a package lutmac: the Python sources of this checkout, and a module with the twin.

    The target is offered where the processor has what else it needs: AVX-512 with VBMI, BF16 and GFNI. Raises
    CannotBuildError.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "lutmac", "tests")
    cache.mkdir(parents=True, exist_ok=True)
    found = cache / f"amx-twin-{_sources()}-{sys.implementation.cache_tag}"
    if not found.is_dir():
        with tempfile.TemporaryDirectory(dir=cache, prefix=".building-") as new:
            ready = Path(new, "ready")
            ready.mkdir()
            shutil.copy(_build(Path(new)), ready)
            try:
                ready.rename(found)
            except OSError:  # another process was first
                if not found.is_dir():
                    raise
    checkout = hashlib.sha256(str(ROOT).encode()).hexdigest()[:8]  # others may have the same module
    package = found / f"package-{checkout}" / "lutmac"
    package.mkdir(parents=True, exist_ok=True)
    for each in [*PACKAGE.iterdir(), *found.glob("_native*.so")]:
        if each.parent == PACKAGE and each.match("_native*.so"):
            continue
        link = package / each.name
        if not link.is_symlink() or link.readlink() != each:
            link.unlink(missing_ok=True)
            link.symlink_to(each)
    return package.parent


def _sources() -> str:
    """A name for the state of everything that is compiled."""
    digest = hashlib.sha256()
    for path in sorted([ROOT / "CMakeLists.txt", *(each for each in (ROOT / "native").rglob("*") if each.is_file())]):
        digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _build(where: Path) -> Path:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps", str(ROOT)]
    command += ["--wheel-dir", str(where)]
    for name, value in {"LUTMAC_EMULATE": EMULATED, "LUTMAC_TARGETS": TARGETS, "LUTMAC_LTO": "OFF"}.items():
        command += ["--config-settings", f"cmake.define.{name}={value}"]
    (ROOT / "build").mkdir(exist_ok=True)
    # As deep as the folder of the package's own build, so that a compiler cache knows the targets that are the same.
    with tempfile.TemporaryDirectory(dir=ROOT / "build", prefix="amx-twin-") as folder:
        command += ["--config-settings", f"build-dir={folder}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CannotBuildError((done.stderr.strip() or done.stdout.strip()).splitlines()[-1])
    (wheel,) = where.glob("*.whl")
    shutil.unpack_archive(wheel, where / "unpacked", "zip")
    (module,) = (where / "unpacked" / "lutmac").glob("_native*.so")
    return module


if __name__ == "__main__":
    print(folder())
