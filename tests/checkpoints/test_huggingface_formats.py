"""Every Hugging Face format against what its own library says: the scripts in huggingface/make wrote the checkpoints.

Weights are read without loss, so they equal the reference to the bit. Two rounded products of scales (a global one, or
1/127) cost a unit or two in the last place of a float32; where the library itself only computes in half precision, its
weights are half a unit in the last place of a half off. Logits in exact precision differ by float32 sums, and mostly by
keys and values kept in half precision (11 bits); in default precision by tables of 8 bits of the largest sum of 4 among
32 activations, which rows of 64 weights average over little.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest

import lutmac
from lutmac.checkpoints import open_huggingface
from lutmac.errors import UnsupportedModelError
from lutmac.lowbit.reference import dequantize

ROOT = Path(__file__).parent / "huggingface"
HALF_PRECISION = {"auto_round_gptq": 2**-11, "auto_round_own_3bit": 2**-11}
LAST_PLACE = dict.fromkeys(("bnb_int8", "ct_nvfp4", "modelopt_nvfp4", "auto_round_nvfp4"), 2.0**-22)
# With tests of their own: axis 0, which cannot be run, and matrices in stacks.
APART = ("hqq_axis0", "gpt_oss_mxfp4")
CHECKPOINTS = sorted(path.parent.name for path in ROOT.glob("*/reference.npz") if path.parent.name not in APART)
# Activations that exact precision rounds to 8 bits, as BitNet defines them and the reference does not.
ROUNDED_ACTIVATIONS = ("bitnet_online", "bitnet_packed", "bitnet_packed_auto")

MIXTURES = ("mlx_mixtral", "mlx_qwen3_moe")


@pytest.fixture(params=CHECKPOINTS)
def directory(request: pytest.FixtureRequest) -> Path:
    return ROOT / request.param


def relative_error(found: np.ndarray, exact: np.ndarray) -> float:
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


def test_there_is_a_checkpoint_of_every_format() -> None:
    for format in ("bf16", "fp16", "fp32", "gptq", "awq", "auto_round", "hqq", "ct_", "efficientqat", "bitdistiller"):
        assert any(name.startswith(format) for name in CHECKPOINTS), format
    for format in ("bnb_nf4", "bnb_fp4", "bnb_int8", "fp8_", "mlx_", "modelopt_"):
        assert any(name.startswith(format) for name in CHECKPOINTS), format
    assert {"fp16_shards", *ROUNDED_ACTIVATIONS} <= set(CHECKPOINTS)


def test_weights_are_read_without_loss(directory: Path) -> None:
    with np.load(directory / "reference.npz") as reference, open_huggingface(directory) as checkpoint:
        for module in set(reference.files) - {"tokens", "logits"}:
            found, exact = dequantize(checkpoint.matrix(f"{module}.weight")), reference[module]
            allowed = HALF_PRECISION.get(directory.name, 0) * np.abs(exact).max()
            assert (np.abs(found - exact) <= allowed + LAST_PLACE.get(directory.name, 0) * np.abs(exact)).all()


def test_logits_are_right(directory: Path) -> None:
    with np.load(directory / "reference.npz") as reference:
        model = lutmac.load(directory, threads=1)
        found, exact = model.logits(reference["tokens"].tolist()), reference["logits"]
        rows = np.linalg.norm(found - exact, axis=1) / np.linalg.norm(exact, axis=1)
        assert np.median(rows) < 4e-2
        # Where two experts are all but level, the tables' rounding may send a token to the other one.
        assert (rows > 6e-2).sum() <= (1 if directory.name in MIXTURES else 0)


@pytest.mark.parametrize(("kv_cache", "tolerance"), [("f16", 2e-3), ("f32", 1e-4)])
def test_exact_logits_are_those_of_the_reference(
    directory: Path, kv_cache: Literal["f16", "f32"], tolerance: float
) -> None:
    """The largest difference, in standard deviations of the reference."""
    if directory.name in ROUNDED_ACTIVATIONS:
        tolerance = 0.2
    if directory.name in HALF_PRECISION:  # the reference's weights are rounded
        tolerance = 5e-3
    with np.load(directory / "reference.npz") as reference:
        model = lutmac.load(directory, precision="exact", threads=1, kv_cache=kv_cache)
        difference = np.abs(model.logits(reference["tokens"].tolist()) - reference["logits"])
        assert difference.max() <= tolerance * reference["logits"].std()


def test_axis_0_of_hqq_is_refused_by_name() -> None:
    with pytest.raises(
        UnsupportedModelError, match=r"down_proj: HQQ with axis 0 is not supported; quantise with axis=1"
    ):
        lutmac.load(ROOT / "hqq_axis0")


def test_the_experts_of_gpt_oss_are_read_without_loss() -> None:
    """Gate and up come from the rows of one matrix in turn. And the logits are transformers'."""
    directory, experts = ROOT / "gpt_oss_mxfp4", "model.layers.1.mlp.experts"
    with np.load(directory / "reference.npz") as reference, open_huggingface(directory) as checkpoint:
        joint, down = reference[f"{experts}.gate_up_proj"], reference[f"{experts}.down_proj"]
        for matrix, exact in (("gate_proj", joint[:, ::2]), ("up_proj", joint[:, 1::2]), ("down_proj", down)):
            for expert in range(len(exact)):
                name = f"{experts}.{expert}.{matrix}.weight"
                assert checkpoint.tensors[name].type_name == "MXFP4"
                assert (dequantize(checkpoint.matrix(name)) == exact[expert]).all()
        found = lutmac.load(directory, threads=1, precision="exact").logits(reference["tokens"].tolist())
        assert relative_error(found, reference["logits"]) < 2e-3


@pytest.mark.parametrize(
    ("name", "types"),
    [
        ("bnb_nf4_double", {"F16", "bitsandbytes NF4"}),
        ("bnb_fp4_double_bf16", {"F16", "bitsandbytes FP4"}),
        ("bnb_int8", {"F16", "bitsandbytes INT8"}),
        ("mlx_mixed", {"BF16", "MLX 3-bit", "MLX 4-bit", "MLX 8-bit"}),
        ("mlx_mxfp4_8bit", {"BF16", "MLX 8-bit", "MLX MXFP4"}),
        ("ct_int4_group", {"F16", "INT4"}),
        ("modelopt_nvfp4", {"BF16", "NVFP4"}),
        ("fp8_tensor", {"BF16", "FP8"}),
        ("auto_round_mxfp4", {"F16", "BF16", "MXFP4"}),
        ("auto_round_fp8_block", {"BF16", "FP8"}),
    ],
)
def test_types_are_named(name: str, types: set[str]) -> None:
    with open_huggingface(ROOT / name) as checkpoint:
        tensors = [tensor for tensor in checkpoint.tensors.values() if tensor.name.endswith((".weight", ".bias"))]
        assert {tensor.type_name for tensor in tensors} == types


@pytest.mark.parametrize("name", ["modelopt_fp8", "modelopt_nvfp4", "auto_round_nvfp4", "fp8_tensor"])
def test_scales_of_activations_are_left_out_and_said(name: str) -> None:
    left_out = lutmac.load(ROOT / name, threads=1).info().left_out
    assert [(entry.what, len(entry.tensors)) for entry in left_out] == [("scales of activations and of caches", 14)]


@pytest.mark.parametrize(
    ("name", "bits"), [("ct_fp8_channel", 8 + 16 / 64), ("ct_mxfp4", 4.25), ("modelopt_nvfp4", 4.5 + 32 / 4096)]
)
def test_a_weight_takes_the_bits_that_its_format_has(name: str, bits: float) -> None:
    with open_huggingface(ROOT / name) as checkpoint:
        tensor = checkpoint.tensors["model.layers.0.self_attn.q_proj.weight"]
        assert 8 * tensor.nbytes / tensor.elements == bits
