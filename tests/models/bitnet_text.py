"""English text that every Python ships: the topics of its help. Some are for training, the others to be scored."""

from __future__ import annotations

from pydoc_data.topics import topics

SCORED = ("function", "import", "naming", "try")


def trained_text() -> str:
    return "\n".join(topics[name] for name in sorted(topics) if name not in SCORED)


def scored_text() -> str:
    return "\n".join(topics[name] for name in SCORED)
