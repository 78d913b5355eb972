"""GGUF files for tests, written byte by byte so that any part of them can lie."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from lutmac.checkpoints.gguf_types import TENSOR_TYPES

U8, I32, F32, BOOL, STRING, ARRAY, U64 = 0, 5, 6, 7, 8, 9, 10
U32 = 4
_PACKED = {U8: "<B", U32: "<I", I32: "<i", F32: "<f", BOOL: "<?", U64: "<Q"}

F32_TENSOR, F16_TENSOR, Q4_0_TENSOR, Q2_K_TENSOR = 0, 1, 2, 10


def text(value: str | bytes, length: int | None = None) -> bytes:
    """A string with its length, or with another."""
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw) if length is None else length) + raw


def value(kind: int, content: Any) -> bytes:
    return text(content) if kind == STRING else struct.pack(_PACKED[kind], content)


def entry(key: str | bytes, kind: int, content: Any) -> bytes:
    """A metadata entry holding one value."""
    return text(key) + struct.pack("<I", kind) + value(kind, content)


def array_entry(key: str, kind: int, contents: list[Any], length: int | None = None) -> bytes:
    """A metadata entry holding an array, of its own length or of a claimed one."""
    count = len(contents) if length is None else length
    return text(key) + struct.pack("<IIQ", ARRAY, kind, count) + b"".join(value(kind, one) for one in contents)


@dataclass
class Tensor:
    """A directory entry; dims in the file's order (columns first)."""

    name: str
    dims: tuple[int, ...]
    kind: int
    offset: int
    num_dims: int | None = None

    def packed(self) -> bytes:
        count = len(self.dims) if self.num_dims is None else self.num_dims
        dims = struct.pack(f"<{len(self.dims)}Q", *self.dims)
        return text(self.name) + struct.pack("<I", count) + dims + struct.pack("<IQ", self.kind, self.offset)


CONFIG = {
    "context_length": 512,
    "embedding_length": 64,
    "block_count": 1,
    "feed_forward_length": 128,
    "attention.head_count": 2,
    "attention.head_count_kv": 1,
}
ARCHITECTURE = entry("general.architecture", STRING, "llama")


def gguf_bytes(  # noqa: PLR0913 (by keyword)
    entries: list[bytes] | None = None,
    tensors: list[Tensor] | None = None,
    data: bytes = b"",
    *,
    magic: bytes = b"GGUF",
    version: int = 3,
    num_tensors: int | None = None,
    num_entries: int | None = None,
    alignment: int = 32,
) -> bytes:
    """A whole file; counts may be claimed instead of true."""
    entries = [ARCHITECTURE] if entries is None else entries
    tensors = tensors or []
    head = magic + struct.pack(
        "<IQQ",
        version,
        len(tensors) if num_tensors is None else num_tensors,
        len(entries) if num_entries is None else num_entries,
    )
    head += b"".join(entries) + b"".join(tensor.packed() for tensor in tensors)
    padding = -len(head) % alignment if tensors or data else 0
    return head + bytes(padding) + data


def small_file() -> bytes:
    """A valid file with every region in it: metadata of all kinds, three tensors, one a low-bit vector."""
    entries = [
        ARCHITECTURE,
        entry("llama.block_count", U32, 2),
        entry("llama.attention.layer_norm_rms_epsilon", F32, 1e-5),
        entry("tokenizer.ggml.add_bos_token", BOOL, True),
        array_entry("tokenizer.ggml.tokens", STRING, ["<s>", "hello", "héé", "", b"\xff\xe4"]),
        array_entry("tokenizer.ggml.scores", F32, [0.0, -1.0, 2.5, 3.5, 4.5]),
        array_entry("tokenizer.ggml.token_type", I32, [3, 1, 1, 1, 6]),
    ]
    tensors = [
        Tensor("norm", (32,), F32_TENSOR, 0),
        Tensor("weight", (64, 2), Q4_0_TENSOR, 128),
        Tensor("other", (256,), Q2_K_TENSOR, 224),
    ]
    return gguf_bytes(entries, tensors, bytes(range(256)) + bytes(52))


def model_file() -> bytes:
    """A valid file with the configuration and the tokenizer of a model, that has no weights."""
    entries = [
        ARCHITECTURE,
        *(entry(f"llama.{key}", U32, content) for key, content in CONFIG.items()),
        entry("llama.attention.layer_norm_rms_epsilon", F32, 1e-5),
        entry("tokenizer.ggml.model", STRING, "gpt2"),
        entry("tokenizer.ggml.pre", STRING, "smollm"),
        array_entry("tokenizer.ggml.tokens", STRING, ["a", "b", "ab", "<|im_end|>"]),
        array_entry("tokenizer.ggml.token_type", I32, [1, 1, 1, 3]),
        array_entry("tokenizer.ggml.merges", STRING, ["a b"]),
        entry("tokenizer.ggml.eos_token_id", U32, 3),
    ]
    return gguf_bytes(entries)


def sentence_pieces_file() -> bytes:
    """The same with the other kind of tokenizer."""
    entries = [
        ARCHITECTURE,
        entry("tokenizer.ggml.model", STRING, "llama"),
        array_entry("tokenizer.ggml.tokens", STRING, ["<unk>", "<s>", "</s>", "<0x0A>", "a", "b", "ab"]),
        array_entry("tokenizer.ggml.scores", F32, [0.0, 0.0, 0.0, 0.0, -1.0, -2.0, -0.5]),
        array_entry("tokenizer.ggml.token_type", I32, [2, 3, 3, 6, 1, 1, 1]),
    ]
    return gguf_bytes(entries)


def type_file(number: int) -> bytes:
    """A valid file with one matrix in that tensor type."""
    kind = TENSOR_TYPES[number]
    data = bytes(range(256)) * 9
    return gguf_bytes(None, [Tensor("t", (256, 1), number, 0)], data[: 256 // kind.block_weights * kind.block_bytes])
