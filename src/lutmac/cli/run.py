"""`lutmac run`: one prompt, one reply."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from itertools import chain
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from lutmac.cli import options
from lutmac.cli.obtain import obtain_default
from lutmac.cli.output import ProgressBar, print_json, process_age, spinner
from lutmac.errors import InvalidRequestError

if TYPE_CHECKING:
    from lutmac import Chunk, Completion, Model


Words = Annotated[
    list[str],
    typer.Argument(
        metavar="[MODEL] PROMPT",
        help=f"A model ({options.DEFAULT_MODEL} when left out) and a prompt; the prompt - reads standard input.",
    ),
]
Raw = Annotated[bool, typer.Option("--raw", help="Continue the prompt as it is, without the chat template.")]


class RunCommand(TyperCommand):
    """Its usage line says that the first of two words is the model."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """What stands behind the command's name."""
        return ["[OPTIONS]", "[MODEL] PROMPT"]


def run(
    words: Words,
    *,
    system: options.System = None,
    raw: Raw = False,
    sampling: options.Sampling,
    loading: options.Loading,
    as_json: options.AsJson = False,
) -> None:
    """Answer one prompt. The reply streams; figures follow on the error stream.

    Example: lutmac run smollm2 "Why is the sky blue?" --max-tokens 100
    """
    name, prompt = split_words(words)
    if raw and system is not None:
        raise InvalidRequestError("--system needs the chat template: leave --raw out")
    wishes = sampling.arguments()

    import lutmac  # noqa: PLC0415 - the engine costs more to import than a help text may take

    load = lutmac.load
    if not raw:  # loading leaves Python idle for longer than the templates' Jinja takes to import
        Thread(target=import_module, args=("lutmac.text.sandbox",), daemon=True).start()
    with ProgressBar(shown=not as_json) as bar:
        obtain_default(name, bar)
        model = load(name, progress=bar, **loading.arguments())
    messages = [{"role": "system", "content": system}] if system is not None else []
    messages.append({"role": "user", "content": prompt})
    chunks = model.stream(prompt, **wishes) if raw else model.chat(messages, stream=True, **wishes)
    reply = print_reply(chunks, shown=not as_json)
    if as_json:
        print_json(reply.as_dict(model))
    else:
        print()
        print(f"[{reply.statistics}]", file=sys.stderr)


@dataclass(frozen=True)
class PrintedReply:
    """A reply and its figures. first_token_age: seconds from the start of the process to the first text."""

    completion: Completion
    first_token_age: float

    @property
    def statistics(self) -> str:
        """One line for a person."""
        timings = self.completion.timings
        return (
            f"{timings.prefill_tokens} prompt tokens at {timings.prefill_tokens_per_second:.0f} tok/s, "
            f"{len(self.completion.token_ids)} tokens at {timings.decode_tokens_per_second:.1f} tok/s, "
            f"first after {timings.prefill_seconds:.2f} s ({self.first_token_age:.2f} s from the start of the process)"
        )

    def as_dict(self, model: Model) -> dict[str, object]:
        """What --json prints."""
        completion, timings = self.completion, self.completion.timings
        return {
            "model": model.info().path,
            "isa": model.info().isa,
            "threads": model.threads,
            "text": completion.text,
            "finish_reason": completion.finish_reason,
            "seed": completion.seed,
            "prompt_tokens": completion.prompt_tokens,
            "generated_tokens": len(completion.token_ids),
            "prefill_tokens_per_second": timings.prefill_tokens_per_second,
            "decode_tokens_per_second": timings.decode_tokens_per_second,
            "time_to_first_token_seconds": timings.prefill_seconds,
            "process_start_to_first_token_seconds": self.first_token_age,
        }


def print_reply(chunks: Iterator[Chunk], *, shown: bool) -> PrintedReply:
    """Prints a reply as it comes."""
    with spinner("reading the prompt", shown=shown):
        chunk = next(chunks)
    first_token_age = process_age()
    for chunk in chain([chunk], chunks):  # noqa: B020 - the last one outlives the loop
        if shown:
            print(chunk.text, end="", flush=True)
    assert chunk.completion is not None
    return PrintedReply(chunk.completion, first_token_age)


def split_words(words: list[str]) -> tuple[str, str]:
    """The model and the prompt that the command line's words mean; the prompt - is read from standard input.

    Raises InvalidRequestError where there is no prompt or more than one.
    """
    if len(words) > 2:
        raise InvalidRequestError(f"expected [MODEL] PROMPT, got {len(words)} words: put the prompt in quotes")
    model, prompt = words if len(words) == 2 else (options.DEFAULT_MODEL, words[0])
    if len(words) == 1 and prompt.endswith(".gguf") and Path(prompt).exists():
        raise InvalidRequestError(f"{prompt} is a model: a prompt has to follow it")
    if prompt == "-":
        prompt = sys.stdin.read().removeprefix("\ufeff")  # the mark that editors of Windows begin files with
    if not prompt.strip():
        raise InvalidRequestError("the prompt is empty")
    return model, prompt
