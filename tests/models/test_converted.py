"""GGUF files of llama.cpp's converter against transformers; converted/make.py wrote both, and tried llama.cpp too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

import lutmac
from gguf_copies import add_fields, write

HERE = Path(__file__).parent / "converted"


@pytest.mark.parametrize(
    ("name", "f16_tolerance"),
    [
        ("olmo3", 3e-3),  # windows and YaRN, each in some layers; norms behind the attention
        ("granite", 2e-3),  # rope.scaling.finetuned is false: no rope
        ("mistral3", 2e-3),
        ("qwen2_5_vl", 2e-3),
        ("qwen3_vl", 3e-3),
        ("qwen3_vl_moe", 3e-3),
        ("stablelm", 2e-3),  # LayerNorms, biases, a quarter of each head rotated
        ("stablelm-parallel", 2e-3),
        ("stablelm-heads", 3e-3),  # each head's queries and keys have a LayerNorm with weights of their own
        ("starcoder2", 2e-3),  # no gate; the head is the embedding
        ("lfm2", 2e-3),  # convolutions; attention.head_count_kv is an array
        ("glm4", 3e-3),
        ("seed_oss", 2e-3),
        ("exaone4", 3e-3),
        ("ernie4_5", 2e-3),
        ("hunyuan", 2e-3),
        ("cohere2", 2e-3),  # windows in the metadata's pattern
        ("phi2", 2e-3),
        ("qwen2moe", 2e-3),
        ("granitemoe", 2e-3),
        ("granitehybrid", 2e-3),  # Mamba2, experts beside an MLP
        ("granitehybrid_dense", 2e-3),
        ("granite4_micro", 2e-3),  # a file of "granite"
        ("nemotron_h", 2e-3),
        ("nemotron_h_moe", 2e-3),  # experts without gates, on fewer numbers
        ("falcon_h1", 2e-3),
        ("falcon_h1_plain", 2e-3),  # without a norm behind the scan
        ("olmoe", 2e-3),
        ("glm4moe", 2e-3),
        ("deepseek_v2", 2e-3),  # latent attention, YaRN's factor in its scale
        ("deepseek_v3", 2e-3),  # groups of experts
        ("glm4_moe_lite", 2e-3),
        ("ernie4_5_moe", 2e-3),
        ("apertus", 2e-3),  # parameters of the activation are in the metadata
        ("afmoe", 3e-3),
        ("qwen3_5", 3e-3),  # gated DeltaNet, value heads in tiles; a layer that guesses further tokens
        ("qwen3_5_moe", 3e-3),  # a shared expert
        ("qwen3_next", 3e-3),  # value heads in groups; beta and alpha in one matrix
        ("lfm2moe", 2e-3),  # a bias selects experts
        ("gemma3n", 3e-3),  # AltUp, LAuReL, sparse gates
        ("gemma4", 3e-3),  # layers that read another's keys and values, embeddings of layers
        ("gemma4_moe", 3e-3),  # gate and up in one stack; expert's scales beside their matrices
        ("laguna", 4e-3),  # heads that differ by layer, each with a gate
        ("granite_swa", 2e-3),
        ("ministral3", 3e-3),  # queries that grow with the position
        ("mellum", 3e-3),
        ("muse_glimmer", 2e-2),  # queries times 3.87: what rounding does to scores grows as they do
        ("kimi_linear", 2e-3),  # a delta rule with decays by channel; latents without positions
        ("bailingmoe3", 2e-3),  # Ling 3: bounded decays, gates of heads
        ("maple", 2e-3),  # of llama.cpp's logits, as the next
        ("bailingmoe2", 3e-3),  # groups of experts
    ],
)
def test_logits_are_those_of_transformers(name: str, f16_tolerance: float) -> None:
    """In standard deviations. Keys and values in float16 have 11 bits; in float32 sums alone are left."""
    references = np.load(HERE / "logits.npz")
    expected, tokens = references[name], references["tokens"].tolist()

    def difference(kind: str) -> float:
        model = lutmac.load(HERE / f"{name}.gguf", precision="exact", kv_cache=kind, threads=1)  # type: ignore[arg-type]
        return float(np.abs(model.logits(tokens)[7::8] - expected).max() / expected.std())

    assert difference("f16") < f16_tolerance
    assert difference("f32") < 1e-4


@pytest.mark.parametrize(
    "name",
    [
        "apertus",
        "bailingmoe2",
        "bailingmoe3",
        "cohere2",
        "deepseek_v3",
        "falcon_h1",
        "gemma3n",
        "gemma4",
        "gemma4_moe",
        "gpt_oss",
        "granite_swa",
        "granitehybrid",
        "hunyuan",
        "kimi_linear",
        "laguna",
        "maple",
        "ministral3",
        "nemotron_h_moe",
        "qwen3_5",
        "qwen3_5_moe",
        "qwen3_next",
    ],
)
def test_threads_and_chunks_do_not_change_a_bit(name: str) -> None:
    """Prompts in chunks of 16, and a last one of 1."""
    tokens = np.load(HERE / "logits.npz")["tokens"].tolist()[:65]
    expected = lutmac.load(HERE / f"{name}.gguf", threads=1).logits(tokens)
    in_chunks = lutmac.load(HERE / f"{name}.gguf", threads=2, max_batch_tokens=16).logits(tokens)
    np.testing.assert_array_equal(in_chunks, expected)


def test_embeddings_of_layers_stay_in_the_file() -> None:
    """A token reads one row of their table, which is as large as the rest of Gemma 4's E2B."""
    info = lutmac.load(HERE / "gemma4.gguf", threads=1).info()
    table = 333 * 5 * 32 * 2
    assert (
        info.weight_bytes < sum(tensor.n_bytes for tensor in gguf.GGUFReader(HERE / "gemma4.gguf").tensors) - table / 2
    )


def test_mxfp4_experts_of_gpt_oss() -> None:
    """The file is that of ../checkpoints/huggingface/gpt_oss_mxfp4, whose reference has rope's frequencies in bfloat16.

    llama.cpp rounds what meets MXFP4 to 8 bits, and is off by 6e-2.
    """
    directory = Path(__file__).parents[1] / "checkpoints" / "huggingface" / "gpt_oss_mxfp4"
    reference = np.load(directory / "reference.npz")
    tokens, expected = reference["tokens"].tolist(), reference["logits"]
    of_file, of_directory = (
        lutmac.load(path, precision="exact", kv_cache="f32", threads=1).logits(tokens)
        for path in (HERE / "gpt_oss.gguf", directory)
    )
    assert np.abs(of_file - expected).max() / expected.std() < 2e-3
    assert np.abs(of_file - of_directory).max() / expected.std() < 1e-5


def rewritten(
    path: Path, name: str, change: Callable[[dict[str, np.ndarray]], None], keys: Mapping[str, int | None] | None = None
) -> Path:
    """One of the files with other tensors, and with other values of some keys; None: without the key."""
    reader = gguf.GGUFReader(HERE / name)
    architecture = reader.fields["general.architecture"].contents()
    writer = gguf.GGUFWriter(str(path), architecture)
    add_fields(reader, writer, {f"{architecture}.{key}": value for key, value in (keys or {}).items()})
    tensors = {tensor.name: np.array(tensor.data) for tensor in reader.tensors}
    change(tensors)
    for tensor, values in tensors.items():
        quantised = gguf.GGMLQuantizationType.Q4_0 if values.dtype == np.uint8 else None
        writer.add_tensor(tensor, values, raw_dtype=quantised)
    write(writer)
    return path


def join_queries_keys_and_values(tensors: dict[str, np.ndarray]) -> None:
    """As converters may write them for any family (llama.cpp's create_tensor_qkv)."""
    for layer in range(2):
        parts = [tensors.pop(f"blk.{layer}.attn_{part}.weight") for part in "qkv"]
        tensors[f"blk.{layer}.attn_qkv.weight"] = np.concatenate(parts)


def flatten_gates(tensors: dict[str, np.ndarray]) -> None:
    """Matrices of one row as vectors: llama.cpp's tools write no dimension of 1 behind others."""
    tensors |= {name: values.reshape(-1) for name, values in tensors.items() if "ffn_gate_inp_shexp" in name}


def join_projections(tensors: dict[str, np.ndarray]) -> None:
    """As the first converters of Qwen3-Next wrote queries, keys, values and gates: by key heads, here 2 of 16."""
    qkv, z = (tensors.pop(f"blk.0.{name}.weight") for name in ("attn_qkv", "attn_gate"))
    parts = [*np.split(qkv, [32, 64]), z]
    heads = [part.reshape(2, -1, part.shape[-1]) for part in parts]
    tensors["blk.0.ssm_in.weight"] = np.concatenate(heads, axis=1).reshape(-1, qkv.shape[-1])


def join_keys_and_values(tensors: dict[str, np.ndarray]) -> None:
    """As files of DeepSeek V2 have them that were written before llama.cpp absorbed these products."""
    for layer in range(2):
        keys, values = (tensors.pop(f"blk.{layer}.attn_{part}_b.weight") for part in "kv")
        both = np.concatenate([keys.swapaxes(1, 2), values], axis=1)
        tensors[f"blk.{layer}.attn_kv_b.weight"] = both.reshape(-1, both.shape[-1])


def add_joined(tensors: dict[str, np.ndarray]) -> None:
    """As some tools write both."""
    joined = dict(tensors)
    join_keys_and_values(joined)
    tensors |= joined


@pytest.mark.parametrize("change", [join_keys_and_values, add_joined])
def test_older_files_of_latent_attention_give_the_same_bits(change: Any, tmp_path: Path) -> None:
    older = {
        "attention.key_length_mla": None, "attention.value_length_mla": None, "attention.key_length": 42,
        "attention.value_length": 32, "attention.head_count_kv": 3,
    }  # fmt: skip
    keys = older if change is join_keys_and_values else {}
    path = rewritten(tmp_path / "older.gguf", "deepseek_v2.gguf", change, keys)
    before, after = (lutmac.load(p, threads=1).logits(list(range(70))) for p in (HERE / "deepseek_v2.gguf", path))
    np.testing.assert_array_equal(before, after)


def test_a_quantised_product_of_keys_is_turned(tmp_path: Path) -> None:
    """It becomes float16, which rounds the weights to 11 bits; the file with these weights as floats keeps them."""

    def quantise(tensors: dict[str, np.ndarray]) -> None:
        join_keys_and_values(tensors)
        for name, values in tensors.items():
            if "attn_kv_b" in name:
                tensors[name] = gguf.quants.quantize(values.astype(np.float32), gguf.GGMLQuantizationType.Q4_0)

    def dequantise(tensors: dict[str, np.ndarray]) -> None:
        quantise(tensors)
        for name, values in tensors.items():
            if "attn_kv_b" in name:
                tensors[name] = gguf.quants.dequantize(values, gguf.GGMLQuantizationType.Q4_0)

    quantised, floats = (
        lutmac.load(
            rewritten(tmp_path / f"{change.__name__}.gguf", "deepseek_v2.gguf", change),
            precision="exact",
            kv_cache="f32",
            threads=1,
        )
        for change in (quantise, dequantise)
    )
    tokens = list(range(70))
    expected = floats.logits(tokens)
    assert np.abs(quantised.logits(tokens) - expected).max() / expected.std() < 5e-3
    assert (
        np.abs(lutmac.load(HERE / "deepseek_v2.gguf", precision="exact", threads=1).logits(tokens) - expected).max()
        > 0.1
    )


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("granite.gguf", join_queries_keys_and_values),
        ("qwen3_5_moe.gguf", flatten_gates),
        ("qwen3_next.gguf", join_projections),
    ],
)
def test_what_other_converters_write_gives_the_same_bits(name: str, change: Any, tmp_path: Path) -> None:
    paths = (HERE / name, rewritten(tmp_path / name, name, change))
    before, after = (lutmac.load(path, threads=1).logits(list(range(40))) for path in paths)
    np.testing.assert_array_equal(before, after)
