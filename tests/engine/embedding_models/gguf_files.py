"""The model of `base/` in GGUF files, with what they say about embeddings.

    python tests/engine/embedding_models/gguf_files.py

writes llama.cpp's vectors of the texts to llama_cpp.npz (needs llama-cpp-python 0.3.36 and safetensors; the tests only
write the files).
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from safetensors.numpy import load_file

HERE = Path(__file__).parent
NONE, MEAN, CLS, LAST, RANK = range(5)
_NAMES = {
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}  # fmt: skip


def gguf_name(name: str) -> str:
    name = name.removesuffix(".weight")
    if name.startswith("layers."):
        _, layer, rest = name.split(".", 2)
        return f"blk.{layer}.{_NAMES[rest]}.weight"
    return {"embed_tokens": "token_embd", "norm": "output_norm"}[name] + ".weight"


def write_gguf(path: Path, pooling_type: int | None, *, add_eos: bool = True) -> Path:
    """pooling_type: None leaves the key out."""
    config = json.loads((HERE / "base" / "config.json").read_text())
    tokenizer = json.loads((HERE / "base" / "tokenizer.json").read_text())
    writer = gguf.GGUFWriter(str(path), "qwen3")
    numbers = {
        "context_length": config["max_position_embeddings"], "embedding_length": config["hidden_size"],
        "block_count": config["num_hidden_layers"], "feed_forward_length": config["intermediate_size"],
        "attention.head_count": config["num_attention_heads"],
        "attention.head_count_kv": config["num_key_value_heads"], "attention.key_length": config["head_dim"],
        "attention.value_length": config["head_dim"],
    }  # fmt: skip
    for key, value in numbers.items():
        writer.add_uint32(f"qwen3.{key}", value)
    writer.add_float32("qwen3.attention.layer_norm_rms_epsilon", config["rms_norm_eps"])
    writer.add_float32("qwen3.rope.freq_base", config["rope_parameters"]["rope_theta"])
    if pooling_type is not None:
        writer.add_uint32("qwen3.pooling_type", pooling_type)
    add_tokenizer(writer, tokenizer, add_eos=add_eos)
    for name, values in load_file(HERE / "base" / "model.safetensors").items():
        writer.add_tensor(gguf_name(name), values.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def add_tokenizer(writer: gguf.GGUFWriter, tokenizer: dict[str, Any], *, add_eos: bool) -> None:
    """GPT-2's pre-tokenizer, as the base's ByteLevel."""
    ids = tokenizer["model"]["vocab"] | {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    special = {token["content"] for token in tokenizer["added_tokens"]}
    tokens = sorted(ids, key=ids.__getitem__)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in special else 1 for token in tokens])
    writer.add_token_merges([" ".join(pair) for pair in tokenizer["model"]["merges"]])
    writer.add_eos_token_id(ids["<|endoftext|>"])
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(add_eos)


def main() -> None:
    import llama_cpp  # noqa: PLC0415 (only the script needs it)

    texts = json.loads((HERE / "texts.json").read_text())["texts"]
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name, kind in (("mean", MEAN), ("cls", CLS), ("last", LAST)):
            path = write_gguf(Path(scratch) / f"{name}.gguf", kind)
            model = llama_cpp.Llama(str(path), embedding=True, n_ctx=256, n_threads=1, verbose=False)
            found[name] = np.array([model.embed(text, normalize=True) for text in texts], np.float32)
    np.savez_compressed(HERE / "llama_cpp.npz", **found)
    print({name: value.shape for name, value in found.items()})


if __name__ == "__main__":
    main()
