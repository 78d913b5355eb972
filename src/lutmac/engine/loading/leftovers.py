"""Tensors of a checkpoint that no model reads: known not to matter, or an error.

A tensor that is not read, but could change logits, means that the model is not the one that the files hold. llama.cpp
counts the tensors for the same reason (``done_getting_tensors``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from lutmac.checkpoints.dense_module import GGUF_DENSE
from lutmac.engine.loading.info import LeftOut
from lutmac.engine.loading.opened import OpenedModel
from lutmac.engine.loading.tensor_source import HEAD, shown_name
from lutmac.errors import CheckpointError

GUESSING: Final = "layers that guess further tokens"
SPARE: Final = "keys and values that other tensors give"
TRAINED_WITH: Final = "heads that it was trained with"
COPY: Final = "a copy of the embedding as head"
ZERO: Final = "biases that are zero"  # older GPTQ tools write one beside every matrix
# What readers of these formats commonly ignore, in the files' names.
IGNORED: Final = (
    ("rotary frequencies", r"(^|\.)(\w*rotary_emb|rope)\.\w+$|\w*inv_freq$|\.attn_rot_embd\.weight$"),
    ("causal masks", r"\.(self_)?att(entio)?n\.(bias|masked_bias|causal_mask)$|^(model\.)?causal_mask$"),
    ("numbers of positions", r"(^|\.)position_ids$"),
    ("types of tokens, all 0", r"(^|\.)token_type_ids$"),
    (
        "parts for images and sounds",
        r"^(v|a|mm|mlp1|vpm|apm|vte|(model\.)?connector)\.|(^|\.)image_newline$"
        r"|^((?!layers\.|blk\.)\w+\.)*\w*(vision|visual|image|audio|speech|projector|aligner|resampler|talker|2wav)\w*\.",
    ),
    (GUESSING, r"^(\w+\.)?(mtp|nextn)\w*\."),
    (
        "scales of activations and of caches",
        r"\.(input|output|activation|q|k|v|kv|prob)(_proj)?(_global|_output)?_(scale|zero_point)$",
    ),
    ("state of a training library", r"_extra_state$"),
)  # fmt: skip
_LAYER: Final = re.compile(r"(?:^|\.)(?:layers|blk)\.(\d+)\.")


def left_out(opened: OpenedModel, read: Iterable[str]) -> tuple[LeftOut, ...]:
    """What a model does not read of its files. read: the names that it asked for.

    Raises CheckpointError, naming the first of them, where tensors are left that could change logits.
    """
    dense = GGUF_DENSE if opened.embedding.dense else ()  # of the embedder
    used = {opened.source.tensor_of(name) for name in (*read, *dense)}
    if not opened.path.is_dir():  # parts of BitNet's and NVFP4's matrices in GGUF
        used |= {f"{name.removesuffix('.weight')}.scale" for name in used}
    spare = {opened.source.tensor_of(name) for name in opened.config.spare_tensors}
    found: dict[str, list[str]] = {}
    sizes = {tensor.name: tensor.nbytes for tensor in opened.tensors}
    unknown = []
    for name in sizes:
        if name not in used:
            spared = TRAINED_WITH if opened.config.bidirectional else SPARE
            what = spared if name in spare else _ignored(opened, name)
            unknown.append(name) if what is None else found.setdefault(what, []).append(name)
    if unknown:
        raise CheckpointError(_problem(opened, unknown))
    return tuple(LeftOut(what, tuple(names), sum(sizes[name] for name in names)) for what, names in found.items())


def _ignored(opened: OpenedModel, name: str) -> str | None:
    if opened.source.head_is_copy and name == opened.source.tensor_of(HEAD):
        return COPY
    layer, layers = _LAYER.search(name), opened.config.num_hidden_layers
    if layer and layers <= int(layer[1]) < layers + opened.guessing_layers:
        return GUESSING
    if name.endswith(".bias") and opened.source.is_zero(name):
        return ZERO
    return next((what for what, pattern in IGNORED if re.search(pattern, name)), None)


def _problem(opened: OpenedModel, names: list[str]) -> str:
    layers = opened.config.num_hidden_layers
    for name in names:
        layer = _LAYER.search(name)
        if layer and int(layer[1]) >= layers:
            return (
                f"{opened.path}: has tensors of layer {layer[1]} ({shown_name(name)}), and its metadata "
                f"{layers} layers ({opened.layers_key}): one of the two is wrong"
            )
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return (
        f"{opened.path}: tensor {shown_name(names[0])}{more} would not be read: this is not quite the model that "
        f"{opened.architecture_name!r} says, and its results would be wrong"
    )
