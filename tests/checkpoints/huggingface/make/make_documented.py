"""Checkpoints in formats whose own libraries do not run on a CPU, written from the formats' documentation.

AWQ "gemm" (AutoAWQ's WQLinear_GEMM), EfficientQAT and BitDistiller (GPTQ's layout, the settings in the files that they
write), activation order in compressed-tensors as before its version 0.17, and BitNet as transformers documents it.
torch==2.13.0 transformers==5.23.0
"""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import torch
from base import ROOT, save_plain, write_reference
from safetensors.torch import save_file

MADE_WITH = f"make_documented.py, transformers {version('transformers')}, torch {torch.__version__}"
GROUP = 32
Tensors = dict[str, torch.Tensor]
Quantise = Callable[[torch.Tensor], tuple[Tensors, torch.Tensor]]


def grid(weight: torch.Tensor, bits: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Codes [N, K], scales [N, G] (half precision) and zero points [N, G] that round to nearest."""
    groups = weight.float().reshape(weight.shape[0], -1, GROUP)
    low, high = groups.amin(2).clamp(max=0), groups.amax(2).clamp(min=0)
    scale = ((high - low) / (2**bits - 1)).half().float()
    zero = (-low / scale).round().clamp(0, 2**bits - 1)
    codes = ((groups / scale[..., None]).round() + zero[..., None]).clamp(0, 2**bits - 1)
    return codes.reshape(weight.shape).long(), scale, zero.long()


def values(codes: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor, group_of: torch.Tensor) -> torch.Tensor:
    """What they stand for."""
    return scale[:, group_of] * (codes - zero[:, group_of])


def words(codes: torch.Tensor, bits: int) -> torch.Tensor:
    """[R, C] codes as [R, C * bits / 32] int32: a string of bits along the rows, the lowest first."""
    strings = (codes[..., None] >> torch.arange(bits)) & 1
    found = (strings.reshape(codes.shape[0], -1, 32) << torch.arange(32)).sum(2)
    return torch.where(found >= 2**31, found - 2**32, found).int()


def awq(weight: torch.Tensor) -> tuple[Tensors, torch.Tensor]:
    codes, scale, zero = grid(weight, 4)
    order = torch.tensor([0, 2, 4, 6, 1, 3, 5, 7])

    def packed(items: torch.Tensor) -> torch.Tensor:  # [L, N]
        return words(items.reshape(items.shape[0], -1, 8)[:, :, order].reshape(items.shape), 4)

    stored = {"qweight": packed(codes.T), "qzeros": packed(zero.T), "scales": scale.T.half()}
    return stored, values(codes, scale, zero, torch.arange(weight.shape[1]) // GROUP)


def gptq(bits: int, less: int, with_groups: bool) -> Quantise:
    """less: what is taken from a zero point before it is stored."""

    def quantise(weight: torch.Tensor) -> tuple[Tensors, torch.Tensor]:
        codes, scale, zero = grid(weight, bits)
        group_of = torch.arange(weight.shape[1]) // GROUP
        stored = {
            "qweight": words(codes, bits).T,
            "qzeros": words((zero.T - less) % 2**bits, bits),
            "scales": scale.T.half(),
        }
        if with_groups:
            stored["g_idx"] = group_of.int()
        return stored, values(codes, scale, zero, group_of)

    return quantise


def compressed_tensors(weight: torch.Tensor) -> tuple[Tensors, torch.Tensor]:
    """With groups of columns that do not lie side by side."""
    order = torch.randperm(weight.shape[1])
    codes, scale, zero = grid(weight[:, order], 4)
    codes = codes[:, torch.argsort(order)]
    group_of = torch.argsort(order) // GROUP
    stored = {
        "weight_packed": words(codes, 4),
        "weight_scale": scale.half(),
        "weight_zero_point": words(zero.T, 4).T,
        "weight_shape": torch.tensor(weight.shape),
        "weight_g_idx": group_of.int(),
    }
    return stored, values(codes, scale, zero, group_of)


def bitnet(multiplies: bool) -> Quantise:
    """multiplies: whether weight_scale multiplies the product or divides it."""

    def quantise(weight: torch.Tensor) -> tuple[Tensors, torch.Tensor]:
        mean = weight.float().abs().mean()
        ternary = (weight.float() / mean).round().clamp(-1, 1)
        rows = (ternary + 1).to(torch.uint8).reshape(4, -1, weight.shape[1])
        packed = rows[0] | rows[1] << 2 | rows[2] << 4 | rows[3] << 6
        scale = (mean if multiplies else 1 / mean).reshape(1).bfloat16()
        return {"weight": packed, "weight_scale": scale}, ternary * (scale if multiplies else 1 / scale.float())

    return quantise


def bitnet_online(weight: torch.Tensor) -> tuple[Tensors, torch.Tensor]:
    """Floats that are rounded whenever they are used."""
    inverse = 1.0 / weight.float().abs().mean().clamp(min=1e-5)
    rounded = ((weight.float() * inverse).round().clamp(-1, 1) / inverse).to(weight.dtype)
    return {"weight": weight}, rounded


def write(name: str, quantise: Quantise, settings: dict[str, object], file: str = "config.json") -> None:
    directory: Path = ROOT / name
    model = save_plain(directory, torch.bfloat16)
    tensors, reference = {}, dict(model.state_dict())
    for key, value in model.state_dict().items():
        if key.endswith("_proj.weight"):
            module = key.removesuffix(".weight")
            stored, reference[key] = quantise(value)
            tensors |= {f"{module}.{part}": tensor.contiguous().clone() for part, tensor in stored.items()}
        else:
            tensors[key] = value.contiguous()
    save_file(tensors, directory / "model.safetensors", {"format": "pt"})
    config = json.loads((directory / "config.json").read_text())
    if file == "config.json":
        config["quantization_config"] = settings
        (directory / file).write_text(json.dumps(config, indent=1))
    else:
        (directory / file).write_text(json.dumps(settings, indent=1))
    write_reference(directory, reference, MADE_WITH)


torch.manual_seed(11)
GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": GROUP, "desc_act": False, "sym": False}
write("awq", awq, {"quant_method": "awq", "bits": 4, "group_size": GROUP, "version": "gemm", "zero_point": True})
write("efficientqat", gptq(2, 0, with_groups=True), {**GPTQ, "bits": 2, "checkpoint_format": "gptq_v2"})
write("bitdistiller", gptq(3, 1, with_groups=False), {"bits": 3, "group_size": GROUP}, "quantize_config.json")
WEIGHTS = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": GROUP, "actorder": "group"}
CONFIG_GROUPS = {"group_0": {"targets": ["Linear"], "weights": {**WEIGHTS, "symmetric": False}}}
write(
    "ct_4bit_act_order", compressed_tensors,
    {"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": CONFIG_GROUPS},
)  # fmt: skip
BITNET = {"quant_method": "bitnet", "modules_to_not_convert": ["lm_head"]}
write("bitnet_packed", bitnet(multiplies=False), BITNET)
write(
    "bitnet_packed_auto", bitnet(multiplies=True),
    {**BITNET, "linear_class": "autobitlinear", "quantization_mode": "offline"},
)  # fmt: skip
write(
    "bitnet_online", bitnet_online, {**BITNET, "linear_class": "autobitlinear", "quantization_mode": "online"}
)  # fmt: skip
