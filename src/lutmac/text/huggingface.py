"""The files about text in a Hugging Face directory: the tokenizer, and the chat template in any of its places."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from lutmac.bounded_json import read_json_object, read_optional_json, shown
from lutmac.errors import CheckpointError
from lutmac.text.added_tokens import AddedToken
from lutmac.text.encoder import PieceEncoder, SpacePrefix
from lutmac.text.template_names import DEFAULT, named_templates
from lutmac.text.tokenizer import Tokenizer
from lutmac.text.vocab_txt import VOCAB_TXT, word_piece_document
from lutmac.text.vocabulary import TokenType, Vocabulary

TOKENIZER_JSON: Final = "tokenizer.json"
SENTENCEPIECE_MODEL: Final = "tokenizer.model"
TEMPLATE_FILE: Final = "chat_template.jinja"
TEMPLATE_FOLDER: Final = "additional_chat_templates"
MAX_BYTES: Final = 64 << 20
# Tokenizers of these families begin a text with BOS unless their configuration says otherwise, whatever the file says.
_FAMILIES_THAT_SAY: Final = ("Llama", "Gemma")
_ROLES: Final = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token")


class TextFiles:
    """A directory's files about text, as transformers reads them (https://huggingface.co/docs/transformers)."""

    def __init__(self, directory: Path, config: Mapping[str, Any], generation_config: Mapping[str, Any]) -> None:
        """config, generation_config: the directory's, for the ids that they name."""
        self.directory = directory
        self.generation_config = generation_config
        self._configs = (generation_config, config)
        self._settings = read_optional_json(directory / "tokenizer_config.json")
        self._special = read_optional_json(directory / "special_tokens_map.json")

    def tokenizer(self, vocab_size: int) -> Tokenizer:
        """The tokenizer. vocab_size: the model's, whose last ids may stand for nothing.

        Raises CheckpointError where there is none or it contradicts itself, UnsupportedModelError where it needs what
        lutmac lacks.
        """
        if (self.directory / TOKENIZER_JSON).is_file():
            return self._from_json(vocab_size, read_json_object(self.directory / TOKENIZER_JSON))
        if (self.directory / SENTENCEPIECE_MODEL).is_file():
            return self._from_sentencepiece(vocab_size)
        if (self.directory / VOCAB_TXT).is_file():
            return self._from_json(
                vocab_size, word_piece_document(_read_text(self.directory / VOCAB_TXT), self._settings)
            )
        raise CheckpointError(
            f"{self.directory}: has no tokenizer: neither {TOKENIZER_JSON} nor {SENTENCEPIECE_MODEL} is there"
        )

    def document(self) -> dict[str, Any]:
        """tokenizer.json, or what stands for it where there is vocab.txt alone. Raises CheckpointError."""
        if (self.directory / TOKENIZER_JSON).is_file() or not (self.directory / VOCAB_TXT).is_file():
            return read_json_object(self.directory / TOKENIZER_JSON)
        return word_piece_document(_read_text(self.directory / VOCAB_TXT), self._settings)

    def chat_templates(self) -> dict[str, str]:
        """The sources of the chat templates, by name; one alone is "default"."""
        found: dict[str, object] = {
            path.stem: _read_text(path) for path in sorted((self.directory / TEMPLATE_FOLDER).glob("*.jinja"))
        }
        if (self.directory / TEMPLATE_FILE).is_file():
            found[DEFAULT] = _read_text(self.directory / TEMPLATE_FILE)
        if not found:
            found = named_templates(
                self._settings.get("chat_template")
                or read_optional_json(self.directory / "chat_template.json").get("chat_template")
            )
        templates = {name: source for name, source in found.items() if isinstance(source, str)}
        if templates != found:
            wrong = next(source for source in found.values() if not isinstance(source, str))
            raise CheckpointError(f"{self.directory}: chat_template is {shown(wrong)}, expected a string")
        return templates

    def _from_json(self, vocab_size: int, document: dict[str, Any]) -> Tokenizer:
        from lutmac.text.tokenizer_json import TokenizerJson  # noqa: PLC0415 (only what is needed)

        file = TokenizerJson(document)
        listed = {token.text for token in file.added}
        file.added += [token for token in self._added_tokens() if token.text not in listed]
        tokens = _tokens_by_id(vocab_size, file.ids.items(), file.added)
        types = np.fromiter(file.types(tokens), np.int8, vocab_size)
        before, after = ([id for id in ids if id < vocab_size] for ids in (file.before, file.after))
        vocabulary = self._vocabulary(tokens, types, before[0] if before else None)
        return Tokenizer(
            vocabulary,
            file.encoder(vocabulary),
            before=self._framing("add_bos_token", before, vocabulary.bos_id),
            after=self._framing("add_eos_token", after, vocabulary.eos_id),
            pair=file.pair,
            prefix=SpacePrefix(added=file.strips_prefix, once=file.prefix.once),
            strips_once=True,
        )

    def _from_sentencepiece(self, vocab_size: int) -> Tokenizer:
        from lutmac.text.sentencepiece_model import SentencePieceModel, SentencePieces  # noqa: PLC0415 (as above)

        model = SentencePieceModel(_read_bytes(self.directory / SENTENCEPIECE_MODEL))
        added = [*self._added_tokens(), *self._older_added_tokens()]
        tokens = _tokens_by_id(vocab_size, zip(model.tokens, range(len(model.tokens)), strict=True), added)
        types = np.full(vocab_size, TokenType.UNUSED, np.int8)
        types[: len(model.types)] = model.types
        for token in added:
            if token.id < vocab_size and tokens[token.id] == token.text:
                types[token.id] = TokenType.CONTROL if token.special else TokenType.USER_DEFINED
        vocabulary = self._vocabulary(tokens, types, None)
        prefix = SpacePrefix(added=model.adds_prefix, once=self._settings.get("legacy") is False)
        add_bos, add_eos = self._settings.get("add_bos_token", True), self._settings.get("add_eos_token", False)
        return Tokenizer(
            vocabulary,
            PieceEncoder(
                SentencePieces(model, vocabulary),
                vocabulary,
                prefix=prefix,
                strips_right=[token.id for token in added if token.rstrip],
            ),
            before=[vocabulary.bos_id] if add_bos and vocabulary.bos_id is not None else [],
            after=[vocabulary.eos_id] if add_eos and vocabulary.eos_id is not None else [],
            prefix=prefix,
        )

    def _added_tokens(self) -> Iterable[AddedToken]:
        """Tokens that the configuration adds to those of the model."""
        where = f"{self.directory}: added_tokens_decoder"
        for key, entry in (self._settings.get("added_tokens_decoder") or {}).items():
            yield AddedToken.read(entry, where, int(key) if key.isdecimal() else None)

    def _older_added_tokens(self) -> Iterable[AddedToken]:
        """Tokens that a file of its own adds to a SentencePiece model."""
        for text, id in read_optional_json(self.directory / "added_tokens.json").items():
            if type(id) is not int or id < 0:
                raise CheckpointError(f"{self.directory}: added_tokens.json: the id of {shown(text)} is {shown(id)}")
            yield AddedToken(id, text, special=True)

    def _vocabulary(self, tokens: list[str], types: np.ndarray[Any, Any], bos_id: int | None) -> Vocabulary:
        ids = {text: id for id, text in enumerate(tokens) if text}
        roles = {role: ids.get(_content(self._settings.get(role, self._special.get(role)))) for role in _ROLES}
        special = {ids.get(_content(entry)) for entry in self._more_special_tokens()}
        types[[id for id in special | set(roles.values()) if id is not None]] = TokenType.CONTROL
        ends = self._end_ids(len(tokens))
        eos = min(ends, default=None) if roles["eos_token"] is None else roles["eos_token"]
        return Vocabulary.from_tokens(
            tokens,
            types,
            bos_id=roles["bos_token"] if bos_id is None else bos_id,
            eos_id=eos,
            unknown_id=roles["unk_token"],
            ends=ends if eos is None else ends | {eos},
        )

    def _more_special_tokens(self) -> list[Any]:
        """Control tokens that have no role, or one of the configuration's own."""
        found: list[Any] = []
        for name in ("additional_special_tokens", "extra_special_tokens"):
            listed = self._settings.get(name, self._special.get(name))
            found += listed.values() if isinstance(listed, dict) else listed if isinstance(listed, list) else []
        return found

    def _end_ids(self, size: int) -> set[int]:
        """``eos_token_id`` of generation_config.json and config.json, an id or several."""
        found: set[int] = set()
        for config in self._configs:
            value = config.get("eos_token_id")
            listed = value if isinstance(value, list) else [value]
            found |= {id for id in listed if type(id) is int and 0 <= id < size}
        return found

    def _framing(self, setting: str, ids: list[int], id: int | None) -> list[int]:
        """The ids on one side of a text; `ids` are the tokenizer's own, `id` the token that the setting is about."""
        kind, value = str(self._settings.get("tokenizer_class")), self._settings.get(setting)
        if not isinstance(value, bool) or not kind.startswith(_FAMILIES_THAT_SAY) or value == bool(ids):
            return ids
        return [id] if value and id is not None else []


def _tokens_by_id(size: int, model: Iterable[tuple[str, int]], added: Iterable[AddedToken]) -> list[str]:
    """Tokens by id, "" where there is none. Added ones outside of the model's vocabulary can never be fed to it."""
    tokens = [""] * size
    for text, id in model:
        if id >= size:
            raise CheckpointError(f"the tokenizer has a token {id}, the model's vocabulary ends before {size}")
        tokens[id] = text
    for token in added:
        if token.id < size:
            tokens[token.id] = token.text
    return tokens


def _content(entry: object) -> str:
    """The text of a token that a configuration names, as text or as an object; "" where it names none."""
    text = entry.get("content") if isinstance(entry, dict) else entry
    return text if isinstance(text, str) else ""


def _read_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise CheckpointError(f"{path}: has more than {MAX_BYTES} bytes")
    return data


def _read_text(path: Path) -> str:
    try:
        return _read_bytes(path).decode()
    except UnicodeDecodeError:
        raise CheckpointError(f"{path}: is no UTF-8 text") from None
