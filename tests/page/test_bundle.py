"""The page's bundle is committed, so that building and running lutmac needs neither Node nor a network."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SOURCES = REPOSITORY / "page"
BUNDLE = REPOSITORY / "src/lutmac/server/static"
LARGEST = 800_000  # bytes, all together


def hashes(root: Path, names: list[str]) -> dict[str, str]:
    return {name: hashlib.sha256((root / name).read_bytes()).hexdigest() for name in names}


def test_it_is_made_of_these_sources() -> None:
    """Fails where a source was changed and `make page` was not called, or a file of the bundle was changed by hand."""
    made = json.loads((SOURCES / "bundle.json").read_text())
    sources = [path for folder in ("src", "styles") for path in (SOURCES / folder).iterdir()]
    sources += [SOURCES / name for name in ("index.html", "theme.js", "build.js", "package.json", "package-lock.json")]
    assert made["sources"] == hashes(SOURCES, [path.relative_to(SOURCES).as_posix() for path in sources])
    assert made["bundle"] == hashes(BUNDLE, [path.name for path in BUNDLE.iterdir()])


def test_it_is_small() -> None:
    assert sum(path.stat().st_size for path in BUNDLE.iterdir()) < LARGEST


def test_it_names_the_licences() -> None:
    text = (BUNDLE / "LICENSES.txt").read_text(encoding="utf-8")
    for package in ("markdown-it", "highlight.js", "lowlight", "katex"):
        assert f"\n{package} " in text


@pytest.mark.slow
def test_make_page_makes_it(tmp_path: Path) -> None:
    if shutil.which("npm") is None:
        pytest.skip("make page needs npm, which is not installed")
    copy = tmp_path / "page"
    shutil.copytree(SOURCES, copy, ignore=shutil.ignore_patterns("node_modules"))
    installed = subprocess.run(["npm", "ci", "--silent"], cwd=copy, capture_output=True, text=True, check=False)
    if installed.returncode:
        pytest.skip(f"npm cannot install the page's packages: {installed.stderr.strip()[-200:]}")
    subprocess.run(["node", "build.js", str(tmp_path / "made")], cwd=copy, check=True)
    made = {path.name: path.read_bytes() for path in (tmp_path / "made").iterdir()}
    assert made == {path.name: path.read_bytes() for path in BUNDLE.iterdir()}
