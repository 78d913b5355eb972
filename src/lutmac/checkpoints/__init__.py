"""What is on disk, turned into named tensors and a configuration; no arithmetic beyond unpacking."""

from lutmac.checkpoints.gguf import GGUFFile, GGUFTensor, Metadata, open_gguf

__all__ = ["GGUFFile", "GGUFTensor", "Metadata", "open_gguf"]
