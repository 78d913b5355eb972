"""What the tensors of a directory are called: bare, wrapped with a tower for images, or as all know them.

``model.layers.0.self_attn.q_proj.weight`` is ``layers.0.self_attn.q_proj.weight`` where the model was saved without its
head, and ``language_model.model.layers…`` or ``model.language_model.layers…`` where it is the text model of another.
Nemotron-H's embedding is ``backbone.embeddings``, which is ``model.embed_tokens`` elsewhere.
Ling's files have names of their own for some parts: ``model.layers.0.attention.dense.weight``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

MODEL: Final = "model."
HEAD: Final = "lm_head."
EMBEDDING: Final = "embed_tokens."
NEMOTRON_EMBEDDING: Final = "embeddings."
_EMBEDDING: Final = r"(.*\.)?(embed_tokens\.|embeddings\.weight$|embeddings\.(word|tok)_embeddings\.)"
# What a model's own tensors begin with, without a prefix.
_BARE: Final = r"(embed_tokens\w*|layers|norm\w*|(per_layer|altup)_\w+|embeddings|encoder|emb_ln|pooler|final_norm)\."
_OLDER: Final = {"gamma": "weight", "beta": "bias"}  # BERT's, as its first files have them
# What has embeddings of its own and is not the text model.
_OTHER_PARTS: Final = re.compile(r"(^|\.)(v|a|mm|mtp|\w*(vision|visual|image|audio|speech|talker|draft)\w*)\.")
# Ling's names (transformers' conversion_mapping.py), and what others call the same; the first that is found counts.
_LING: Final = re.compile(r"(.*\.)?model\.word_embeddings\.")
_LINGS_NAMES: Final = (
    (".word_embeddings.", ".embed_tokens."),
    (".attention.dense.", ".self_attn.o_proj."),
    (".attention.", ".self_attn."),
    (".mlp.gate.expert_bias", ".mlp.gate.e_score_correction_bias"),
)


class TensorNames:
    """From the file's names to those that models ask for, and back.

    prefix: what stands before ``embed_tokens`` in the file, "model." as a rule; of an encoder before ``embeddings``.
    """

    def __init__(self, names: Iterable[str]) -> None:
        """names: of all tensors, as the files have them."""
        listed = list(names)
        self._others = _LINGS_NAMES if any(map(_LING.match, listed)) else ()
        listed = [self._usual(name) for name in listed]
        self.prefix = _prefix(listed)
        of_nemotron = f"{self.prefix}{NEMOTRON_EMBEDDING}weight" in listed
        self.embedding = NEMOTRON_EMBEDDING if of_nemotron else EMBEDDING
        heads = {name[: match.start(2)] for name in listed if (match := re.match(r"(.*\.)?(lm_head\.)", name))}
        # The head belongs to the text model where it hangs above it: language_model.lm_head, language_model.model.
        above = [head for head in heads if self.prefix.startswith(head)]
        self.head = max(above, key=len, default="") + HEAD

    def of_model(self, name: str) -> str:
        """What a model asks for; a tensor of another part keeps its name."""
        name = re.sub(r"LayerNorm\.(gamma|beta)$", lambda match: f"LayerNorm.{_OLDER[match[1]]}", name)
        name = self._usual(name)
        if name.startswith(self.head):
            return HEAD + name.removeprefix(self.head)
        if name.startswith(self.prefix + self.embedding):
            return MODEL + EMBEDDING + name.removeprefix(self.prefix + self.embedding)
        if self.prefix and name.startswith(self.prefix):
            return MODEL + name.removeprefix(self.prefix)
        return MODEL + name if not self.prefix and re.match(_BARE, name) else name

    def of_file(self, name: str) -> str:
        """How the file would call what a model asks for."""
        if name.startswith(HEAD):
            return self.head + name.removeprefix(HEAD)
        if name.startswith(MODEL + EMBEDDING):
            wrapped = self.prefix + self.embedding + name.removeprefix(MODEL + EMBEDDING)
        else:
            wrapped = self.prefix + name.removeprefix(MODEL) if name.startswith(MODEL) else name
        return _replaced(wrapped, ((usual, own) for own, usual in self._others))

    def _usual(self, name: str) -> str:
        """A file's name with the parts of names that others have."""
        return _replaced(name, self._others)


def _replaced(name: str, pairs: Iterable[tuple[str, str]]) -> str:
    found = next(((old, new) for old, new in pairs if old in name), None)
    return name if found is None else name.replace(*found)


def _prefix(names: list[str]) -> str:
    """Of several, that of a text model within another, or else the shortest."""
    found = {
        name[: match.start(2)]
        for name in names
        if (match := re.match(_EMBEDDING, name)) and not _OTHER_PARTS.search(name[: match.start(2)])
    }
    if not found:
        bare = any(name.startswith("layers.") for name in names)
        return "" if bare else MODEL
    return min(found, key=lambda prefix: (not re.search(r"language_model|text_model|llm", prefix), len(prefix)))
