"""A script of a user who has mypy --strict: `make lint` checks it. It is not run."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

import lutmac


def generate(model: lutmac.Model, flag: bool) -> str:
    options: lutmac.GenerationOptions = {"max_tokens": 8, "grammar": lutmac.Grammar.json_object()}
    done: lutmac.Completion = model.generate("Hello", **options)
    timings: lutmac.Timings = done.timings
    scores: tuple[lutmac.TokenLogprob, ...] | None = done.logprobs
    messages = [{"role": "user", "content": "Hello"}]
    reply: lutmac.Completion = model.chat(messages, temperature=0.5)
    pieces: Iterator[lutmac.Chunk] = model.chat(messages, stream=True)
    either: lutmac.Completion | Iterator[lutmac.Chunk] = model.chat(messages, stream=flag)
    conversation: lutmac.Conversation = model.conversation("Be brief.")
    said = "".join(chunk.text for chunk in conversation.send("Hello"))
    print(timings.decode_tokens_per_second, scores, either, said, *pieces)
    return reply.text


async def together(model: lutmac.Model) -> list[str]:
    replies = await asyncio.gather(model.agenerate("a"), model.achat([{"role": "user", "content": "b"}]))
    async for chunk in model.astream("c"):
        print(chunk.text)
    return [reply.text for reply in replies]


def numbers(model: lutmac.Model) -> NDArray[np.float32]:
    keywords: lutmac.EmbeddingKeywords = {"normalize": False}
    vectors: NDArray[np.float32] = model.embed(["a", "b"], **keywords)
    scores: NDArray[np.float64] = model.rerank("a", ["b", "c"], instruction="d")
    print(scores, model.sampling_defaults.get("temperature"))
    measured: lutmac.Perplexity = model.perplexity("text" * 100)
    info: lutmac.ModelInfo = model.info()
    print(measured.perplexity, info.name)
    return vectors @ vectors.T + model.logits([1, 2])[:2, :2]


def matrices() -> NDArray[np.float32]:
    matrix: lutmac.QuantizedMatrix = lutmac.quantize(np.ones((4, 64), np.float32), bits=2)
    matrix.save("matrix.npz")
    again: lutmac.QuantizedMatrix = pickle.loads(pickle.dumps(lutmac.QuantizedMatrix.load("matrix.npz")))
    return lutmac.matmul(np.ones(64, np.float32), again, precision="exact")


def files(precision: lutmac.Precision) -> None:
    path = lutmac.pull("smollm2")
    converted: lutmac.Converted = lutmac.convert(path, "packed")
    settings = lutmac.QuantizationSettings(bits=3)
    quantized: lutmac.QuantizedModel = lutmac.quantize_model(path, "small", settings)
    with lutmac.load("packed", precision=precision, threads=2) as model:
        print(converted, quantized.average_bits, generate(model, True), asyncio.run(together(model)), numbers(model))


try:
    files("exact")
except (lutmac.CheckpointError, lutmac.UnsupportedModelError, lutmac.UnsupportedISAError) as error:
    print(error)
except (lutmac.ContextOverflowError, lutmac.InvalidRequestError, lutmac.QueueFullError) as error:
    print(error)
except lutmac.EngineClosedError as error:
    print(error)
except lutmac.LutmacError as error:
    print(error, lutmac.__version__)
