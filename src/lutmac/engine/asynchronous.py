"""A model's calls for asyncio."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from collections.abc import Sequence as TokenSequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

import numpy as np
from numpy.typing import NDArray

from lutmac.engine.embedding.embedder import Embedder, EmbeddingKeywords, EmbeddingOptions
from lutmac.engine.embedding.ranking import Ranker, encode_pairs
from lutmac.engine.generating.generate import GenerationOptions, parse_options
from lutmac.engine.sampling.results import Chunk, Completion

if TYPE_CHECKING:
    from lutmac.engine.generating.worker import ChunkStream, Worker

Prompt = str | TokenSequence[int]
Message = Mapping[str, Any]


class AsyncCalls(ABC):
    """The calls of ``Model`` as coroutines: ``agenerate`` is ``generate``, and so on.

    Requests that run at the same time run together, in the steps of one thread beside the event loop. A cancelled
    task stops its request within a step. What is wrong is raised as by the calls of the same name; QueueFullError
    where over 256 requests wait.
    """

    @property
    @abstractmethod
    def worker(self) -> Worker:
        """The thread that steps the engine."""

    @property
    @abstractmethod
    def sampling_defaults(self) -> Mapping[str, float]:
        """Options of sampling that hold where a call says nothing."""

    @abstractmethod
    def embedder(self, options: EmbeddingOptions) -> Embedder:
        """What makes vectors."""

    @abstractmethod
    def ranker(self, instruction: str | None = None) -> Ranker:
        """What scores documents."""

    @abstractmethod
    def _prompt_ids(self, prompt: Prompt) -> list[int]: ...

    @abstractmethod
    def _chat_request(
        self, messages: TokenSequence[Message], options: Mapping[str, Any]
    ) -> tuple[list[int], dict[str, Any]]:
        """A chat's prompt, and the options with what the prompt adds to them."""

    @abstractmethod
    def _embedded_ids(self, embedder: Embedder, inputs: TokenSequence[Prompt]) -> list[list[int]]: ...

    async def agenerate(self, prompt: Prompt, **options: Unpack[GenerationOptions]) -> Completion:
        """``generate`` for asyncio."""
        return await _collected(self._astream(self._prompt_ids(prompt), options))

    def astream(self, prompt: Prompt, **options: Unpack[GenerationOptions]) -> AsyncIterator[Chunk]:
        """``stream`` for asyncio: ``async for chunk in model.astream(...)``. Its ``aclose`` stops the generation."""
        return self._astream(self._prompt_ids(prompt), options)

    @overload
    async def achat(
        self, messages: TokenSequence[Message], *, stream: Literal[False] = False, **options: Unpack[GenerationOptions]
    ) -> Completion: ...
    @overload
    async def achat(
        self, messages: TokenSequence[Message], *, stream: Literal[True], **options: Unpack[GenerationOptions]
    ) -> AsyncIterator[Chunk]: ...
    @overload
    async def achat(
        self, messages: TokenSequence[Message], *, stream: bool, **options: Unpack[GenerationOptions]
    ) -> Completion | AsyncIterator[Chunk]: ...
    async def achat(
        self, messages: TokenSequence[Message], *, stream: bool = False, **options: Unpack[GenerationOptions]
    ) -> Completion | AsyncIterator[Chunk]:
        """``chat`` for asyncio; with ``stream``: ``async for chunk in await model.achat(..., stream=True)``."""
        chunks = self._astream(*self._chat_request(messages, options))
        return chunks if stream else await _collected(chunks)

    async def aembed(self, inputs: TokenSequence[Prompt], **options: Unpack[EmbeddingKeywords]) -> NDArray[np.float32]:
        """``embed`` for asyncio."""
        embedder = self.embedder(EmbeddingOptions(**options))
        texts = embedder.batch(self._embedded_ids(embedder, inputs))
        return embedder.vectors(await self.worker.embed(texts))

    async def arerank(
        self, query: str, documents: TokenSequence[str], *, instruction: str | None = None
    ) -> NDArray[np.float64]:
        """``rerank`` for asyncio."""
        ranker = self.ranker(instruction)
        return ranker.scores(await self.worker.embed(ranker.batch(encode_pairs(ranker, query, documents))))

    def _astream(self, prompt: list[int], options: Mapping[str, Any]) -> ChunkStream:
        return self.worker.stream(prompt, parse_options(options, self.sampling_defaults))


async def _collected(chunks: ChunkStream) -> Completion:
    completion = None
    async with aclosing(chunks):
        async for chunk in chunks:
            completion = chunk.completion
    assert completion is not None
    return completion
