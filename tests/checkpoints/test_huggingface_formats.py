"""Every Hugging Face format against what its own library says: the scripts in huggingface/make wrote the checkpoints.

Weights are read without loss, so they equal the reference to the bit; where the library itself only computes in half
precision, to half a unit in the last place of a half. Logits in exact precision differ by float32 sums and by keys and
values kept in half precision (11 bits, the larger error); in default precision by tables of 8 bits of the largest sum
of 4 among 32 activations, which rows of 64 weights average over little.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import lutmac
from lutmac.checkpoints import open_huggingface
from lutmac.errors import UnsupportedModelError
from lutmac.lowbit.reference import dequantize

ROOT = Path(__file__).parent / "huggingface"
HALF_PRECISION = {"auto_round_gptq": 2**-11, "auto_round_own_3bit": 2**-11}
CHECKPOINTS = sorted(path.parent.name for path in ROOT.glob("*/reference.npz") if path.parent.name != "hqq_axis0")


@pytest.fixture(params=CHECKPOINTS)
def directory(request: pytest.FixtureRequest) -> Path:
    return ROOT / request.param


def relative_error(found: np.ndarray, exact: np.ndarray) -> float:
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


def test_there_is_a_checkpoint_of_every_format() -> None:
    for format in ("bf16", "fp16", "fp32", "gptq", "awq", "auto_round", "hqq", "ct_", "efficientqat", "bitdistiller"):
        assert any(name.startswith(format) for name in CHECKPOINTS), format
    assert {"bitnet_online", "bitnet_packed", "bitnet_packed_auto", "fp16_shards"} <= set(CHECKPOINTS)


def test_weights_are_read_without_loss(directory: Path) -> None:
    with np.load(directory / "reference.npz") as reference, open_huggingface(directory) as checkpoint:
        for module in set(reference.files) - {"tokens", "logits"}:
            found, exact = dequantize(checkpoint.matrix(f"{module}.weight")), reference[module]
            assert (np.abs(found - exact) <= HALF_PRECISION.get(directory.name, 0) * np.abs(exact).max()).all()


@pytest.mark.parametrize(("precision", "tolerance"), [("exact", 2e-3), ("default", 4e-2)])
def test_logits_are_right(directory: Path, precision: str, tolerance: float) -> None:
    if directory.name.startswith("bitnet"):  # whose activations exact precision rounds to 8 bits, unlike the reference
        tolerance = 4e-2
    with np.load(directory / "reference.npz") as reference:
        model = lutmac.load(directory, precision=precision, threads=1)
        assert relative_error(model.logits(reference["tokens"].tolist()), reference["logits"]) < tolerance


def test_axis_0_of_hqq_is_refused_by_name() -> None:
    with pytest.raises(
        UnsupportedModelError, match=r"down_proj: HQQ with axis 0 is not supported; quantise with axis=1"
    ):
        lutmac.load(ROOT / "hqq_axis0")
