"""A response as it is written, with the events that say so."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

from pydantic import BaseModel

from lutmac.engine.results import Completion
from lutmac.server.errors import ApiError
from lutmac.server.logprobs import token_logprobs
from lutmac.server.schemas import responses as schema
from lutmac.server.schemas.common import TokenLogprob
from lutmac.server.streaming import named_event
from lutmac.server.tools import ToolCall
from lutmac.server.turn import TurnEvent
from lutmac.text.tokenizer import Tokenizer


class ResponseWriter:
    """Grows a response, event by event. response: how far it has come."""

    def __init__(self, response: schema.Response, tokenizer: Tokenizer) -> None:
        """response: without output."""
        self.response = response
        self._tokenizer = tokenizer
        self._message: schema.OutputMessage | None = None
        self._number = 0

    def begin(self) -> list[bytes]:
        """The events before the first output."""
        return [self._response_event("response.created"), self._response_event("response.in_progress")]

    def add(self, event: TurnEvent) -> list[bytes]:
        """Takes in what is new; returns the events that tell it."""
        said = []
        logprobs = token_logprobs(self._tokenizer, event.logprobs)
        if event.text or logprobs:
            said += self._text(event.text, logprobs)
        for call in event.calls:
            said += self._close_message("completed") + self._call(call)
        if event.completion is not None:
            said += self._end(event.completion)
        return said

    def failure(self, error: ApiError) -> bytes:
        """The event of a stream that failed."""
        self.response.status = "failed"
        self.response.error = schema.ResponseError(code=error.code or "server_error", message=error.message)
        return self._response_event("response.failed")

    def _text(self, text: str, logprobs: list[TokenLogprob]) -> list[bytes]:
        said = []
        if self._message is None:
            self._message = schema.OutputMessage(id=f"msg_{uuid4().hex}", status="in_progress", content=[])
            self.response.output.append(self._message)
            said.append(self._event("response.output_item.added", item=self._message))
            part = schema.OutputText(text="", annotations=[], logprobs=[])
            said.append(self._part_event("response.content_part.added", part=part))
            self._message.content.append(part)
        part = self._message.content[0]
        part.text += text
        part.logprobs += logprobs
        said.append(self._part_event("response.output_text.delta", delta=text, logprobs=_dumped(logprobs)))
        return said

    def _close_message(self, status: Any) -> list[bytes]:
        message = self._message
        if message is None:
            return []
        message.status = status
        part = message.content[0]
        said = [
            self._part_event("response.output_text.done", text=part.text, logprobs=_dumped(part.logprobs)),
            self._part_event("response.content_part.done", part=part),
            self._event("response.output_item.done", item=message),
        ]
        self._message = None
        return said

    def _call(self, call: ToolCall) -> list[bytes]:
        item = schema.OutputCall(
            id=f"fc_{uuid4().hex}", call_id=call.id, name=call.name, arguments="", status="in_progress"
        )
        self.response.output.append(item)
        said = [self._event("response.output_item.added", item=item)]
        item.arguments, item.status = call.arguments, "completed"
        said.append(self._event("response.function_call_arguments.delta", item_id=item.id, delta=call.arguments))
        said.append(
            self._event(
                "response.function_call_arguments.done", item_id=item.id, name=call.name, arguments=call.arguments
            )
        )
        said.append(self._event("response.output_item.done", item=item))
        return said

    def _end(self, completion: Completion) -> list[bytes]:
        cut = completion.finish_reason == "length"
        if not self.response.output:
            self._text("", [])
        said = self._close_message("incomplete" if cut else "completed")
        generated = len(completion.token_ids)
        self.response.status = "incomplete" if cut else "completed"
        self.response.incomplete_details = schema.IncompleteDetails(reason="max_output_tokens") if cut else None
        self.response.usage = schema.ResponseUsage(
            input_tokens=completion.prompt_tokens,
            input_tokens_details=schema.InputTokensDetails(cached_tokens=completion.cached_tokens),
            output_tokens=generated,
            output_tokens_details=schema.OutputTokensDetails(),
            total_tokens=completion.prompt_tokens + generated,
        )
        return [*said, self._response_event(f"response.{self.response.status}")]

    def _response_event(self, name: str) -> bytes:
        return self._written(name, response=self.response)

    def _part_event(self, event: str, /, **fields: Any) -> bytes:
        assert self._message is not None
        return self._event(event, item_id=self._message.id, content_index=0, **fields)

    def _event(self, event: str, /, **fields: Any) -> bytes:
        return self._written(event, output_index=len(self.response.output) - 1, **fields)

    def _written(self, event: str, /, **fields: Any) -> bytes:
        fields = {key: value.model_dump() if isinstance(value, BaseModel) else value for key, value in fields.items()}
        said = named_event(event, json.dumps({"type": event, "sequence_number": self._number, **fields}))
        self._number += 1
        return said


def _dumped(logprobs: list[TokenLogprob]) -> list[dict[str, Any]]:
    return [item.model_dump() for item in logprobs]
