"""The loop of `lutmac chat`: messages and commands in, replies out."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lutmac.cli import asking
from lutmac.cli.dialogue import Dialogue, Message, read_dialogue
from lutmac.cli.interrupt import ReplyInterrupt
from lutmac.cli.message_reader import FENCE, MessageReader
from lutmac.cli.output import ProgressBar
from lutmac.cli.reply_printer import ReplyPrinter
from lutmac.errors import ContextOverflowError, InvalidRequestError, LutmacError

if TYPE_CHECKING:
    from lutmac import Model
    from lutmac.cli.chat_settings import ChatSettings

_HELP: Final = f"""\
/system TEXT     what the model is told before all else; without TEXT: what that is
/set NAME VALUE  a sampling option, max_tokens, or think and thoughts (on, off); default: as it was
/set             all of these
/regen           reply to the last message anew
/save FILE       keep the chat
/load FILE       go on with one that was kept
/reset           forget the conversation
/help            this page
/exit            leave (so does Ctrl-D)
{FENCE}              begins and ends a message of several lines; a paste is one message
Ctrl-C           stop the reply"""


class ChatSession:
    """Reads messages until the end of input and answers each."""

    def __init__(self, model: Model, name: str, system: str | None, settings: ChatSettings) -> None:
        """name: what the model is called.

        Raises InvalidRequestError where the template has no switch for thinking and the settings want one.
        """
        self._model = model
        self._name = name
        self._settings = settings
        self._dialogue = Dialogue(system)
        self._attempt = 0  # at the last message
        self._asker = asking.Asker(model, think=settings.think)
        self._reader = MessageReader()
        self._commands: dict[str, Callable[[str], None]] = {
            "/help": lambda _: print(_HELP),
            "/system": self._system,
            "/set": self._set,
            "/regen": self._regenerate,
            "/save": self._save,
            "/load": self._load,
            "/reset": self._reset,
        }

    def run(self) -> None:
        """The session; returns when the person leaves. An error costs a message and not the session."""
        if self._reader.interactive:
            info = self._model.info()
            size = f"{info.parameters / 1e6:.0f}M parameters of {info.bits_per_weight:.2f} bits"
            print(f"{self._name}: {info.architecture}, {size}, context {info.context}. /help shows what you can type.")
        while (text := self._reader.next()) is not None:
            if text in ("/exit", "/quit", "/bye"):
                return
            try:
                self._take(text)
            except LutmacError as error:
                print(f"lutmac: error: {error}", file=sys.stderr)

    def _take(self, text: str) -> None:
        """A command or a message."""
        name, argument = _first_word(text)
        if name in self._commands:
            self._commands[name](argument)
        elif text.startswith("/") and not any(character.isspace() or character == "/" for character in text[1:]):
            print(f"No such command: {text}; /help shows what there is.")
        elif text:
            self._attempt = 0
            self._reply([*self._dialogue.messages, {"role": "user", "content": text}])

    def _system(self, argument: str) -> None:
        if argument:
            self._dialogue.system = argument
        print(f"System message: {self._dialogue.system or 'none'}")

    def _set(self, argument: str) -> None:
        name, value = _first_word(argument)
        if not name:
            print("\n".join(self._settings.describe(self._model.sampling_defaults)))
            return
        if not value:
            raise InvalidRequestError("/set wants a name and a value, as in /set temperature 0.2")
        before = self._settings.think
        self._settings.set(name, value)
        if self._settings.think != before:
            try:
                self._asker = asking.Asker(self._model, think=self._settings.think)
            except InvalidRequestError:
                self._settings.think = before
                raise
        print(f"{name} {value}")

    def _regenerate(self, _: str) -> None:
        said = list(self._dialogue.messages)
        while said and said[-1]["role"] != "user":
            said.pop()
        if not said:
            raise InvalidRequestError("there is no message to reply to yet")
        self._attempt += 1
        self._reply(said)

    def _save(self, argument: str) -> None:
        path = _path(argument, "/save")
        self._dialogue.save(path, self._name)
        print(f"Kept in {path}.")

    def _load(self, argument: str) -> None:
        path = _path(argument, "/load")
        self._dialogue, self._attempt = read_dialogue(path), 0
        print(f"{path}: {len(self._dialogue.messages)} messages.")

    def _reset(self, _: str) -> None:
        self._dialogue, self._attempt = Dialogue(self._dialogue.system), 0
        print("The conversation is forgotten.")

    def _reply(self, said: list[Message]) -> None:
        """Streams the reply to the last of these messages. The chat is theirs once the reply has begun."""
        dialogue, context = self._dialogue, self._model.context
        before = dialogue.dropped
        wishes = self._settings.wishes(self._attempt)
        try:
            pieces = dialogue.reply_to(self._asker, said, context, wishes)
        except ContextOverflowError as error:
            raise asking.too_long(error, self._model, "the message") from None
        if dialogue.dropped > before:
            print(
                f"[the context of {context} tokens is full: the model no longer sees the oldest {dialogue.dropped} of "
                f"{len(said)} messages]",
                file=sys.stderr,
            )
        reply = asking.Reply()
        stopped = False
        try:
            with closing(pieces), ReplyInterrupt(self._model.engine) as interrupt:
                with ProgressBar(what=asking.READING) as bar:
                    piece = asking.until_text(pieces, bar, lambda: interrupt.raised)
                with ReplyPrinter(thoughts=self._settings.thoughts) as printer:
                    asking.print_piece(piece, reply, printer)
                    while reply.completion is None and not interrupt.raised:
                        asking.print_piece(next(pieces), reply, printer)
                    stopped = reply.completion is None
        except KeyboardInterrupt:
            stopped = True
        if reply.text or reply.thoughts or reply.completion is not None:
            dialogue.say(said, reply)
        print(" [stopped]" if stopped else "")
        self._say_figures(reply)

    def _say_figures(self, reply: asking.Reply) -> None:
        info = self._model.info()
        cut = reply.cut(info.context, info.trained_context, self._settings.max_tokens)
        if cut is not None:
            print(f"[{cut}]", file=sys.stderr)
        if self._reader.interactive and reply.completion is not None:
            print(f"[{reply.completion.timings.decode_tokens_per_second:.1f} tok/s]", file=sys.stderr)


def _first_word(text: str) -> tuple[str, str]:
    """The first word, and what stands behind it."""
    first, rest = [*text.split(maxsplit=1), "", ""][:2]
    return first, rest


def _path(argument: str, command: str) -> Path:
    if not argument:
        raise InvalidRequestError(f"{command} wants a file, as in {command} chat.json")
    return Path(argument).expanduser()
