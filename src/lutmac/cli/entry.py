"""Entry point of the `lutmac` script: a Ctrl-C while Python still imports ends it as one later does."""

import sys

EXIT_INTERRUPTED = 130


def main() -> None:
    """Runs the command."""
    try:
        from lutmac.cli.main import main as run  # noqa: PLC0415 - inside, for the sake of Ctrl-C

        run()
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
