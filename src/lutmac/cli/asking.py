"""Asking a model: a prompt goes in, and its reply comes back in pieces, thoughts apart from text."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from lutmac.errors import ContextOverflowError, InvalidRequestError

if TYPE_CHECKING:
    from lutmac import Chunk, Completion, Grammar, Model
    from lutmac.cli.output import ProgressBar
    from lutmac.cli.reply_printer import ReplyPrinter
    from lutmac.text.chat import ChatPrompt

READING = "reading the prompt"
THOUGHTS_KEY = "reasoning_content"  # of a message, for templates


@dataclass(frozen=True)
class Piece:
    """What is new in a reply: text, thoughts, and the engine's chunk that it came with."""

    text: str
    thoughts: str
    chunk: Chunk


@dataclass
class Reply:
    """A reply as far as it has come. completion: once it has ended."""

    text: str = ""
    thoughts: str = ""
    completion: Completion | None = None

    @property
    def ended(self) -> Completion:
        """The completion of a reply that has ended."""
        assert self.completion is not None
        return self.completion

    def message(self) -> dict[str, str]:
        """The reply as a message of a chat."""
        thoughts = {THOUGHTS_KEY: self.thoughts} if self.thoughts else {}
        return {"role": "assistant", "content": self.text, **thoughts}

    def cut(self, context: int, trained: int, max_tokens: int | None) -> str | None:
        """What cut it, for a person; None where the model ended it."""
        completion = self.completion
        if completion is None or completion.finish_reason != "length":
            return None
        if max_tokens is not None and len(completion.token_ids) >= max_tokens:
            return f"cut after {max_tokens} tokens: --max-tokens"
        return f"cut: the context of {context} tokens is full{_way_out(context, trained)}"


class Asker:
    """A model's chat template with its switches, and the way in which it writes thoughts.

    think: whether the model is to think before it answers; None: as the template has it.
    """

    def __init__(self, model: Model, *, think: bool | None = None) -> None:
        """Raises InvalidRequestError where the template has no switch for thinking and one is wanted."""
        from lutmac.server.reply_style import find_style  # noqa: PLC0415 - help texts need none of this
        from lutmac.server.thinking import Thinking  # noqa: PLC0415

        self._model = model
        self._template = model.chat_template
        self._style = find_style(self._template, model.tokenizer, with_tools=False)
        self._variables: Mapping[str, Any] = {}
        self._think = think
        if think is not None:
            self._variables = Thinking(on=think).variables(self._template.abilities)
            if not self._variables:
                raise InvalidRequestError("this model's chat template has no switch for thinking")

    def prompt(self, messages: Sequence[Mapping[str, Any]]) -> ChatPrompt:
        """The messages as the model reads them. Raises what the template raises."""
        from lutmac.text.chat import chat_prompt  # noqa: PLC0415 - jinja2 is slow to import

        return chat_prompt(
            self._model.tokenizer,
            self._template,
            messages,
            variables=self._variables,
            openings=[marks.opening for marks in self._style.marks],
            finds_replies=self._model.engine.by_role,
        )

    def pieces(self, prompt: ChatPrompt, wishes: Mapping[str, Any], grammar: Grammar | None = None) -> Generator[Piece]:
        """The reply. wishes: the engine's options. grammar: what the text has to fit, thoughts apart.

        Raises ContextOverflowError and InvalidRequestError before anything runs.
        """
        from lutmac.server.tools.parser import ReplyParser  # noqa: PLC0415
        from lutmac.server.tools.thoughts import open_marks  # noqa: PLC0415

        thinking = open_marks(prompt.begun, self._style.marks)
        if grammar is not None:
            from lutmac.server.reply_format import ReplyForm, reply_grammar  # noqa: PLC0415 - of the extra `server`

            may_open = () if thinking is not None or self._think is False else self._style.known
            form = ReplyForm(self._style.family, (), grammar, thinking, may_open)
            wishes = {**wishes, "grammar": reply_grammar(form, self._model.tokenizer)}
        options = {**wishes, "shown_tokens": self._style.shown, **prompt.options}
        parser = ReplyParser(self._style.family, {}, self._style.marks, thinking=thinking)
        return _parted(chunks_of(self._model, prompt.ids, options), parser)


def _parted(chunks: Generator[Chunk], parser: Any) -> Generator[Piece]:
    from lutmac.server.tools.calls import Text, Thought  # noqa: PLC0415

    with closing(chunks):
        for chunk in chunks:
            parts = parser.push(chunk.text)
            if chunk.completion is not None:
                parts += parser.close(cut=chunk.finish_reason == "length")
            text = "".join(part.text for part in parts if isinstance(part, Text))
            thoughts = "".join(part.text for part in parts if isinstance(part, Thought))
            yield Piece(text, thoughts, chunk)


def raw_pieces(model: Model, prompt: str, wishes: Mapping[str, Any]) -> Generator[Piece]:
    """A text's continuation, as it is. Raises what `Asker.pieces` raises."""
    ids = model.tokenizer.encode(prompt, parse_special=True)
    if not ids:
        raise InvalidRequestError("the prompt is empty, and this model has no token to begin a text with")
    return _as_they_are(chunks_of(model, ids, wishes))


def _as_they_are(chunks: Generator[Chunk]) -> Generator[Piece]:
    with closing(chunks):
        for chunk in chunks:
            yield Piece(chunk.text, "", chunk)


def chunks_of(model: Model, ids: list[int], options: Mapping[str, Any]) -> Generator[Chunk]:
    """The engine's chunks, those that say how far the prompt has been read before the others."""
    from lutmac.engine.generating.generate import new_sequence, parse_options, stream_sequence  # noqa: PLC0415

    params = parse_options(options, model.sampling_defaults)
    sequence = new_sequence(model.engine, model.tokenizer, ids, params)
    chunks = stream_sequence(model.engine, model.tokenizer, sequence, params, tells_progress=True)
    return cast("Generator[Chunk]", chunks)


def until_text(pieces: Iterator[Piece], bar: ProgressBar, stopped: Callable[[], bool] = lambda: False) -> Piece:
    """The first piece of a reply; until then the bar shows how much of the prompt has been read.

    stopped: whether to raise KeyboardInterrupt instead.
    """
    for piece in pieces:
        if stopped():
            raise KeyboardInterrupt
        progress = piece.chunk.progress
        if progress is None:
            return piece
        bar(progress.read, progress.total, READING)
    raise AssertionError("a stream ends with a completion")


def print_piece(piece: Piece, reply: Reply, printer: ReplyPrinter) -> None:
    """Prints a piece, and makes it a part of the reply."""
    if piece.thoughts:
        reply.thoughts += piece.thoughts
        printer.thought(piece.thoughts)
    if piece.text:
        reply.text += piece.text
        printer.text(piece.text)
    if piece.chunk.completion is not None:
        reply.completion = piece.chunk.completion


def too_long(error: ContextOverflowError, model: Model, what: str = "the prompt") -> InvalidRequestError:
    """The error of a prompt that does not fit, with the option that may make room."""
    context, trained = model.context, model.info().trained_context
    tokens = "too many" if error.tokens is None else error.tokens
    limit = "" if context < trained else ", which is what the model was trained for"
    way_out = _way_out(context, trained)
    return InvalidRequestError(
        f"{what} has {tokens} tokens, with a reply more than the context of {context}{limit}{way_out}"
    )


def _way_out(context: int, trained: int) -> str:
    return f" (--context {trained} is the model's own)" if context < trained else ""
