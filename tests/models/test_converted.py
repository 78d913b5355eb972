"""GGUF files of llama.cpp's converter against transformers; converted/make.py wrote both, and tried llama.cpp too."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest

import lutmac

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
        ("olmoe", 2e-3),
        ("glm4moe", 2e-3),
        ("ernie4_5_moe", 2e-3),
        ("apertus", 2e-3),  # parameters of the activation are in the metadata
        ("afmoe", 3e-3),
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


def test_queries_keys_and_values_in_one_matrix(tmp_path: Path) -> None:
    """As converters may write them for any family (llama.cpp's create_tensor_qkv): the same bits."""
    reader, writer = gguf.GGUFReader(HERE / "granite.gguf"), gguf.GGUFWriter(str(tmp_path / "joint.gguf"), "granite")
    for field in reader.fields.values():
        if not field.name.startswith(("GGUF.", "general.architecture")):
            element = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(field.name, field.contents(), field.types[0], element)
    tensors = {tensor.name: np.array(tensor.data) for tensor in reader.tensors}
    for layer in range(2):
        parts = [tensors.pop(f"blk.{layer}.attn_{part}.weight") for part in "qkv"]
        tensors[f"blk.{layer}.attn_qkv.weight"] = np.concatenate(parts)
    for name, values in tensors.items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    apart, joint = (
        lutmac.load(path, threads=1).logits(list(range(40)))
        for path in (HERE / "granite.gguf", tmp_path / "joint.gguf")
    )
    np.testing.assert_array_equal(apart, joint)
