"""Words on the command line that name models."""

from __future__ import annotations

import difflib
import os
import re
from typing import Final

_PATH_ENDS: Final = (".gguf", ".safetensors")
_TAGGED: Final = re.compile(r"[a-z0-9][a-z0-9._-]*\d[a-z0-9._-]*:[a-zA-Z0-9._-]+")  # llama3.2:1b, as Ollama has them
_ALIKE: Final = 0.8  # of a known name and a misspelt one


def names_model(word: str) -> bool:
    """Whether a lone word is a model and no prompt: an existing path, a name, or what can only be meant as one.

    Such a word is a model even where there is none of that name: to answer it as a prompt would hide the mistake.
    """
    from lutmac.engine.loading.hub_names import SHORT_NAMES, is_hub_name  # noqa: PLC0415 - help texts need no engine
    from lutmac.engine.loading.resolve import ALIASES  # noqa: PLC0415 - as above

    if os.path.exists(word):  # Path.exists raises for what is too long for a name
        return True
    if not word or any(character.isspace() for character in word):
        return False
    if is_hub_name(word) or word.endswith(_PATH_ENDS) or "/" in word or _TAGGED.fullmatch(word):
        return True
    names = (*ALIASES, *SHORT_NAMES)
    return word in names or bool(difflib.get_close_matches(word, names, n=1, cutoff=_ALIKE))


def complete_model(incomplete: str) -> list[str]:
    """For the shell's completion: names that begin so. Paths are the shell's own affair."""
    from lutmac.engine.loading.hub_names import SHORT_NAMES  # noqa: PLC0415
    from lutmac.engine.loading.resolve import ALIASES  # noqa: PLC0415
    from lutmac.engine.loading.stored import stored_models  # noqa: PLC0415

    names = {*ALIASES, *SHORT_NAMES, *(model.name for model in stored_models())}
    return sorted(name for name in names if name.startswith(incomplete))
