"""The tokenizer of a model: text to token ids and back."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

from lutmac.errors import InvalidRequestError
from lutmac.text.encoder import SPECIAL, Encoder, Part, SpacePrefix
from lutmac.text.framing import EncodedPair, PairFrame
from lutmac.text.gguf import gguf_encoding
from lutmac.text.stream import StreamDecoder
from lutmac.text.vocabulary import TokenType, Vocabulary


class Tokenizer:
    """Text to token ids and back, as the model was trained and as its file's own library does it.

    Control tokens such as `<|im_end|>` are recognised only where the caller says that a text may hold them; a user's
    text never turns into one. Tokens that the vocabulary calls user-defined are recognised everywhere.

    Attributes: `vocabulary`; `vocab_size`; `bos_id` and `eos_id`, None where the vocabulary has none;
    `end_of_generation`, the ids that end a reply; `before` and `after`, the ids that go around a text; `pair`, what
    goes around two; `prefix`, the space that goes before one, and `strips_once`, whether decoding takes it away at the
    very beginning alone; `chats_get_bos`, whether a chat gets BOS where its template writes none.
    """

    def __init__(  # noqa: PLR0913 (by keyword)
        self,
        vocabulary: Vocabulary,
        encoder: Encoder,
        *,
        before: Sequence[int] = (),
        after: Sequence[int] = (),
        pair: PairFrame | None = None,
        prefix: SpacePrefix = SpacePrefix(),  # noqa: B008 (frozen)
        strips_once: bool = False,
        chats_get_bos: bool = False,
    ) -> None:
        """`vocabulary` is the one that `encoder` encodes with."""
        self.vocabulary = vocabulary
        self._encoder = encoder
        self.vocab_size = len(vocabulary.tokens)
        self.bos_id = vocabulary.bos_id
        self.eos_id = vocabulary.eos_id
        self.end_of_generation = vocabulary.end_of_generation
        self.before = list(before)
        self.after = list(after)
        self.pair = PairFrame(tuple(before), tuple(after), tuple(after)) if pair is None else pair
        self.prefix = prefix
        self.strips_once = strips_once
        self.chats_get_bos = chats_get_bos
        special = vocabulary.of_type(*SPECIAL)
        self._special = frozenset(special)
        boundaries = special if prefix.once or strips_once else special + vocabulary.of_type(TokenType.USER_DEFINED)
        self._boundaries = frozenset(boundaries)
        self._bytes: dict[int, bytes] = {}

    @classmethod
    def from_gguf(cls, metadata: Mapping[str, Any]) -> Tokenizer:
        """The tokenizer that GGUF metadata describes.

        Raises CheckpointError where the metadata contradicts itself and UnsupportedModelError for a tokenizer or a
        pre-tokenizer that lutmac lacks.
        """
        found = gguf_encoding(metadata)
        vocabulary = found.vocabulary
        return cls(
            vocabulary,
            found.encoder,
            before=found.before,
            after=found.after,
            pair=found.pair,
            prefix=found.prefix,
            chats_get_bos=True,
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
        parts: list[Part] = []
        for text, parse_special in segments:
            valid = _valid(text)
            parts += self._encoder.cut(valid) if parse_special else [valid]
        ids = self._encoder.encode(parts, begins=True)
        return self.with_special(ids) if add_special else ids

    def encode_behind(self, control: int | None, text: str) -> list[int]:
        """Token ids of plain text that follows a control token or, for None, begins a prompt."""
        if control is None:
            return self._encoder.encode([_valid(text)], begins=True)
        return self._encoder.encode([control, _valid(text)], begins=False)[1:]

    def with_special(self, ids: list[int]) -> list[int]:
        """The ids with what the model wants around a text, BOS before and EOS behind, unless these are there."""
        before = [] if ids[: len(self.before)] == self.before else self.before
        after = [] if ids[len(ids) - len(self.after) :] == self.after else self.after
        return before + ids + after

    def encode_pair(self, first: str, second: str, *, most_tokens: int | None = None) -> EncodedPair:
        """Two texts as a model reads them together; control tokens in them are plain text.

        most_tokens: of both, with what goes around them; the longer text is cut at its end first.
        """
        before, behind = (self.encode(text, add_special=False) for text in (first, second))
        return self.pair.join(before, behind, most_tokens)

    def encode_fill(self, prefix: str, suffix: str) -> list[int]:
        """Token ids of a prompt that asks for what stands between two texts; control tokens in them are plain text.

        Raises InvalidRequestError where the vocabulary has no marks for filling in the middle.
        """
        marks = self.vocabulary.fill_marks
        if marks is None:
            raise InvalidRequestError("this model cannot fill in the middle: its vocabulary has no marks for it")
        before = self.encode(prefix, add_special=False)
        behind = self._encoder.encode([_valid(suffix)], begins=False)  # it goes on from what will be filled in
        return [*self.before, marks.prefix, *before, marks.suffix, *behind, marks.middle]

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

    def split_control(self, text: str) -> list[Part]:
        """The text cut at the control tokens in it: texts between them, and ids."""
        return self._encoder.cut(text)

    def is_special(self, id: int) -> bool:
        """Whether the token is a control token, not text."""
        return id in self._special

    def is_boundary(self, id: int) -> bool:
        """Whether the token may stand before the beginning of a text."""
        return id in self._boundaries

    @property
    def add_bos(self) -> bool:
        """Whether a text begins with BOS."""
        return self.bos_id is not None and self.before[:1] == [self.bos_id]

    @property
    def add_eos(self) -> bool:
        """Whether a text ends with EOS, or with what the file has in its place (Qwen3-Embedding's)."""
        return bool(self.after)

    @property
    def special_texts(self) -> frozenset[str]:
        """What the control tokens are called."""
        return frozenset(self.vocabulary.tokens[id] for id in self._special)


def _valid(text: str) -> str:
    """The text with surrogate pairs joined and other surrogates, which have no UTF-8 form, as U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
