"""Text models within others, and bare ones, against transformers; structures/make.py wrote both."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lutmac
from lutmac.errors import CheckpointError, UnsupportedModelError

sys.path.insert(0, str(Path(__file__).parent / "architectures"))

from cases import CASES
from random_weights import random_weights, write_checkpoint

HERE = Path(__file__).parent / "structures"
TOKENIZER = Path(__file__).parents[1] / "checkpoints" / "huggingface" / "bf16"
REFERENCES = dict(np.load(HERE / "logits.npz"))
NAMES = [name for name in REFERENCES if name != "tokens"]
SHAPES = json.loads((HERE.parent / "architectures" / "shapes.json").read_text())
QUANTISED = sorted(path.stem for path in HERE.glob("*.npz") if path.stem != "logits")
Config = dict[str, Any]


def directory(
    path: Path,
    name: str,
    *,
    config: Callable[[Config], Config] = lambda config: config,
    rename: Callable[[str], str] = lambda name: name,
) -> Path:
    """A model of structures/ with a tokenizer; with another configuration, and other names."""
    path.mkdir()
    settings = json.loads((HERE / f"{name}.json").read_text())
    (path / "config.json").write_text(json.dumps(config(settings)))
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(TOKENIZER / file, path / file)
    content = (HERE / f"{name}.safetensors").read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    tensors = json.loads(content[8:end])
    header = json.dumps({rename(tensor): entry for tensor, entry in tensors.items()}).encode()
    (path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + content[end:])
    return path


def difference(path: Path, name: str, kv_cache: str = "f32") -> float:
    """The largest, in standard deviations of the reference."""
    model = lutmac.load(path, precision="exact", kv_cache=kv_cache, threads=1)  # type: ignore[arg-type]
    expected = np.load(HERE / f"{name}.npz")["logits"] if name in QUANTISED else REFERENCES[name]
    found = model.logits(REFERENCES["tokens"].tolist())[7::8]
    return float(np.abs(found - expected).max() / expected.std())


@pytest.mark.parametrize("name", NAMES)
def test_logits_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    """Keys and values in float16 have 11 bits; in float32 sums alone are left. Norms of heads, or
    behind the attention, make more of a difference, and so do Muse Glimmer's queries, which are scaled by 3.87.
    """
    path = directory(tmp_path / name, name)
    assert difference(path, name) < 1e-4
    allowed = {
        "gemma3": 3e-3,
        "gemma4": 3e-3,
        "qwen3_vl": 3e-3,
        "qwen3_vl_moe": 3e-3,
        "qwen3_bare": 3e-3,
        "muse_glimmer": 2e-2,
    }
    assert difference(path, name, "f16") < allowed.get(name, 2e-3)
    native = lutmac.convert(path, tmp_path / "native", threads=1).path
    assert difference(native, name) < 1e-4


@pytest.mark.parametrize("name", QUANTISED)
def test_quantised_models_by_the_names_of_their_writers(name: str, tmp_path: Path) -> None:
    """The reference is transformers with the weights that the writer's library dequantises."""
    path = directory(tmp_path / name, name)
    assert difference(path, name) < 1e-4
    assert difference(path, name, "f16") < (3e-3 if "gemma3" in name else 2e-3)
    native = lutmac.convert(path, tmp_path / "native", threads=1).path
    assert difference(native, name) < 1e-4


def test_hqq_without_a_configuration_is_told_by_its_tensors(tmp_path: Path) -> None:
    """As hqq's own save_to_safetensors leaves it, beside the model's config.json."""
    source = TOKENIZER.parent / "hqq_4bit_g32"
    shutil.copytree(source, tmp_path / "hqq")
    config = json.loads((source / "config.json").read_text())
    del config["quantization_config"]
    (tmp_path / "hqq" / "config.json").write_text(json.dumps(config))
    reference = np.load(source / "reference.npz")
    found = lutmac.load(tmp_path / "hqq", precision="exact", kv_cache="f32", threads=1).logits(
        reference["tokens"].tolist()
    )
    assert np.abs(found - reference["logits"]).max() < 1e-4 * reference["logits"].std()


@pytest.mark.parametrize("name", ["llava", "qwen3_vl"])
def test_text_models_within_others_are_written_to_gguf(name: str, tmp_path: Path) -> None:
    """Biases of what is no text do not count."""
    settings = lutmac.QuantizationSettings(bits=8, group_size=32, symmetric=True)
    source, made = directory(tmp_path / name, name), []
    for output, path in (("native", tmp_path / "native"), ("gguf", tmp_path / "out.gguf")):
        made.append(lutmac.quantize_model(source, path, settings, output=output, threads=1).path)  # type: ignore[arg-type]
    native, gguf = (lutmac.load(path, precision="exact", threads=1).logits(list(range(40))) for path in made)
    assert np.linalg.norm(gguf - native) < 1e-4 * np.linalg.norm(native)


@pytest.mark.parametrize("turned", [False, True])
def test_experts_of_a_layer_in_one_tensor(turned: bool, tmp_path: Path) -> None:
    """As transformers 5 has them in memory, and turned as Qwen3-VL's files have them: the same bits."""
    config = CASES["qwen3-moe"].config
    weights = random_weights(config, SHAPES["qwen3-moe"])
    write_checkpoint(tmp_path / "apart", config, weights)
    stacked = {name: values for name, values in weights.items() if ".experts." not in name}
    for layer in range(config["num_hidden_layers"]):
        front = f"model.layers.{layer}.mlp.experts"
        gate, up, down = (
            np.stack([weights[f"{front}.{expert}.{part}_proj.weight"] for expert in range(config["num_experts"])])
            for part in ("gate", "up", "down")
        )
        for name, stack in (("gate_up_proj", np.concatenate([gate, up], 1)), ("down_proj", down)):
            stacked[f"{front}.{name}"] = np.ascontiguousarray(stack.swapaxes(1, 2) if turned else stack)
    write_checkpoint(tmp_path / "stacked", config, stacked)
    apart, together = (
        lutmac.load(tmp_path / name, threads=1).logits(REFERENCES["tokens"].tolist()) for name in ("apart", "stacked")
    )
    np.testing.assert_array_equal(apart, together)


def test_what_is_no_text_is_left_out_and_listed(tmp_path: Path) -> None:
    for name in NAMES:
        info = lutmac.load(directory(tmp_path / name, name), threads=1).info()
        expected = set() if name == "qwen3_bare" else {"parts for images and sounds"}
        expected |= {"layers that guess further tokens"} if name.startswith("qwen3_5") else set()
        expected |= {"keys and values that other tensors give"} if name == "gemma4" else set()
        assert {left.what for left in info.left_out if "frequencies" not in left.what} == expected


@pytest.mark.parametrize(
    ("name", "rename"),
    [
        ("gemma3", lambda name: name.replace("language_model.model.", "model.language_model.")),
        ("llava", lambda name: name.replace("language_model.model.", "model.language_model.").replace(
            "language_model.lm_head", "lm_head")),
        ("qwen2_vl", lambda name: name.replace("model.", "model.language_model.").replace("visual.", "model.visual.")),
        ("qwen3_vl", lambda name: name.replace("model.language_model.", "language_model.model.")),
        ("qwen3_bare", lambda name: name if name == "__metadata__" else f"model.{name}"),
    ],
)  # fmt: skip
def test_names_of_transformers_4_and_5(name: str, rename: Callable[[str], str], tmp_path: Path) -> None:
    assert difference(directory(tmp_path / name, name, rename=rename), name) < 1e-4


def test_qwen2_vl_as_it_is_on_the_hub(tmp_path: Path) -> None:
    """One configuration for all, and rope_scaling of type mrope."""

    def flat(config: Config) -> Config:
        text = {key: value for key, value in config["text_config"].items() if key != "rope_parameters"}
        scaling = {"rope_theta": 10000.0, "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]}}
        return {**text, **scaling, "model_type": "qwen2_vl", "vision_config": config["vision_config"]}

    assert difference(directory(tmp_path / "flat", "qwen2_vl", config=flat), "qwen2_vl") < 1e-4


def test_gemma3_as_it_is_on_the_hub(tmp_path: Path) -> None:
    """A text model that says little: ropes and the period of windows by their older names, no model_type."""

    def older(config: Config) -> Config:
        dropped = ("rope_parameters", "layer_types", "model_type", "_sliding_window_pattern", "rms_norm_eps")
        text = {key: value for key, value in config["text_config"].items() if key not in dropped}
        return {**config, "text_config": {**text, "sliding_window_pattern": 2}}

    assert difference(directory(tmp_path / "older", "gemma3", config=older), "gemma3") < 1e-4


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"text_config": 3}, CheckpointError, r"config\.json: text_config is 3, expected an object"),
        ({"model_type": "paligemma"}, UnsupportedModelError, r"config\.json: paligemma reads prompts in both"),
        ({"text_config": {"model_type": "llama4_text"}}, UnsupportedModelError, "architecture 'llama4_text'"),
    ],
)
def test_what_no_text_model_here_is(changes: Config, error: type[Exception], message: str, tmp_path: Path) -> None:
    path = directory(tmp_path / "x", "gemma3", config=lambda config: {**config, **changes})
    with pytest.raises(error, match=message):
        lutmac.load(path)
