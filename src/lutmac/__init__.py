"""lutmac runs low-bit language models on CPUs by table lookup.

    import lutmac

    model = lutmac.load("smollm2", threads=2)
    print(model.generate("The capital of France is", max_tokens=8))

Models: ``load``, ``pull``, ``convert``, ``quantize_model``. Matrices alone: ``quantize``, ``matmul``. Every error that
lutmac raises on purpose is a ``LutmacError``. A name is imported when it is first used, so that ``import lutmac`` takes
milliseconds.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lutmac.errors import (
    CheckpointError,
    ContextOverflowError,
    EngineClosedError,
    InvalidRequestError,
    LutmacError,
    QueueFullError,
    UnsupportedISAError,
    UnsupportedModelError,
)

if TYPE_CHECKING:
    from lutmac.engine.embedding.embedder import EmbeddingKeywords
    from lutmac.engine.generating.conversation import Conversation
    from lutmac.engine.generating.generate import GenerationOptions
    from lutmac.engine.load import load
    from lutmac.engine.loading.convert import Converted, convert
    from lutmac.engine.loading.info import ModelInfo
    from lutmac.engine.loading.pull import pull
    from lutmac.engine.measuring.perplexity import Perplexity
    from lutmac.engine.model import Model
    from lutmac.engine.quantization.model import QuantizedModel, quantize_model
    from lutmac.engine.quantization.settings import QuantizationSettings
    from lutmac.engine.sampling.grammar import Grammar
    from lutmac.engine.sampling.results import Chunk, Completion, Timings, TokenLogprob
    from lutmac.graph.compile import Precision
    from lutmac.lowbit.quantize import QuantizedMatrix, matmul, quantize

__version__ = "0.1.0"
__all__ = [
    "CheckpointError",
    "Chunk",
    "Completion",
    "ContextOverflowError",
    "Conversation",
    "Converted",
    "EmbeddingKeywords",
    "EngineClosedError",
    "GenerationOptions",
    "Grammar",
    "InvalidRequestError",
    "LutmacError",
    "Model",
    "ModelInfo",
    "Perplexity",
    "Precision",
    "QuantizationSettings",
    "QuantizedMatrix",
    "QuantizedModel",
    "QueueFullError",
    "Timings",
    "TokenLogprob",
    "UnsupportedISAError",
    "UnsupportedModelError",
    "convert",
    "load",
    "matmul",
    "pull",
    "quantize",
    "quantize_model",
]

_HOMES = {
    "Chunk": "lutmac.engine.sampling.results",
    "Completion": "lutmac.engine.sampling.results",
    "Conversation": "lutmac.engine.generating.conversation",
    "Converted": "lutmac.engine.loading.convert",
    "EmbeddingKeywords": "lutmac.engine.embedding.embedder",
    "GenerationOptions": "lutmac.engine.generating.generate",
    "Grammar": "lutmac.engine.sampling.grammar",
    "Model": "lutmac.engine.model",
    "ModelInfo": "lutmac.engine.loading.info",
    "Perplexity": "lutmac.engine.measuring.perplexity",
    "Precision": "lutmac.graph.compile",
    "QuantizationSettings": "lutmac.engine.quantization.settings",
    "QuantizedMatrix": "lutmac.lowbit.quantize",
    "QuantizedModel": "lutmac.engine.quantization.model",
    "Timings": "lutmac.engine.sampling.results",
    "TokenLogprob": "lutmac.engine.sampling.results",
    "convert": "lutmac.engine.loading.convert",
    "load": "lutmac.engine.load",
    "matmul": "lutmac.lowbit.quantize",
    "pull": "lutmac.engine.loading.pull",
    "quantize": "lutmac.lowbit.quantize",
    "quantize_model": "lutmac.engine.quantization.model",
}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'lutmac' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, whether or not they have been used."""
    return sorted({*__all__, "__all__", "__doc__", "__version__"})
