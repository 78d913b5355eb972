"""`lutmac run`: one prompt, one reply."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from lutmac.cli import asking, options
from lutmac.cli.chat import open_chat
from lutmac.cli.constraints import Constraints
from lutmac.cli.loading import load_model, model_label
from lutmac.cli.model_words import complete_model
from lutmac.cli.option_groups import OptionGroup
from lutmac.cli.output import ProgressBar, print_json, process_age
from lutmac.cli.prompt import read_request
from lutmac.cli.reply_printer import ReplyPrinter
from lutmac.errors import ContextOverflowError, InvalidRequestError

if TYPE_CHECKING:
    from lutmac import Grammar, Model


Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[MODEL] [PROMPT]",
        help=f"A model ({options.DEFAULT_MODEL} when left out) and a prompt; the prompt - reads standard input. "
        "A model alone opens a chat.",
        autocompletion=complete_model,
    ),
]
Files = Annotated[
    list[Path] | None,
    typer.Option("--file", "-f", metavar="FILE", help="A text behind the prompt, as what is piped in; repeatable."),
]
Raw = Annotated[bool, typer.Option("--raw", help="Continue the prompt as it is, without the chat template.")]


@dataclass(frozen=True)
class PromptOptions(OptionGroup):
    """What the command line says about the prompt, beside its words, and about the output."""

    file: Files = None
    raw: Raw = False
    as_json: options.AsJson = False


class RunCommand(TyperCommand):
    """Its usage line says that the first of two words is the model."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """What stands behind the command's name."""
        return ["[OPTIONS]", "[MODEL] [PROMPT]"]


def run(
    words: Words = None,
    *,
    given: PromptOptions,
    talking: options.Talking,
    constraints: Constraints,
    sampling: options.Sampling,
    loading: options.Loading,
) -> None:
    """Answer one prompt. The reply streams; figures follow on the error stream.

    Example: lutmac run smollm2 "Why is the sky blue?" --max-tokens 100

    Example: git diff | lutmac run "Write a commit message for this."
    """
    if given.raw and talking.given:
        raise InvalidRequestError(f"{talking.given[0]} needs the chat template: leave --raw out")
    wishes = {"max_tokens": None, **sampling.arguments()}
    request = read_request(words or [], given.file or [], exact=given.raw)
    name = request.model or options.DEFAULT_MODEL
    if request.prompt is None:
        of_prompts = [*(["--raw"] if given.raw else []), *(["--json"] if given.as_json else []), *constraints.given]
        if of_prompts:
            raise InvalidRequestError(f"{of_prompts[0]} needs a PROMPT: a word, --file or a pipe")
        open_chat(name, talking, sampling, loading)
        return
    grammar = constraints.make()
    model = load_model(name, loading, wishes, chats=not given.raw, shown=not given.as_json)
    try:
        pieces = _pieces(model, request.prompt, None if given.raw else talking, wishes, grammar)
    except ContextOverflowError as error:
        raise asking.too_long(error, model) from None
    printed = print_reply(pieces, talking, shown=not given.as_json)
    if given.as_json:
        print_json(printed.as_dict(model))
        return
    print()
    info = model.info()
    cut = printed.reply.cut(info.context, info.trained_context, wishes["max_tokens"])
    print(f"[{model_label(name)}: {printed.statistics}]", file=sys.stderr)
    if cut is not None:
        print(f"[{cut}]", file=sys.stderr)


def _pieces(
    model: Model,
    prompt: str,
    talking: options.Talking | None,
    wishes: dict[str, Any],
    grammar: Grammar | None,
) -> Generator[asking.Piece]:
    """The reply to a prompt. talking: None where no chat is made of it."""
    if talking is None:
        return asking.raw_pieces(model, prompt, {**wishes, "grammar": grammar})
    asker = asking.Asker(model, think=talking.think)
    messages = [{"role": "system", "content": talking.system}] if talking.system is not None else []
    messages.append({"role": "user", "content": prompt})
    return asker.pieces(asker.prompt(messages), wishes, grammar)


@dataclass(frozen=True)
class PrintedReply:
    """A reply and its figures. first_token_age: seconds from the start of the process to the first text."""

    reply: asking.Reply
    first_token_age: float

    @property
    def statistics(self) -> str:
        """One line for a person."""
        completion = self.reply.ended
        timings = completion.timings
        return (
            f"{timings.prefill_tokens} prompt tokens at {timings.prefill_tokens_per_second:.0f} tok/s, "
            f"{len(completion.token_ids)} tokens at {timings.decode_tokens_per_second:.1f} tok/s, "
            f"first after {timings.prefill_seconds:.2f} s ({self.first_token_age:.2f} s from the start of the process)"
        )

    def as_dict(self, model: Model) -> dict[str, object]:
        """What --json prints."""
        completion, timings = self.reply.ended, self.reply.ended.timings
        return {
            "model": model.info().path,
            "isa": model.info().isa,
            "threads": model.threads,
            "text": self.reply.text,
            "thoughts": self.reply.thoughts,
            "finish_reason": completion.finish_reason,
            "seed": completion.seed,
            "prompt_tokens": completion.prompt_tokens,
            "generated_tokens": len(completion.token_ids),
            "prefill_tokens_per_second": timings.prefill_tokens_per_second,
            "decode_tokens_per_second": timings.decode_tokens_per_second,
            "time_to_first_token_seconds": timings.prefill_seconds,
            "process_start_to_first_token_seconds": self.first_token_age,
        }


def print_reply(pieces: Generator[asking.Piece], talking: options.Talking, *, shown: bool) -> PrintedReply:
    """Prints a reply as it comes."""
    reply = asking.Reply()
    with closing(pieces):
        with ProgressBar(shown=shown, what=asking.READING) as bar:
            piece = asking.until_text(pieces, bar)
        first_token_age = process_age()
        with ReplyPrinter(thoughts=talking.thoughts, shown=shown) as printer:
            asking.print_piece(piece, reply, printer)
            for piece in pieces:
                asking.print_piece(piece, reply, printer)
    return PrintedReply(reply, first_token_age)
