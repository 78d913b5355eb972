"""The configuration of the text model in config.json, which models that read images too keep within theirs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from lutmac.bounded_json import shown
from lutmac.errors import CheckpointError, UnsupportedModelError

_KEYS: Final = ("text_config", "llm_config", "language_config", "thinker_config")
# Of the whole model, where its text model does not say.
_INHERITED: Final = (
    "quantization_config", "compression_config", "quantization", "tie_word_embeddings", "bos_token_id", "eos_token_id",
    "pad_token_id",
)  # fmt: skip
_MOST_WITHIN: Final = 4
# Their text models see the whole prompt at once.
_BOTH_DIRECTIONS: Final = ("paligemma", "colpali", "colqwen2", "t5gemma")


def text_config(file: Path, config: dict[str, Any]) -> dict[str, Any]:
    """``config`` itself, or what it has for its text model, with what that inherits.

    ``model_type`` of a text model that has none is the whole model's with ``_text``, as transformers calls it.
    Raises CheckpointError where the part is no object, UnsupportedModelError for models that are not causal.
    """
    for _ in range(_MOST_WITHIN):
        key = next((key for key in _KEYS if key in config), None)
        if key is None:
            return config
        whole, part = config, config[key]
        if not isinstance(part, Mapping):
            raise CheckpointError(f"{file}: {key} is {shown(part)}, expected an object")
        kind = whole.get("model_type")
        if kind in _BOTH_DIRECTIONS:
            raise UnsupportedModelError(f"{file}: {kind} reads prompts in both directions, which is not supported")
        inherited: dict[str, Any] = {name: whole[name] for name in _INHERITED if name in whole}
        named = {"model_type": f"{kind}_text"} if isinstance(kind, str) else {}
        config = {
            **named,
            **inherited,
            **{name: value for name, value in part.items() if value is not None or name not in inherited},
        }
    raise CheckpointError(f"{file}: text models within text models, {_MOST_WITHIN} deep")
