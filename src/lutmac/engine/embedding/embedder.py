"""Turns texts and a caller's options into token ids, and pooled hidden states into vectors."""

from __future__ import annotations

from collections.abc import Sequence as TokenSequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict, get_args

import numpy as np
from numpy.typing import NDArray

from lutmac.checkpoints.dense_module import DenseModule
from lutmac.checkpoints.embedding_config import EmbeddingConfig, Pooling
from lutmac.engine.embedding.embedding import TextBatch
from lutmac.errors import ContextOverflowError, InvalidRequestError
from lutmac.text.length import byte_length, check_segments

if TYPE_CHECKING:
    from lutmac.text.tokenizer import Tokenizer

BEGINNING = 2  # times as many tokens as fit: where a text is cut, what stands far before it has the same tokens


class EmbeddingKeywords(TypedDict, total=False):
    """Keyword arguments of ``Model.embed``; EmbeddingOptions says what they mean."""

    pooling: Pooling | None
    normalize: bool | None
    dimensions: int | None
    prompt: str | None
    prompt_name: str | None
    truncate: bool


@dataclass(frozen=True)
class EmbeddingOptions:
    """What a caller may choose; None is as the checkpoint says.

    pooling, normalize: in place of the checkpoint's. dimensions: only the first so many values, scaled to length 1
    unless normalize is False. prompt: a text to put before each text; prompt_name: the checkpoint's of that name.
    truncate: cut a text that is too long at its end, where it would be refused otherwise.
    """

    pooling: Pooling | None = None
    normalize: bool | None = None
    dimensions: int | None = None
    prompt: str | None = None
    prompt_name: str | None = None
    truncate: bool = False


class Embedder:
    """Makes vectors by one checkpoint's rules and one caller's options."""

    def __init__(
        self,
        config: EmbeddingConfig,
        options: EmbeddingOptions,
        tokenizer: Tokenizer,
        *,
        hidden_size: int,
        context: int,
    ) -> None:
        """hidden_size: of a final hidden state. context: tokens that the model takes.

        Raises InvalidRequestError for options that do not fit the checkpoint, and for a checkpoint that makes no
        vectors where the options do not say how to pool.
        """
        if options.pooling is not None and options.pooling not in get_args(Pooling):
            raise InvalidRequestError(f"pooling is {options.pooling!r}, expected one of {', '.join(get_args(Pooling))}")
        if config.problem is not None and options.pooling is None:
            raise InvalidRequestError(f"this model makes no embeddings: {config.problem}")
        self.max_tokens = min(context, config.max_tokens or context)
        self._tokenizer = tokenizer
        self._pooling = config.pooling if options.pooling is None else (options.pooling,)
        self._dense = config.dense
        width = _width(hidden_size * len(self._pooling), self._dense)
        self._dimensions = _checked_dimensions(options.dimensions, width)
        self._own_dimensions = config.dimensions if options.dimensions is None else None
        chosen = config.normalize or options.dimensions is not None
        self._normalize = chosen if options.normalize is None else options.normalize
        self._lower_case = config.lower_case
        self._truncate = options.truncate
        self._prompt = _prompt(config, options)
        self._skip = 0 if config.include_prompt or not self._prompt else self._prompt_tokens()

    def encode(self, text: str) -> list[int]:
        """Token ids of a text behind the prompt, with BOS and EOS where the model wants them; control tokens in it are
        plain text. Raises InvalidRequestError for nothing and ContextOverflowError.
        """
        text = self._prompt + text
        text = text.lower() if self._lower_case else text
        if not self._truncate:
            check_segments(self._tokenizer, [(text, False)], self.max_tokens)  # without reading a book to its end
        ids = self._encode_beginning(text) if self._truncate else self._tokenizer.encode(text)
        if not ids:
            raise InvalidRequestError("the text is empty, and this model has no token to begin a text with")
        return self.fitted(ids, keep_last=len(self._tokenizer.after))

    def text_bytes(self, text: str) -> int:
        """How much there is to encode: bytes of the text and of the prompt before it."""
        return byte_length(self._prompt) + byte_length(text)

    def fitted(self, ids: list[int], keep_last: int = 0) -> list[int]:
        """The ids, cut where that was asked for, but for the last ``keep_last``. Raises ContextOverflowError."""
        if len(ids) <= self.max_tokens:
            return ids
        if not self._truncate:
            raise ContextOverflowError.of_prompt(len(ids), self.max_tokens)
        return ids[: self.max_tokens - keep_last] + ids[len(ids) - keep_last :]

    def batch(self, texts: TokenSequence[TokenSequence[int]]) -> TextBatch:
        """What the engine is to run; texts: of ``encode`` or ``fitted``."""
        return TextBatch(texts, self._pooling, self._skip)

    def vectors(self, pooled: NDArray[np.float64]) -> NDArray[np.float32]:
        """[n, dimensions] of [n, hidden size * pooling modes]."""
        for layer in self._dense:
            pooled = layer(pooled)
        pooled = pooled[:, : self._dimensions]
        if self._normalize:
            lengths = np.linalg.norm(pooled, axis=1, keepdims=True)
            pooled = pooled / np.where(lengths > 0, lengths, 1.0)
        return pooled[:, : self._own_dimensions].astype(np.float32)

    def _encode_beginning(self, text: str) -> list[int]:
        """Token ids of a text, or of so much of it that the first ``max_tokens`` of them are certain to be the same."""
        size = 4 * BEGINNING * self.max_tokens
        while size < len(text):
            ids = self._tokenizer.encode(text[:size])
            if len(ids) >= BEGINNING * self.max_tokens:
                return ids
            size *= 4
        return self._tokenizer.encode(text)

    def _prompt_tokens(self) -> int:
        """Tokens that the prompt takes, BOS included, as sentence-transformers counts them."""
        prompt = self._prompt.lower() if self._lower_case else self._prompt
        return len(self._tokenizer.encode(prompt)) - len(self._tokenizer.after)


def _width(width: int, dense: tuple[DenseModule, ...]) -> int:
    """Values of a vector behind all layers."""
    for layer in dense:
        if layer.in_features != width:
            raise InvalidRequestError(
                f"this model's dense layer takes {layer.in_features} values, the pooling gives {width}"
            )
        width = layer.out_features
    return width


def _checked_dimensions(dimensions: int | None, width: int) -> int | None:
    if dimensions is not None and not (type(dimensions) is int and 1 <= dimensions <= width):
        raise InvalidRequestError(f"dimensions is {dimensions!r}, this model's vectors have 1 to {width}")
    return dimensions


def _prompt(config: EmbeddingConfig, options: EmbeddingOptions) -> str:
    if options.prompt is not None:
        if options.prompt_name is not None:
            raise InvalidRequestError("give either prompt or prompt_name")
        return options.prompt
    name = config.default_prompt if options.prompt_name is None else options.prompt_name
    if name is None:
        return ""
    if name not in config.prompts:
        known = ", ".join(config.prompts) or "none"
        raise InvalidRequestError(f"prompt_name is {name[:100]!r}, and this model has: {known}")
    return config.prompts[name]
