"""The tokenizers that GGUF metadata can describe, by `tokenizer.ggml.model`.

Keys: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lutmac.errors import CheckpointError, UnsupportedModelError
from lutmac.text.encoder import SPECIAL, Encoder, PieceEncoder, Pieces, SpacePrefix
from lutmac.text.framing import PairFrame
from lutmac.text.pretokenizers import pre_tokenizer
from lutmac.text.vocabulary import PREFIX, TokenType, Vocabulary, flag, numbers, role, string, strings


@dataclass(frozen=True)
class GGUFEncoding:
    """What a file says of its tokenizer. prefix: see SpacePrefix. before, after: ids that go around a text; pair: what
    goes around two."""

    vocabulary: Vocabulary
    encoder: Encoder
    prefix: SpacePrefix
    before: tuple[int, ...]
    after: tuple[int, ...]
    pair: PairFrame


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
    return _encoding(metadata, vocabulary, encoder, adds_bos=pre.adds_bos, adds_sep=pre.adds_sep)


def _gemma4(metadata: Mapping[str, Any]) -> GGUFEncoding:
    # Some files deny BOS, but the model wants it.
    return _merges({**metadata, f"{PREFIX}add_bos_token": True}, "gemma4")


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
    # With BOS these are XLM-RoBERTa's, which has two separators between texts, also where older files do not say.
    twice = flag(metadata, "add_bos_token")
    return _encoding(metadata, vocabulary, encoder, adds_bos=False, adds_eos=True, adds_sep=twice, prefix=prefix)


def _word_pieces(metadata: Mapping[str, Any]) -> GGUFEncoding:
    from lutmac.text.word_pieces import WordPieceNormalization, WordPieces  # noqa: PLC0415 (as above)

    vocabulary = Vocabulary.from_gguf(metadata, bos_id=101, unknown_id=100)
    lower_cases = flag(metadata, "normalizer.lowercase", default=True)
    strips_accents = flag(metadata, "normalizer.strip_accents", default=lower_cases)
    pieces = WordPieces(vocabulary, WordPieceNormalization(lower_cases, strips_accents))
    prefix = SpacePrefix(added=True)  # when decoding; white space between words says nothing when encoding
    encoder = PieceEncoder(pieces, vocabulary)
    size = len(vocabulary.tokens)
    begin = role(metadata, "cls", size, vocabulary.bos_id)
    separator = role(metadata, "seperator", size, 102)  # as GGUF spells it
    # What a file says of adding BOS, EOS and separators is written for other kinds, and not read for this one.
    before, after = (() if id is None else (id,) for id in (begin, separator))
    return GGUFEncoding(vocabulary, encoder, prefix, before, after, PairFrame(before, after, after, second_type=1))


_MODELS: Final[Mapping[str, Callable[[Mapping[str, Any]], GGUFEncoding]]] = {
    "gpt2": _merges,
    "llama": _sentencepiece,
    "t5": _unigrams,
    "bert": _word_pieces,
    "gemma4": _gemma4,
}


def _scores(metadata: Mapping[str, Any], vocabulary: Vocabulary) -> NDArray[np.float32]:
    return numbers(metadata, "scores", len(vocabulary.tokens)).astype(np.float32)


def _encoding(  # noqa: PLR0913 (by keyword)
    metadata: Mapping[str, Any],
    vocabulary: Vocabulary,
    encoder: Encoder,
    *,
    adds_bos: bool,
    adds_eos: bool = False,
    adds_sep: bool = False,
    prefix: SpacePrefix = SpacePrefix(),  # noqa: B008 (frozen)
) -> GGUFEncoding:
    """adds_bos, adds_eos, adds_sep: what holds where the file does not say."""
    separator = role(metadata, "seperator", len(vocabulary.tokens), vocabulary.eos_id)  # as GGUF spells it
    before, after, between = (
        () if id is None or not flag(metadata, f"add_{name}_token", default=default) else (id,)
        for name, id, default in (
            ("bos", vocabulary.bos_id, adds_bos),
            ("eos", vocabulary.eos_id, adds_eos),
            ("sep", separator, adds_sep),
        )
    )
    return GGUFEncoding(vocabulary, encoder, prefix, before, after, PairFrame(before, after + between, after))


def _strips_right(metadata: Mapping[str, Any], vocabulary: Vocabulary) -> list[int]:
    """The tokens that swallow the white space after them. No GGUF key says so; Phi-3 is known by its name."""
    name = str(metadata.get("general.name", "")).lower()
    if "phi-3" not in name and "phi3" not in name:
        return []
    keep = {"<unk>", "<s>", "<|endoftext|>"}
    special = vocabulary.of_type(*SPECIAL, TokenType.USER_DEFINED)
    return [id for id in special if vocabulary.tokens[id] not in keep]
