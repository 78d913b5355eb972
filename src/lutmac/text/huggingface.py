"""The files about text in a Hugging Face directory: the tokenizer, and the chat template in any of its places."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from lutmac.bounded_json import read_json_object, read_optional_json, shown
from lutmac.errors import CheckpointError, UnsupportedModelError
from lutmac.text.template_names import DEFAULT, named_templates
from lutmac.text.tokenizer import Tokenizer
from lutmac.text.vocabulary import TokenType, Vocabulary

TOKENIZER_JSON: Final = "tokenizer.json"
SENTENCEPIECE_MODEL: Final = "tokenizer.model"
TEMPLATE_FILE: Final = "chat_template.jinja"
TEMPLATE_FOLDER: Final = "additional_chat_templates"
MAX_BYTES: Final = 64 << 20
# Tokenizers of these families begin a text with BOS unless their configuration says otherwise, whatever the file says.
_FAMILIES_THAT_SAY: Final = ("Llama", "Gemma")


class TextFiles:
    """A directory's files about text, as transformers reads them (https://huggingface.co/docs/transformers)."""

    def __init__(self, directory: Path, config: Mapping[str, Any], generation_config: Mapping[str, Any]) -> None:
        """config, generation_config: the directory's, for the ids that they name."""
        self.directory = directory
        self._configs = (generation_config, config)
        self._settings = read_optional_json(directory / "tokenizer_config.json")
        self._special = read_optional_json(directory / "special_tokens_map.json")

    def tokenizer(self, vocab_size: int) -> Tokenizer:
        """The tokenizer. vocab_size: the model's, whose last ids may stand for nothing.

        Raises CheckpointError where there is none or it contradicts itself, UnsupportedModelError where it needs what
        lutmac lacks.
        """
        if (self.directory / TOKENIZER_JSON).is_file():
            return self._from_json(vocab_size)
        if (self.directory / SENTENCEPIECE_MODEL).is_file():
            return self._from_sentencepiece(vocab_size)
        raise CheckpointError(
            f"{self.directory}: has no tokenizer: neither {TOKENIZER_JSON} nor {SENTENCEPIECE_MODEL} is there"
        )

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

    def _from_json(self, vocab_size: int) -> Tokenizer:
        from lutmac.text.tokenizer_json import TokenizerJson, strips_right  # noqa: PLC0415 (only what is needed)

        file = TokenizerJson(read_json_object(self.directory / TOKENIZER_JSON))
        tokens = _tokens_by_id(vocab_size, file.ids.items(), ((token.text, token.id) for token in file.added))
        types = np.fromiter(file.types(tokens), np.int8, vocab_size)
        vocabulary = self._vocabulary(tokens, types, file.before[0] if file.before else None)
        if len(file.before) > 1 or len(file.after) > 1:
            raise UnsupportedModelError(f"{self.directory}: {TOKENIZER_JSON} puts several tokens around a text")
        return Tokenizer(
            vocabulary,
            file.encoder(vocabulary),
            add_bos=self._adds("add_bos_token", bool(file.before)),
            add_eos=self._adds("add_eos_token", bool(file.after)),
            last_id=file.after[0] if file.after and file.after[0] < vocab_size else None,
            add_space_prefix=file.prefix.added,
            space_prefix_once=file.prefix.once,
            space_prefix_if_missing=file.prefix.if_missing,
            strips_right=strips_right(file.added, vocabulary),
        )

    def _from_sentencepiece(self, vocab_size: int) -> Tokenizer:
        from lutmac.text.sentencepiece_model import SentencePieceEncoder, SentencePieceModel  # noqa: PLC0415 (as above)

        model = SentencePieceModel(_read_bytes(self.directory / SENTENCEPIECE_MODEL))
        added = list(self._added_tokens())
        tokens = _tokens_by_id(
            vocab_size, zip(model.tokens, range(len(model.tokens)), strict=True), ((text, id) for text, id, _ in added)
        )
        types = np.full(vocab_size, TokenType.UNUSED, np.int8)
        types[: len(model.types)] = model.types
        for text, id, special in added:
            if id < vocab_size and tokens[id] == text:
                types[id] = TokenType.CONTROL if special else TokenType.USER_DEFINED
        vocabulary = self._vocabulary(tokens, types, None)
        return Tokenizer(
            vocabulary,
            SentencePieceEncoder(model, vocabulary),
            add_bos=bool(self._settings.get("add_bos_token", True)),
            add_eos=bool(self._settings.get("add_eos_token", False)),
            add_space_prefix=model.adds_prefix,
            space_prefix_once=self._settings.get("legacy") is False,
        )

    def _added_tokens(self) -> Iterable[tuple[str, int, bool]]:
        """Tokens that were added to a SentencePiece model: text, id, whether it is a control token."""
        for key, entry in (self._settings.get("added_tokens_decoder") or {}).items():
            if not key.isdecimal() or not isinstance(entry, dict) or not isinstance(entry.get("content"), str):
                raise CheckpointError(f"{self.directory}: added_tokens_decoder[{shown(key)}] is {shown(entry)}")
            yield entry["content"], int(key), bool(entry.get("special"))
        for text, id in read_optional_json(self.directory / "added_tokens.json").items():
            if type(id) is not int or id < 0:
                raise CheckpointError(f"{self.directory}: added_tokens.json: the id of {shown(text)} is {shown(id)}")
            yield text, id, True

    def _vocabulary(self, tokens: list[str], types: np.ndarray[Any, Any], bos_id: int | None) -> Vocabulary:
        ids = dict(zip(tokens, range(len(tokens)), strict=True))

        def named(role: str) -> int | None:
            entry = self._settings.get(role, self._special.get(role))
            text = entry.get("content") if isinstance(entry, dict) else entry
            return ids.get(text) if isinstance(text, str) and text else None

        ends = self._end_ids(len(tokens))
        bos, eos, unknown = named("bos_token"), named("eos_token"), named("unk_token")
        bos = bos_id if bos_id is not None and bos_id < len(tokens) else bos
        if eos is None and ends:
            eos = min(ends)
        for id in (bos, eos, *ends):
            if id is not None:
                types[id] = TokenType.CONTROL
        ends |= set() if eos is None else {eos}
        return Vocabulary.from_tokens(tokens, types, bos_id=bos, eos_id=eos, unknown_id=unknown, ends=ends)

    def _end_ids(self, size: int) -> set[int]:
        """``eos_token_id`` of generation_config.json and config.json, an id or several."""
        found: set[int] = set()
        for config in self._configs:
            value = config.get("eos_token_id")
            listed = value if isinstance(value, list) else [value]
            found |= {id for id in listed if type(id) is int and 0 <= id < size}
        return found

    def _adds(self, setting: str, default: bool) -> bool:
        kind, value = str(self._settings.get("tokenizer_class")), self._settings.get(setting)
        return value if isinstance(value, bool) and kind.startswith(_FAMILIES_THAT_SAY) else default


def _tokens_by_id(size: int, model: Iterable[tuple[str, int]], added: Iterable[tuple[str, int]]) -> list[str]:
    """Tokens by id, "" where there is none. Added ones outside of the model's vocabulary can never be fed to it."""
    tokens = [""] * size
    for text, id in model:
        if id >= size:
            raise CheckpointError(f"the tokenizer has a token {id}, the model's vocabulary ends before {size}")
        tokens[id] = text
    for text, id in added:
        if id < size:
            tokens[id] = text
    return tokens


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
