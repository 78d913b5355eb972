"""GGUF files of random weights, of shapes that people know: for benchmarks of speed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np

from lutmac.models.config import DecoderConfig

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


def write_llama(path: Path, config: DecoderConfig, kind: BlockType, *, vocabulary: bool = False) -> None:
    """A Llama of that shape. Without a vocabulary llama.cpp still runs it; lutmac wants one."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    if vocabulary:
        _add_vocabulary(writer, config.vocab_size)
    else:
        writer.add_tokenizer_model("no_vocab")
    hidden, inner = config.hidden_size, config.intermediate_size
    kv = config.num_key_value_heads * config.head_dim
    shapes: list[tuple[str, int, int, BlockType]] = [
        ("token_embd.weight", config.vocab_size, hidden, TYPES["Q6_K"]),
        ("output.weight", config.vocab_size, hidden, TYPES["Q6_K"]),
    ]
    norms = ["output_norm.weight"]
    for layer in range(config.num_hidden_layers):
        norms += [f"blk.{layer}.attn_norm.weight", f"blk.{layer}.ffn_norm.weight"]
        for name, rows, columns in (
            ("attn_q", hidden, hidden),
            ("attn_k", kv, hidden),
            ("attn_v", kv, hidden),
            ("attn_output", hidden, hidden),
            ("ffn_gate", inner, hidden),
            ("ffn_up", inner, hidden),
            ("ffn_down", hidden, inner),
        ):
            shapes.append((f"blk.{layer}.{name}.weight", rows, columns, kind))
    rng = np.random.default_rng(0)
    for name in norms:
        writer.add_tensor_info(name, (hidden,), np.dtype(np.float32), hidden * 4)
    for name, rows, columns, block in shapes:
        row_bytes = columns // block.weights * block.nbytes
        dtype = gguf.GGMLQuantizationType(block.number)
        writer.add_tensor_info(name, (rows, row_bytes), np.dtype(np.uint8), rows * row_bytes, raw_dtype=dtype)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for _ in norms:
        writer.write_tensor_data(np.ones(hidden, dtype=np.float32))
    for _, rows, columns, block in shapes:
        writer.write_tensor_data(random_blocks(block, rows * columns, rng))
    writer.close()


def _add_vocabulary(writer: gguf.GGUFWriter, size: int) -> None:
    """Tokens that mean nothing, and a merge, which the format asks for."""
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(["a", "b", "ab", *(f"<{i}>" for i in range(size - 3))])
    writer.add_token_types([1] * size)
    writer.add_token_merges(["a b"])
    writer.add_eos_token_id(size - 1)
