"""How well documents answer a query: what a model reads, and scores from what it makes of it.

Decoders such as Qwen3-Reranker read a prompt that asks for "yes" or "no"; the score is the probability of "yes".
Encoders read the two texts one behind the other, as sentence-transformers' CrossEncoder gives them to them.
https://huggingface.co/Qwen/Qwen3-Reranker-0.6B, https://sbert.net/docs/package_reference/cross_encoder
"""

from __future__ import annotations

import re
from collections.abc import Sequence as TokenSequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from numpy.typing import NDArray

from lutmac.engine.embedding.embedding import TextBatch
from lutmac.errors import ContextOverflowError, InvalidRequestError
from lutmac.text.framing import EncodedPair
from lutmac.text.length import byte_length

if TYPE_CHECKING:
    from lutmac.text.tokenizer import Tokenizer

INSTRUCTION: Final = "Given a web search query, retrieve relevant passages that answer the query"
JUDGE_PROMPT: Final = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
    'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
    f"<Instruct>: {INSTRUCTION}\n"
    "<Query>: {query}\n<Document>: {document}<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
)
"""The prompt that Qwen3-Reranker was trained with. {query} and {document} stand for the texts."""
Activation = Literal["sigmoid", "identity"]
_ROLES: Final = re.compile(r"(\{query\}|\{document\})")


@dataclass(frozen=True, eq=False)
class RankingHead:
    """What a checkpoint ranks by.

    weight: of a decoder, [1 or 2, hidden] float32 of the final hidden state of the last token: a score, or the logits
    of "yes" and of "no"; None of an encoder, whose own head gives one logit for two texts. template: a decoder's
    prompt. activation: of one score. max_tokens: of what is read; None is the context.
    """

    weight: NDArray[np.float32] | None
    template: str = JUDGE_PROMPT
    activation: Activation = "sigmoid"
    max_tokens: int | None = None


class Ranker:
    """Scores documents for a query by one checkpoint's rules."""

    def __init__(
        self, head: RankingHead | None, tokenizer: Tokenizer, *, context: int, instruction: str | None
    ) -> None:
        """context: tokens that the model takes. instruction: what is asked of documents, None for the usual.

        Raises InvalidRequestError where the model ranks nothing, and for an instruction where its prompt has none.
        """
        if head is None:
            raise InvalidRequestError("this model ranks nothing: it has no head that scores pairs of texts")
        self._head = head
        self._tokenizer = tokenizer
        self._context = min(context, head.max_tokens or context)
        self._template = _with_instruction("" if head.weight is None else head.template, instruction)

    def encode(self, query: str, document: str) -> EncodedPair:
        """What the model reads; control tokens in the texts are plain text. A text that is too long is cut.

        Of an encoder that is the longer of the two, of a decoder the document. Raises ContextOverflowError where that
        leaves no room for any of the document.
        """
        if self._head.weight is None:
            return self._tokenizer.encode_pair(query, document, most_tokens=self._context)
        texts = {"{query}": query, "{document}": document}
        parts = [part for part in _ROLES.split(self._template) if part]
        ids = self._tokenizer.encode_segments(
            [(texts[part], False) if part in texts else (part, True) for part in parts], add_special=False
        )
        if len(ids) > self._context:
            after = self._tokenizer.encode_segments([(parts[-1], True)], add_special=False)
            if document and len(self._without_document(query, parts)) >= self._context:
                raise ContextOverflowError.of_prompt(len(ids), self._context)
            ids = ids[: self._context - len(after)] + after
        return EncodedPair(ids, [0] * len(ids))

    def text_bytes(self, query: str, document: str) -> int:
        """How much there is to encode."""
        return byte_length(query) + byte_length(document) + byte_length(self._template)

    def batch(self, pairs: TokenSequence[EncodedPair]) -> TextBatch:
        """What the engine is to run."""
        ids = [pair.ids for pair in pairs]
        if self._head.weight is None:
            return TextBatch(ids, types=[pair.types for pair in pairs], classified=True)
        return TextBatch(ids, ("last",))

    def scores(self, made: NDArray[np.float64]) -> NDArray[np.float64]:
        """[n], the higher the better, of what the engine made of the batch."""
        weight = self._head.weight
        logits = made if weight is None else made @ weight.astype(np.float64).T
        if logits.shape[1] == 2:  # a softmax of "yes" and "no"
            return _sigmoid(logits[:, 0] - logits[:, 1])
        return _sigmoid(logits[:, 0]) if self._head.activation == "sigmoid" else logits[:, 0]

    def _without_document(self, query: str, parts: TokenSequence[str]) -> list[int]:
        fixed = [(query, False) if part == "{query}" else (part, True) for part in parts if part != "{document}"]
        return self._tokenizer.encode_segments(fixed, add_special=False)


def encode_pairs(ranker: Ranker, query: str, documents: TokenSequence[str]) -> list[EncodedPair]:
    """What the model reads of each document. Raises InvalidRequestError for what is no text, or no list of texts."""
    texts = [] if isinstance(documents, str) else list(documents)
    if not texts or not all(isinstance(text, str) for text in (query, *texts)):
        raise InvalidRequestError("expected a query and a sequence of at least one document, all of them texts")
    return [ranker.encode(query, text) for text in texts]


def _with_instruction(template: str, instruction: str | None) -> str:
    if instruction is None:
        return template
    if INSTRUCTION not in template:
        raise InvalidRequestError("the prompt of this model has no place for an instruction")
    return template.replace(INSTRUCTION, instruction.replace("{query}", "").replace("{document}", ""))


def _sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.exp(-np.logaddexp(0, -x))
