"""A response as it is written, with the events that say so."""

from __future__ import annotations

import json
from typing import Any, Literal
from uuid import uuid4

from pydantic import BaseModel

from lutmac.engine.sampling.results import Completion
from lutmac.server.errors import ApiError
from lutmac.server.logprobs import token_logprobs
from lutmac.server.schemas import responses as schema
from lutmac.server.schemas.common import TokenLogprob
from lutmac.server.streaming import named_event
from lutmac.server.tools import CallArguments, CallBegin, CallEnd, Part, Text, Thought
from lutmac.server.turn import TurnEvent
from lutmac.text.tokenizer import Tokenizer


class ResponseWriter:
    """Grows a response, event by event. response: how far it has come."""

    def __init__(self, response: schema.Response, tokenizer: Tokenizer) -> None:
        """response: without output."""
        self.response = response
        self._tokenizer = tokenizer
        self._open: schema.OutputItem | None = None
        self._logprobs: list[TokenLogprob] = []  # of text that is still to come
        self._number = 0

    def begin(self) -> list[bytes]:
        """The events before the first output."""
        return [self._response_event("response.created"), self._response_event("response.in_progress")]

    def add(self, event: TurnEvent) -> list[bytes]:
        """Takes in what is new; returns the events that tell it."""
        said = []
        self._logprobs += token_logprobs(self._tokenizer, event.logprobs)
        for part in event.parts:
            said += self._part(part)
        if event.completion is not None:
            said += self._end(event.completion, event.thought_tokens)
        return said

    def failure(self, error: ApiError) -> bytes:
        """The event of a stream that failed."""
        self.response.status = "failed"
        self.response.error = schema.ResponseError(code=error.code or "server_error", message=error.message)
        return self._response_event("response.failed")

    def _part(self, part: Part) -> list[bytes]:
        match part:
            case Text():
                return self._text(part.text)
            case Thought():
                return self._thought(part.text)
            case CallBegin():
                self._logprobs = []
                item = schema.OutputCall(
                    id=f"fc_{uuid4().hex}", call_id=part.id, name=part.name, arguments="", status="in_progress"
                )
                return [*self._close(), *self._start(item)]
            case CallArguments():
                assert isinstance(self._open, schema.OutputCall)
                self._open.arguments += part.text
                return [self._item_event("response.function_call_arguments.delta", delta=part.text)]
            case CallEnd():
                return self._close()

    def _text(self, text: str) -> list[bytes]:
        said = []
        if not isinstance(self._open, schema.OutputMessage):
            part = schema.OutputText(text="", annotations=[], logprobs=[])
            message = schema.OutputMessage(id=f"msg_{uuid4().hex}", status="in_progress", content=[])
            said = [*self._close(), *self._start(message)]
            said.append(self._part_event("response.content_part.added", part=part))
            message.content.append(part)
        assert isinstance(self._open, schema.OutputMessage)
        part, logprobs = self._open.content[0], self._logprobs
        self._logprobs = []
        part.text += text
        part.logprobs += logprobs
        said.append(self._part_event("response.output_text.delta", delta=text, logprobs=_dumped(logprobs)))
        return said

    def _thought(self, text: str) -> list[bytes]:
        said = []
        self._logprobs = []
        if not isinstance(self._open, schema.OutputReasoning):
            part = schema.ReasoningText(text="")
            item = schema.OutputReasoning(id=f"rs_{uuid4().hex}", status="in_progress", content=[])
            said = [*self._close(), *self._start(item)]
            said.append(self._part_event("response.content_part.added", part=part))
            item.content.append(part)
        assert isinstance(self._open, schema.OutputReasoning)
        self._open.content[0].text += text
        said.append(self._part_event("response.reasoning_text.delta", delta=text))
        return said

    def _start(self, item: schema.OutputItem) -> list[bytes]:
        self._open = item
        self.response.output.append(item)
        return [self._event("response.output_item.added", item=item)]

    def _close(self, status: Literal["completed", "incomplete"] = "completed") -> list[bytes]:
        item = self._open
        if item is None:
            return []
        item.status = status
        match item:
            case schema.OutputMessage():
                part = item.content[0]
                done = {"text": part.text, "logprobs": _dumped(part.logprobs)}
                said = [
                    self._part_event("response.output_text.done", **done),
                    self._part_event("response.content_part.done", part=part),
                ]
            case schema.OutputReasoning():
                said = [
                    self._part_event("response.reasoning_text.done", text=item.content[0].text),
                    self._part_event("response.content_part.done", part=item.content[0]),
                ]
            case schema.OutputCall():
                said = [
                    self._item_event("response.function_call_arguments.done", name=item.name, arguments=item.arguments)
                ]
        said.append(self._event("response.output_item.done", item=item))
        self._open = None
        return said

    def _end(self, completion: Completion, thought_tokens: int) -> list[bytes]:
        cut = completion.finish_reason == "length"
        if not self.response.output:
            self._text("")
        said = self._close("incomplete" if cut else "completed")
        generated = len(completion.token_ids)
        self.response.status = "incomplete" if cut else "completed"
        self.response.incomplete_details = schema.IncompleteDetails(reason="max_output_tokens") if cut else None
        self.response.usage = schema.ResponseUsage(
            input_tokens=completion.prompt_tokens,
            input_tokens_details=schema.InputTokensDetails(cached_tokens=completion.cached_tokens),
            output_tokens=generated,
            output_tokens_details=schema.OutputTokensDetails(reasoning_tokens=thought_tokens),
            total_tokens=completion.prompt_tokens + generated,
        )
        return [*said, self._response_event(f"response.{self.response.status}")]

    def _response_event(self, name: str) -> bytes:
        return self._written(name, response=self.response)

    def _part_event(self, event: str, /, **fields: Any) -> bytes:
        return self._item_event(event, content_index=0, **fields)

    def _item_event(self, event: str, /, **fields: Any) -> bytes:
        assert self._open is not None
        return self._event(event, item_id=self._open.id, **fields)

    def _event(self, event: str, /, **fields: Any) -> bytes:
        return self._written(event, output_index=len(self.response.output) - 1, **fields)

    def _written(self, event: str, /, **fields: Any) -> bytes:
        fields = {key: value.model_dump() if isinstance(value, BaseModel) else value for key, value in fields.items()}
        said = named_event(event, json.dumps({"type": event, "sequence_number": self._number, **fields}))
        self._number += 1
        return said


def _dumped(logprobs: list[TokenLogprob]) -> list[dict[str, Any]]:
    return [item.model_dump() for item in logprobs]
