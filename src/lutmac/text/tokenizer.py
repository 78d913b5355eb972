"""The tokenizer of a model: text to token ids and back."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, Protocol

from lutmac.errors import InvalidRequestError, UnsupportedModelError
from lutmac.text.pretokenizers import pre_tokenizer
from lutmac.text.special import TokenMatcher
from lutmac.text.stream import StreamDecoder
from lutmac.text.vocabulary import TokenType, Vocabulary, flag, string

_SPECIAL = (TokenType.CONTROL, TokenType.UNKNOWN)


class Encoder(Protocol):
    """A way of cutting plain text into ordinary tokens."""

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text."""

    def token_bytes(self, id: int) -> bytes:
        """The bytes that a token of text stands for."""


class Tokenizer:
    """Text to token ids and back, as the model was trained and as llama.cpp does it.

    Control tokens such as `<|im_end|>` are recognised only where the caller says that a text may hold them; a user's
    text never turns into one. Tokens that the vocabulary calls user-defined are recognised everywhere.

    Attributes: `vocabulary`; `vocab_size`; `bos_id` and `eos_id`, None where the vocabulary has none;
    `end_of_generation`, the ids that end a reply; `add_bos` and `add_eos`, whether a text begins with BOS or ends with
    `last_id`, which is EOS but where the file names another one (Qwen3-Embedding's does);
    `add_space_prefix`, whether a text is encoded with a space before it.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        encoder: Encoder,
        *,
        add_bos: bool = False,
        add_eos: bool = False,
        last_id: int | None = None,
        add_space_prefix: bool = False,
        space_prefix_once: bool = False,
        space_prefix_if_missing: bool = False,
        strips_right: Iterable[int] = (),
    ) -> None:
        """`strips_right` names the special tokens that swallow the white space that follows them.

        The space before a text comes, with `space_prefix_once`, only at its very beginning, otherwise after every
        special token too; with `space_prefix_if_missing` only where there is none.
        """
        self.vocabulary = vocabulary
        self._encoder = encoder
        self.vocab_size = len(vocabulary.tokens)
        self.bos_id = vocabulary.bos_id
        self.eos_id = vocabulary.eos_id
        self.end_of_generation = vocabulary.end_of_generation
        self.add_bos = add_bos and vocabulary.bos_id is not None
        self.last_id = vocabulary.eos_id if last_id is None else last_id
        self.add_eos = add_eos and self.last_id is not None
        self.add_space_prefix = add_space_prefix
        self.space_prefix_once = space_prefix_once
        self._space_prefix_if_missing = space_prefix_if_missing
        special, user_defined = vocabulary.of_type(*_SPECIAL), vocabulary.of_type(TokenType.USER_DEFINED)
        self._special = frozenset(special)
        self._boundaries = frozenset(special + user_defined)
        self._in_text = TokenMatcher(self._by_text(user_defined))
        self._in_templates = TokenMatcher(self._by_text(special + user_defined), strips_right)
        self._bytes: dict[int, bytes] = {}

    @classmethod
    def from_gguf(cls, metadata: Mapping[str, Any]) -> Tokenizer:
        """The tokenizer that GGUF metadata describes.

        Raises CheckpointError where the metadata contradicts itself and UnsupportedModelError for a tokenizer or a
        pre-tokenizer that lutmac lacks.
        """
        model = string(metadata, "model")
        encoder: Encoder
        if model == "gpt2":
            from lutmac.text.bpe import byte_level_bpe  # noqa: PLC0415 (what a file does not need is not imported)

            pre = pre_tokenizer(string(metadata, "pre"))
            vocabulary = Vocabulary.from_gguf(metadata)
            encoder = byte_level_bpe(metadata, vocabulary, pre)
            adds_bos, adds_space = pre.adds_bos, False
        elif model == "llama":
            from lutmac.text.spm import sentence_pieces  # noqa: PLC0415

            vocabulary = Vocabulary.from_gguf(metadata, bos_id=1, eos_id=2)
            encoder = sentence_pieces(metadata, vocabulary)
            adds_bos, adds_space = True, flag(metadata, "add_space_prefix", default=True)
        else:
            raise UnsupportedModelError(f"unsupported tokenizer {model!r} (tokenizer.ggml.model); known: gpt2, llama")
        return cls(
            vocabulary,
            encoder,
            add_bos=flag(metadata, "add_bos_token", default=adds_bos),
            add_eos=flag(metadata, "add_eos_token", default=False),
            add_space_prefix=adds_space,
            strips_right=_strips_right(metadata, vocabulary),
        )

    def encode(self, text: str, *, parse_special: bool = False, add_special: bool = True) -> list[int]:
        """Token ids of a text.

        `parse_special` recognises control tokens in it: for a template's text and for a raw prompt, never for what a
        user says in a chat. `add_special` adds BOS and EOS where the model wants them and the text does not begin or
        end with them. Surrogates without a partner, which are no text, are encoded as U+FFFD.
        """
        return self.encode_segments([(text, parse_special)], add_special=add_special)

    def encode_segments(self, segments: Iterable[tuple[str, bool]], *, add_special: bool = True) -> list[int]:
        """Token ids of the concatenation of segments, each with whether control tokens are recognised in it.

        Where no control token stands between them, segments are encoded as one text, so that it makes no difference
        where a text was cut.
        """
        parts: list[str | int] = []
        for text, parse_special in segments:
            valid = _valid(text)
            parts += self._in_templates.split(valid) if parse_special else [valid]
        ids = self._encode_parts(parts, at_boundary=True)
        return self.with_special(ids) if add_special else ids

    def with_special(self, ids: list[int]) -> list[int]:
        """The ids with BOS before and EOS behind them, where the model wants these and they are not there."""
        before = [self.bos_id] if self.add_bos and self.bos_id is not None and ids[:1] != [self.bos_id] else []
        after = [self.last_id] if self.add_eos and self.last_id is not None and ids[-1:] != [self.last_id] else []
        return before + ids + after

    def encode_fill(self, prefix: str, suffix: str) -> list[int]:
        """Token ids of a prompt that asks for what stands between two texts; control tokens in them are plain text.

        Raises InvalidRequestError where the vocabulary has no marks for filling in the middle.
        """
        marks = self.vocabulary.fill_marks
        if marks is None:
            raise InvalidRequestError("this model cannot fill in the middle: its vocabulary has no marks for it")
        before = self.encode(prefix, add_special=False)
        behind = self._encode_parts([_valid(suffix)], at_boundary=False)  # it goes on from what will be filled in
        ids = [marks.prefix, *before, marks.suffix, *behind, marks.middle]
        return [self.bos_id, *ids] if self.add_bos and self.bos_id is not None else ids

    def decode(self, ids: Sequence[int], *, skip_special: bool = True) -> str:
        """The text of token ids: of ids that came from `encode`, the text that was encoded.

        With `skip_special`, control tokens are left out. Bytes that are not UTF-8 become U+FFFD. Raises
        InvalidRequestError for an id outside the vocabulary.
        """
        decoder = StreamDecoder(self, skip_special=skip_special)
        return "".join([*map(decoder.push, ids), decoder.flush()])

    def stream_decoder(
        self, *, skip_special: bool = True, shown: Container[int] = (), prompt: Sequence[int] = ()
    ) -> StreamDecoder:
        """A decoder for tokens as they are generated; `prompt` is what they continue; see StreamDecoder for `shown`."""
        return StreamDecoder(self, skip_special=skip_special, shown=shown, prompt=prompt)

    def token_bytes(self, id: int) -> bytes:
        """The bytes a token stands for; of a special token, its name. Raises InvalidRequestError for no such id."""
        known = self._bytes.get(id)
        if known is None:
            text = self.token_text(id)
            known = text.encode(errors="surrogateescape") if id in self._special else self._encoder.token_bytes(id)
            self._bytes[id] = known
        return known

    def token_text(self, id: int) -> str:
        """The token as the vocabulary writes it. Raises InvalidRequestError for an id outside the vocabulary."""
        if not 0 <= id < self.vocab_size:
            raise InvalidRequestError(f"token id {id} is not in the vocabulary of {self.vocab_size}")
        return self.vocabulary.tokens[id]

    def token_id(self, text: str) -> int | None:
        """The id of the token that the vocabulary writes so, or None."""
        return self.vocabulary.ids.get(text)

    def split_special(self, text: str) -> list[str | int]:
        """The text cut at the control and user-defined tokens in it: texts between them, and ids."""
        return self._in_templates.split(text)

    def split_control(self, text: str) -> list[str | int]:
        """The text cut at the control tokens in it: texts between them, and ids."""
        parts = self._in_templates.split(text)
        return [part if isinstance(part, str) or self.is_special(part) else self.token_text(part) for part in parts]

    def is_special(self, id: int) -> bool:
        """Whether the token is a control token, not text."""
        return id in self._special

    def is_boundary(self, id: int) -> bool:
        """Whether the token cuts the text, so that what follows it is encoded as a text of its own."""
        return id in self._boundaries

    @property
    def special_texts(self) -> frozenset[str]:
        """What the control tokens are called."""
        return frozenset(self._by_text(self._special))

    def _encode_parts(self, parts: Iterable[str | int], *, at_boundary: bool) -> list[int]:
        """The ids of texts and of tokens among them; at_boundary: whether the first text is the beginning of one."""
        ids: list[int] = []
        for part in self._joined(parts):
            if isinstance(part, int):
                ids.append(part)
            else:
                adds_space = at_boundary and self.add_space_prefix
                has_space = self._space_prefix_if_missing and part[0] in " ▁"
                ids += self._encoder.encode(" " + part if adds_space and not has_space else part)
            at_boundary = isinstance(part, int) and not self.space_prefix_once
        return ids

    def _by_text(self, ids: Iterable[int]) -> dict[str, int]:
        return {self.vocabulary.tokens[id]: id for id in ids}

    def _joined(self, parts: Iterable[str | int]) -> list[str | int]:
        """The parts with neighbouring texts joined, and cut again at the tokens that any text may hold."""
        joined: list[str | int] = []
        for is_text, run in groupby(parts, lambda part: isinstance(part, str)):
            items = list(run)
            joined += self._in_text.split("".join(map(str, items))) if is_text else items
        return joined


def _valid(text: str) -> str:
    """The text with surrogate pairs joined and other surrogates, which have no UTF-8 form, as U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _strips_right(metadata: Mapping[str, Any], vocabulary: Vocabulary) -> list[int]:
    """The tokens that swallow the white space after them. No GGUF key says so; Phi-3 is known by its name."""
    name = str(metadata.get("general.name", "")).lower()
    if "phi-3" not in name and "phi3" not in name:
        return []
    keep = {"<unk>", "<s>", "<|endoftext|>"}
    special = vocabulary.of_type(*_SPECIAL, TokenType.USER_DEFINED)
    return [id for id in special if vocabulary.tokens[id] not in keep]
