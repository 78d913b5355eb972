"""lutmac runs low-bit language models on CPUs by table lookup.

    import lutmac

    model = lutmac.load("smollm2", threads=2)
    print(model.generate("The capital of France is", max_tokens=8))

What is named here is imported when it is first used, so that ``import lutmac`` costs next to nothing.
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
    from lutmac.engine.load import load
    from lutmac.engine.loading.convert import Converted, convert
    from lutmac.engine.loading.pull import pull
    from lutmac.engine.model import Model
    from lutmac.engine.quantization.model import QuantizedModel, quantize_model
    from lutmac.engine.quantization.settings import QuantizationSettings
    from lutmac.engine.sampling.grammar import Grammar
    from lutmac.engine.sampling.results import Chunk, Completion
    from lutmac.lowbit.quantize import QuantizedMatrix, matmul, quantize

__version__ = "0.1.0"
__all__ = [
    "CheckpointError",
    "Chunk",
    "Completion",
    "ContextOverflowError",
    "Converted",
    "EngineClosedError",
    "Grammar",
    "InvalidRequestError",
    "LutmacError",
    "Model",
    "QuantizationSettings",
    "QuantizedMatrix",
    "QuantizedModel",
    "QueueFullError",
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
    "Converted": "lutmac.engine.loading.convert",
    "Grammar": "lutmac.engine.sampling.grammar",
    "Model": "lutmac.engine.model",
    "QuantizationSettings": "lutmac.engine.quantization.settings",
    "QuantizedMatrix": "lutmac.lowbit.quantize",
    "QuantizedModel": "lutmac.engine.quantization.model",
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
