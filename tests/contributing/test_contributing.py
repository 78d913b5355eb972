"""What CONTRIBUTING.md promises of an architecture and an operation, tried on a copy of the sources.

The operation is Dynamic Tanh, the architecture a Llama with it in place of norms; neither is part of lutmac. Their
files lie beside this one. reference.npz has the logits of transformers' Llama with such a module (make_reference.py).
"""

from __future__ import annotations

import filecmp
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))

from checkpoint import CONFIG, TOKENS, weights  # noqa: E402
from random_weights import write_checkpoint  # noqa: E402

SOURCES = ("src", "native", "cmake", "CMakeLists.txt", "pyproject.toml", "README.md", "LICENSE")
OPERATION = {
    "dynamic_tanh.py": "src/lutmac/graph/operations/dynamic_tanh.py",
    "dynamic_tanh.cpp": "native/ops/dynamic_tanh.cpp",
}
ARCHITECTURE = {"llama_dyt.py": "src/lutmac/models/llama_dyt.py"}
REGISTRY = "src/lutmac/models/__init__.py"
LINE = '    "llama_dyt": "lutmac.models.llama_dyt",\n'
EVERY = 4  # rows of logits that are kept

# Run with what was built: logits of each target and precision, and of the reference in NumPy.
PROGRAM = """
import json, sys
from pathlib import Path

import numpy as np

import lutmac
from lutmac import _native
from lutmac.engine.loading.listing import list_weights
from lutmac.engine.loading.opened import open_model
from lutmac.engine.quantization.forward import Forward
from lutmac.engine.quantization.matrices import CurrentWeights
from lutmac.engine.quantization.state import QuantizationState

checkpoint, out, tokens = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
logits = {"package": np.array(str(Path(lutmac.__file__).parent))}
for target in _native.available_targets():
    for precision in ("exact", "default"):
        model = lutmac.load(checkpoint, isa=target, precision=precision, threads=2, max_batch_tokens=16)
        logits[f"{target} {precision}"] = model.logits(tokens)
        assert "dynamic_tanh" in model.program(), model.program()
with open_model(checkpoint) as opened:
    graph, _ = list_weights(opened)
    parameters = CurrentWeights(opened, QuantizationState(out.parent / "state", {}))
    forward = Forward(np.array([tokens], np.int32), parameters)
    for op in graph.ops:
        forward.run(op)
    head = graph.ops[-1]
    logits["numpy"] = forward.value(head.x) @ parameters.matrix(head.weight.name).T
np.savez(out, **logits)
"""


def run(*command: str, **environment: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


def copy_sources(tree: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", "*.so", ".native_key")
    tree.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, tree / name)


def files_of(tree: Path) -> set[str]:
    paths = (path for name in SOURCES for path in [tree / name, *(tree / name).rglob("*")])
    return {str(path.relative_to(tree)) for path in paths if path.is_file()}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources with an operation's two files, and an architecture's file and line."""
    tree = tmp_path_factory.mktemp("contributing") / "tree"
    copy_sources(tree)
    for name, place in {**OPERATION, **ARCHITECTURE}.items():
        assert not (tree / place).exists(), f"{place} is part of lutmac now: try another one here"
        shutil.copy(HERE / name, tree / place)
    registry = (tree / REGISTRY).read_text()
    before, line, after = registry.partition('    "mistral": "lutmac.models.mistral",\n')
    assert line
    (tree / REGISTRY).write_text(before + LINE + line + after)
    return tree


@pytest.fixture(scope="module")
def site(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree, built and installed as `make` does it."""
    site = tmp_path_factory.mktemp("site")
    pip = (sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--quiet", "--no-build-isolation")
    # A compiler cache, where there is one, names files by their place in the tree: what `make` compiled is the same.
    settings = {"CMAKE_BUILD_PARALLEL_LEVEL": "2", "CCACHE_BASEDIR": str(tree)}
    run(*pip, "--no-deps", "--target", str(site), str(tree), **settings)
    return site


@pytest.fixture(scope="module")
def found(site: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    folder = tmp_path_factory.mktemp("llama-dyt")
    reference = np.load(HERE / "reference.npz")
    prefix = "shape of "
    shapes = {name.removeprefix(prefix): tuple(reference[name]) for name in reference if name.startswith(prefix)}
    write_checkpoint(folder / "checkpoint", CONFIG, weights(shapes))
    arguments = (str(folder / "checkpoint"), str(folder / "logits.npz"), json.dumps(TOKENS))
    run(sys.executable, "-c", PROGRAM, *arguments, PYTHONPATH=str(site))
    return dict(np.load(folder / "logits.npz"))


@pytest.mark.slow
def test_an_architecture_and_an_operation_compute_what_they_say(site: Path, found: dict[str, np.ndarray]) -> None:
    """Against NumPy's reference and against transformers, on every ISA target; bounds as in test_architectures.py."""
    assert Path(str(found.pop("package"))) == site / "lutmac"
    expected = np.load(HERE / "reference.npz")["logits"]
    assert len(found) >= 3
    for name, logits in found.items():
        errors = np.linalg.norm(logits[::EVERY] - expected, axis=-1) / np.linalg.norm(expected, axis=-1).mean()
        assert errors.max() < 2e-3, name
        from_numpy = np.linalg.norm(logits - found["numpy"], axis=-1) / np.linalg.norm(found["numpy"], axis=-1).mean()
        assert from_numpy.max() < 2e-3, name


@pytest.mark.slow
def test_nothing_else_was_changed(tree: Path, site: Path, found: dict[str, np.ndarray]) -> None:
    """The files that were added, and one line. Also after it was built and run."""
    before = {name for name in files_of(ROOT) if not name.endswith((".so", ".pyc", ".native_key"))}
    after = files_of(tree)
    assert after - before == {*OPERATION.values(), *ARCHITECTURE.values()}
    assert before - after == set()
    assert [name for name in before if not filecmp.cmp(ROOT / name, tree / name, shallow=False)] == [REGISTRY]
    assert (tree / REGISTRY).read_text().replace(LINE, "") == (ROOT / REGISTRY).read_text()
