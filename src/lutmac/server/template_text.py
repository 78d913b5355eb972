"""A model's chat template as clients are shown it."""

from __future__ import annotations

from lutmac.engine.model import Model
from lutmac.errors import LutmacError


def chat_template_text(model: Model) -> str | None:
    """The template; None where the model has none."""
    try:
        return model.chat_template.source
    except LutmacError:
        return None
