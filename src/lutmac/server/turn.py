"""One turn of a conversation, for every interface: messages and tools in, thoughts, text and calls out."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Literal

from lutmac.engine.sampling.grammar import Grammar
from lutmac.engine.sampling.results import Chunk, Completion, PromptProgress, TokenLogprob
from lutmac.engine.sampling.schema_support import binding_schema
from lutmac.server.backend import Backend, Job
from lutmac.server.errors import ApiError
from lutmac.server.limits import check_at_most
from lutmac.server.logs import RequestRecord, logger
from lutmac.server.preparation import in_thread
from lutmac.server.prompts import template_messages
from lutmac.server.reply_format import ReplyForm, reply_grammar
from lutmac.server.reply_style import ReplyStyle, find_style
from lutmac.server.schemas.chat import ChatMessage
from lutmac.server.thinking import AS_IT_IS, Thinking
from lutmac.server.tools import CallArguments, CallBegin, CallEnd, Part, ReplyParser, Text, Thought, Tool, ToolCall
from lutmac.server.tools.thoughts import ThoughtMarks, open_marks
from lutmac.text.chat import ChatPrompt


@dataclass(frozen=True)
class Turn:
    """A conversation to reply to.

    options: for the engine. n: number of replies. tools: that are offered. forced: the reply must call one of these;
    empty: it need not. parallel: whether it may make several calls. grammar: what the text of the reply has to fit,
    unless it is a call. thinking: how much to think. continues: whether the reply continues the last message, which is
    the assistant's. begins: whether the prompt ends with the beginning of a reply. template_arguments: more variables
    for the chat template. param: the field of the request that holds the conversation. tells_progress: whether events
    say how far the prompt has been read.
    """

    messages: Sequence[ChatMessage]
    options: Mapping[str, Any]
    n: int = 1
    tools: tuple[Tool, ...] = ()
    forced: tuple[Tool, ...] = ()
    parallel: bool = True
    grammar: Grammar | None = None
    thinking: Thinking = AS_IT_IS
    continues: bool = False
    begins: bool = True
    template_arguments: Mapping[str, Any] = field(default_factory=dict)
    param: str | None = "messages"
    tells_progress: bool = False


@dataclass(frozen=True)
class TurnEvent:
    """What is new in one of the replies. completion, finish_reason: only in its last event.

    parts: in order. tokens: drawn so far. thought_tokens: how many of these were thoughts. progress: of the prompt, in
    events before the first token; such an event has nothing else.
    """

    index: int
    prompt_tokens: int
    parts: tuple[Part, ...] = ()
    tokens: int = 0
    thought_tokens: int = 0
    logprobs: tuple[TokenLogprob, ...] = ()
    completion: Completion | None = None
    finish_reason: Literal["stop", "length", "tool_calls"] | None = None
    progress: PromptProgress | None = None

    @property
    def text(self) -> str:
        """The new text of the reply."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))

    @property
    def thoughts(self) -> str:
        """The new thoughts."""
        return "".join(part.text for part in self.parts if isinstance(part, Thought))

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """The calls that this event completes."""
        return tuple(part.call for part in self.parts if isinstance(part, CallEnd))


def continues(
    messages: Sequence[ChatMessage], *, wish: bool | None, begins: bool | None = None, bound: bool = False
) -> bool:
    """Whether a reply continues the last message.

    wish: what the client asks for; by default a message of the assistant is continued. begins: whether the client asks
    for a new reply. bound: whether the reply has to fit something, which a begun message cannot. Raises ApiError (400)
    for a wish that is not possible.
    """
    last = messages[-1] if messages else None
    if last is None or last.role != "assistant" or last.tool_calls or wish is False:
        return False
    if wish and bound:
        raise ApiError(
            400,
            "a begun message cannot be held to a format or a call: leave out response_format and tool_choice, or end"
            " with a user's message",
            param="continue_final_message",
        )
    return bool(wish) or not (begins or bound)


async def encode_turn(backend: Backend, turn: Turn, *, bounded: bool = False) -> ChatPrompt:
    """A turn's prompt. bounded: see `Backend.encode`. Raises ApiError (400) and what the template raises."""
    template = backend.model.chat_template.for_chat(with_tools=bool(turn.tools))
    abilities = await in_thread(lambda: template.abilities)
    style = _style(backend, turn)
    if turn.tools and not abilities.tools:
        _tell_once(backend)
    return await backend.encode_chat(
        template_messages(turn.messages, turn.tools, style.family, abilities),
        {**turn.thinking.variables(abilities), **turn.template_arguments},
        bounded=bounded,
        param=turn.param,
        tools=[tool.as_template_input() for tool in turn.tools] if turn.tools and abilities.tools else None,
        add_generation_prompt=turn.begins,
        continue_final_message=turn.continues,
        openings=[marks.opening for marks in style.marks],
    )


async def run_turn(backend: Backend, turn: Turn, record: RequestRecord) -> AsyncGenerator[TurnEvent, None]:
    """The events of the replies, as they come. Closing the iterator stops the replies."""
    check_at_most(turn.n, backend.settings.limits.n, "n", "replies")
    check_at_most(len(turn.tools), backend.settings.limits.tools, "tools", "tools")
    found = await in_thread(lambda: [binding_schema(tool.parameters).left_out for tool in turn.tools])
    for tool, left_out in zip(turn.tools, found, strict=True):
        backend.omissions.leave_out_of_schema(left_out, f"tools ({tool.name})", record)
    style = _style(backend, turn)
    prompt = await encode_turn(backend, turn, bounded=True)
    thinking = open_marks(prompt.begun, style.marks)
    options = {**turn.options, "shown_tokens": style.shown, **prompt.options}
    form = _form(turn, style, thinking)
    if form is not None:
        options["grammar"] = await in_thread(reply_grammar, form, backend.model.tokenizer)
    jobs = [Job(prompt.ids, numbered(options, place), turn.param, turn.tells_progress) for place in range(turn.n)]
    readers = [_ReplyReader(index, len(prompt.ids), turn, style, thinking) for index in range(turn.n)]
    async with aclosing(backend.stream(jobs, record)) as chunks:
        async for index, chunk in chunks:
            if chunk.progress is not None:
                yield TurnEvent(index, len(prompt.ids), progress=chunk.progress)
                continue
            event = readers[index].read(chunk)
            if event.finish_reason == "tool_calls":
                record.finish_reason = event.finish_reason
            yield event


def _style(backend: Backend, turn: Turn) -> ReplyStyle:
    return find_style(backend.model.chat_template, backend.model.tokenizer, with_tools=bool(turn.tools))


def _form(turn: Turn, style: ReplyStyle, thinking: ThoughtMarks | None) -> ReplyForm | None:
    """The form that the reply must have; None for any."""
    if not turn.forced and turn.grammar is None:
        return None
    may_open = () if thinking is not None or turn.continues or turn.thinking.wanted is False else style.known
    if turn.forced:
        return ReplyForm(style.family, turn.forced, None, thinking, may_open)
    return ReplyForm(style.family, turn.tools, turn.grammar, thinking, may_open)


def _tell_once(backend: Backend) -> None:
    """Warns in the log, once, that the template does not support tools."""
    if not backend.told_of_tools:
        backend.told_of_tools = True
        reason = "the chat template knows no tools: they are described in the system message"
        logger.warning("template", extra={"fields": {"reason": reason}})


def numbered(options: Mapping[str, Any], place: int) -> dict[str, Any]:
    """The options for reply ``place`` of several: each has a seed of its own, so that they differ."""
    seed = options.get("seed")
    return dict(options) if seed is None else {**options, "seed": (seed + place) % 2**64}


class _ReplyReader:
    """Turns the chunks of one reply into events."""

    def __init__(
        self, index: int, prompt_tokens: int, turn: Turn, style: ReplyStyle, thinking: ThoughtMarks | None
    ) -> None:
        self._index = index
        self._prompt_tokens = prompt_tokens
        self._parallel = turn.parallel
        self._parser = ReplyParser(
            style.family,
            {tool.name: tool for tool in turn.tools},
            style.marks,
            thinking=thinking,
            continued=turn.continues,
        )
        self._called = False
        self._ignores = False  # calls behind the first, where there may be one alone
        self._thinks = thinking is not None
        self._tokens = 0
        self._thought_tokens = 0

    def read(self, chunk: Chunk) -> TurnEvent:
        """The event of a chunk."""
        found = self._parser.push(chunk.text)
        if chunk.completion is not None:
            found += self._parser.close(cut=chunk.finish_reason == "length")
        parts = tuple(part for part in found if self._keeps(part))
        if parts:
            self._thinks = isinstance(parts[-1], Thought)
        self._tokens += len(chunk.token_ids)
        if self._thinks:
            self._thought_tokens += len(chunk.token_ids)
        reason: Literal["stop", "length", "tool_calls"] | None = chunk.finish_reason
        if reason == "stop" and self._called:
            reason = "tool_calls"
        return TurnEvent(
            self._index,
            self._prompt_tokens,
            parts,
            self._tokens,
            self._thought_tokens,
            chunk.logprobs or (),
            chunk.completion,
            reason,
        )

    def _keeps(self, part: Part) -> bool:
        if isinstance(part, CallBegin):
            self._ignores = self._called and not self._parallel
            self._called = True
        return not (self._ignores and isinstance(part, CallBegin | CallArguments | CallEnd))
