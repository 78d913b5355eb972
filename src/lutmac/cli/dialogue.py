"""A chat's messages: which of them the model sees, and how they are kept in a file."""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lutmac.cli.asking import THOUGHTS_KEY, Asker, Piece, Reply
from lutmac.errors import ContextOverflowError, InvalidRequestError

if TYPE_CHECKING:
    from lutmac.text.chat import ChatPrompt

Message = dict[str, str]
_ROOM: Final = 0.75  # of the context, for the messages that stay when others are dropped: the rest is for replies
_ROLES: Final = ("system", "user", "assistant")


class Dialogue:
    """What was said. All of it is kept; what no longer fits into the context the model does not see any more.

    system: the message in front of all, which it always sees. messages: those behind it. dropped: how many of these it
    does not see.
    """

    def __init__(self, system: str | None) -> None:
        """Nothing has been said."""
        self.system = system
        self.messages: list[Message] = []
        self.dropped = 0

    def fitting_prompt(self, asker: Asker, said: list[Message], context: int) -> tuple[ChatPrompt, int]:
        """The prompt of these messages, and how many of the oldest are not in it: turns as a whole, as many as need be.

        Raises ContextOverflowError where the last message alone is too long.
        """
        first = min(self.dropped, len(said) - 1)
        prompt = asker.prompt(self._seen(said, first))
        if len(prompt.ids) < context:
            return prompt, first
        for place in _turns_after(said, first):
            first, prompt = place, asker.prompt(self._seen(said, place))
            if len(prompt.ids) <= _ROOM * context:
                break
        if len(prompt.ids) >= context:
            raise ContextOverflowError.of_prompt(len(prompt.ids), context)
        return prompt, first

    def reply_to(self, asker: Asker, said: list[Message], context: int, wishes: dict[str, Any]) -> Generator[Piece]:
        """The reply to the last of these messages. `dropped` says afterwards how many are not seen."""
        prompt, dropped = self.fitting_prompt(asker, said, context)
        pieces = asker.pieces(prompt, wishes)
        self.dropped = dropped
        return pieces

    def say(self, said: list[Message], reply: Reply) -> None:
        """Makes these messages and the reply to them the chat."""
        self.messages = [*said, reply.message()]

    def _seen(self, said: list[Message], first: int) -> list[Message]:
        system = [] if self.system is None else [{"role": "system", "content": self.system}]
        return [*system, *said[first:]]

    def save(self, path: Path, model: str) -> None:
        """Writes the chat to a file.

        Raises InvalidRequestError where that cannot be done, and where the file is there and is no saved chat.
        """
        if path.exists():
            read_dialogue(path)
        system = [] if self.system is None else [{"role": "system", "content": self.system}]
        text = json.dumps({"model": model, "messages": [*system, *self.messages]}, ensure_ascii=False, indent=2)
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        try:
            partial.write_text(text + "\n", encoding="utf-8")
            partial.replace(path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise InvalidRequestError(f"cannot write {path}: {error.strerror}") from None


def _turns_after(said: list[Message], first: int) -> list[int]:
    """Places behind `first` where a user's message begins a turn."""
    return [place for place in range(first + 1, len(said)) if said[place]["role"] == "user"]


def read_dialogue(path: Path) -> Dialogue:
    """A chat that was saved, or a list of messages as OpenAI's interface has them.

    Raises InvalidRequestError for what cannot be read or is no such file.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidRequestError(f"{path}: cannot read the chat: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise InvalidRequestError(f"{path} is no saved chat: not JSON") from None
    messages = found.get("messages") if isinstance(found, dict) else found
    if not isinstance(messages, list):
        raise InvalidRequestError(f"{path} is no saved chat: it has no list of messages")
    dialogue = Dialogue(None)
    for place, message in enumerate(messages):
        checked = _message(message)
        if checked is None:
            wanted = f"a role ({', '.join(_ROLES)}) and text as content"
            raise InvalidRequestError(f"{path}: messages[{place}] does not have {wanted}")
        if checked["role"] == "system" and place == 0:
            dialogue.system = checked["content"]
        else:
            dialogue.messages.append(checked)
    return dialogue


def _message(found: object) -> Message | None:
    if not isinstance(found, dict) or found.get("role") not in _ROLES or not isinstance(found.get("content"), str):
        return None
    return {key: found[key] for key in ("role", "content", THOUGHTS_KEY) if isinstance(found.get(key), str)}
