"""GGUF files of random weights, of shapes that people know: for benchmarks of speed.

Example: python benchmarks/random_gguf.py qwen2.5-coder-1.5b.gguf && lutmac bench qwen2.5-coder-1.5b.gguf --vs llama.cpp
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import gguf
import numpy as np

from lutmac.models.config import DecoderConfig
from lutmac.models.rope import RopeConfig

F16_SMALL = np.array([0.002], dtype=np.float16).view(np.uint8)


@dataclass(frozen=True)
class BlockType:
    """A GGUF tensor type: where in a block its half-precision scales lie; all other bytes may be anything."""

    name: str
    number: int
    weights: int
    nbytes: int
    scales: tuple[int, ...]


# llama.cpp's ggml-common.h.
TYPES = {
    t.name: t
    for t in (
        BlockType("Q4_0", 2, 32, 18, (0,)),
        BlockType("Q3_K", 11, 256, 110, (108,)),
        BlockType("Q2_K", 10, 256, 84, (80, 82)),
        BlockType("TQ2_0", 35, 256, 66, (64,)),
        BlockType("TQ1_0", 34, 256, 54, (52,)),
        BlockType("Q1_0", 41, 128, 18, (0,)),
        BlockType("Q4_1", 3, 32, 20, (0, 2)),
        BlockType("Q5_0", 6, 32, 22, (0,)),
        BlockType("Q8_0", 8, 32, 34, (0,)),
        BlockType("Q4_K", 12, 256, 144, (0, 2)),
        BlockType("Q5_K", 13, 256, 176, (0, 2)),
        BlockType("Q6_K", 14, 256, 210, (208,)),
        BlockType("IQ2_XXS", 16, 256, 66, (0,)),
        BlockType("IQ3_XXS", 18, 256, 98, (0,)),
        BlockType("IQ4_NL", 20, 32, 18, (0,)),
        BlockType("IQ4_XS", 23, 256, 136, (0,)),
    )
}


def random_blocks(kind: BlockType, weights: int, rng: np.random.Generator) -> np.ndarray:
    """So many weights in random blocks: [bytes] uint8."""
    blocks = rng.integers(0, 256, (weights // kind.weights, kind.nbytes), dtype=np.uint8)
    for at in kind.scales:
        blocks[:, at : at + 2] = F16_SMALL
    return blocks.reshape(-1)


# Which type a matrix has, by its name in the file, its layer, and the number of layers. token_embd and output
# have layer -1.
Mix = Callable[[str, int, int], BlockType]


def uniform(kind: BlockType) -> Mix:
    """One type for all layers, and Q6_K for embedding and head."""
    return lambda name, layer, layers: TYPES["Q6_K"] if layer < 0 else kind


def q4_k_m(name: str, layer: int, layers: int) -> BlockType:
    """llama.cpp's Q4_K_M: Q6_K for the head and for ffn_down and attn_v of half of the layers, else Q4_K.

    Those are the first and last eighths and every third between (``use_more_bits`` in its llama-quant.cpp).
    """
    eighth = layers // 8
    more = layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2
    return TYPES["Q6_K"] if name == "output" or (name in ("ffn_down", "attn_v") and more) else TYPES["Q4_K"]


def qwen_coder_1_5b(layers: int = 28) -> DecoderConfig:
    """Qwen2.5-Coder-1.5B's shape, with fewer layers where asked for."""
    return DecoderConfig(
        vocab_size=151_936,
        hidden_size=1536,
        intermediate_size=8960,
        num_hidden_layers=layers,
        num_attention_heads=12,
        num_key_value_heads=2,
        head_dim=128,
        rms_norm_eps=1e-6,
        max_position_embeddings=32768,
        rope=RopeConfig("half_split", 128, 1e6),
    )


def write_qwen_coder_1_5b(path: Path, layers: int = 28) -> None:
    """That model in Q4_K_M's mix, which both lutmac and llama.cpp read: about 1.1 GB."""
    write_random(path, qwen_coder_1_5b(layers), q4_k_m, architecture="qwen2", vocabulary=True)


def write_llama(path: Path, config: DecoderConfig, kind: BlockType, *, vocabulary: bool = False) -> None:
    """A Llama of that shape. Without a vocabulary llama.cpp still runs it; lutmac wants one."""
    write_random(path, config, uniform(kind), architecture="llama", vocabulary=vocabulary)


def write_random(
    path: Path, config: DecoderConfig, mix: Mix, *, architecture: Literal["llama", "qwen2"], vocabulary: bool
) -> None:
    """A model of random weights. qwen2 is a llama whose q, k and v have biases; its rope pairs a head's halves."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope.theta)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    if vocabulary:
        _add_vocabulary(writer, config.vocab_size)
    else:
        writer.add_tokenizer_model("no_vocab")
    vectors, matrices = _tensors(config, mix, biases=architecture == "qwen2")
    for name, values in vectors.items():
        writer.add_tensor_info(name, values.shape, values.dtype, values.nbytes)
    for name, rows, columns, block in matrices:
        row_bytes = columns // block.weights * block.nbytes
        dtype = gguf.GGMLQuantizationType(block.number)
        writer.add_tensor_info(name, (rows, row_bytes), np.dtype(np.uint8), rows * row_bytes, raw_dtype=dtype)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for values in vectors.values():
        writer.write_tensor_data(values)
    rng = np.random.default_rng(0)
    for _, rows, columns, block in matrices:
        writer.write_tensor_data(random_blocks(block, rows * columns, rng))
    writer.close()


def _tensors(
    config: DecoderConfig, mix: Mix, *, biases: bool
) -> tuple[dict[str, np.ndarray], list[tuple[str, int, int, BlockType]]]:
    """Vectors by name, all 1 or, of biases, 0.1; names, rows, columns and types of matrices."""
    hidden, inner, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    q, kv = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
    vectors = {"output_norm.weight": np.ones(hidden, np.float32)}
    matrices = [
        (f"{name}.weight", config.vocab_size, hidden, mix(name, -1, layers)) for name in ("token_embd", "output")
    ]
    for layer in range(layers):
        for name in ("attn_norm", "ffn_norm"):
            vectors[f"blk.{layer}.{name}.weight"] = np.ones(hidden, np.float32)
        for name, rows, columns in (
            ("attn_q", q, hidden),
            ("attn_k", kv, hidden),
            ("attn_v", kv, hidden),
            ("attn_output", hidden, q),
            ("ffn_gate", inner, hidden),
            ("ffn_up", inner, hidden),
            ("ffn_down", hidden, inner),
        ):
            matrices.append((f"blk.{layer}.{name}.weight", rows, columns, mix(name, layer, layers)))
            if biases and name in ("attn_q", "attn_k", "attn_v"):
                vectors[f"blk.{layer}.{name}.bias"] = np.full(rows, 0.1, np.float32)
    return vectors, matrices


def _add_vocabulary(writer: gguf.GGUFWriter, size: int) -> None:
    """Tokens that mean nothing, and a merge, which the format asks for."""
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(["a", "b", "ab", *(f"<{i}>" for i in range(size - 3))])
    writer.add_token_types([1] * size)
    writer.add_token_merges(["a b"])
    writer.add_eos_token_id(size - 1)


def main() -> None:
    """Writes one file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="Qwen2.5-Coder-1.5B's shape in Q4_K_M's mix is written to it: 1.1 GB")
    parser.add_argument("--layers", type=int, default=28, help="fewer layers than the model has, to save time")
    options = parser.parse_args()
    write_qwen_coder_1_5b(options.file, options.layers)


if __name__ == "__main__":
    main()
