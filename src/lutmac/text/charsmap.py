"""SentencePiece's map of characters to others, checked before `tokenizers`, which panics at a broken one, sees it.

It is a double-array trie: https://github.com/google/sentencepiece/blob/master/src/normalizer.h
"""

from __future__ import annotations

import base64
import binascii

import numpy as np

from lutmac.errors import CheckpointError


def check_charsmap(encoded: object) -> None:
    """Raises CheckpointError unless this is such a map in Base64 whose trie leads nowhere outside of it."""
    try:
        data = base64.b64decode(encoded, validate=True) if isinstance(encoded, str) else b""
    except (binascii.Error, ValueError):
        data = b""
    size = int.from_bytes(data[:4], "little")
    if len(data) < 4 or size % 4 or not 0 < size <= len(data) - 4:
        raise CheckpointError("tokenizer.json: its normalizer has a precompiled_charsmap that cannot be read")
    units = np.frombuffer(data[4 : 4 + size], "<u4")
    inner = np.flatnonzero(units >> 31 == 0).astype(np.uint32)
    offsets = (units[inner] >> 10) << ((units[inner] & (1 << 9)) >> 6)
    if ((inner ^ offsets) | 0xFF).max(initial=0) >= len(units):
        raise CheckpointError("tokenizer.json: its normalizer has a precompiled_charsmap that leads outside of it")
