"""The `lutmac` command: puts the commands together and turns every failure into one line and an exit code.

Exit codes: 0 done, 2 a mistake in the request or the file, 130 interrupted by Ctrl-C, 141 nobody reads the output,
1 anything unexpected. LUTMAC_DEBUG=1 shows the traceback of what was unexpected.
"""

from __future__ import annotations

import errno
import gc
import os
import signal
import sys
import traceback
from typing import Annotated, Final

import typer
from typer.main import get_command

from lutmac.cli import completion
from lutmac.cli.commands import add_commands, needed_commands
from lutmac.cli.version import version
from lutmac.errors import LutmacError

EXIT_UNEXPECTED, EXIT_MISTAKE, EXIT_INTERRUPTED, EXIT_BROKEN_PIPE = 1, 2, 130, 141
NOT_WRITABLE: Final = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def make_app(arguments: list[str]) -> typer.Typer:
    """The application, as far as a command line needs it."""
    app = typer.Typer(
        name="lutmac",
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["--help", "-h"]},
    )
    add_commands(app, needed_commands(arguments))
    app.callback(invoke_without_command=True)(start)
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        version()
        raise typer.Exit


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
        command = get_command(make_app(arguments))
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
    elif isinstance(error, OSError) and error.errno in NOT_WRITABLE:
        code, message = EXIT_MISTAKE, f"cannot write {error.filename or 'the output'}: {error.strerror}"
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
