"""Chats to prompts: the template a model brings says how messages are written, and users cannot break out of theirs.

The template language is that of Hugging Face `transformers`
(https://huggingface.co/docs/transformers/chat_templating_writing), plus nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lutmac.errors import CheckpointError, InvalidRequestError, UnsupportedModelError
from lutmac.text.chat_fitting import Message, fit_messages, with_word
from lutmac.text.chat_writer import ChatWriter
from lutmac.text.foreign_text import ForeignText
from lutmac.text.length import check_segments
from lutmac.text.rendered import Rendered
from lutmac.text.reply_spans import Span, reply_spans
from lutmac.text.template_abilities import THINKING_WORD, TemplateAbilities, find_abilities
from lutmac.text.template_names import DEFAULT, TOOL_USE, gguf_templates
from lutmac.text.tokenizer import Tokenizer

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""The template of a vocabulary that has `<|im_start|>` and a file that has no template."""

PLAIN = (
    "{% for message in messages %}{{ message['role'] | capitalize + ': ' + message['content'] + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
"""The template of everything else that brings none: `User: …`, `Assistant: …`, a line each."""


class ChatTemplate:
    """A Jinja template that writes a list of messages as a prompt."""

    def __init__(
        self, source: str, *, bos_token: str = "", eos_token: str = "", tool_use: ChatTemplate | None = None
    ) -> None:
        """`bos_token` and `eos_token` are what the template sees under these names.

        tool_use: the template for chats with tools, where that is another.

        Raises UnsupportedModelError for a template that does not compile.
        """
        self.source = source
        self._tool_use = tool_use
        self._tokens = {"bos_token": bos_token, "eos_token": eos_token}
        from jinja2 import TemplateSyntaxError  # noqa: PLC0415 (a plain completion needs no Jinja)

        from lutmac.text.sandbox import ChatEnvironment  # noqa: PLC0415

        self._environment = ChatEnvironment()
        try:
            self._template = self._environment.from_string(source)
        except TemplateSyntaxError as error:
            raise UnsupportedModelError(f"the chat template, line {error.lineno}: {_one_line(error)}") from error
        except Exception as error:
            raise UnsupportedModelError(f"the chat template does not compile: {_one_line(error)}") from error

    @classmethod
    def from_gguf(cls, metadata: Mapping[str, Any], tokenizer: Tokenizer) -> ChatTemplate:
        """The template in a GGUF file; see `of_checkpoint`."""
        return cls.of_checkpoint(gguf_templates(metadata), tokenizer)

    @classmethod
    def of_checkpoint(cls, sources: Mapping[str, object], tokenizer: Tokenizer) -> ChatTemplate:
        """The template that a checkpoint has, by name; of several the one called "default", else the first.

        Where there is none it is `CHATML` or `PLAIN`, whichever the vocabulary suits. Raises CheckpointError for a
        template that is no text.
        """
        for name, source in sources.items():
            if not isinstance(source, str):
                raise CheckpointError(f"chat_template {name!r} is no string")
        bos, eos = ("" if id is None else tokenizer.token_text(id) for id in (tokenizer.bos_id, tokenizer.eos_id))
        own = CHATML if tokenizer.token_id("<|im_start|>") is not None else PLAIN
        source = str(sources.get(DEFAULT, next(iter(sources.values()), own)))
        for_tools = sources.get(TOOL_USE)
        tool_use = None if for_tools is None else cls(str(for_tools), bos_token=bos, eos_token=eos)
        return cls(source, bos_token=bos, eos_token=eos, tool_use=tool_use)

    def for_chat(self, *, with_tools: bool) -> ChatTemplate:
        """The template for a chat with tools, or without."""
        return self._tool_use if with_tools and self._tool_use is not None else self

    @cached_property
    def abilities(self) -> TemplateAbilities:
        """What it takes, found out by trying: a few milliseconds, once."""
        return find_abilities(self.source, self._environment.variables(self.source), self.render)

    def render(
        self,
        messages: Sequence[Message],
        *,
        add_generation_prompt: bool = True,
        tools: Sequence[Any] | None = None,
        **extra: Any,
    ) -> str:
        """The prompt as text; see `render_places`. The text alone does not say which special tokens are the template's
        and which a user wrote: `encode_chat` keeps them apart.
        """
        return self.render_places(messages, add_generation_prompt=add_generation_prompt, tools=tools, **extra).text

    def render_places(
        self,
        messages: Sequence[Message],
        *,
        add_generation_prompt: bool = True,
        tools: Sequence[Any] | None = None,
        **extra: Any,
    ) -> Rendered:
        """The prompt as text, and where its messages lie. `extra` are more variables for the template.

        Raises InvalidRequestError where the template refuses the messages or cannot handle them, and
        UnsupportedModelError where it tries what the sandbox forbids.
        """
        from jinja2.exceptions import SecurityError  # noqa: PLC0415

        from lutmac.text.sandbox import TemplateLimitError, TemplateRefusedError  # noqa: PLC0415

        _check(messages)
        inputs = {"messages": messages, "tools": tools, "add_generation_prompt": add_generation_prompt}
        try:
            return self._environment.render(self._template, {"documents": None, **extra, **self._tokens, **inputs})
        except TemplateRefusedError as error:
            raise InvalidRequestError(f"the chat template refused the messages: {_one_line(error)}") from error
        except (SecurityError, TemplateLimitError, RecursionError, OverflowError, MemoryError) as error:
            raise UnsupportedModelError(f"the chat template was stopped: {_one_line(error)}") from error
        except Exception as error:  # a template can fail in every way a program can
            reason = f"{type(error).__name__}: {_one_line(error)}"
            raise InvalidRequestError(f"the chat template cannot handle these messages: {reason}") from error

    def render_segments(
        self,
        messages: Sequence[Message],
        tokenizer: Tokenizer,
        *,
        add_generation_prompt: bool = True,
        tools: Sequence[Any] | None = None,
        **extra: Any,
    ) -> list[tuple[str, bool]]:
        """The prompt as segments of text, each with whether control tokens in it are the template's own.

        Wherever a message, a tool or an extra variable holds the text of a control token, that text is a segment
        marked False. Raises what `render` raises.
        """
        _check(messages)
        marks = ForeignText(tokenizer)
        rendered = self.render(
            marks.mark(messages),
            add_generation_prompt=add_generation_prompt,
            tools=marks.mark(tools),
            **marks.mark(extra),
        )
        return marks.segments(rendered)


@dataclass(frozen=True)
class ChatPrompt:
    """A chat as a model gets it. ids: tokens. begun: the reply's beginning that the prompt holds, a template's or a
    message's that is continued.

    shared_prefix: how many of the tokens stand before the generation prompt: where templates leave earlier thoughts
    out, it is these that the next turn begins with. None where the reply goes on with a message. reply_spans: spans
    [begin, end) of the tokens that are the assistant's own, if they were asked for.
    """

    ids: list[int]
    begun: str = ""
    shared_prefix: int | None = None
    reply_spans: tuple[Span, ...] = ()

    @property
    def options(self) -> dict[str, Any]:
        """What it says to whoever generates: options of `Model.generate`."""
        return {"shared_prefix": self.shared_prefix, "reply_spans": self.reply_spans}


def chat_prompt(  # noqa: PLR0913 (what transformers' apply_chat_template has, and more; by keyword)
    tokenizer: Tokenizer,
    template: ChatTemplate,
    messages: Sequence[Message],
    *,
    add_generation_prompt: bool = True,
    continue_final_message: bool = False,
    tools: Sequence[Any] | None = None,
    variables: Mapping[str, Any] | None = None,
    openings: Sequence[str] = (),
    most_tokens: int | None = None,
    finds_replies: bool = False,
) -> ChatPrompt:
    """A chat's prompt: control tokens where the template writes them, plain text where a message does.

    Messages are made to fit the template, see `fit_messages`. continue_final_message: the prompt ends within the last
    message, which is the assistant's. variables: more for the template. openings: for what the caller looks in how the
    reply begins. finds_replies: whether to find out which tokens are the assistant's own. As in llama.cpp, a chat of a
    GGUF file that wants BOS gets it where the template writes none; a Hugging Face directory's has what its template
    writes, as in transformers. Raises what `ChatTemplate.render` raises, and ContextOverflowError where there are
    certainly more than ``most_tokens``.
    """
    _check(messages)
    template = template.for_chat(with_tools=bool(tools))
    fitted = with_word(fit_messages(messages, template.abilities), (variables or {}).get(THINKING_WORD))
    foreign = ForeignText(tokenizer)
    writer = ChatWriter(template, foreign, {**(variables or {}), **template.abilities.inputs(tools)})
    beginning = ""
    if continue_final_message:
        rendered, begun = writer.continued(fitted, template.abilities.thought_key)
    elif add_generation_prompt:
        rendered, beginning = writer.begun(fitted)
        begun = beginning if any(opening in beginning for opening in openings) else ""
    else:
        rendered, begun = writer.closed(fitted), ""
    segments = foreign.segments(rendered.text)
    if most_tokens is not None:
        check_segments(tokenizer, segments, most_tokens)
    ids = tokenizer.encode_segments(segments, add_special=False)
    spans: tuple[Span, ...] = ()
    if finds_replies:
        spans = reply_spans(tokenizer, foreign, rendered, {beginning, *writer.beginnings(fitted)}, ids)
    gets_bos = tokenizer.chats_get_bos or template.source in (CHATML, PLAIN)
    if gets_bos and ids[: len(tokenizer.before)] != tokenizer.before:
        ids = tokenizer.before + ids
        spans = tuple((begin + len(tokenizer.before), end + len(tokenizer.before)) for begin, end in spans)
    shared = _tokens_before(tokenizer, ids, foreign.segments(beginning)) if beginning else None
    return ChatPrompt(ids, begun, shared, spans)


def _tokens_before(tokenizer: Tokenizer, ids: list[int], beginning: list[tuple[str, bool]]) -> int:
    """How many of a prompt's tokens stand before the beginning of the reply, with which it ends."""
    found = tokenizer.encode_segments(beginning, add_special=False)
    place = len(ids) - len(found)
    # A beginning that is no control token may be tokenised otherwise behind what stands before it.
    return max(0, place if ids[place:] == found else place - 2)


def encode_chat(
    tokenizer: Tokenizer,
    template: ChatTemplate,
    messages: Sequence[Message],
    *,
    add_generation_prompt: bool = True,
    tools: Sequence[Any] | None = None,
    **extra: Any,
) -> list[int]:
    """Token ids of a chat, see `chat_prompt`. extra: more variables for the template."""
    return chat_prompt(
        tokenizer, template, messages, add_generation_prompt=add_generation_prompt, tools=tools, variables=extra
    ).ids


def _check(messages: Sequence[Message]) -> None:
    if not messages:
        raise InvalidRequestError("a chat needs at least one message")
    for place, message in enumerate(messages):
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise InvalidRequestError(f"messages[{place}] is not a mapping with a role, such as {_EXAMPLE}")


_EXAMPLE = '{"role": "user", "content": "Hello"}'


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
