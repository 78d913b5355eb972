"""What the text of a reply has to fit, from the form that was asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from lutmac.engine.sampling.grammar import Grammar
from lutmac.engine.sampling.schema_support import binding_schema, unsupported
from lutmac.server.backend import Backend
from lutmac.server.errors import ApiError, missing_parameter
from lutmac.server.logs import RequestRecord
from lutmac.server.preparation import in_thread
from lutmac.server.tools import Family, Tool
from lutmac.server.tools.forcing import call_rules, free_text, literal
from lutmac.server.tools.thoughts import ThoughtMarks

if TYPE_CHECKING:
    from lutmac.text.tokenizer import Tokenizer

_BLANKS: Final = r"/[ \n]{0,2}/"  # behind thoughts: a small model goes on with white space wherever it may


async def format_grammar(
    type: Literal["text", "json_object", "json_schema"],
    schema: Mapping[str, Any] | None,
    param: str,
    backend: Backend,
    record: RequestRecord,
) -> Grammar | None:
    """The grammar of a form; None where all text fits.

    schema: for "json_schema", and where the client wishes for "json_object". param: where it is in the request. record:
    gets what of the schema is left out. Raises ApiError (400) where the schema is missing or no grammar can be made of
    it, and what the grammar raises.
    """
    if type == "text":
        return None
    if schema is None:
        if type == "json_object":
            return Grammar.json_object()
        raise missing_parameter(param)
    binding = await in_thread(binding_schema, schema)
    backend.omissions.leave_out_of_schema(binding.left_out, param, record)
    reason = await in_thread(unsupported, binding.schema)
    if reason is not None:
        raise ApiError(400, f"no grammar can be made of the schema: {reason}", code="invalid_schema", param=param)
    return Grammar.json_schema(binding.schema)


@dataclass(frozen=True)
class ReplyForm:
    """What a reply has to be.

    tools: those of which it may call one. text: what it has to fit where it calls none; None where it has to call one.
    thinking: the marks that the prompt has opened. may_open: those that the reply may open itself.
    """

    family: Family
    tools: Sequence[Tool] = ()
    text: Grammar | None = None
    thinking: ThoughtMarks | None = None
    may_open: tuple[ThoughtMarks, ...] = ()


def reply_grammar(form: ReplyForm, tokenizer: Tokenizer) -> Grammar:
    """The grammar of a reply: thoughts are free, what follows them is a call or fits."""
    answer = literal(form.family.answer, tokenizer)
    if form.text is not None and not (form.tools or form.thinking or form.may_open or answer):
        return form.text
    bodies, rules = [], []
    if form.tools:
        bodies.append("call")
        rules.append(call_rules(form.family, form.tools, tokenizer))
    if form.text is not None:
        bodies.append("answer")
        rules += [f"answer: {answer} fitting", form.text.rules("fitting")]
    begin = _thoughts(form, tokenizer, rules)
    return Grammar.lark("\n".join([f"start: {begin} body", f"body: {' | '.join(bodies)}", *rules]) + "\n")


def _thoughts(form: ReplyForm, tokenizer: Tokenizer, rules: list[str]) -> str:
    """What a reply may begin with; adds the rules that this refers to."""
    if form.thinking is not None:
        rules.append(free_text("thoughts", form.thinking.closing, tokenizer))
        return f"thoughts {_BLANKS}"
    kinds = []
    for place, marks in enumerate(form.may_open):
        rules.append(free_text(f"thoughts_{place}", marks.closing, tokenizer))
        kinds.append(f"{literal(marks.opening, tokenizer)} thoughts_{place} {_BLANKS}")
    return f"({' | '.join(kinds)})?" if kinds else ""
