"""A model loaded for a person who waits for it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, Final

from lutmac.cli.obtain import obtain_default
from lutmac.cli.output import ProgressBar

if TYPE_CHECKING:
    from lutmac import Model
    from lutmac.cli import options

# What a chat needs beside the engine. Loading leaves Python idle for longer than these take to import.
_OF_CHATS: Final = ("lutmac.text.sandbox", "lutmac.server.reply_style", "lutmac.server.thinking")


def load_model(
    name: str, loading: options.Loading, wishes: Mapping[str, Any], *, chats: bool = True, shown: bool = True
) -> Model:
    """The model; the default one is obtained first where it is not there. A bar says how far it is.

    wishes: options of the replies to come, which are checked before anything is loaded. chats: whether the chat
    template will be used. Raises what ``lutmac.load`` raises.
    """
    import lutmac  # noqa: PLC0415 - the engine costs more to import than a help text may take
    from lutmac.engine.generating.generate import parse_options  # noqa: PLC0415 - as above

    parse_options(wishes)
    load = lutmac.load
    if chats:
        Thread(target=_import_all, args=(_OF_CHATS,), daemon=True).start()
    with ProgressBar(shown=shown) as bar:
        obtain_default(name, bar)
        return load(name, progress=bar, **loading.arguments())


def _import_all(modules: tuple[str, ...]) -> None:
    for module in modules:
        import_module(module)


def model_label(name: str) -> str:
    """What a model is called in a line: its name, or of a path the last part."""
    return Path(name).resolve().name if Path(name).exists() else name
