"""The model that a caller holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Sequence as TokenSequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload
from weakref import finalize

import numpy as np
from numpy.typing import NDArray

from lutmac.closable import Closable
from lutmac.engine.asynchronous import AsyncCalls, Message, Prompt
from lutmac.engine.embedding.embedder import Embedder, EmbeddingKeywords, EmbeddingOptions
from lutmac.engine.embedding.embedding import embed
from lutmac.engine.embedding.ranking import Ranker, RankingHead, encode_pairs
from lutmac.engine.generating.conversation import Conversation
from lutmac.engine.generating.generate import GenerationOptions, collect, new_sequence, parse_options, stream_sequence
from lutmac.engine.loading.info import ModelInfo
from lutmac.engine.measuring.perplexity import Perplexity, Progress, measure_perplexity
from lutmac.engine.running.engine import Engine
from lutmac.engine.sampling.results import Chunk, Completion
from lutmac.errors import ContextOverflowError, EngineClosedError, InvalidRequestError
from lutmac.graph.compile import Compiled
from lutmac.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from lutmac.engine.generating.worker import Worker
    from lutmac.text.chat import ChatTemplate


class Model(AsyncCalls, Closable):
    """A loaded model; ``lutmac.load`` makes one.

    It may be used from several threads, and from asyncio (``agenerate``, ``astream``, ``achat``, ``aembed``). Requests
    that run at the same time run together. ``close``, the end of a ``with``, or dropping it frees its memory.
    """

    def __init__(
        self,
        engine: Engine,
        tokenizer: Tokenizer,
        compiled: Compiled,
        info: ModelInfo,
        chat_templates: Mapping[str, object],
        ranking_head: RankingHead | None = None,
    ) -> None:
        """chat_templates: the checkpoint's, by name; looked at when they are needed. ranking_head: what it ranks by."""
        self.tokenizer = tokenizer
        self._open: tuple[Engine, Compiled] | None = (engine, compiled)
        self._info = info
        self._chat_templates = chat_templates
        self._ranking_head = ranking_head

    def close(self) -> None:
        """Ends what runs for asyncio and frees the memory; what is called afterwards raises EngineClosedError.

        A stream that another thread still reads goes on, and keeps the memory until it ends.
        """
        worker = self.__dict__.pop("worker", None)
        if worker is not None:
            worker.close()
        self._open = None

    def __repr__(self) -> str:
        """Name, architecture, size."""
        info = self._info
        state = f"context {info.context}, {info.isa}" if self._open is not None else "closed"
        size = f"{info.parameters / 1e6:.0f}M parameters of {info.bits_per_weight:.2f} bits"
        return f"<Model {info.name!r}: {info.architecture}, {size}, {state}>"

    @property
    def _engine(self) -> Engine:
        return self._opened[0]

    @property
    def _opened(self) -> tuple[Engine, Compiled]:
        if self._open is None:
            raise EngineClosedError(f"the model {self._info.name} has been closed")
        return self._open

    def generate(self, prompt: Prompt, **options: Unpack[GenerationOptions]) -> Completion:
        """Continues a text (or token ids) and returns the whole continuation.

        ``options`` are those of GenerationParams and SamplingParams. The texts of control tokens in a text become these
        tokens, and BOS comes first where the model wants it and the text has none. Raises InvalidRequestError and
        ContextOverflowError.
        """
        return collect(self.stream(prompt, **options))

    def stream(self, prompt: Prompt, **options: Unpack[GenerationOptions]) -> Iterator[Chunk]:
        """As generate, but yields the text as it comes. Closing the iterator stops the generation."""
        return self._stream(self._prompt_ids(prompt), options)

    @overload
    def chat(
        self, messages: TokenSequence[Message], *, stream: Literal[False] = False, **options: Unpack[GenerationOptions]
    ) -> Completion: ...
    @overload
    def chat(
        self, messages: TokenSequence[Message], *, stream: Literal[True], **options: Unpack[GenerationOptions]
    ) -> Iterator[Chunk]: ...
    @overload
    def chat(
        self, messages: TokenSequence[Message], *, stream: bool, **options: Unpack[GenerationOptions]
    ) -> Completion | Iterator[Chunk]: ...
    def chat(
        self, messages: TokenSequence[Message], *, stream: bool = False, **options: Unpack[GenerationOptions]
    ) -> Completion | Iterator[Chunk]:
        """The reply to messages of the form {"role": "user", "content": "..."}, by the model's chat template."""
        chunks = self._stream(*self._chat_request(messages, options))
        return chunks if stream else collect(chunks)

    def conversation(self, system: str | None = None) -> Conversation:
        """A conversation that keeps its keys and values from turn to turn."""
        return Conversation(self._engine, self.tokenizer, self.chat_template, system, self.sampling_defaults)

    def logits(self, token_ids: TokenSequence[int]) -> NDArray[np.float32]:
        """Logits after each of the tokens: [n, vocab] float32."""
        ids = self._checked_ids(token_ids)
        if len(ids) > self._engine.max_context:
            raise ContextOverflowError(f"{len(ids)} tokens do not fit into the context of {self._engine.max_context}")
        found = np.empty((len(ids), self._engine.vocab_size), dtype=np.float32)

        def sink(position: int, logits: NDArray[np.float32]) -> None:
            found[position : position + len(logits)] = logits

        sequence = self._engine.new_sequence(ids, len(ids), private=True)
        sequence.sink = sink
        self._engine.submit(sequence)
        try:
            self._engine.drive(sequence, len(ids))
        finally:
            self._engine.stop(sequence)
        return found

    def embed(self, inputs: TokenSequence[Prompt], **options: Unpack[EmbeddingKeywords]) -> NDArray[np.float32]:
        """Vectors of texts (or token ids, which are taken as they are): [n, dimensions] float32.

        They are made as the checkpoint says (`info().embedding`): its pooling, its layers behind that, its prompt,
        scaled to length 1 or not; one that says nothing gives the mean of the final hidden states, scaled. ``options``
        are those of EmbeddingOptions. Control tokens in a text are plain text. Raises InvalidRequestError and
        ContextOverflowError.
        """
        embedder = self.embedder(EmbeddingOptions(**options))
        return embedder.vectors(embed(self._engine, embedder.batch(self._embedded_ids(embedder, inputs))))

    def embedder(self, options: EmbeddingOptions) -> Embedder:
        """What makes vectors with these options. Raises InvalidRequestError for options that do not fit the model."""
        return Embedder(
            self._info.embedding, options, self.tokenizer, hidden_size=self._engine.hidden_size, context=self.context
        )

    def rerank(
        self, query: str, documents: TokenSequence[str], *, instruction: str | None = None
    ) -> NDArray[np.float64]:
        """How well each document answers the query, the higher the better: [n] float64.

        Of a reranker that asks for yes or no, the probability of yes; of one with a score of its own, as encoders are,
        what sentence-transformers' CrossEncoder gives. instruction: what is asked of documents, where the model's
        prompt has a place for it. Documents that are too long are cut. Raises InvalidRequestError, also where the
        model ranks nothing, and ContextOverflowError.
        """
        ranker = self.ranker(instruction)
        return ranker.scores(embed(self._engine, ranker.batch(encode_pairs(ranker, query, documents))))

    def ranker(self, instruction: str | None = None) -> Ranker:
        """What scores documents. Raises InvalidRequestError where the model ranks nothing."""
        return Ranker(self._ranking_head, self.tokenizer, context=self.context, instruction=instruction)

    def perplexity(
        self, text: Prompt, *, ctx: int = 512, windows: int = 20, progress: Progress | None = None
    ) -> Perplexity:
        """Perplexity over the first ``windows`` windows of ``ctx`` tokens, by llama.cpp's convention.

        The text is tokenised without recognising control tokens. Raises InvalidRequestError.
        """
        if type(ctx) is not int or not 4 <= ctx <= self._engine.max_context:
            raise InvalidRequestError(f"ctx is {ctx!r}, expected 4 to {self._engine.max_context} (the context)")
        if type(windows) is not int or windows < 1:
            raise InvalidRequestError(f"windows is {windows!r}, expected an integer of at least 1")
        bos = self.tokenizer.bos_id if self.tokenizer.add_bos else None
        if isinstance(text, str):
            ids = ([] if bos is None else [bos]) + self.tokenizer.encode(text, add_special=False)
        else:
            ids = self._checked_ids(text)
        return measure_perplexity(self._engine, ids, bos, ctx=ctx, windows=windows, progress=progress)

    def info(self) -> ModelInfo:
        """Figures: architecture, tensors, sizes, context, ISA target."""
        return replace(self._info, threads=self._engine.threads)

    def program(self) -> str:
        """The compiled program as one readable page."""
        from lutmac.graph.printer import print_program  # noqa: PLC0415 (only here)

        return print_program(self._opened[1])

    @property
    def engine(self) -> Engine:
        """What runs the sequences, for those who want to step it themselves."""
        return self._engine

    @cached_property
    def worker(self) -> Worker:
        """The thread that runs this model for asyncio callers; made when first asked for."""
        from lutmac.engine.generating.worker import Worker  # noqa: PLC0415 (imports asyncio)

        worker = Worker(self._engine, self.tokenizer)
        finalize(self, worker.close)
        return worker

    @property
    def threads(self) -> int:
        """Threads of the steps to come; may be set."""
        return self._engine.threads

    @threads.setter
    def threads(self, count: int) -> None:
        if type(count) is not int or not 1 <= count <= 1024:
            raise InvalidRequestError(f"threads is {count!r}, expected an integer from 1 to 1024")
        self._engine.threads = count

    @property
    def context(self) -> int:
        """Positions that one sequence may have."""
        return self._engine.max_context

    @property
    def sampling_defaults(self) -> Mapping[str, float]:
        """Options of sampling that the checkpoint recommends; they hold where a call says nothing."""
        return self._info.sampling

    @cached_property
    def chat_template(self) -> ChatTemplate:
        """What turns messages into a prompt. Raises what `ChatTemplate` raises where the checkpoint has none."""
        from lutmac.text.chat import ChatTemplate  # noqa: PLC0415 (jinja2 is slow to import)

        return ChatTemplate.of_checkpoint(self._chat_templates, self.tokenizer)

    def _stream(self, prompt: list[int], options: Mapping[str, Any]) -> Iterator[Chunk]:
        params = parse_options(options, self.sampling_defaults)
        sequence = new_sequence(self._engine, self.tokenizer, prompt, params)
        return stream_sequence(self._engine, self.tokenizer, sequence, params)

    def _chat_request(
        self, messages: TokenSequence[Message], options: Mapping[str, Any]
    ) -> tuple[list[int], dict[str, Any]]:
        from lutmac.text.chat import chat_prompt  # noqa: PLC0415 (jinja2 is slow to import)

        prompt = chat_prompt(self.tokenizer, self.chat_template, messages, finds_replies=self._engine.by_role)
        return prompt.ids, {**prompt.options, **options}

    def _embedded_ids(self, embedder: Embedder, inputs: TokenSequence[Prompt]) -> list[list[int]]:
        if isinstance(inputs, str):
            raise InvalidRequestError("expected a sequence of texts, not one text")
        return [
            embedder.encode(item) if isinstance(item, str) else embedder.fitted(self._checked_ids(item))
            for item in inputs
        ]

    def _prompt_ids(self, prompt: Prompt) -> list[int]:
        if not isinstance(prompt, str):
            return self._checked_ids(prompt)
        ids = self.tokenizer.encode(prompt, parse_special=True)
        if not ids:
            raise InvalidRequestError("the prompt is empty, and this model has no token to begin a text with")
        return ids

    def _checked_ids(self, token_ids: TokenSequence[int]) -> list[int]:
        """Token ids as a list. Raises InvalidRequestError where there are none or one is not in the vocabulary."""
        try:
            array = np.asarray(token_ids)
        except ValueError:
            array = np.empty(0, dtype=object)
        if array.ndim != 1 or not len(array) or array.dtype.kind not in "iu":
            raise InvalidRequestError("expected text, or a sequence of at least one integer token id")
        vocab_size = self._engine.vocab_size
        outside = array[(array < 0) | (array >= vocab_size)]
        if len(outside):
            raise InvalidRequestError(f"token id {outside[0]} is not in the vocabulary of {vocab_size}")
        ids: list[int] = array.tolist()
        return ids
