"""tokenizer.json, the file of Hugging Face `tokenizers`, whose library runs all of it but two things.

Control tokens are found by lutmac, so that nobody's text ever turns into one; and so is what goes around a text.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

from tokenizers import Tokenizer as HuggingFaceTokenizer

from lutmac.bounded_json import shown
from lutmac.errors import CheckpointError, UnsupportedModelError
from lutmac.text.added_tokens import SPACE as WHITE_SPACE
from lutmac.text.added_tokens import AddedToken, ControlTokens
from lutmac.text.bpe import bytes_of_characters, failures_of_tokenizers
from lutmac.text.charsmap import check_charsmap
from lutmac.text.encoder import Part, SpacePrefix, join_texts
from lutmac.text.framing import Json, pair_frame, single_frame, stages
from lutmac.text.spm import BYTE_PIECES, SPACE
from lutmac.text.vocabulary import TokenType, Vocabulary
from lutmac.text.word_pieces import WordPieceNormalization

MODELS: Final = ("BPE", "Unigram", "WordPiece")
CONTINUING: Final = "##"  # what marks a piece that goes on from another one


@dataclass(frozen=True)
class Unigrams:
    """What GGUF wants of a model of unigrams. removes_spaces: runs of white space are as one."""

    scores: list[float]
    characters: bytes
    unknown_id: int | None
    removes_spaces: bool


class TokenizerJson:
    """What stands in a tokenizer.json, checked as far as it is used. Raises CheckpointError where it is malformed.

    ids: the model's tokens. added: those that are found as a whole. before, after: ids that go around a text. pair:
    what goes around two, None where the file does not say. prefix: the space that encoding puts before a text;
    strips_prefix: whether decoding takes it away. byte_level: a character of a token stands for a byte.
    """

    def __init__(self, document: Json) -> None:
        """document: the file's contents; taken over."""
        self._document = document
        self._model: Any = document.get("model")
        kind = self._model.get("type") if isinstance(self._model, dict) else None
        if kind is None and isinstance(self._model, dict) and "merges" in self._model:
            kind = self._model["type"] = "BPE"  # files older than the key
        if kind not in MODELS:
            raise UnsupportedModelError(
                f"tokenizer.json: model {shown(kind)} is not supported; supported: {', '.join(MODELS)}"
            )
        self.ids = self._model_ids(kind)
        self.added = [AddedToken.read(entry, "tokenizer.json") for entry in document.get("added_tokens") or ()]
        self.before, self.after = single_frame(document.get("post_processor"))
        self.pair = pair_frame(document.get("post_processor"))
        decoders = stages(document.get("decoder"))
        self.byte_level = any(
            stage.get("type") == "ByteLevel" for stage in (*stages(document.get("pre_tokenizer")), *decoders)
        )
        self.prefix = _space_prefix(document)
        for stage in stages(document.get("normalizer")):
            if stage.get("type") == "Precompiled":
                check_charsmap(stage.get("precompiled_charsmap"))
        self._is_word_piece = kind == "WordPiece"
        self.strips_prefix = any(map(_strips_prefix, decoders)) if decoders else self.prefix.added
        self.strips_prefix |= self._is_word_piece  # a word begins with a space in all that lutmac decodes

    def types(self, tokens: Iterable[str]) -> Iterator[TokenType]:
        """What each of the vocabulary's tokens is."""
        added = {token.text: token for token in self.added}
        bytes_stand_for_themselves = bool(self._model.get("byte_fallback"))
        for text in tokens:
            if text in added:
                yield TokenType.CONTROL if added[text].special else TokenType.USER_DEFINED
            elif bytes_stand_for_themselves and text in BYTE_PIECES:
                yield TokenType.BYTE
            else:
                yield TokenType.NORMAL if text else TokenType.UNUSED

    def encoder(self, vocabulary: Vocabulary) -> JsonEncoder:
        """Encodes and decodes with the file. vocabulary: of its tokens, with all control tokens among them."""
        control = {vocabulary.tokens[id]: id for id in vocabulary.of_type(TokenType.CONTROL) if vocabulary.tokens[id]}
        added = [replace(token, special=token.text in control) for token in self.added]
        known = {token.text for token in added}
        added += [AddedToken(id, text, special=True) for text, id in control.items() if text not in known]
        beyond = {token.text for token in added if token.id >= len(vocabulary.tokens)}  # no model can be fed these
        concealed = {text: f"\ufdd0{secrets.token_hex(16)}" for text in beyond | control.keys()}
        self._conceal(concealed)
        entries = [replace(token, text=concealed.get(token.text, token.text)).entry() for token in added]
        added = [token for token in added if token.text not in beyond]
        kept = {key: self._document.get(key) for key in ("normalizer", "pre_tokenizer")}
        document = {"version": "1.0", **kept, "model": self._model, "added_tokens": entries}
        with failures_of_tokenizers("tokenizer.json cannot be used"):
            library = HuggingFaceTokenizer.from_str(json.dumps(document))
        decoding = None if self.byte_level else self._decoding()
        return JsonEncoder(library, vocabulary, added, self.prefix, decoding)

    @property
    def merges(self) -> list[str] | None:
        """The pairs that are merged, first ones first, with a space between; None where the model has none."""
        return None if self._model.get("merges") is None else [" ".join(pair) for pair in self._merges()]

    def _model_ids(self, kind: str) -> dict[str, int]:
        vocabulary = self._model.get("vocab")
        if kind == "Unigram" and isinstance(vocabulary, list):
            pieces = [entry[0] if isinstance(entry, list) and len(entry) == 2 else None for entry in vocabulary]
            vocabulary = dict(zip(pieces, range(len(pieces)), strict=True))
        if not isinstance(vocabulary, dict) or not vocabulary or not set(map(type, vocabulary)) <= {str}:
            raise CheckpointError("tokenizer.json: its model has no vocabulary")
        if not set(map(type, vocabulary.values())) <= {int} or min(vocabulary.values()) < 0:
            raise CheckpointError("tokenizer.json: its vocabulary has an id that is no number from 0 on")
        return dict(vocabulary)

    def _merges(self) -> Iterator[Sequence[str]]:
        for rank, merge in enumerate(self._model.get("merges") or ()):
            pair = merge.split(" ", 1) if isinstance(merge, str) else merge
            if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(part, str) for part in pair):
                raise CheckpointError(f"tokenizer.json: merge {rank} is {shown(merge)}, not two tokens")
            yield pair

    def _conceal(self, names: Mapping[str, str]) -> None:
        """Gives control tokens secret names in the model, so that no text can come out as one."""
        model = self._model
        if model["type"] == "Unigram":
            model["vocab"] = [[names.get(text, text), score] for text, score in model["vocab"]]
            return
        affix = model.get("continuing_subword_prefix") or ""
        vocabulary, merges = model["vocab"], []
        for left, right in self._merges():
            made = left + right.removeprefix(affix)
            # `tokenizers` panics at some that make no token; one of what is no token it refuses.
            makes_none = made not in vocabulary and left in vocabulary and right in vocabulary
            if not makes_none and right.startswith(affix) and names.keys().isdisjoint((left, right, made)):
                merges.append((left, right))
        if model["type"] == "BPE":
            model["merges"] = merges
        model["vocab"] = {names.get(text, text): id for text, id in vocabulary.items()}
        if model.get("unk_token") is not None:
            model["unk_token"] = names.get(model["unk_token"], model["unk_token"])

    @property
    def unigrams(self) -> Unigrams | None:
        """Of a model of unigrams; None of another, and where its texts are prepared otherwise than XLM-RoBERTa's."""
        if self._model["type"] != "Unigram" or self._model.get("byte_fallback"):
            return None
        normalizers = stages(self._document.get("normalizer"))
        cuts = [stage.get("type") for stage in stages(self._document.get("pre_tokenizer"))]
        kinds = [stage.get("type") for stage in normalizers]
        if kinds not in (["Precompiled"], ["Precompiled", "Replace"]) or "Metaspace" not in cuts:
            return None
        characters = base64.b64decode(normalizers[0]["precompiled_charsmap"])
        scores = [float(score) for _, score in self._model["vocab"]]
        return Unigrams(scores, characters, self._model.get("unk_id"), "WhitespaceSplit" in cuts or len(kinds) > 1)

    @property
    def normalization(self) -> WordPieceNormalization | None:
        """What WordPiece does to a text first, as BERT's normalizer has it; None of another model."""
        if not self._is_word_piece:
            return None
        found = next((s for s in stages(self._document.get("normalizer")) if s.get("type") == "BertNormalizer"), {})
        lower_cases, accents = found.get("lowercase", True) is True, found.get("strip_accents")
        return WordPieceNormalization(lower_cases, lower_cases if accents is None else accents is True)

    def _decoding(self) -> Callable[[str], str]:
        """From a token to its text."""
        if self._is_word_piece:
            mark = self._model.get("continuing_subword_prefix")
            mark = mark if isinstance(mark, str) else CONTINUING
            return lambda text: text[len(mark) :] if text.startswith(mark) else " " + text
        replacements = self._replacements()

        def replaced(text: str) -> str:
            for old, new in replacements:
                text = text.replace(old, new)
            return text

        return replaced

    def _replacements(self) -> list[tuple[str, str]]:
        """What decoding replaces in every token by what; a file that does not say means SentencePiece's spaces."""
        decoders = stages(self._document.get("decoder"))
        found = [] if decoders else [(SPACE, " ")]
        for stage in decoders:
            pattern = stage.get("pattern")
            if stage.get("type") == "Replace" and isinstance(pattern, dict) and "String" in pattern:
                found.append((str(pattern["String"]), str(stage.get("content", ""))))
            elif stage.get("type") == "Metaspace":
                found.append((str(stage.get("replacement", SPACE)), " "))
            elif stage.get("type") == "BPEDecoder":
                found.append((str(stage.get("suffix", "</w>")), " "))
        return found


class JsonEncoder:
    """Text to ids with `tokenizers`, and tokens back to bytes."""

    def __init__(
        self,
        library: HuggingFaceTokenizer,
        vocabulary: Vocabulary,
        added: Sequence[AddedToken],
        prefix: SpacePrefix,
        decoding: Callable[[str], str] | None,
    ) -> None:
        """decoding: from a token to its text; None where its characters stand for bytes."""
        self._library = library
        self._vocabulary = vocabulary
        self._prefix = prefix
        self._decoding = decoding
        self._lstrip = {token.id for token in added if token.special and token.lstrip}
        self._rstrip = {token.id for token in added if token.special and token.rstrip}
        self.cut = ControlTokens(added).cut

    def encode(self, parts: Sequence[Part], *, begins: bool) -> list[int]:
        """Ids of plain texts and control tokens; neighbouring texts are one. begins: whether they begin a prompt."""
        ids: list[int] = []
        joined = join_texts(parts)
        for place, part in enumerate(joined):
            if isinstance(part, int):
                ids.append(part)
                begins = not self._prefix.once
                continue
            text = part.lstrip(WHITE_SPACE) if place and joined[place - 1] in self._rstrip else part
            if joined[place + 1 : place + 2] and joined[place + 1] in self._lstrip:
                text = text.rstrip(WHITE_SPACE)
            library = self._library if begins or not self._prefix.added else self._without_prefix
            with failures_of_tokenizers("tokenizer.json cannot encode this text"):
                ids += library.encode_batch_fast([text], add_special_tokens=False)[0].ids
        return ids

    def token_bytes(self, id: int) -> bytes:
        """The bytes that a token of text stands for."""
        text, kind = self._vocabulary.tokens[id], self._vocabulary.types[id]
        if kind == TokenType.BYTE:
            return bytes([BYTE_PIECES[text]])
        if self._decoding is None:
            return text.encode(errors="replace") if kind == TokenType.USER_DEFINED else bytes_of_characters(text)
        return self._decoding(text).encode(errors="replace")

    @cached_property
    def _without_prefix(self) -> HuggingFaceTokenizer:
        """The library for text that is not the beginning of one."""
        document = json.loads(self._library.to_str())
        _drop_prefix(document)
        return HuggingFaceTokenizer.from_str(json.dumps(document))


def _space_prefix(document: Json) -> SpacePrefix:
    """Who puts a space before a text."""
    if any(_prepends(stage) for stage in stages(document.get("normalizer"))):
        return SpacePrefix(added=True)
    for stage in stages(document.get("pre_tokenizer")):
        if stage.get("type") == "Metaspace":
            scheme = stage.get("prepend_scheme", "always" if stage.get("add_prefix_space", True) else "never")
            return SpacePrefix(added=scheme != "never", once=scheme == "first")
        if stage.get("type") == "ByteLevel" and stage.get("add_prefix_space"):
            return SpacePrefix(added=True)
    return SpacePrefix()


def _drop_prefix(document: Json) -> None:
    """Keeps whoever does from putting a space before a text."""
    normalizers = stages(document.get("normalizer"))
    if any(map(_prepends, normalizers)):
        rest = [stage for stage in normalizers if not _prepends(stage)]
        document["normalizer"] = {"type": "Sequence", "normalizers": rest}
    for stage in stages(document.get("pre_tokenizer")):
        if stage.get("type") == "Metaspace":
            stage.update(prepend_scheme="never", add_prefix_space=False)
        elif stage.get("type") == "ByteLevel":
            stage["add_prefix_space"] = False


def _prepends(normalizer: Json) -> bool:
    return normalizer.get("type") == "Prepend" and normalizer.get("prepend") == SPACE


def _strips_prefix(decoder: Json) -> bool:
    """Whether a decoder takes away the space before a text."""
    if decoder.get("type") == "Strip":
        return decoder.get("content") == " " and bool(decoder.get("start"))
    scheme = decoder.get("prepend_scheme", "always" if decoder.get("add_prefix_space", True) else "never")
    return decoder.get("type") == "Metaspace" and scheme != "never"
