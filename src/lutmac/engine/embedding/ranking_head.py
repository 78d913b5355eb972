"""Finds what a model ranks documents by.

An encoder has a head for two texts. A decoder has a head of its own, or the rows of "yes" and "no" in the head of
tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from lutmac.bounded_json import read_optional_json
from lutmac.checkpoints.huggingface import CONFIG_FILE
from lutmac.engine.embedding.ranking import JUDGE_PROMPT, RankingHead
from lutmac.engine.loading.opened import OpenedModel
from lutmac.engine.loading.sources import EMBEDDING
from lutmac.engine.loading.tensor_source import HEAD, TensorSource
from lutmac.lowbit.reference import dequantize
from lutmac.lowbit.rows import rows_of
from lutmac.models.encoder import EncoderConfig

if TYPE_CHECKING:
    from lutmac.text.tokenizer import Tokenizer

TENSORS: Final = ("cls.output.weight", "score.weight")
"""Heads of their own: in GGUF, of "yes" and "no"; in directories of ``…ForSequenceClassification``, of one score."""
SETTINGS: Final = "tokenizer_config.json"
UNBOUNDED: Final = 1 << 24  # tokens, from where a length says that there is no bound
_TEMPLATE: Final = "rerank"
_README: Final = "# qwen3-reranker"
_README_BYTES: Final = 1 << 20


def ranking_tensors(source: TensorSource) -> tuple[str, ...]:
    """Those of TENSORS that a checkpoint has, which no graph reads."""
    return tuple(name for name in TENSORS if source.has(name))


def _of_encoder(opened: OpenedModel, tokenizer: Tokenizer) -> RankingHead | None:
    """A head of one logit ranks; one of several labels classifies."""
    rows = opened.config.classifier_rows if isinstance(opened.config, EncoderConfig) else 0
    if rows != 1:
        return None
    config, settings = (
        read_optional_json(opened.path / name) if opened.path.is_dir() else {} for name in (CONFIG_FILE, SETTINGS)
    )
    most, least = settings.get("model_max_length"), len(tokenizer.pair.join([], []).ids)
    return RankingHead(
        None,
        activation="identity" if _activation(config).endswith("Identity") else "sigmoid",
        max_tokens=most if type(most) is int and least < most < UNBOUNDED else None,
    )


def _activation(config: Mapping[str, Any]) -> str:
    """What sentence-transformers' configuration says of the score, by the name of torch's class: new and old key."""
    own = config.get("sentence_transformers")
    found = own.get("activation_fn") if isinstance(own, dict) else None
    return str(found or config.get("sbert_ce_default_activation_function") or "")


def read_ranking_head(opened: OpenedModel, tokenizer: Tokenizer) -> RankingHead | None:
    """What a model ranks by, None where it ranks nothing, also where a head of TENSORS has labels of another kind."""
    if opened.config.bidirectional:  # its head is in its graph
        return _of_encoder(opened, tokenizer)
    template = opened.read_templates().get(_TEMPLATE)
    prompt = template if isinstance(template, str) else JUDGE_PROMPT
    if "{document}" not in prompt or tokenizer.token_id("<|im_start|>") is None:
        return None
    own = ranking_tensors(opened.source)
    if own:
        weight = _matrix(opened.source, own[0])
        labels = 2 if own[0] == TENSORS[0] else 1
        return RankingHead(weight, prompt) if len(weight) <= labels else None
    answers = [tokenizer.token_id(text) for text in ("yes", "no")]
    if None in answers or not _is_reranker(opened, template):
        return None
    head = HEAD if opened.source.has(HEAD) else EMBEDDING
    rows = [dequantize(rows_of(opened.source.matrix(head), id, 1))[0] for id in answers if id is not None]
    return RankingHead(np.stack(rows).astype(np.float32), prompt)


def _matrix(source: TensorSource, name: str) -> NDArray[np.float32]:
    entry = source.find(name)
    if entry is not None and len(entry.shape) == 1:
        return source.vector(name)[None]
    return np.asarray(dequantize(source.matrix(name)), np.float32)


def _is_reranker(opened: OpenedModel, template: object) -> bool:
    """Whether a decoder was trained to answer yes or no. Nothing in its configuration says so; llama.cpp's converter
    looks at the same places."""
    names = (opened.name, opened.path.name, opened.path.resolve().name)
    return template is not None or any("rerank" in name.lower() for name in names) or _readme_says_so(opened.path)


def _readme_says_so(path: Path) -> bool:
    readme = path / "README.md"
    if not readme.is_file():
        return False
    with readme.open("rb") as file:
        return _README.encode() in file.read(_README_BYTES).lower()
