"""Experts of a layer in one tensor, as transformers 5 has them in memory and some checkpoints on disk.

``experts.gate_up_proj`` is [E, 2I, H], gate above up, ``experts.down_proj`` [E, H, I]; Qwen3-VL's are turned:
[E, H, 2I] and [E, I, H]. Granite's are called ``input_linear`` and ``output_linear``.
https://huggingface.co/docs/transformers (conversion_mapping.py)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutmac.checkpoints.safetensors import SafetensorsTensor


@dataclass(frozen=True)
class ExpertMatrix:
    """A part of a stack: rows [first_row, first_row + rows) of matrix ``index``, turned where the stack is.

    name: by which models ask for it. stack: the tensor that it is in. share: of how many such parts that consists.
    """

    name: str
    stack: str
    index: int
    first_row: int
    rows: int
    columns: int
    turned: bool
    share: int

    def of(self, stack: NDArray[Any]) -> NDArray[Any]:
        """[rows, columns], where the stack is not turned a view of it."""
        matrix = stack[self.index].T if self.turned else stack[self.index]
        return np.ascontiguousarray(matrix[self.first_row : self.first_row + self.rows])


def expert_matrices(tensors: Mapping[str, SafetensorsTensor], config: Mapping[str, Any]) -> Iterator[ExpertMatrix]:
    """All that the files have; none where there are no stacks. config: of the text model, for ``hidden_size``."""
    stacks: dict[str, dict[str, str]] = {}
    for name, tensor in tensors.items():
        if len(tensor.shape) != 3:
            continue
        found = re.fullmatch(r"(.*\.experts)\.(gate_up|down)_proj(\.weight)?", name)
        granite = re.fullmatch(r"(.*)\.(input|output)_linear\.weight", name)
        if found is not None:
            stacks.setdefault(found[1], {})[found[2]] = name
        elif granite is not None:
            stacks.setdefault(f"{granite[1]}.experts", {})["gate_up" if granite[2] == "input" else "down"] = name
    for front, names in stacks.items():
        turned = _turned({kind: tensors[name].shape for kind, name in names.items()}, config.get("hidden_size"))
        for kind, name in names.items():
            experts, rows, columns = tensors[name].shape
            rows, columns = (columns, rows) if turned else (rows, columns)
            parts = {"down_proj": 0} if kind == "down" else {"gate_proj": 0, "up_proj": rows // 2}
            for index in range(experts):
                for part, first_row in parts.items():
                    yield ExpertMatrix(
                        f"{front}.{index}.{part}.weight", name, index, first_row, rows // len(parts), columns, turned,
                        experts * len(parts),
                    )  # fmt: skip


def _turned(shapes: Mapping[str, tuple[int, ...]], hidden_size: object) -> bool:
    """Whether the stacks of a layer are: [E, H, 2I] and [E, I, H]. One of the two always tells, as I is not 2I."""
    _, first, second = shapes.get("gate_up", (0, 0, 0))
    if first != second:
        return first == hidden_size
    _, first, second = shapes.get("down", (0, 0, 0))
    return first != second and second == hidden_size
