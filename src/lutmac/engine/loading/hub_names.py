"""Names of models on the Hugging Face hub, and short names for those that people use most."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from lutmac.checkpoints.gguf_parts import part_names
from lutmac.errors import CheckpointError

HUB_PREFIX: Final = "hf:"
DEFAULT_TAGS: Final = ("Q4_K_M", "Q4_0", "Q8_0")  # the first of which a repository of GGUF files has

# From a short name to the repository and, of GGUF files, the type. Files are found by the repository's own list.
SHORT_NAMES: Final = {
    "bitnet:2b": "hf:microsoft/bitnet-b1.58-2B-4T",
    "gemma3:270m": "hf:ggml-org/gemma-3-270m-it-GGUF:Q8_0",
    "gemma3:1b": "hf:ggml-org/gemma-3-1b-it-GGUF:Q4_K_M",
    "gemma3:4b": "hf:ggml-org/gemma-3-4b-it-GGUF:Q4_K_M",
    "gemma3:12b": "hf:ggml-org/gemma-3-12b-it-GGUF:Q4_K_M",
    "granite3.3:2b": "hf:ibm-granite/granite-3.3-2b-instruct-GGUF:Q4_K_M",
    "granite3.3:8b": "hf:ibm-granite/granite-3.3-8b-instruct-GGUF:Q4_K_M",
    "lfm2:350m": "hf:LiquidAI/LFM2-350M-GGUF:Q4_K_M",
    "lfm2:700m": "hf:LiquidAI/LFM2-700M-GGUF:Q4_K_M",
    "lfm2:1.2b": "hf:LiquidAI/LFM2-1.2B-GGUF:Q4_K_M",
    "llama3.1:8b": "hf:bartowski/Meta-Llama-3.1-8B-Instruct-GGUF:Q4_K_M",
    "llama3.2:1b": "hf:bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M",
    "llama3.2:3b": "hf:bartowski/Llama-3.2-3B-Instruct-GGUF:Q4_K_M",
    "phi4-mini": "hf:unsloth/Phi-4-mini-instruct-GGUF:Q4_K_M",
    "qwen2.5:0.5b": "hf:Qwen/Qwen2.5-0.5B-Instruct-GGUF:Q4_K_M",
    "qwen2.5:1.5b": "hf:Qwen/Qwen2.5-1.5B-Instruct-GGUF:Q4_K_M",
    "qwen2.5:3b": "hf:Qwen/Qwen2.5-3B-Instruct-GGUF:Q4_K_M",
    "qwen2.5:7b": "hf:Qwen/Qwen2.5-7B-Instruct-GGUF:Q4_K_M",
    "qwen2.5-coder:0.5b": "hf:Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF:Q4_K_M",
    "qwen2.5-coder:1.5b": "hf:Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF:Q4_K_M",
    "qwen2.5-coder:3b": "hf:Qwen/Qwen2.5-Coder-3B-Instruct-GGUF:Q4_K_M",
    "qwen2.5-coder:7b": "hf:Qwen/Qwen2.5-Coder-7B-Instruct-GGUF:Q4_K_M",
    "qwen3:0.6b": "hf:Qwen/Qwen3-0.6B-GGUF:Q8_0",
    "qwen3:1.7b": "hf:Qwen/Qwen3-1.7B-GGUF:Q8_0",
    "qwen3:4b": "hf:Qwen/Qwen3-4B-GGUF:Q4_K_M",
    "qwen3:8b": "hf:Qwen/Qwen3-8B-GGUF:Q4_K_M",
    "qwen3-embedding:0.6b": "hf:Qwen/Qwen3-Embedding-0.6B-GGUF:Q8_0",
    "smollm2:360m": "hf:bartowski/SmolLM2-360M-Instruct-GGUF:Q4_K_M",
    "smollm2:1.7b": "hf:bartowski/SmolLM2-1.7B-Instruct-GGUF:Q4_K_M",
    "smollm3:3b": "hf:ggml-org/SmolLM3-3B-GGUF:Q4_K_M",
}


@dataclass(frozen=True)
class HubName:
    """A model on the hub. file: of the repository, as it was named. tag: the type of a GGUF file, such as "Q4_K_M"."""

    repository: str
    file: str | None = None
    tag: str | None = None

    @classmethod
    def parse(cls, name: str) -> HubName:
        """``hf:org/repo``, ``hf:org/repo:Q4_K_M`` or ``hf:org/repo/path/file.gguf``, or a short name.

        Raises CheckpointError for another shape.
        """
        parts = SHORT_NAMES.get(name, name).removeprefix(HUB_PREFIX).split("/", 2)
        tag = None
        if len(parts) == 2 and ":" in parts[1]:
            parts[1], _, tag = parts[1].partition(":")
        if len(parts) not in (2, 3) or not all(parts) or tag == "":
            raise CheckpointError(
                f"{name}: a model on the hub is named hf:organisation/repository, a GGUF file of one "
                "hf:organisation/repository:Q4_K_M or hf:organisation/repository/file.gguf"
            )
        return cls(f"{parts[0]}/{parts[1]}", parts[2] if len(parts) == 3 else None, tag)


def is_hub_name(name: str) -> bool:
    """Whether a name is of the hub, or short for one."""
    return name.startswith(HUB_PREFIX) or name in SHORT_NAMES


def choose_gguf(name: str, files: Sequence[str], tag: str | None) -> str | None:
    """The GGUF file of a type among a repository's, None where it has none; of a split one, the first part.

    tag: None is the first of DEFAULT_TAGS that there is, or the only file. ``name`` is for errors. Raises
    CheckpointError where the choice is not clear, with what there is.
    """
    models = [file for file in sorted(files) if file.endswith(".gguf") and part_names(file)[0] == file]
    models = [file for file in models if not file.rpartition("/")[2].startswith("mmproj")]
    for wanted in (tag,) if tag is not None else DEFAULT_TAGS:
        found = [file for file in models if _has_tag(file, wanted)]
        if found:
            return min(found, key=lambda file: (file.count("/"), len(file)))
    if tag is None and len(models) < 2:
        return models[0] if models else None
    there = ", ".join(file.rpartition("/")[2] for file in models[:8]) or "no GGUF file"
    raise CheckpointError(f"{name}: has no file of the type {tag or DEFAULT_TAGS[0]}; there is {there}")


def _has_tag(file: str, tag: str) -> bool:
    """Whether a file is called after a type: ``model-Q4_K_M.gguf``, ``model.q4_k_m-00001-of-00002.gguf``."""
    return re.search(rf"(^|[-._/]){re.escape(tag)}(-\d+-of-\d+)?\.gguf$", file, re.IGNORECASE) is not None
