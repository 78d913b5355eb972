"""One turn of a conversation, by whichever interface it was asked for: messages and tools in, text and calls out."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from lutmac.engine.grammar import Grammar
from lutmac.engine.results import Chunk, Completion, TokenLogprob
from lutmac.engine.schema_support import binding_schema
from lutmac.server.backend import Backend, Job, in_thread
from lutmac.server.limits import check_at_most
from lutmac.server.logs import RequestRecord
from lutmac.server.prompts import template_messages, with_instructions
from lutmac.server.reply_format import call_or_text
from lutmac.server.schemas.chat import ChatMessage
from lutmac.server.tools import Tool, ToolCall, ToolCallParser, ToolFormat, find_format

if TYPE_CHECKING:
    from lutmac.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Turn:
    """What to reply to.

    options: for the engine. n: replies. tools: those offered. forced: of these, the ones of which the reply has to
    call one; none where it need not. parallel: whether it may make several calls. grammar: what the text of the reply
    has to fit, unless it is a call: a JSON schema. template_arguments: more variables for the chat template.
    param: where in the request the conversation is.
    """

    messages: Sequence[ChatMessage]
    options: Mapping[str, Any]
    n: int = 1
    tools: tuple[Tool, ...] = ()
    forced: tuple[Tool, ...] = ()
    parallel: bool = True
    grammar: Grammar | None = None
    template_arguments: Mapping[str, Any] = field(default_factory=dict)
    param: str | None = "messages"


@dataclass(frozen=True)
class TurnEvent:
    """What is new in one of the replies. completion: in its last event."""

    index: int
    prompt_tokens: int
    text: str
    calls: tuple[ToolCall, ...]
    logprobs: tuple[TokenLogprob, ...]
    completion: Completion | None
    finish_reason: Literal["stop", "length", "tool_calls"] | None


async def encode_turn(backend: Backend, turn: Turn) -> list[int]:
    """Token ids of a turn's prompt. Raises ApiError (400) and what the template raises."""
    source = backend.model.chat_template.source
    format, knows_tools = find_format(source), "tools" in source
    messages = template_messages(turn.messages, format, knows_tools=knows_tools)
    if turn.tools and not knows_tools:
        messages = with_instructions(messages, turn.tools)
    tools = [tool.as_template_input() for tool in turn.tools] if turn.tools and knows_tools else None
    prompt = await backend.encode_chat(messages, tools, turn.template_arguments)
    if turn.forced:
        prompt += backend.model.tokenizer.encode(format.opening, parse_special=True, add_special=False)
    return prompt


async def run_turn(backend: Backend, turn: Turn, record: RequestRecord) -> AsyncGenerator[TurnEvent, None]:
    """The replies as they come. Closing the iterator stops them."""
    check_at_most(turn.n, backend.settings.limits.n, "n", "replies")
    check_at_most(len(turn.tools), backend.settings.limits.tools, "tools", "tools")
    format = find_format(backend.model.chat_template.source)
    for tool in turn.tools:
        left_out = binding_schema(tool.parameters).left_out
        backend.omissions.leave_out_of_schema(left_out, f"tools ({tool.name})", record)
    grammar = await in_thread(_grammar, turn, format, backend.model.tokenizer)
    jobs = _jobs(turn, await encode_turn(backend, turn), grammar)
    readers = [_Reader(index, len(jobs[0].prompt), turn, format, backend.model.tokenizer) for index in range(turn.n)]
    async with aclosing(backend.stream(jobs, record)) as chunks:
        async for index, chunk in chunks:
            event = readers[index].read(chunk)
            if event.finish_reason == "tool_calls":
                record.finish_reason = event.finish_reason
            yield event


def _grammar(turn: Turn, format: ToolFormat, tokenizer: Tokenizer) -> Grammar | None:
    if turn.forced:
        return Grammar.json_schema(format.schema(list(turn.forced)))
    if turn.tools and turn.grammar is not None:
        return call_or_text(format, turn.tools, turn.grammar, tokenizer)
    return turn.grammar


def _jobs(turn: Turn, prompt: list[int], grammar: Grammar | None) -> list[Job]:
    options = dict(turn.options)
    if grammar is not None:
        options["grammar"] = grammar
    return [Job(prompt, numbered(options, place), turn.param) for place in range(turn.n)]


def numbered(options: Mapping[str, Any], place: int) -> dict[str, Any]:
    """The options for one of several replies to a prompt: with a seed of its own, so that they differ."""
    seed = options.get("seed")
    return dict(options) if seed is None else {**options, "seed": (seed + place) % 2**64}


class _Reader:
    """Turns one reply's chunks into events."""

    def __init__(self, index: int, prompt_tokens: int, turn: Turn, format: ToolFormat, tokenizer: Tokenizer) -> None:
        self._index = index
        self._prompt_tokens = prompt_tokens
        self._parallel = turn.parallel
        self._parser = None
        self._shown: dict[int, str] = {}
        self._called = False
        if turn.tools:
            names = frozenset(tool.name for tool in turn.tools)
            self._parser = ToolCallParser(format, names, forced=bool(turn.forced))
            # Markers that are control tokens leave no text: they are put back for the parser to see.
            for marker in (format.opening.strip(), format.closing.strip(), "<|python_tag|>", "[ARGS]"):
                id = tokenizer.token_id(marker) if marker else None
                if id is not None and tokenizer.is_special(id):
                    self._shown[id] = marker

    def read(self, chunk: Chunk) -> TurnEvent:
        text, calls = self._parse(chunk) if self._parser is not None else (chunk.text, ())
        reason: Literal["stop", "length", "tool_calls"] | None = chunk.finish_reason
        if reason == "stop" and self._called:
            reason = "tool_calls"
        return TurnEvent(self._index, self._prompt_tokens, text, calls, chunk.logprobs or (), chunk.completion, reason)

    def _parse(self, chunk: Chunk) -> tuple[str, tuple[ToolCall, ...]]:
        assert self._parser is not None
        text = "".join(self._shown.get(id, "") for id in chunk.token_ids) + chunk.text
        found = list(self._parser.push(text))
        if chunk.completion is not None:
            found += self._parser.flush()
        calls = [item for item in found if isinstance(item, ToolCall)]
        if not self._parallel:
            calls = [] if self._called else calls[:1]
        self._called = self._called or bool(calls)
        return "".join(item for item in found if isinstance(item, str)), tuple(calls)
