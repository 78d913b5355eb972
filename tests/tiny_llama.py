"""A small llama of random weights in a GGUF file, and its exact logits in float64, written from the papers."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from random_blocks import SIZES, random_blocks

VOCAB, HIDDEN, FFN, LAYERS, HEADS, KV_HEADS, HEAD_DIM, CONTEXT = 260, 256, 512, 2, 8, 4, 32, 512
EPS, THETA = 1e-5, 10000.0
END, IM_START, IM_END = 257, 258, 259
Array = np.ndarray
NUMBERS = {"I8": np.int8, "I16": np.int16, "I32": np.int32, "I64": np.int64, "F64": np.float64}
UNNAMED = {"Q2_0": 42, "PQ2_0": 142, "PTQ1_0": 143}  # types that the gguf package does not know
QUANTISED_HERE = ("F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0")


@dataclass(frozen=True)
class TinyLlama:
    """The file, and the weights that its tensors stand for."""

    path: Path
    kind: str  # of its matrices
    weights: dict[str, Array] = field(repr=False)

    def logits(self, tokens: list[int]) -> Array:
        """[n, vocab] float64."""
        return exact_logits(self.weights, tokens)


def make_tiny_llama(  # noqa: PLR0913 (by keyword)
    path: Path,
    kind: str,
    *,
    kinds: Mapping[str, str] | None = None,
    biases: bool = False,
    tied: bool = True,
    row_scales: bool = False,
    split_max_tensors: int = 0,
    **overrides: Any,
) -> TinyLlama:
    """Writes the file. kind: tensor type of all matrices but those in ``kinds``. overrides: metadata, see below.

    ``rope__freq_base=500.0`` is ``llama.rope.freq_base``, ``general__name`` is ``general.name``; None leaves a key out.
    split_max_tensors: so many to a file, the first of which the path returned is; 0: one file.
    """
    rng = np.random.default_rng(7)
    writer = gguf.GGUFWriter(str(path), "llama", split_max_tensors=split_max_tensors)
    metadata: dict[str, Any] = {
        "context_length": CONTEXT,
        "embedding_length": HIDDEN,
        "block_count": LAYERS,
        "feed_forward_length": FFN,
        "attention.head_count": HEADS,
        "attention.head_count_kv": KV_HEADS,
        "attention.layer_norm_rms_epsilon": EPS,
        "rope.freq_base": THETA,
        "rope.dimension_count": HEAD_DIM,
    }
    for key, value in {**metadata, **{key.replace("__", "."): value for key, value in overrides.items()}}.items():
        add_value(writer, key if key.startswith("general.") else f"llama.{key}", value)
    add_tokenizer(writer)
    weights: dict[str, Array] = {}
    for name, shape in tensor_shapes(biases, tied).items():
        if len(shape) == 1:
            values = rng.normal(1.0 if "norm" in name else 0.0, 0.2, shape).astype(np.float32)
            writer.add_tensor(name, values)
        else:
            plain = rng.normal(0, shape[1] ** -0.5, shape).astype(np.float32)
            values = add_matrix(writer, name, (kinds or {}).get(name, kind), plain, rng, row_scales=row_scales)
        weights[name] = values.astype(np.float64)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    if split_max_tensors:
        return TinyLlama(min(path.parent.glob(f"{path.stem}-00001-of-*")), kind, weights)
    matrices = {name: shape for name, shape in tensor_shapes(biases, tied).items() if len(shape) == 2}
    name_types(path, {name: (shape, (kinds or {}).get(name, kind)) for name, shape in matrices.items()})
    return TinyLlama(path, kind, weights)


def name_types(
    path: Path, matrices: Mapping[str, tuple[tuple[int, ...], str]], numbers: Mapping[str, int] = UNNAMED
) -> None:
    """Turns matrices of bytes into those of their types in the file's tensor directory, where they are in ``numbers``.

    matrices: shape and type by name. numbers: of the types.
    """
    content = path.read_bytes()
    for name, ((rows, columns), kind) in matrices.items():
        if kind not in numbers:
            continue
        block_weights, block_bytes = SIZES[kind]
        head = struct.pack("<Q", len(name)) + name.encode() + struct.pack("<I", 2)
        stored = columns // block_weights * block_bytes
        before = head + struct.pack("<QQI", stored, rows, gguf.GGMLQuantizationType.I8)
        assert content.count(before) == 1
        content = content.replace(before, head + struct.pack("<QQI", columns, rows, numbers[kind]))
    path.write_bytes(content)


def add_value(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    if isinstance(value, str):
        writer.add_string(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, list):
        writer.add_array(key, value)
    elif value is not None:
        writer.add_uint32(key, value)


def add_tokenizer(writer: gguf.GGUFWriter, unused: int = 0) -> None:
    """A token for each byte, one for two zero bytes (a vocabulary without merges is none), three control tokens.

    unused: tokens that fill the vocabulary up.
    """
    fill = [f"<unused{i}>" for i in range(unused)]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list([*byte_names(), byte_names()[0] * 2, "<|endoftext|>", "<|im_start|>", "<|im_end|>", *fill])
    writer.add_token_types([1] * 257 + [3] * 3 + [5] * unused)
    writer.add_token_merges([f"{byte_names()[0]} {byte_names()[0]}"])
    writer.add_eos_token_id(IM_END)
    writer.add_bos_token_id(IM_START)
    writer.add_add_bos_token(False)


def byte_names() -> list[str]:
    """GPT-2's printable names of the 256 bytes, in the order of the bytes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]


def tensor_shapes(biases: bool, tied: bool) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (VOCAB, HIDDEN), "output_norm.weight": (HIDDEN,)}
    if not tied:
        shapes["output.weight"] = (VOCAB, HIDDEN)
    for layer in range(LAYERS):
        matrices = {
            "attn_q": (HEADS * HEAD_DIM, HIDDEN),
            "attn_k": (KV_HEADS * HEAD_DIM, HIDDEN),
            "attn_v": (KV_HEADS * HEAD_DIM, HIDDEN),
            "attn_output": (HIDDEN, HEADS * HEAD_DIM),
            "ffn_gate": (FFN, HIDDEN),
            "ffn_up": (FFN, HIDDEN),
            "ffn_down": (HIDDEN, FFN),
        }
        shapes |= {f"blk.{layer}.{name}.weight": shape for name, shape in matrices.items()}
        shapes |= {f"blk.{layer}.{name}.weight": (HIDDEN,) for name in ("attn_norm", "ffn_norm")}
        if biases:
            shapes |= {f"blk.{layer}.{name}.bias": matrices[name][:1] for name in ("attn_q", "attn_k", "attn_v")}
    return shapes


def add_matrix(
    writer: gguf.GGUFWriter, name: str, kind: str, values: Array, rng: np.random.Generator, *, row_scales: bool = False
) -> Array:
    """Adds a matrix in that tensor type and returns what it stands for. row_scales: see random_blocks."""
    if kind in NUMBERS:
        numbers = (values if kind == "F64" else np.round(values * values.shape[1] ** 0.5)).astype(NUMBERS[kind])
        writer.add_tensor(name, numbers)
        return numbers
    if kind in UNNAMED:  # as bytes, until name_types
        data, stands_for = random_blocks(kind, values.shape, rng)
        writer.add_tensor(name, data.view(np.int8))
        return stands_for
    tensor_type = gguf.GGMLQuantizationType[kind]
    if kind in QUANTISED_HERE:
        data = gguf.quants.quantize(values, tensor_type)
        stands_for = gguf.quants.dequantize(data, tensor_type)
    else:
        data, stands_for = random_blocks(kind, values.shape, rng, row_scales=row_scales)
    writer.add_tensor(name, data, raw_dtype=tensor_type)
    return stands_for.reshape(values.shape)


def exact_logits(weights: dict[str, Array], tokens: list[int]) -> Array:
    """The forward pass over one sequence, rope on pairs (2i, 2i + 1)."""
    hidden = weights["token_embd.weight"][tokens]
    for layer in range(LAYERS):
        block = {n.removeprefix(f"blk.{layer}."): w for n, w in weights.items() if n.startswith(f"blk.{layer}.")}
        hidden = hidden + attention(block, rms_norm(hidden, block["attn_norm.weight"]))
        x = rms_norm(hidden, block["ffn_norm.weight"])
        gate = x @ block["ffn_gate.weight"].T
        gated = gate / (1 + np.exp(-gate)) * (x @ block["ffn_up.weight"].T)
        hidden = hidden + gated @ block["ffn_down.weight"].T
    head = weights.get("output.weight", weights["token_embd.weight"])
    return rms_norm(hidden, weights["output_norm.weight"]) @ head.T


def rms_norm(x: Array, weight: Array) -> Array:
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + EPS) * weight


def attention(block: dict[str, Array], x: Array) -> Array:
    q, k, v = (
        (x @ block[f"attn_{name}.weight"].T + block.get(f"attn_{name}.bias", 0.0)).reshape(len(x), heads, HEAD_DIM)
        for name, heads in (("q", HEADS), ("k", KV_HEADS), ("v", KV_HEADS))
    )
    q, k = rotate(q), rotate(k)
    k, v = (np.repeat(part, HEADS // KV_HEADS, axis=1) for part in (k, v))
    scores = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(HEAD_DIM)
    scores += np.triu(np.full(scores.shape[1:], -np.inf), 1)
    shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
    shares /= shares.sum(axis=-1, keepdims=True)
    return np.einsum("hqk,khd->qhd", shares, v).reshape(len(x), -1) @ block["attn_output.weight"].T


def rotate(heads: Array) -> Array:
    angles = np.arange(len(heads))[:, None] * THETA ** (-np.arange(0, HEAD_DIM, 2) / HEAD_DIM)
    turned = (heads[..., 0::2] + 1j * heads[..., 1::2]) * np.exp(1j * angles)[:, None]
    return np.stack([turned.real, turned.imag], axis=-1).reshape(heads.shape)
