"""Chats to prompts: the template a model brings says how messages are written, and users cannot break out of theirs.

The template language is that of Hugging Face `transformers`
(https://huggingface.co/docs/transformers/chat_templating_writing), plus nothing.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

from lutmac.errors import CheckpointError, InvalidRequestError, UnsupportedModelError
from lutmac.text.tokenizer import Tokenizer

Message = Mapping[str, Any]
"""One message: `role` and usually `content`; templates may know more keys, such as `tool_calls`."""

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

    def __init__(self, source: str, *, bos_token: str = "", eos_token: str = "") -> None:
        """`bos_token` and `eos_token` are what the template sees under these names.

        Raises UnsupportedModelError for a template that does not compile.
        """
        self.source = source
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
        return cls.of_checkpoint(metadata.get("tokenizer.chat_template"), tokenizer)

    @classmethod
    def of_checkpoint(cls, source: object, tokenizer: Tokenizer) -> ChatTemplate:
        """The template that a checkpoint has, or for None `CHATML` or `PLAIN`, whichever the vocabulary suits."""
        if source is None:
            source = CHATML if tokenizer.token_id("<|im_start|>") is not None else PLAIN
        if not isinstance(source, str):
            raise CheckpointError("tokenizer.chat_template is no string")
        bos, eos = ("" if id is None else tokenizer.token_text(id) for id in (tokenizer.bos_id, tokenizer.eos_id))
        return cls(source, bos_token=bos, eos_token=eos)

    def render(
        self,
        messages: Sequence[Message],
        *,
        add_generation_prompt: bool = True,
        tools: Sequence[Any] | None = None,
        **extra: Any,
    ) -> str:
        """The prompt as text. `extra` are more variables for the template.

        Raises InvalidRequestError where the template refuses the messages or cannot handle them, and
        UnsupportedModelError where it tries what the sandbox forbids. The text alone does not say which special tokens
        are the template's and which a user wrote: `encode_chat` keeps them apart.
        """
        from jinja2.exceptions import SecurityError  # noqa: PLC0415

        from lutmac.text.sandbox import TemplateLimitError, TemplateRefusedError  # noqa: PLC0415

        _check(messages)
        inputs = {"messages": messages, "tools": tools, "add_generation_prompt": add_generation_prompt}
        try:
            return self._environment.render(self._template, {**extra, **self._tokens, **inputs})
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
        marks = _Marks(tokenizer)
        rendered = self.render(
            marks.mark(messages),
            add_generation_prompt=add_generation_prompt,
            tools=marks.mark(tools),
            **marks.mark(extra),
        )
        return marks.segments(rendered)


def encode_chat(
    tokenizer: Tokenizer,
    template: ChatTemplate,
    messages: Sequence[Message],
    *,
    add_generation_prompt: bool = True,
    tools: Sequence[Any] | None = None,
    **extra: Any,
) -> list[int]:
    """Token ids of a chat: control tokens where the template writes them, plain text where a message does.

    BOS comes first where the model wants it, once, whether or not the template writes it too. Raises what
    `ChatTemplate.render` raises.
    """
    segments = template.render_segments(
        messages, tokenizer, add_generation_prompt=add_generation_prompt, tools=tools, **extra
    )
    ids = tokenizer.encode_segments(segments, add_special=False)
    if tokenizer.add_bos and tokenizer.bos_id is not None and ids[:1] != [tokenizer.bos_id]:
        ids.insert(0, tokenizer.bos_id)
    return ids


class _Marks:
    """Stands private-use characters in for special text in messages, and finds them again in what was rendered.

    Only what would become a control token is replaced, so a template that looks into a message still finds what it
    looks for. A half of one at the end of a text counts too, since a template may join texts. (One that cuts out the
    middle of a text could still join two halves.)
    """

    _FIRST, _LAST = 0xF0000, 0xFFFFD  # Supplementary Private Use Area-A
    _PRIVATE = re.compile(f"([{chr(_FIRST)}-{chr(_LAST)}])")

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._names = sorted(tokenizer.special_texts)
        self._longest = max(map(len, self._names), default=0)
        self._stand_ins: dict[str, str] = {}

    def mark(self, value: Any) -> Any:
        """The value with every text in it marked, however deep."""
        if isinstance(value, str):
            return self._mark_text(value)
        if isinstance(value, Mapping):
            return {self.mark(key): self.mark(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.mark(item) for item in value]
        return value

    def segments(self, rendered: str) -> list[tuple[str, bool]]:
        """The rendered text cut at the marks, with what they stand for in their places."""
        originals = {stand_in: text for text, stand_in in self._stand_ins.items()}
        parts = self._PRIVATE.split(rendered)
        return [(originals.get(part, part), part not in originals) for part in parts if part]

    def _mark_text(self, text: str) -> str:
        # A character that is already private use is marked as well, so that a message cannot forge a mark.
        text = self._PRIVATE.sub(lambda match: self._stand_in(match.group()), text)
        marked = "".join(self._mark_part(part) for part in self._tokenizer.split_special(text))
        body = marked.rstrip()
        for length in range(min(self._longest - 1, len(body)), 0, -1):
            tail = body[-length:]
            place = bisect_left(self._names, tail)
            if place < len(self._names) and self._names[place].startswith(tail):
                return body[:-length] + self._stand_in(tail) + marked[len(body) :]
        return marked

    def _mark_part(self, part: str | int) -> str:
        if isinstance(part, str):
            return part
        text = self._tokenizer.token_text(part)
        return self._stand_in(text) if self._tokenizer.is_special(part) else text

    def _stand_in(self, text: str) -> str:
        known = self._stand_ins.get(text)
        if known is None:
            if len(self._stand_ins) > self._LAST - self._FIRST:
                raise InvalidRequestError("the messages hold too many private-use characters")
            known = self._stand_ins[text] = chr(self._FIRST + len(self._stand_ins))
        return known


def _check(messages: Sequence[Message]) -> None:
    if not messages:
        raise InvalidRequestError("a chat needs at least one message")
    for place, message in enumerate(messages):
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise InvalidRequestError(f"messages[{place}] is not a mapping with a role, such as {_EXAMPLE}")


_EXAMPLE = '{"role": "user", "content": "Hello"}'


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
