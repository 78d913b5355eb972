"""`lutmac chat`: a conversation in the terminal that keeps its KV cache from turn to turn."""

from __future__ import annotations

import signal
import sys
from collections.abc import Generator
from contextlib import closing
from itertools import chain
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

from lutmac.cli import options
from lutmac.cli.obtain import obtain_default
from lutmac.cli.output import ProgressBar, spinner
from lutmac.errors import LutmacError

if TYPE_CHECKING:
    from lutmac import Chunk, Model

DEFAULT_MAX_TOKENS = 1024  # a reply in a chat should end by itself; this stops a model that does not find its end

HELP = """\
/help    this page
/reset   forget the conversation
/exit    leave (so does Ctrl-D)
Ctrl-C   stop the reply"""


def chat(
    model: options.OptionalModel = options.DEFAULT_MODEL,
    *,
    system: options.System = None,
    sampling: options.Sampling,
    loading: options.Loading,
) -> None:
    """Talk with a model. Ctrl-C stops a reply, /exit or Ctrl-D ends the session.

    Example: lutmac chat smollm2 --system "Answer in one sentence."
    """
    wishes = sampling.arguments()

    import lutmac  # noqa: PLC0415 - the engine costs more to import than a help text may take

    with ProgressBar() as bar:
        obtain_default(model, bar)
        loaded = lutmac.load(model, progress=bar, **loading.arguments())
    Session(loaded, system, wishes).run()


class InterruptFlag:
    """While it is entered, the first Ctrl-C is noted instead of raised; a second one is raised as usual.

    The engine is thus left between two tokens and never in the middle of one.
    """

    def __init__(self) -> None:
        """Takes nothing over yet."""
        self.raised = False
        self._previous: Any = None

    def __enter__(self) -> Self:
        """Takes Ctrl-C over."""
        self._previous = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Gives Ctrl-C back."""
        signal.signal(signal.SIGINT, self._previous)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.raised:
            raise KeyboardInterrupt
        self.raised = True


class Session:
    """Reads lines until the end of input and answers each."""

    def __init__(self, model: Model, system: str | None, sampling: dict[str, Any]) -> None:
        """sampling: keyword arguments of every reply."""
        self._model = model
        self._system = system
        self._sampling = {"max_tokens": DEFAULT_MAX_TOKENS, **sampling}
        self._interactive = sys.stdin.isatty()
        self._conversation = model.conversation(system=system)

    def run(self) -> None:
        """The session; returns when the user leaves."""
        if self._interactive:
            import readline  # noqa: F401, PLC0415 - importing it gives input() line editing and history

            print("/help shows what you can type.")
        while (line := self._read_line()) is not None:
            text = line.strip()
            if text in ("/exit", "/quit"):
                return
            if text == "/help":
                print(HELP)
            elif text == "/reset":
                self._conversation = self._model.conversation(system=self._system)
                print("The conversation is forgotten.")
            elif text.startswith("/") and " " not in text:
                print(f"No such command: {text}; /help shows what there is.")
            elif text:
                self._reply(text)

    def _read_line(self) -> str | None:
        """The next line, or None at the end of input."""
        while True:
            try:
                return input("> " if self._interactive else "")
            except EOFError:
                if self._interactive:
                    print()
                return None
            except KeyboardInterrupt:
                if not self._interactive:
                    raise
                print("\n(Ctrl-D or /exit leaves)")

    def _reply(self, text: str) -> None:
        """Streams one reply. An error costs the turn and not the session."""
        try:
            chunks = cast("Generator[Chunk]", self._conversation.send(text, **self._sampling))
            with InterruptFlag() as interrupt, closing(chunks):
                with spinner("reading"):
                    chunk = next(chunks)
                for chunk in chain([chunk], chunks):  # noqa: B020 - the last one outlives the loop
                    print(chunk.text, end="", flush=True)
                    if interrupt.raised and chunk.completion is None:
                        print(" [stopped]", end="")
                        break
            print()
            if self._interactive and chunk.completion is not None:
                timings = chunk.completion.timings
                print(f"[{timings.decode_tokens_per_second:.1f} tok/s]", file=sys.stderr)
        except KeyboardInterrupt:
            print(" [stopped]")
        except LutmacError as error:
            print(f"lutmac: error: {error}", file=sys.stderr)
