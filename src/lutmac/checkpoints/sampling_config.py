"""How a checkpoint wants tokens to be drawn: `generation_config.json`, and `general.sampling.*` of GGUF.

Keys: https://huggingface.co/docs/transformers/main_classes/text_generation and llama.cpp's `gguf-py/gguf/constants.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any, Final

_GGUF: Final = "general.sampling."
# Our names of options by GGUF's keys. The window of the penalty, XTC, mirostat and the order of samplers have none.
_GGUF_KEYS: Final[Mapping[str, str]] = {
    "temp": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "penalty_repeat": "repetition_penalty",
}
_PENALTY_WINDOW: Final = f"{_GGUF}penalty_last_n"
# generation_config.json has our names; the penalties of OpenAI's API are known there by vLLM alone.
_GENERATION_CONFIG_KEYS: Final = (
    "temperature", "top_k", "top_p", "typical_p", "min_p", "repetition_penalty", "presence_penalty",
    "frequency_penalty",
)  # fmt: skip


def generation_config_sampling(config: Mapping[str, Any]) -> dict[str, float]:
    """Options by our names, those that generation_config.json has. One that says not to sample is greedy."""
    found = _numbers({name: config.get(name) for name in _GENERATION_CONFIG_KEYS})
    if config.get("do_sample") is False:
        found.setdefault("temperature", 0.0)
    return found


def gguf_sampling(metadata: Mapping[str, Any]) -> dict[str, float]:
    """Options by our names, those that a GGUF file has."""
    found = _numbers({name: metadata.get(_GGUF + key) for key, name in _GGUF_KEYS.items()})
    if metadata.get(_PENALTY_WINDOW) == 0:  # the penalty sees no token
        found.pop("repetition_penalty", None)
    # GGUF has 32 bits, in which 0.6 is 0.60000002384.
    return {name: value if isinstance(value, int) else float(f"{value:.7g}") for name, value in found.items()}


def gguf_sampling_metadata(options: Mapping[str, float]) -> dict[str, Any]:
    """The metadata for gguf_sampling; what GGUF has no key for is left out."""
    keys = {name: _GGUF + key for key, name in _GGUF_KEYS.items()}
    return {keys[name]: value for name, value in options.items() if name in keys}


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Those that are finite numbers; integers stay integers."""
    return {
        name: int(value) if float(value).is_integer() and name == "top_k" else float(value)
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    }
