"""Attention whose last layers keep nothing, and read the keys and values of an earlier layer (Gemma 3n, Gemma 4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lutmac.errors import CheckpointError
from lutmac.graph.ir import Value
from lutmac.graph.operations.rotate import Rotate
from lutmac.models.qwen3 import NormedHeads


class SharedKeys(NormedHeads):
    """Heads of queries, keys and values are normed, the values without a weight."""

    def attention(self, layer: int, x: Value) -> Value:
        """Attention to the layer's own keys and values, or to another's with queries alone."""
        config, name = self.config, f"layers.{layer}"
        if config.keys_from(layer) == layer:
            return super().attention(layer, x)
        hf, head_dim, rope = f"model.{name}.self_attn", config.head_size(layer), self.rope(layer)
        q = self.linear(f"{hf}.q_proj", x, self.query_width(layer), f"{name}.q")
        q = self.norm(f"{hf}.{self.HEAD_NORMS[0]}", q, f"{name}.q_normed", head_dim)
        rotated = replace(q, name=f"{name}.q_rotated")
        self.ops.append(Rotate(q, self.angles_of(rope), rotated, head_dim, rope.style))
        return self.attended(layer, x, rotated)

    def queries_keys_values(self, layer: int, x: Value) -> tuple[Value, Value, Value]:
        """All normed."""
        q, k, v = super().queries_keys_values(layer, x)
        return q, k, self.weightless_norm(v, f"layers.{layer}.v_normed", self.config.head_size(layer))


def layers_of_keys(windows: Sequence[int], layers: int, sharing: int) -> tuple[int, ...]:
    """For each layer the one whose keys and values it reads; () where each reads its own.

    The last ``sharing`` layers read those of the last layer before them that is of their kind. Raises CheckpointError
    where there is none.
    """
    if not sharing:
        return ()
    first, found = layers - sharing, list(range(layers))
    for layer in range(max(0, first), layers):
        alike = [i for i in range(max(0, first)) if not windows or windows[i] == windows[layer]]
        if not alike:
            raise CheckpointError(f"{sharing} of {layers} layers share keys and values, and none has those of {layer}")
        found[layer] = alike[-1]
    return tuple(found)
