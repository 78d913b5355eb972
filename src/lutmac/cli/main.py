"""The `lutmac` command: puts the commands together and turns every failure into one line and an exit code.

Exit codes: 0 done, 2 a mistake in the request or the file, 130 interrupted by Ctrl-C, 141 nobody reads the output,
1 anything unexpected. LUTMAC_DEBUG=1 shows the traceback of what was unexpected.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import traceback
from typing import Annotated

import typer
from typer.main import get_command

from lutmac.cli import completion
from lutmac.cli.batch import batch
from lutmac.cli.bench import bench
from lutmac.cli.chat import chat
from lutmac.cli.convert import convert
from lutmac.cli.eval import eval_app
from lutmac.cli.info import info
from lutmac.cli.list import list_models
from lutmac.cli.option_groups import expanded
from lutmac.cli.pull import pull
from lutmac.cli.quantize import quantize
from lutmac.cli.rm import rm
from lutmac.cli.run import RunCommand, run
from lutmac.cli.serve import serve
from lutmac.cli.tune import tune
from lutmac.errors import LutmacError

EXIT_UNEXPECTED, EXIT_MISTAKE, EXIT_INTERRUPTED, EXIT_BROKEN_PIPE = 1, 2, 130, 141

app = typer.Typer(
    name="lutmac",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)
app.command(cls=RunCommand)(expanded(run))
for command in (chat, serve, batch, info, pull):
    app.command()(expanded(command))
app.command("list")(list_models)
app.command()(rm)
app.command("show", hidden=True)(expanded(info))  # what others call it
for maker in (convert, quantize, bench, tune):
    app.command()(expanded(maker))
app.add_typer(eval_app, name="eval")


def _show_version(wanted: bool) -> None:
    if wanted:
        version()
        raise typer.Exit


@app.command(hidden=True)
def version() -> None:
    """Print the version.

    Example: lutmac version
    """
    from importlib.metadata import version as installed  # noqa: PLC0415 - slow to import, needed here only

    print(f"lutmac {installed('lutmac')}")


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Run low-bit language models on CPUs by table lookup.

    Example: lutmac run "Why is the sky blue?"
    """
    if context.invoked_subcommand is None:
        print(context.get_help())


def run_command(arguments: list[str]) -> int:
    """Runs one command line and returns the exit code; says on stderr what went wrong, if anything did."""
    try:
        command = get_command(app)
        if completion.VARIABLE in os.environ:
            completion.complete(command)
        with command.make_context("lutmac", arguments) as context:
            command.invoke(context)
        sys.stdout.flush()
    except typer.Exit as leave:
        return leave.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Python flushes stdout once more as it ends, which would complain about the same pipe again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except Exception as error:
        return _report(error)
    return 0


def _report(error: Exception) -> int:
    """One line on stderr about a failure; returns its exit code."""
    if isinstance(error, LutmacError):
        code, message = EXIT_MISTAKE, str(error)
    elif hasattr(error, "format_message"):  # what typer raises for a malformed command line
        code, message = EXIT_MISTAKE, _usage_message(error)
    else:
        code, message = EXIT_UNEXPECTED, f"unexpected {type(error).__name__}: {error} (LUTMAC_DEBUG=1 shows where)"
        if os.environ.get("LUTMAC_DEBUG"):
            traceback.print_exc()
    print("lutmac: error:", " ".join(message.split()), file=sys.stderr)
    return code


def _usage_message(error: Exception) -> str:
    message = str(error.format_message()).rstrip(".")  # type: ignore[attr-defined]
    context = getattr(error, "ctx", None)
    where = context.command_path if context else "lutmac"
    return f"{message} (see `{where} --help`)"


def main() -> None:
    """Entry point of the `lutmac` script."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that what is unfinished is removed
    # NumPy's BLAS, of which lutmac makes no use, would start a thread for every core as it is imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # A vocabulary is hundreds of thousands of small objects: by default the collector would look through them again and
    # again while they are made, for a tenth of the time to the first token.
    gc.set_threshold(200_000, 20, 20)
    sys.exit(run_command(sys.argv[1:]))


if __name__ == "__main__":
    main()
