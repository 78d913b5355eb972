"""The tokenizers that GGUF metadata can describe, by `tokenizer.ggml.model`.

Keys: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lutmac.errors import CheckpointError, UnsupportedModelError
from lutmac.text.encoder import SPECIAL, Encoder, PieceEncoder, Pieces, SpacePrefix
from lutmac.text.pretokenizers import pre_tokenizer
from lutmac.text.vocabulary import PREFIX, TokenType, Vocabulary, flag, numbers, string, strings


@dataclass(frozen=True)
class GGUFEncoding:
    """What a file says of its tokenizer. prefix: see SpacePrefix; add_bos, add_eos: whether a text gets them."""

    vocabulary: Vocabulary
    encoder: Encoder
    prefix: SpacePrefix
    add_bos: bool
    add_eos: bool


def gguf_encoding(metadata: Mapping[str, Any]) -> GGUFEncoding:
    """The tokenizer that a file describes.

    Raises CheckpointError where the metadata contradicts itself and UnsupportedModelError for a tokenizer or a
    pre-tokenizer that lutmac lacks.
    """
    model = string(metadata, "model")
    make = _MODELS.get(model or "")
    if make is None:
        known = ", ".join(_MODELS)
        raise UnsupportedModelError(f"unsupported tokenizer {model!r} (tokenizer.ggml.model); known: {known}")
    return make(metadata)


def _merges(metadata: Mapping[str, Any], pre_name: str | None = None) -> GGUFEncoding:
    """Byte-pair encoding, of bytes or with spaces written as ▁."""
    pre = pre_tokenizer(pre_name or string(metadata, "pre"))
    vocabulary = Vocabulary.from_gguf(metadata)
    pieces: Pieces
    if pre.spaces:
        from lutmac.text.spaced_bpe import SpacedBPE  # noqa: PLC0415 (what a file does not need is not imported)

        pieces = SpacedBPE(vocabulary, strings(metadata, "merges"), pre)
    else:
        from lutmac.text.bpe import ByteLevelBPE  # noqa: PLC0415 (as above)

        pieces = ByteLevelBPE(vocabulary, strings(metadata, "merges"), pre)
    encoder = PieceEncoder(pieces, vocabulary, strips_right=_strips_right(metadata, vocabulary))
    return _encoding(metadata, vocabulary, encoder, adds_bos=pre.adds_bos)


def _gemma4(metadata: Mapping[str, Any]) -> GGUFEncoding:
    return replace(_merges(metadata, "gemma4"), add_bos=True)  # some files deny it, but the model wants it


def _sentencepiece(metadata: Mapping[str, Any]) -> GGUFEncoding:
    from lutmac.text.spm import SentencePieces  # noqa: PLC0415 (as above)

    vocabulary = Vocabulary.from_gguf(metadata, bos_id=1, eos_id=2)
    pieces = SentencePieces(vocabulary, _scores(metadata, vocabulary))
    prefix = SpacePrefix(added=flag(metadata, "add_space_prefix", default=True))
    encoder = PieceEncoder(pieces, vocabulary, prefix=prefix, strips_right=_strips_right(metadata, vocabulary))
    return _encoding(metadata, vocabulary, encoder, adds_bos=True, prefix=prefix)


def _unigrams(metadata: Mapping[str, Any]) -> GGUFEncoding:
    from lutmac.text.spm import Normalization, SentencePieces  # noqa: PLC0415 (as above)

    vocabulary = Vocabulary.from_gguf(metadata, eos_id=1, unknown_id=2)
    characters = np.asarray(metadata.get(f"{PREFIX}precompiled_charsmap", np.empty(0, np.uint8)))
    if characters.ndim != 1 or characters.dtype.kind not in "iu":
        raise CheckpointError(f"the file's tokenizer cannot be read: {PREFIX}precompiled_charsmap is no list of bytes")
    normalization = Normalization(
        unigram=True,
        adds_prefix=flag(metadata, "add_space_prefix"),
        removes_spaces=flag(metadata, "remove_extra_whitespaces"),
        characters=characters.astype(np.uint8).tobytes(),
    )
    encoder = PieceEncoder(SentencePieces(vocabulary, _scores(metadata, vocabulary), normalization), vocabulary)
    prefix = SpacePrefix(added=normalization.adds_prefix)
    return _encoding(metadata, vocabulary, encoder, adds_bos=False, adds_eos=True, prefix=prefix)


_MODELS: Final[Mapping[str, Callable[[Mapping[str, Any]], GGUFEncoding]]] = {
    "gpt2": _merges,
    "llama": _sentencepiece,
    "t5": _unigrams,
    "gemma4": _gemma4,
}


def _scores(metadata: Mapping[str, Any], vocabulary: Vocabulary) -> NDArray[np.float32]:
    return numbers(metadata, "scores", len(vocabulary.tokens)).astype(np.float32)


def _encoding(
    metadata: Mapping[str, Any],
    vocabulary: Vocabulary,
    encoder: Encoder,
    *,
    adds_bos: bool,
    adds_eos: bool = False,
    prefix: SpacePrefix = SpacePrefix(),  # noqa: B008 (frozen)
) -> GGUFEncoding:
    """adds_bos, adds_eos: what holds where the file does not say."""
    add_bos, add_eos = (
        flag(metadata, "add_bos_token", default=adds_bos),
        flag(metadata, "add_eos_token", default=adds_eos),
    )
    return GGUFEncoding(vocabulary, encoder, prefix, add_bos, add_eos)


def _strips_right(metadata: Mapping[str, Any], vocabulary: Vocabulary) -> list[int]:
    """The tokens that swallow the white space after them. No GGUF key says so; Phi-3 is known by its name."""
    name = str(metadata.get("general.name", "")).lower()
    if "phi-3" not in name and "phi3" not in name:
        return []
    keep = {"<unk>", "<s>", "<|endoftext|>"}
    special = vocabulary.of_type(*SPECIAL, TokenType.USER_DEFINED)
    return [id for id in special if vocabulary.tokens[id] not in keep]
