"""A conversation, turn by turn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Unpack

from lutmac.engine.generating.generate import (
    GenerationOptions,
    GenerationParams,
    new_sequence,
    parse_options,
    stream_sequence,
)
from lutmac.engine.running.engine import Engine
from lutmac.engine.running.sequence import Sequence
from lutmac.engine.sampling.results import Chunk
from lutmac.errors import InvalidRequestError

if TYPE_CHECKING:
    from lutmac.text.chat import ChatTemplate
    from lutmac.text.tokenizer import Tokenizer


class Conversation:
    """A list of messages; each turn adds a message and the reply to it.

    A turn computes only what differs from the previous turn, as long as the prefix cache still has that. If a reply is
    interrupted, the part that was read stays in the conversation. messages: a list of {"role", "content"}.
    """

    def __init__(
        self,
        engine: Engine,
        tokenizer: Tokenizer,
        template: ChatTemplate,
        system: str | None,
        sampling: Mapping[str, float],
    ) -> None:
        """system: the first message, if any. sampling: options that hold where a call says nothing."""
        self.messages: list[dict[str, str]] = []
        if system is not None:
            self.messages.append({"role": "system", "content": system})
        self._engine = engine
        self._tokenizer = tokenizer
        self._template = template
        self._sampling = sampling
        self._busy = False

    def send(self, text: str, **options: Unpack[GenerationOptions]) -> Iterator[Chunk]:
        """Adds a message and streams the reply. Closing the iterator interrupts the reply.

        Raises InvalidRequestError, also if another reply is still streaming, and ContextOverflowError if the
        conversation no longer fits into the context (its messages then stay as they were).
        """
        from lutmac.text.chat import chat_prompt  # noqa: PLC0415 (jinja2 is slow to import)

        if self._busy:
            raise InvalidRequestError("the last reply of this conversation is still streaming: finish or close it")
        if not isinstance(text, str):
            raise InvalidRequestError(f"a message is text, not {type(text).__name__}")
        message = {"role": "user", "content": text}
        prompt = chat_prompt(
            self._tokenizer, self._template, [*self.messages, message], finds_replies=self._engine.by_role
        )
        params = parse_options({**prompt.options, **options}, self._sampling)
        sequence = new_sequence(self._engine, self._tokenizer, prompt.ids, params)
        return self._reply(message, sequence, params)

    def _reply(self, message: dict[str, str], sequence: Sequence, params: GenerationParams) -> Iterator[Chunk]:
        if self._busy:
            raise InvalidRequestError("the last reply of this conversation is still streaming: finish or close it")
        self._busy = True
        said: list[str] = []
        stream = stream_sequence(self._engine, self._tokenizer, sequence, params)
        try:
            for chunk in stream:
                said.append(chunk.text)
                yield chunk
        finally:
            stream.close()  # type: ignore[attr-defined]
            self.messages += [message, {"role": "assistant", "content": "".join(said)}]
            self._busy = False
