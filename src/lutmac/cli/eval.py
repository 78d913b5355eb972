"""`lutmac eval`: how good a model is on a text."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from lutmac.cli import options
from lutmac.cli.output import ProgressBar, print_json
from lutmac.errors import InvalidRequestError

eval_app = typer.Typer(
    help="Measure the quality of a model.\n\nExample: lutmac eval ppl smollm2 test.txt", rich_markup_mode=None
)


@eval_app.callback()
def _group() -> None:
    """Keeps `ppl` a command of its own while it is the only one."""


@eval_app.command()
def ppl(
    model: options.Model,
    text: Annotated[Path, typer.Argument(metavar="TEXT", help="A text file in UTF-8.")],
    *,
    ctx: Annotated[int, typer.Option("--ctx", min=4, help="Tokens per window; the second half is scored.")] = 512,
    windows: Annotated[int, typer.Option("--windows", min=1, help="Windows from the start of the text.")] = 20,
    threads: options.Threads = None,
    precision: options.PrecisionOption = options.Precision.default,
    kv_cache: options.KVCacheOption = options.KVCache.f16,
    as_json: options.AsJson = False,
) -> None:
    """Perplexity of a model on a text, by llama.cpp's convention.

    The text is tokenised as a whole and cut into windows; the second half of each is scored.

    Example: lutmac eval ppl smollm2 test.txt --ctx 512 --windows 20 --precision exact
    """
    content = read_text(text)

    import lutmac  # noqa: PLC0415 - the engine costs more to import than a help text may take

    with ProgressBar(shown=not as_json) as bar:
        loaded = lutmac.load(
            model, threads=threads, context=ctx, precision=precision.value, kv_cache=kv_cache.value, progress=bar
        )
        bar(0, windows, "perplexity")
        result = loaded.perplexity(content, ctx=ctx, windows=windows, progress=bar)
    if as_json:
        info = loaded.info()
        figures = {"model": info.path, "isa": info.isa, "precision": precision.value, "kv_cache": kv_cache.value}
        print_json({**figures, **asdict(result)})
    else:
        print(
            f"perplexity {result.perplexity:.4f} ± {result.standard_error:.4f}, "
            f"{result.tokens_scored} tokens in {result.windows} windows of {result.context}"
        )


def read_text(path: Path) -> str:
    """The file's text. Raises InvalidRequestError when it cannot be read or is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidRequestError(f"{path}: cannot read the text: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidRequestError(f"{path}: not UTF-8 text: bad byte at offset {error.start}") from error
