"""What GGUF files of some families have otherwise than their directories, or lack."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import lutmac
from lutmac import QuantizationSettings
from lutmac.errors import UnsupportedModelError

ROOT = Path(__file__).parents[1] / "models"
sys.path[:0] = [str(Path(__file__).parent), str(ROOT / "architectures"), str(ROOT)]

from cases import CASES, TOKENS  # noqa: E402
from encoder_cases import CASES as ENCODERS  # noqa: E402
from random_weights import random_weights, write_checkpoint  # noqa: E402
from test_gguf_from_huggingface import EIGHT_BITS, MODELS, SHAPES, make  # noqa: E402
from test_structures import directory  # noqa: E402


def test_ternary_weights_of_bitnet_are_written_as_they_are(tmp_path: Path) -> None:
    """A scale of a matrix becomes one of each block, in half precision: the codes are those of the source."""
    wider = {64: 256, 96: 512, 32: 128}
    config = {**CASES["bitnet-1bitllm"].config, "hidden_size": 256, "intermediate_size": 512}
    shapes = {
        tensor: tuple(wider.get(size, size) for size in shape)
        for tensor, shape in SHAPES["bitnet-1bitllm"].items()
        if tensor != "lm_head.weight"
    }
    source = tmp_path / "source"
    write_checkpoint(source, {**config, "tie_word_embeddings": True}, random_weights(config, shapes))
    settings = QuantizationSettings(method="ternary", group_size=None, embedding_bits=8, head_bits=8)
    made = lutmac.quantize_model(source, tmp_path / "out.gguf", settings, output="gguf", threads=1)
    kinds = {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(made.path).tensors}
    assert {kind for name, kind in kinds.items() if "norm" not in name and "embd" not in name} == {"TQ2_0"}
    assert max(tensor.error for tensor in made.tensors if "embed" not in tensor.name) < 1e-3
    assert kinds["blk.0.attn_sub_norm.weight"] == kinds["blk.0.ffn_sub_norm.weight"] == "F32"


def test_muse_glimmer_is_written_with_norms_of_heads(tmp_path: Path) -> None:
    """Its directories have these without weights; GGUF's scale the queries."""
    source = directory(tmp_path / "source", "muse_glimmer")
    native = lutmac.quantize_model(source, tmp_path / "native", EIGHT_BITS, threads=1)
    made = lutmac.quantize_model(source, tmp_path / "out.gguf", EIGHT_BITS, output="gguf", threads=1)
    expected, found = (
        lutmac.load(path, precision="exact", kv_cache="f32", threads=1).logits(TOKENS[:60])
        for path in (native.path, made.path)
    )
    assert np.linalg.norm(found - expected) < 1e-4 * np.linalg.norm(expected)
    tensors = {tensor.name: tensor.data for tensor in gguf.GGUFReader(made.path).tensors}
    np.testing.assert_allclose(tensors["blk.0.attn_q_norm.weight"], 3.87, rtol=1e-6)
    np.testing.assert_array_equal(tensors["blk.0.attn_k_norm.weight"], 1)


def test_a_head_that_readers_want_is_the_embedding_again(tmp_path: Path) -> None:
    """llama.cpp loads no file of OLMo 2 without one."""
    source = make(tmp_path / "source", "olmo2")
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": True}))
    tensors = load_file(source / "model.safetensors")
    del tensors["lm_head.weight"]
    save_file(tensors, source / "model.safetensors")
    made = lutmac.quantize_model(source, tmp_path / "out.gguf", EIGHT_BITS, output="gguf", threads=1)
    found = {tensor.name: tensor.data for tensor in gguf.GGUFReader(made.path).tensors}
    np.testing.assert_array_equal(found["output.weight"], found["token_embd.weight"])


def test_weights_of_experts_that_readers_would_take_otherwise_are_refused(tmp_path: Path) -> None:
    """llama.cpp has it fixed for some families, whatever the file says."""
    source = make(tmp_path / "source", "qwen3-moe")
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({**config, "norm_topk_prob": False}))
    with pytest.raises(UnsupportedModelError, match="GGUF's qwen3moe cannot say that norm_topk_prob is False"):
        lutmac.quantize_model(source, tmp_path / "out.gguf", EIGHT_BITS, output="gguf", threads=1)


def test_a_head_of_its_own_that_readers_do_not_read_is_refused(tmp_path: Path) -> None:
    config = {**CASES["bitnet-1bitllm"].config}
    source = tmp_path / "source"
    write_checkpoint(source, config, random_weights(config, SHAPES["bitnet-1bitllm"]))
    with pytest.raises(UnsupportedModelError, match="GGUF's bitnet has no head but its embedding"):
        lutmac.quantize_model(source, tmp_path / "out.gguf", EIGHT_BITS, output="gguf", threads=1)


def test_a_bias_that_experts_share_is_left_out_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """GGUF has none, and other converters leave it out of nomic-embed-text-v2-moe."""
    config, shapes = ENCODERS["nomic-moe"].config, json.loads((MODELS / "encoder_shapes.json").read_text())
    source = tmp_path / "source"
    write_checkpoint(source, config, random_weights(config, shapes["nomic-moe"]))
    made = lutmac.quantize_model(source, tmp_path / "out.gguf", EIGHT_BITS, output="gguf", threads=1)
    assert caplog.text.count("GGUF has no bias of experts") == 1
    reader = gguf.GGUFReader(made.path)
    assert reader.fields["general.architecture"].contents() == "nomic-bert-moe"
    assert {tensor.name: tensor.shape.tolist() for tensor in reader.tensors}["blk.1.ffn_down_exps.weight"] == [
        96,
        64,
        6,
    ]
    zero = {
        name: np.zeros_like(values) if name.endswith("experts.bias") else values
        for name, values in random_weights(config, shapes["nomic-moe"]).items()
    }
    write_checkpoint(tmp_path / "zero", config, zero)
    caplog.clear()
    lutmac.quantize_model(tmp_path / "zero", tmp_path / "zero.gguf", EIGHT_BITS, output="gguf", threads=1)
    assert not caplog.text


def test_embedding_gemma_is_written_with_its_dense_layers(tmp_path: Path) -> None:
    """Modules of sentence-transformers are tensors there, whose sizes are in the metadata."""
    config, shapes = ENCODERS["embedding-gemma"].config, json.loads((MODELS / "encoder_shapes.json").read_text())
    source, draw = tmp_path / "source", np.random.default_rng(0)
    write_checkpoint(source, config, random_weights(config, shapes["embedding-gemma"]))
    modules = [{"type": "sentence_transformers.models.Transformer", "path": ""}]
    dense = {"bias": False, "activation_function": "torch.nn.modules.linear.Identity"}
    for folder, settings in {
        "1_Pooling": {"pooling_mode_mean_tokens": True},
        "2_Dense": {"in_features": 64, "out_features": 96, **dense},
        "3_Dense": {"in_features": 96, "out_features": 64, **dense},
    }.items():
        (source / folder).mkdir()
        if "out_features" in settings:
            weight = draw.standard_normal((settings["out_features"], settings["in_features"])).astype(np.float32)
            save_file({"linear.weight": weight}, source / folder / "model.safetensors")
        (source / folder / "config.json").write_text(json.dumps(settings))
        modules.append({"type": f"sentence_transformers.models.{folder[2:]}", "path": folder})
    modules.append({"type": "sentence_transformers.models.Normalize", "path": "4_Normalize"})
    (source / "modules.json").write_text(json.dumps(modules))
    native = lutmac.quantize_model(source, tmp_path / "native", EIGHT_BITS, threads=1)
    made = lutmac.quantize_model(source, tmp_path / "out.gguf", EIGHT_BITS, output="gguf", threads=1)
    expected, found = (
        lutmac.load(path, precision="exact", threads=1).embed([range(3, 90), range(5, 9)])
        for path in (native.path, made.path)
    )
    np.testing.assert_allclose(found, expected, atol=1e-5)
    fields = {name: field.contents() for name, field in gguf.GGUFReader(made.path).fields.items()}
    assert fields["general.architecture"] == "gemma-embedding"
    assert [fields[f"gemma-embedding.dense_{which}"] for which in ("2_feat_in", "2_feat_out", "3_feat_in")] == [
        64, 96, 96,
    ]  # fmt: skip
    assert fields["gemma-embedding.attention.causal"] is False
    assert fields["gemma-embedding.pooling_type"] == 1
