"""Where chat templates run: Jinja's immutable sandbox, with what Hugging Face `transformers` offers to templates.

A template comes with a model file, so it is hostile input. It reaches no file, no network and no Python internals, and
its loops, its calls and the texts it puts together are bounded. Not bounded is the memory that a single call of a
string method or a filter takes, such as `replace` or `center`.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sized
from contextvars import ContextVar
from datetime import datetime
from typing import Any, NoReturn

from jinja2 import Template, TemplateError, meta, nodes, pass_context
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from lutmac.text.message_marks import BEGIN_FILTER, END_FILTER, Mark, begin_mark, mark_loop, place_messages
from lutmac.text.rendered import Rendered

MAX_ITERATIONS = 1_000_000
"""Iterations of loops that one rendering may take, a call counting as ten: thousands of messages, or a few seconds."""

MAX_LENGTH = 16_000_000
"""Characters or items of the longest text or list a template may make: more than any context holds."""

_METERED, _CONCATENATED = "*metered*", "*concatenated*"  # filter names that no template can write
_MAX_EXPONENT = 64

_iterations_left: ContextVar[int] = ContextVar("_iterations_left")


class TemplateLimitError(Exception):
    """A template does more than a chat template has any need to."""


class TemplateRefusedError(TemplateError):
    """The template itself refused the messages, by calling `raise_exception`."""


class ChatEnvironment(ImmutableSandboxedEnvironment):
    """The sandbox. Render its templates with `render`, which keeps the bounds."""

    intercepted_binops = frozenset({"*", "**", "+"})

    def __init__(self) -> None:
        """An environment set up as `transformers` sets up its own."""
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _GenerationTag])
        self.filters["tojson"] = _to_json
        self.filters[_METERED] = pass_context(lambda _context, items: _metered(items))
        self.filters[_CONCATENATED] = pass_context(lambda _context, parts: _concatenated(parts))
        self.filters[BEGIN_FILTER] = pass_context(lambda _context, item, loop: begin_mark(item, loop))
        self.filters[END_FILTER] = pass_context(lambda _context, _item, loop: Mark(loop))
        self.globals["raise_exception"] = _raise_exception
        self.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
        del self.globals["lipsum"]

    def handle_exception(self, source: str | None = None) -> NoReturn:
        """Raises what was raised. Jinja's own adds lines of the template, by a frame that keeps itself alive."""
        raise  # noqa: PLE0704 (called while an exception is handled)

    def variables(self, source: str) -> frozenset[str]:
        """The variables that a template reads."""
        return frozenset(meta.find_undeclared_variables(self.parse(source)))

    def render(self, template: Template, variables: Mapping[str, Any]) -> Rendered:
        """What a template makes of the variables.

        Raises TemplateRefusedError where the template refuses them, TemplateLimitError where it exceeds a bound, and
        whatever else goes wrong inside it.
        """
        token = _iterations_left.set(MAX_ITERATIONS)
        try:
            pieces: list[str] = []
            marks: list[tuple[int, Mark]] = []
            length = 0
            for piece in template.generate(**variables):
                if isinstance(piece, Mark):
                    marks.append((length, piece))
                    continue
                length += len(piece)
                _check_length(length)
                pieces.append(piece)
            return Rendered("".join(pieces), place_messages(marks))
        finally:
            _iterations_left.reset(token)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = _Bounding().visit(super()._parse(source, name, filename))
        assert isinstance(tree, nodes.Template)
        tree.set_environment(self)
        return tree

    def call(self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: D102 (Jinja's)
        _count_iterations(10)
        if isinstance(__obj, LoopContext) and args:  # a recursive loop calls itself with what to loop over next
            args = (_metered(args[0]), *args[1:])
        return super().call(__context, __obj, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:  # noqa: D102 (Jinja's)
        sizes = [len(value) if isinstance(value, Sized) else None for value in (left, right)]
        if operator == "+" and None not in sizes:
            _check_length(sum(size for size in sizes if size is not None))
        elif operator == "*":
            for size, count in ((sizes[0], right), (sizes[1], left)):
                if size is not None and isinstance(count, int):
                    _check_length(size * count)
        elif operator == "**" and not abs(right) <= _MAX_EXPONENT:
            raise TemplateLimitError(f"it raises a number to the power of {right}")
        return super().call_binop(context, operator, left, right)


class _Bounding(NodeTransformer):
    """Puts a meter and marks on every loop, and a bound on every `~`, of a parsed template."""

    def __init__(self) -> None:
        self._loops = itertools.count()

    def visit_For(self, node: nodes.For) -> list[nodes.Node]:  # noqa: N802 (NodeTransformer's)
        self.generic_visit(node)
        node.iter = nodes.Filter(node.iter, _METERED, [], [], None, None, lineno=node.lineno)
        return mark_loop(node, next(self._loops))

    def visit_Concat(self, node: nodes.Concat) -> nodes.Filter:  # noqa: N802 (NodeTransformer's)
        self.generic_visit(node)
        parts = nodes.List(node.nodes, lineno=node.lineno)
        return nodes.Filter(parts, _CONCATENATED, [], [], None, None, lineno=node.lineno)


class _GenerationTag(Extension):
    """`{% generation %}`, with which templates mark what was generated for training; here it changes nothing."""

    tags = {"generation"}  # noqa: RUF012 (Jinja's)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _count_iterations(count: int = 1) -> None:
    left = _iterations_left.get(MAX_ITERATIONS) - count
    _iterations_left.set(left)
    if left < 0:
        raise TemplateLimitError(f"it takes more than {MAX_ITERATIONS} iterations")


def _metered(items: Iterable[Any]) -> Iterator[Any]:
    for item in items:
        _count_iterations()
        yield item


def _concatenated(parts: Iterable[Any]) -> str:
    texts = [str(part) for part in parts]
    _check_length(sum(map(len, texts)))
    return "".join(texts)


def _check_length(length: int) -> None:
    if length > MAX_LENGTH:
        raise TemplateLimitError(f"it makes a text or list longer than {MAX_LENGTH}")


def _raise_exception(message: str) -> NoReturn:
    raise TemplateRefusedError(message)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON as it is, where Jinja's own filter escapes it for HTML.

    What a filter such as ``map`` gives is a list, as in llama.cpp, whose own template of DeepSeek R1 relies on that.
    """
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
        default=_listed,
    )


def _listed(value: Any) -> list[Any]:
    if not isinstance(value, Iterator):
        raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
    return list(_metered(value))
