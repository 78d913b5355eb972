"""Experts of a layer in one tensor, as transformers 5 has them in memory and some checkpoints on disk.

``experts.gate_up_proj`` is [E, 2I, H], gate above up, ``experts.down_proj`` [E, H, I]; Qwen3-VL's are transposed: [E,
H, 2I] and [E, I, H]. Granite's are called ``input_linear`` and ``output_linear``. gpt-oss' are transposed, the rows of
gate and up alternate, and there are biases: ``experts.gate_up_proj_bias`` [E, 2I], ``experts.down_proj_bias`` [E, H].
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
class ExpertPart:
    """A part of a stack: of matrix (or bias) ``index``, transposed where the stack is, the rows ``rows_in``.

    name: by which models ask for it. stack: the tensor that it is in. shape: [rows, columns], of a bias [rows]. share:
    of how many such parts the stack consists.
    """

    name: str
    stack: str
    index: int
    rows_in: slice
    shape: tuple[int, ...]
    transposed: bool
    share: int

    def of(self, stack: NDArray[Any]) -> NDArray[Any]:
        """What it is, where the stack is not transposed and its rows lie together a view of it."""
        whole = stack[self.index].T if self.transposed else stack[self.index]
        return np.ascontiguousarray(whole[self.rows_in])


def gate_and_up(rows: int, *, alternate: bool) -> dict[str, slice]:
    """Which rows of a joint matrix are whose: gate above up, or one row of each in turn."""
    if alternate:
        return {"gate_proj": slice(0, rows, 2), "up_proj": slice(1, rows, 2)}
    return {"gate_proj": slice(0, rows // 2), "up_proj": slice(rows // 2, rows)}


def rows_alternate(config: Mapping[str, Any]) -> bool:
    """Whether gate and up do, by the model's type."""
    return config.get("model_type") == "gpt_oss"


def expert_parts(tensors: Mapping[str, SafetensorsTensor], config: Mapping[str, Any]) -> Iterator[ExpertPart]:
    """All that the files have; none where there are no stacks. config: of the text model."""
    stacks: dict[str, dict[str, str]] = {}
    for name, tensor in tensors.items():
        found = re.fullmatch(r"(.*\.experts)\.(gate_up|down)_proj(\.weight)?", name)
        granite = re.fullmatch(r"(.*)\.(input|output)_linear\.weight", name)
        bias = re.fullmatch(r"(.*\.experts)\.(gate_up|down)_proj_bias", name)
        if found is not None and len(tensor.shape) == 3:
            stacks.setdefault(found[1], {})[found[2]] = name
        elif granite is not None and len(tensor.shape) == 3:
            stacks.setdefault(f"{granite[1]}.experts", {})["gate_up" if granite[2] == "input" else "down"] = name
        elif bias is not None and len(tensor.shape) == 2:
            yield from _parts(f"{bias[1]}.{{}}.{{}}.bias", bias[2], tensor, config, transposed=False)
    for front, names in stacks.items():
        shapes = {kind: tensors[name].shape for kind, name in names.items()}
        transposed = _is_transposed(shapes, config.get("hidden_size"))
        for kind, name in names.items():
            yield from _parts(f"{front}.{{}}.{{}}.weight", kind, tensors[name], config, transposed=transposed)


def _parts(
    name: str, kind: str, stack: SafetensorsTensor, config: Mapping[str, Any], *, transposed: bool
) -> Iterator[ExpertPart]:
    """name: of a part, with holes for the expert's number and the matrix."""
    experts, *shape = stack.shape
    rows, *columns = reversed(shape) if transposed else shape
    down = {"down_proj": slice(0, rows)}
    parts = down if kind == "down" else gate_and_up(rows, alternate=rows_alternate(config))
    for index in range(experts):
        for part, rows_in in parts.items():
            shape_of_part = (len(range(rows)[rows_in]), *columns)
            yield ExpertPart(
                name.format(index, part), stack.name, index, rows_in, shape_of_part, transposed, experts * len(parts)
            )


def _is_transposed(shapes: Mapping[str, tuple[int, ...]], hidden_size: object) -> bool:
    """Whether the stacks of a layer are: [E, H, 2I] and [E, I, H]. One of the two always tells, as I is not 2I."""
    _, first, second = shapes.get("gate_up", (0, 0, 0))
    if first != second:
        return first == hidden_size
    _, first, second = shapes.get("down", (0, 0, 0))
    return first != second and second == hidden_size
