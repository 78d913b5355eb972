"""What is on disk, turned into named tensors and a configuration; no arithmetic beyond unpacking."""

from lutmac.checkpoints.gguf import GGUFFile, GGUFTensor, Metadata, open_gguf
from lutmac.checkpoints.huggingface import HuggingFaceCheckpoint, StoredTensor, open_huggingface
from lutmac.checkpoints.safetensors import SafetensorsFile, SafetensorsTensor, open_safetensors

__all__ = [
    "GGUFFile",
    "GGUFTensor",
    "HuggingFaceCheckpoint",
    "Metadata",
    "SafetensorsFile",
    "SafetensorsTensor",
    "StoredTensor",
    "open_gguf",
    "open_huggingface",
    "open_safetensors",
]
