"""`lutmac eval`: how good a model is on a text."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from lutmac.cli import options
from lutmac.cli.option_groups import OptionGroup, expanded
from lutmac.cli.output import ProgressBar, print_json
from lutmac.cli.prompt import STANDARD_INPUT, read_standard_input, read_text

eval_app = typer.Typer(
    help="Measure the quality of a model.\n\nExample: lutmac eval ppl smollm2 test.txt", rich_markup_mode=None
)


@eval_app.callback()
def _group() -> None:
    """Keeps `ppl` a command of its own while it is the only one."""


Text = Annotated[Path, typer.Argument(metavar="TEXT", help="A text file in UTF-8; - is standard input.")]
Window = Annotated[int, typer.Option("--ctx", min=4, help="Tokens per window; the second half is scored.")]
Windows = Annotated[int, typer.Option("--windows", min=1, help="Windows from the start of the text.")]


@dataclass(frozen=True)
class WindowOptions(OptionGroup):
    """What is scored of a text."""

    ctx: Window = 512
    windows: Windows = 20


def ppl(
    model: options.Model,
    text: Text,
    *,
    scored: WindowOptions,
    computing: options.Computing,
    as_json: options.AsJson = False,
) -> None:
    """Perplexity of a model on a text, by llama.cpp's convention.

    The text is tokenised as a whole and cut into windows; the second half of each is scored.

    Example: lutmac eval ppl smollm2 test.txt --ctx 512 --windows 20 --precision exact
    """
    content = read_standard_input() if str(text) == STANDARD_INPUT else read_text(text)

    import lutmac  # noqa: PLC0415 - the engine costs more to import than a help text may take

    with ProgressBar(shown=not as_json) as bar:
        loaded = lutmac.load(model, context=scored.ctx, progress=bar, **computing.arguments())
        bar(0, scored.windows, "perplexity")
        result = loaded.perplexity(content, ctx=scored.ctx, windows=scored.windows, progress=bar)
    if as_json:
        info = loaded.info()
        figures = {"model": info.path, "isa": info.isa, "precision": info.precision, "kv_cache": info.kv_cache}
        print_json({**figures, **asdict(result)})
    else:
        print(
            f"perplexity {result.perplexity:.4f} ± {result.standard_error:.4f}, "
            f"{result.tokens_scored} tokens in {result.windows} windows of {result.context}"
        )


eval_app.command()(expanded(ppl))
