"""Quantised directories that contradict themselves, or hold what lutmac does not read: one line each that says so."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lutmac
from lutmac.checkpoints import open_huggingface
from lutmac.errors import LutmacError

ROOT = Path(__file__).parent / "huggingface"
Q = "model.layers.0.self_attn.q_proj"
LEFT = f"{Q}.input_scale"  # a name that is known to be of no account
Header = dict[str, Any]
Change = Callable[[Path], object]


def header(change: Callable[[Header], object]) -> Change:
    """Changes the header of model.safetensors; the tensors' bytes stay where they are."""

    def apply(directory: Path) -> None:
        content = (directory / "model.safetensors").read_bytes()
        size = int.from_bytes(content[:8], "little")
        found = json.loads(content[8 : 8 + size])
        change(found)
        text = json.dumps(found).encode()
        (directory / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + content[8 + size :])
        (directory / "model.safetensors.index.json").unlink(missing_ok=True)

    return apply


def renamed(old: str, new: str) -> Change:
    return header(lambda found: found.update({new: found.pop(old)}))


def entry(name: str, **values: object) -> Change:
    return header(lambda found: found[name].update(values))


def content(name: str, data: bytes) -> Change:
    """Overwrites the beginning of a tensor."""

    def apply(directory: Path) -> None:
        with open_huggingface(directory) as checkpoint:
            place = checkpoint._files.tensors[name].offset
        with (directory / "model.safetensors").open("r+b") as file:
            file.seek(place)
            file.write(data)

    return apply


def config(**values: object) -> Change:
    """Changes what config.json says of quantisation; None takes it away."""

    def apply(directory: Path) -> None:
        found = json.loads((directory / "config.json").read_text())
        for key in ("quantization", "quantization_config"):
            if key in found:
                found[key] = {k: v for k, v in {**found[key], **values}.items() if v is not None}
        (directory / "config.json").write_text(json.dumps(found))

    return apply


def state(text: str) -> Change:
    """The JSON of a layer of bitsandbytes, filled up with blanks."""
    return content(f"{Q}.weight.quant_state.bitsandbytes__nf4", text.encode().ljust(77))


def unsaid(**names: str) -> Change:
    """No configuration; tensors are renamed from ``q_proj.KEY``."""

    def apply(directory: Path) -> None:
        found = json.loads((directory / "config.json").read_text())
        found.pop("quantization_config", None)
        (directory / "config.json").write_text(json.dumps(found))
        for old, new in names.items():
            renamed(f"{Q}.{old}", f"{Q}.{new}")(directory)

    return apply


def exllama_shards(directory: Path) -> None:
    """As exllamav2 leaves a directory: an index that was the original's."""
    found = json.loads((directory / "config.json").read_text())
    found["quantization_config"] = {"quant_method": "exl2", "bits": 4.0}
    (directory / "config.json").write_text(json.dumps(found))
    for shard in sorted(directory.glob("model-*.safetensors")):
        shard.rename(directory / shard.name.replace("model", "output"))


NAN = np.array([np.nan], "<f4").tobytes()
ONLINE = {"config_groups": {"R4": {"type": "hadamard", "apply": [{"targets": ["down_proj"], "location": "input"}]}}}
MXFP6 = {"group_0": {"format": "mxfp6-pack-quantized", "weights": {"num_bits": 6, "type": "float"}}}
MISTAKES: dict[str, tuple[str, Change, str]] = {
    "EXL2": ("gptq_4bit_sym", config(quant_method="exl2"), r"method EXL2 \(ExLlamaV2\) is not supported; supported: "),
    "EXL3": ("gptq_4bit_sym", config(quant_method="exl3"), r"method EXL3 \(ExLlamaV3\) is not supported"),
    "EXL2 under other names": ("fp16_shards", exllama_shards, "method EXL2"),
    "EXL2 without a word": ("bf16", unsaid(bias="q_invperm"), "method EXL2"),
    "EXL3 without a word": ("bf16", unsaid(bias="trellis"), "method EXL3"),
    "no state": ("bnb_nf4", renamed(f"{Q}.weight.quant_state.bitsandbytes__nf4", LEFT), "q_proj: has no quant_state"),
    "no absmax": ("bnb_nf4", renamed(f"{Q}.weight.absmax", LEFT), r"q_proj\.weight\.absmax' is missing"),
    "no weight": ("bnb_nf4", renamed(f"{Q}.weight", LEFT), r"q_proj\.weight with the codes of .* is missing"),
    "another shape": ("bnb_nf4", state('{"shape": [64, 32], "blocksize": 64}'), "2048 bytes, not 4-bit codes of 64x32"),
    "no shape": ("bnb_nf4", state('{"shape": [64], "blocksize": 64}'), r"quant_state has shape \[64\], not that of"),
    "blocks of 7": ("bnb_nf4", state('{"shape": [64, 64], "blocksize": 7}'), "has blocks of 7 and 0"),
    "no JSON": ("bnb_nf4", state("{"), "quant_state: is not valid JSON"),
    "a value that is none": ("bnb_nf4", content(f"{Q}.weight.quant_map", NAN), "quant_map has values that are not f"),
    "no second absmax": ("bnb_nf4_double", renamed(f"{Q}.weight.nested_absmax", LEFT), r"nested_absmax' is missing"),
    "columns of the GPU": ("bnb_int8", content(f"{Q}.weight_format", b"\x01"), "its integers do not lie row by row"),
    "no SCB": ("bnb_int8", renamed(f"{Q}.SCB", LEFT), "q_proj: has no SCB"),
    "three bits for four": ("mlx_3bit_g64", config(bits=4), "are not 4 bits in groups of 64"),
    "no bits": ("mlx_3bit_g64", config(bits="3"), "'?3'? bits in groups of 64 are no quantisation of MLX|None bits"),
    "no biases": ("mlx_3bit_g64", renamed(f"{Q}.biases", f"{Q}.offsets"), "scales and biases are no floats of one t"),
    "another mode": ("mlx_3bit_g64", config(mode="trellis"), "MLX mode 'trellis' is not supported; supported: affine"),
    "another compression": ("ct_fp8_channel", config(format="marlin-24"), "tensors format 'marlin-24' is not supp"),
    "FP8 with a zero point": ("ct_fp8_channel", renamed(f"{Q}.bias", f"{Q}.weight_zero_point"), "floats with a zero p"),
    "a part in another": ("ct_fp8_channel", config(format="mixed-precision", config_groups=MXFP6), "'mxfp6-pack-quant"),
    "a rotation": ("ct_fp8_channel", config(transform_config=ONLINE), "transform_config rotates activations"),
    "sparse weights": ("ct_fp8_channel", renamed(f"{Q}.bias", f"{Q}.bitmask"), "sparse weights .bitmask. are not"),
    "unknown scales": ("ct_nvfp4", entry(f"{Q}.weight_scale", dtype="U8"), "holds scales of an unknown type"),
    "a rotated AutoRound": ("auto_round_mxfp4", config(rotation_config={"block_size": 32}), "AutoRound with rotations"),
    "AutoRound's E5M3": ("auto_round_nvfp4", config(packing_format="auto_round:llm_compressor_nvfp4_e5m3"), "packing"),
    "no scale": ("ct_nvfp4", renamed(f"{Q}.weight_scale", LEFT), r"q_proj\.weight_scale is missing, expected scales"),
    "a global scale of 0": ("ct_nvfp4", content(f"{Q}.weight_global_scale", bytes(4)), "its global scale is 0.0"),
    "scales of other rows": ("ct_fp8_channel", entry(f"{Q}.weight_scale", shape=[32, 2]), r"\(32, 2\) do not fit"),
    "8 bits in 4": ("ct_int4_group", content(f"{Q}.weight", b"\x64"), "has weights from -?[78] to 100, not of 4 bits"),
    "FP8 of another kind": ("fp8_block", entry(f"{Q}.weight", dtype="F8_E5M2"), "has type F8_E5M2 .*expected I8 or F"),
    "scaled inputs": ("modelopt_nvfp4", renamed(f"{Q}.input_scale", f"{Q}.pre_quant_scale"), "scales its inputs"),
    "ModelOpt's integers": (
        "modelopt_nvfp4", entry(f"{Q}.weight_scale", dtype="F16", shape=[64, 2]), "ModelOpt's 4-bit integers are not",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_is_wrong_is_said(mistake: str, tmp_path: Path) -> None:
    name, change, message = MISTAKES[mistake]
    directory = tmp_path / name
    shutil.copytree(ROOT / name, directory)
    change(directory)
    with pytest.raises(LutmacError, match=message) as caught:
        lutmac.load(directory)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("modelopt_nvfp4", unsaid()),  # hf_quant_config.json says the same
        ("ct_fp8_block", config(format="mixed-precision")),
        ("ct_int4_group", config(format=None)),
        ("mlx_mixed", lambda directory: only_quantization(directory, "quantization")),
        ("mlx_mixed", lambda directory: only_quantization(directory, "quantization_config")),
    ],
)
def test_it_may_be_said_elsewhere(name: str, change: Change, tmp_path: Path) -> None:
    directory = tmp_path / name
    shutil.copytree(ROOT / name, directory)
    change(directory)
    with np.load(directory / "reference.npz") as reference:
        logits = lutmac.load(directory, precision="exact", threads=1).logits(reference["tokens"].tolist())
        assert np.abs(logits - reference["logits"]).max() < 2e-3 * reference["logits"].std()


def only_quantization(directory: Path, key: str) -> None:
    """Leaves one of the two entries that mlx-lm writes."""
    found = json.loads((directory / "config.json").read_text())
    found.pop("quantization" if key == "quantization_config" else "quantization_config")
    (directory / "config.json").write_text(json.dumps(found))


@pytest.mark.parametrize(
    "name", ["bnb_nf4_double", "bnb_int8", "mlx_mixed", "ct_int8_channel_asym", "fp8_block", "ct_nvfp4"]
)
def test_no_damage_to_a_header_ends_in_anything_else(name: str, tmp_path: Path) -> None:
    """Shapes and types that are exchanged between tensors: whatever is accepted can be read."""
    rng = np.random.default_rng(5)
    directory = tmp_path / name
    shutil.copytree(ROOT / name, directory)
    original, refusals = (directory / "model.safetensors").read_bytes(), []
    for _ in range(60):
        (directory / "model.safetensors").write_bytes(original)

        def exchange(found: Header) -> None:
            names = [key for key in found if key != "__metadata__"]
            one, other = rng.choice(names, 2, replace=False)
            found[one], found[other] = found[other], found[one]

        header(exchange)(directory)
        try:
            with open_huggingface(directory) as checkpoint:
                for tensor in checkpoint.tensors.values():
                    if len(tensor.shape) == 2:
                        checkpoint.matrix(tensor.name)
        except LutmacError as error:
            refusals.append(str(error))
    assert refusals
    assert not [text for text in refusals if "\n" in text]
