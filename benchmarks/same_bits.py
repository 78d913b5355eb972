"""Whether this tree computes the same bits as another commit: the models of the tests, on every ISA target.

    python benchmarks/same_bits.py REF [--keep DIR] [--only NAME] [--programs]

REF is built beside this tree and both load the same files, in both precisions, on each target that the machine runs.
Logits come from steps of 16 tokens and one of a single token. What differs is printed; with --programs the compiled
programs are compared, too, as `lutmac info --program` prints them. Exit code 1 where some logits differ.

The tree's own module is taken as it lies in src/lutmac, or where it was built last (pip install).
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
TOKENS = 81
STEP = 16
COLLECT = "--collect"


def write_models(folder: Path) -> None:
    """Every model that the tests make of random weights; those that lie in tests/ are used where they are."""
    for place in (ROOT / "tests", ROOT / "tests" / "models" / "architectures"):
        sys.path.insert(0, str(place))
    from cases import CASES  # type: ignore[import-not-found]  # noqa: PLC0415
    from gguf_models import ARCHITECTURES, write_gguf  # type: ignore[import-not-found]  # noqa: PLC0415
    from random_weights import random_weights, write_checkpoint  # type: ignore[import-not-found]  # noqa: PLC0415

    from tiny_llama import make_tiny_llama  # type: ignore[import-not-found]  # noqa: PLC0415

    shapes = json.loads((ROOT / "tests" / "models" / "architectures" / "shapes.json").read_text())
    for name, case in CASES.items():
        weights = random_weights(case.config, shapes[name])
        write_checkpoint(folder / name, case.config, weights)
        config = {key: value for key, value in {**case.config, **case.oracle}.items() if value is not ...}
        if config["model_type"] in ARCHITECTURES:
            for kind in ("Q4_0", "Q8_0"):
                try:
                    write_gguf(folder / f"{name}.{kind}.gguf", config, weights, kind)
                except (AssertionError, KeyError, ValueError):  # what GGUF has no word for
                    (folder / f"{name}.{kind}.gguf").unlink(missing_ok=True)
    for kind in ("Q4_K", "Q6_K", "Q5_0", "TQ1_0", "TQ2_0", "IQ4_NL", "IQ3_S", "F16"):
        make_tiny_llama(folder / f"tiny.{kind}.gguf", kind, biases=True)


def models(folder: Path) -> Iterator[tuple[str, Path]]:
    """Those written, and those of the tests that hold weights."""
    for path in sorted(folder.iterdir()):
        yield path.name, path
    for file in sorted((ROOT / "tests").rglob("model.safetensors")):
        yield str(file.parent.relative_to(ROOT)), file.parent


def collect(models_folder: Path, out: Path, only: str) -> None:
    """Logits and programs of all models by the lutmac that is imported."""
    import lutmac  # noqa: PLC0415
    from lutmac import LutmacError, _native  # noqa: PLC0415

    logits: dict[str, np.ndarray] = {}
    programs: dict[str, str] = {}
    for name, path in models(models_folder):
        if only not in name:
            continue
        for target in _native.available_targets():
            for precision in ("default", "exact"):
                key = f"{name} {target} {precision}"
                try:
                    model = lutmac.load(path, isa=target, precision=precision, threads=2, max_batch_tokens=STEP)
                except LutmacError as error:
                    programs[key] = f"cannot be loaded: {error}"
                    continue
                ids = np.random.default_rng(0).integers(0, min(260, model.info().vocab_size), TOKENS)
                logits[key] = model.logits(ids[: model.context].tolist())
                programs[key] = model.program()
    np.savez(out / "logits.npz", allow_pickle=False, **logits)
    (out / "programs.json").write_text(json.dumps(programs))


def build(ref: str, folder: Path) -> Path:
    """A checkout of ``ref`` with its compiled module; the folder of its package."""
    tree, made = folder / "tree", folder / "build"
    if not tree.is_dir():
        subprocess.run(["git", "-C", str(ROOT), "worktree", "add", "--detach", str(tree), ref], check=True)
    nanobind = [sys.executable, "-c", "import nanobind; print(nanobind.cmake_dir())"]
    where = subprocess.run(nanobind, check=True, capture_output=True, text=True).stdout.strip()
    options = {
        "CMAKE_BUILD_TYPE": "Release", "SKBUILD": "2", "SKBUILD_PROJECT_NAME": "lutmac",
        "SKBUILD_PROJECT_VERSION": "0.0.0", "Python_EXECUTABLE": sys.executable, "nanobind_DIR": where,
    }  # fmt: skip
    configure = ["cmake", "-S", str(tree), "-B", str(made), *(f"-D{key}={value}" for key, value in options.items())]
    install = ["cmake", "--install", str(made), "--component", "python", "--prefix", str(tree / "src")]
    for command in (configure, ["cmake", "--build", str(made), "--parallel", "2"], install):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(done.stdout[-4000:] + done.stderr[-4000:])
    return tree / "src"


def remove(folder: Path) -> None:
    subprocess.run(["git", "-C", str(ROOT), "worktree", "remove", "--force", str(folder / "tree")], check=True)


def run_collect(package: Path | None, models_folder: Path, out: Path, only: str) -> None:
    """Collects in a process of its own. package: what PYTHONPATH begins with; None: as this process has it."""
    out.mkdir(parents=True, exist_ok=True)
    path = os.environ.get("PYTHONPATH", "")
    environment = {**os.environ, "PYTHONPATH": path if package is None else os.pathsep.join((str(package), path))}
    command = [sys.executable, __file__, COLLECT, str(models_folder), str(out), only]
    subprocess.run(command, check=True, env=environment)


def compare(ref: Path, own: Path, *, with_programs: bool) -> int:
    """Prints what differs; how many models' logits do."""
    expected, found = np.load(ref / "logits.npz"), np.load(own / "logits.npz")
    differing = 0
    for key in sorted(set(expected) | set(found)):
        if key not in found or key not in expected:
            print(f"{key}: only in {'REF' if key in expected else 'this tree'}")
            differing += key in expected
        elif expected[key].shape != found[key].shape:
            print(f"{key}: logits {list(found[key].shape)} where REF's are {list(expected[key].shape)}")
            differing += 1
        elif expected[key].tobytes() != found[key].tobytes():
            rows = int((expected[key] != found[key]).any(axis=-1).sum())
            largest = float(np.abs(expected[key] - found[key]).max())
            print(f"{key}: {rows} of {len(expected[key])} rows of logits differ, by at most {largest:g}")
            differing += 1
    print(f"{len(set(expected) & set(found))} compared, {differing} differ")
    if with_programs:
        before, after = (json.loads((folder / "programs.json").read_text()) for folder in (ref, own))
        for key in sorted(set(before) & set(after)):
            sys.stdout.writelines(
                f"{line}\n"
                for line in difflib.unified_diff(before[key].splitlines(), after[key].splitlines(), key, key, n=0)
            )
    return differing


def main() -> None:
    if sys.argv[1:2] == [COLLECT]:
        collect(Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4] if len(sys.argv) > 4 else "")
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("ref", help="what to compare with: a commit, a branch, a tag")
    parser.add_argument("--keep", type=Path, help="keep what is built and collected of REF there, for the next run")
    parser.add_argument("--only", default="", help="only models with this in their name")
    parser.add_argument("--programs", action="store_true", help="compare the compiled programs, too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.keep or Path(temporary)).resolve()
        files, before = folder / "models", folder / f"ref{arguments.only}"
        if not files.is_dir():
            files.mkdir(parents=True)
            write_models(files)
        if not (before / "programs.json").is_file():
            try:
                run_collect(build(arguments.ref, folder), files, before, arguments.only)
            finally:
                remove(folder)
        run_collect(None, files, folder / "own", arguments.only)
        differing = compare(before, folder / "own", with_programs=arguments.programs)
    sys.exit(1 if differing else 0)


if __name__ == "__main__":
    main()
