"""Checkpoints with several chat templates: each has a name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

DEFAULT: Final = "default"
TOOL_USE: Final = "tool_use"
"""The template for chats with tools."""
_GGUF_KEY: Final = "tokenizer.chat_template"


def gguf_key(name: str) -> str:
    """The key of a template in GGUF metadata: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md."""
    return _GGUF_KEY if name == DEFAULT else f"{_GGUF_KEY}.{name}"


def gguf_templates(metadata: Mapping[str, Any]) -> dict[str, object]:
    """The templates in GGUF metadata, by name."""
    found = {DEFAULT: metadata[_GGUF_KEY]} if _GGUF_KEY in metadata else {}
    prefix = _GGUF_KEY + "."
    return found | {key.removeprefix(prefix): metadata[key] for key in metadata if key.startswith(prefix)}


def named_templates(given: Any) -> dict[str, object]:
    """The templates of a tokenizer's configuration: one alone, a list of {"name", "template"}, or a mapping."""
    if isinstance(given, list):
        return {str(item.get("name")): item.get("template") for item in given if isinstance(item, dict)}
    if isinstance(given, dict):
        return given
    return {} if given is None else {DEFAULT: given}
