"""A message of Anthropic's interface as it is written, with the events that say so."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any, TypeVar
from uuid import uuid4

from lutmac.engine.sampling.results import Completion
from lutmac.server.errors import ApiError
from lutmac.server.schemas import messages as schema
from lutmac.server.streaming import named_event
from lutmac.server.tools import CallArguments, CallBegin, CallEnd, Part, Text, Thought
from lutmac.server.tools.lenient_json import closed_object
from lutmac.server.turn import TurnEvent

T = TypeVar("T", schema.ThinkingBlock, schema.TextBlock)
ContentBlock = schema.ThinkingBlock | schema.TextBlock | schema.ToolUseBlock


class MessageWriter:
    """Grows a message, event by event. blocks: thoughts, texts and calls in order."""

    def __init__(self, model: str) -> None:
        """model: what it is listed as."""
        self.blocks: list[ContentBlock] = []
        self._id = f"msg_{uuid4().hex}"
        self._model = model
        self._open: ContentBlock | None = None
        self._last: TurnEvent | None = None

    def add(self, event: TurnEvent) -> list[bytes]:
        """Takes in what is new; returns the events that tell it."""
        said = [] if self._last is not None else self._begin(event.prompt_tokens)
        self._last = event
        for part in event.parts:
            said += self._part(part)
        if event.completion is not None:
            said += self._close()
            reason, sequence = self._stop(event.completion)
            delta = {"stop_reason": reason, "stop_sequence": sequence}
            said.append(_event("message_delta", delta=delta, usage=_usage(event.completion).model_dump()))
            said.append(_event("message_stop"))
        return said

    def whole(self) -> schema.Message:
        """The message, once it has ended."""
        assert self._last is not None
        assert self._last.completion is not None
        reason, sequence = self._stop(self._last.completion)
        return self._message(self.blocks, reason, sequence, _usage(self._last.completion))

    def failure(self, error: ApiError) -> bytes:
        """The event of a stream that failed."""
        return named_event("error", json.dumps(error.anthropic(None)))

    def _begin(self, prompt_tokens: int) -> list[bytes]:
        usage = schema.MessagesUsage(input_tokens=prompt_tokens, cache_read_input_tokens=0, output_tokens=0)
        message = self._message([], None, None, usage)
        return [_event("message_start", message=message.model_dump()), _event("ping")]

    def _part(self, part: Part) -> list[bytes]:
        match part:
            case Thought():
                said, thoughts = self._block(schema.ThinkingBlock)
                thoughts.thinking += part.text
                return [*said, self._delta(type="thinking_delta", thinking=part.text)]
            case Text():
                said, text = self._block(schema.TextBlock)
                text.text += part.text
                return [*said, self._delta(type="text_delta", text=part.text)]
            case CallBegin():
                return [*self._close(), *self._start(schema.ToolUseBlock(id=part.id, name=part.name, input={}))]
            case CallArguments():
                return [self._delta(type="input_json_delta", partial_json=part.text)]
            case CallEnd():
                assert isinstance(self._open, schema.ToolUseBlock)
                self._open.input = json.loads(closed_object(part.call.arguments))
                return self._close()

    def _block(self, kind: type[T]) -> tuple[list[bytes], T]:
        """The open block of a kind; a new one where that is of another."""
        if isinstance(self._open, kind):
            return [], self._open
        new: T = kind()
        return [*self._close(), *self._start(new)], new

    def _start(self, block: ContentBlock) -> list[bytes]:
        self.blocks.append(block)
        self._open = block
        return [_event("content_block_start", index=len(self.blocks) - 1, content_block=block.model_dump())]

    def _close(self) -> list[bytes]:
        block, self._open = self._open, None
        if block is None:
            return []
        said = []
        if isinstance(block, schema.ThinkingBlock):
            block.signature = sha256(block.thinking.encode()).hexdigest()  # clients send it back and want one
            said.append(self._delta(type="signature_delta", signature=block.signature))
        return [*said, _event("content_block_stop", index=len(self.blocks) - 1)]

    def _delta(self, **delta: str) -> bytes:
        return _event("content_block_delta", index=len(self.blocks) - 1, delta=delta)

    def _stop(self, completion: Completion) -> tuple[schema.StopReason, str | None]:
        """Why it ended, and at which of the stop strings."""
        assert self._last is not None
        if self._last.finish_reason == "tool_calls":
            return "tool_use", None
        if self._last.finish_reason == "length":
            return "max_tokens", None
        sequence = completion.stop_string
        return ("end_turn" if sequence is None else "stop_sequence"), sequence

    def _message(
        self,
        blocks: list[ContentBlock],
        reason: schema.StopReason | None,
        sequence: str | None,
        usage: schema.MessagesUsage,
    ) -> schema.Message:
        return schema.Message(
            id=self._id,
            model=self._model,
            content=blocks,
            stop_reason=reason,
            stop_sequence=sequence,
            usage=usage,
        )


def _usage(completion: Completion) -> schema.MessagesUsage:
    return schema.MessagesUsage(
        input_tokens=completion.prompt_tokens - completion.cached_tokens,
        cache_read_input_tokens=completion.cached_tokens,
        output_tokens=len(completion.token_ids),
    )


def _event(name: str, **fields: Any) -> bytes:
    return named_event(name, json.dumps({"type": name, **fields}))
