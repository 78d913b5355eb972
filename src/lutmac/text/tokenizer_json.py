"""tokenizer.json, the file of Hugging Face `tokenizers`: its model and its normalisers run by that library.

What the file says of special tokens, of spaces before a text and of tokens around it is taken out and done by
`Tokenizer`, so that nobody's text ever turns into a control token.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from tokenizers import Tokenizer as HuggingFaceTokenizer

from lutmac.bounded_json import shown
from lutmac.errors import CheckpointError, UnsupportedModelError
from lutmac.text.bpe import bytes_of_characters, failures_of_tokenizers
from lutmac.text.spm import BYTE_PIECES, SPACE
from lutmac.text.vocabulary import TokenType, Vocabulary

MODELS: Final = ("BPE", "Unigram")
Json = dict[str, Any]


@dataclass(frozen=True)
class SpacePrefix:
    """Whether a space goes before a text: only at its very beginning, only where there is none."""

    added: bool = False
    once: bool = False
    if_missing: bool = False


@dataclass(frozen=True)
class AddedToken:
    """A token that is found in a text as a whole. strips_right: it swallows the white space that follows it."""

    id: int
    text: str
    special: bool
    strips_right: bool


class TokenizerJson:
    """What stands in a tokenizer.json, checked as far as it is used. Raises CheckpointError where it is malformed.

    ids: the model's tokens. added: those beside it. before, after: ids that go around a text. prefix: see SpacePrefix.
    byte_level: a character of a token stands for a byte.
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
                f"tokenizer.json: model {shown(kind)} is not supported; supported: BPE, Unigram"
            )
        if self._model.get("continuing_subword_prefix") or self._model.get("end_of_word_suffix"):
            raise UnsupportedModelError("tokenizer.json: affixes of words (end_of_word_suffix) are not supported")
        self.ids = self._model_ids(kind)
        self.added = [_added_token(entry) for entry in document.get("added_tokens") or ()]
        self.before, self.after = _framing(document.get("post_processor"))
        steps = [*_steps(document.get("pre_tokenizer")), *_steps(document.get("decoder"))]
        self.byte_level = any(step.get("type") == "ByteLevel" for step in steps)
        self.prefix = self._take_prefix()

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
        """Encodes plain text with the model."""
        hidden = {vocabulary.tokens[id] for id in vocabulary.of_type(TokenType.CONTROL)}
        self._hide(hidden - {self._model.get("unk_token")})
        kept = {key: self._document.get(key) for key in ("version", "normalizer", "pre_tokenizer")}
        document = {**kept, "model": self._model, "added_tokens": [], "post_processor": None, "decoder": None}
        with failures_of_tokenizers("tokenizer.json cannot be used"):
            tokenizer = HuggingFaceTokenizer.from_str(json.dumps(document))
        return JsonEncoder(tokenizer, vocabulary, byte_level=self.byte_level)

    @property
    def merges(self) -> list[str] | None:
        """The pairs that are merged, first ones first, with a space between; None where the model has none."""
        pairs = self._model.get("merges")
        return None if pairs is None else [pair if isinstance(pair, str) else " ".join(pair) for pair in pairs]

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

    def _hide(self, texts: set[str]) -> None:
        """Takes control tokens out of the model, so that no text can come out as one."""
        if self._model["type"] == "Unigram":
            for place, entry in enumerate(self._model["vocab"]):
                if entry[0] in texts and place != self._model.get("unk_id"):
                    entry[0] = f"\ufdd0{place}"  # a noncharacter, which no text holds
            return
        for text in texts:
            self._model["vocab"].pop(text, None)
        self._model["merges"] = list(self._merges_without(texts))

    def _merges_without(self, texts: set[str]) -> Iterator[list[str]]:
        """The merges but for those of or to these texts, and those that make no token: `tokenizers` panics at some."""
        vocabulary = self._model["vocab"]
        for rank, merge in enumerate(self._model.get("merges") or ()):
            pair = merge.split(" ", 1) if isinstance(merge, str) else merge
            if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(part, str) for part in pair):
                raise CheckpointError(f"tokenizer.json: merge {rank} is {shown(merge)}, not two tokens")
            left, right = pair
            useless = left in vocabulary and right in vocabulary and left + right not in vocabulary
            if not useless and left not in texts and right not in texts:
                yield pair

    def _take_prefix(self) -> SpacePrefix:
        """Finds who puts a space before a text, and keeps them from doing it."""
        normalizers = _steps(self._document.get("normalizer"))
        if any(step.get("type") == "Prepend" and step.get("prepend") == SPACE for step in normalizers):
            rest = [step for step in normalizers if step.get("type") != "Prepend"]
            self._document["normalizer"] = {"type": "Sequence", "normalizers": rest}
            return SpacePrefix(added=True)
        for step in _steps(self._document.get("pre_tokenizer")):
            if step.get("type") == "Metaspace":
                scheme = step.get("prepend_scheme", "always" if step.get("add_prefix_space", True) else "never")
                step.update(prepend_scheme="never", add_prefix_space=False)
                return SpacePrefix(added=scheme != "never", once=scheme == "first", if_missing=True)
            if step.get("type") == "ByteLevel" and step.get("add_prefix_space"):
                step["add_prefix_space"] = False
                return SpacePrefix(added=True, if_missing=True)
        return SpacePrefix()


class JsonEncoder:
    """Encodes plain text with the model of a tokenizer.json, and gives tokens their bytes back."""

    def __init__(self, tokenizer: HuggingFaceTokenizer, vocabulary: Vocabulary, *, byte_level: bool) -> None:
        """byte_level: a character of a token stands for a byte, as in GPT-2."""
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary
        self._byte_level = byte_level

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text."""
        ids: list[int] = self._tokenizer.encode_batch_fast([text], add_special_tokens=False)[0].ids
        return ids

    def token_bytes(self, id: int) -> bytes:
        """The bytes that a token of text stands for."""
        text, kind = self._vocabulary.tokens[id], self._vocabulary.types[id]
        if kind == TokenType.USER_DEFINED:
            return text.encode(errors="surrogateescape")
        if kind == TokenType.BYTE:
            return bytes([BYTE_PIECES[text]])
        return bytes_of_characters(text) if self._byte_level else text.replace(SPACE, " ").encode(errors="replace")


def strips_right(added: Iterable[AddedToken], vocabulary: Vocabulary) -> list[int]:
    """The ids of added tokens that swallow the white space after them."""
    control = set(np.flatnonzero(vocabulary.types == TokenType.CONTROL).tolist())
    return [token.id for token in added if token.strips_right and token.id in control]


def _added_token(entry: object) -> AddedToken:
    if isinstance(entry, dict):
        id, text = entry.get("id"), entry.get("content")
        if type(id) is int and id >= 0 and isinstance(text, str):
            return AddedToken(id, text, bool(entry.get("special")), bool(entry.get("rstrip")))
    raise CheckpointError(f"tokenizer.json: added token {shown(entry)} has no id or no content")


def _steps(part: object) -> list[Json]:
    """A normaliser, pre-tokenizer or decoder as the list of its steps; they are the document's own, not copies."""
    if not isinstance(part, dict):
        return []
    if part.get("type") != "Sequence":
        return [part]
    inner = part.get("normalizers") or part.get("pretokenizers") or part.get("decoders") or part.get("processors") or []
    return [step for item in inner for step in _steps(item)]


def _framing(post_processor: object) -> tuple[list[int], list[int]]:
    """The ids that a post-processor puts before and after a single text."""
    before: list[int] = []
    after: list[int] = []
    for step in _steps(post_processor):
        if step.get("type") != "TemplateProcessing":
            continue
        target = before
        for item in step.get("single") or ():
            if "Sequence" in item:
                target = after
                continue
            name = item.get("SpecialToken", {}).get("id")
            known: Mapping[str, Any] = step.get("special_tokens", {}).get(name) or {}
            ids = known.get("ids")
            if not isinstance(ids, list) or not all(type(id) is int and id >= 0 for id in ids):
                raise CheckpointError(f"tokenizer.json: the post-processor names {shown(name)}, which has no ids")
            target += ids
    return before, after
