"""`lutmac chat`: a conversation in the terminal that keeps its KV cache from turn to turn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lutmac.cli import options
from lutmac.cli.loading import load_model, model_label

if TYPE_CHECKING:
    from lutmac import Model


def chat(
    model: options.OptionalModel = options.DEFAULT_MODEL,
    *,
    talking: options.Talking,
    sampling: options.Sampling,
    loading: options.Loading,
) -> None:
    """Talk with a model. Ctrl-C stops a reply, /exit or Ctrl-D ends the session.

    Example: lutmac chat smollm2 --system "Answer in one sentence."
    """
    open_chat(model, talking, sampling, loading)


def open_chat(name: str, talking: options.Talking, sampling: options.Sampling, loading: options.Loading) -> None:
    """Loads the model and talks until the person leaves."""
    from lutmac.cli.chat_session import ChatSession  # noqa: PLC0415 - `run` imports this module, and mostly without need
    from lutmac.cli.chat_settings import ChatSettings  # noqa: PLC0415 - as above

    wishes: dict[str, Any] = sampling.arguments()
    model: Model = load_model(name, loading, wishes)
    settings = ChatSettings(wishes, think=talking.think, thoughts=talking.thoughts)
    ChatSession(model, model_label(name), talking.system, settings).run()
