"""Engines whose prompts have another arithmetic than their replies, on any machine.

Where the build has a target of two arithmetics that runs here, that is taken. Else two programs with one cache stand in
for it. The one for prompts has weights that are rounded to bfloat16 or, of a model in a file, is of target `portable`,
which adds up in another order. They run a step slice by slice.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from random_models import CONTEXT, VOCABULARY, RandomModel

import lutmac
from lutmac import _native
from lutmac.engine.running.engine import Engine
from lutmac.graph.compile import Compiled
from lutmac.lowbit.matrix import DenseMatrix, LowBitMatrix, plain_codes

TARGET = next((name for name in _native.available_targets() if _native.computes_by_role(name)), None)
GROUP = 32


def engine_by_role(
    model: RandomModel | Path, *, max_tokens: int = 64, threads: int = 1, memory: int | None = None
) -> Engine:
    """An engine of its own, with a cache of its own. model: if it is a file, its programs are kept.

    memory: of keys, values and slots.
    """
    if isinstance(model, Path):
        compiled, vocab_size = _of_file(model, max_tokens)
    else:
        compiled, vocab_size = _of_random(model, max_tokens), VOCABULARY
    return Engine(compiled, vocab_size=vocab_size, threads=threads, kv_cache_memory=memory)


def _of_random(model: RandomModel, max_tokens: int) -> Compiled:
    if TARGET is not None:
        return model.compiled(_four_bits, max_tokens=max_tokens, target=TARGET, precision="default")
    programs = (model.compiled(form, max_tokens=max_tokens) for form in (DenseMatrix, _rounded))
    return _TwoArithmetics.of(*programs)


@lru_cache(maxsize=8)
def _of_file(path: Path, max_tokens: int) -> tuple[Compiled, int]:
    def load(**options: Any) -> lutmac.Model:
        return lutmac.load(path, threads=1, context=CONTEXT, max_batch_tokens=max_tokens, **options)

    if TARGET is not None:
        model = load(isa=TARGET)
        return model._opened[1], model.engine.vocab_size
    generated, prompt = load(), load(isa="portable")
    return _TwoArithmetics.of(generated._opened[1], prompt._opened[1]), generated.engine.vocab_size


class _TwoPrograms:
    """Slices of generated tokens by one program, of prompts by the other."""

    def __init__(self, generated: _native.Program, prompt: _native.Program) -> None:
        self._programs = generated, prompt

    def step(  # noqa: PLR0913 (as the program has them)
        self,
        cache: _native.Cache,
        *,
        tokens: NDArray[np.int32],
        sequence_start: NDArray[np.int32],
        first_position: NDArray[np.int32],
        page_tables: list[NDArray[np.int32]],
        output_rows: NDArray[np.int32],
        logits: NDArray[np.float32] | None,
        generated_rows: int,
        hidden: None = None,
        **options: Any,
    ) -> None:
        assert generated_rows in sequence_start  # a slice has tokens of one role
        generated_outputs = np.count_nonzero(output_rows < generated_rows)
        assert (output_rows[generated_outputs:] >= generated_rows).all()
        for place in np.argsort(first_position, kind="stable"):  # of one sequence what comes first
            begin, end = sequence_start[place : place + 2]
            wanted = np.flatnonzero((output_rows >= begin) & (output_rows < end))
            found = None if logits is None or not len(wanted) else logits[wanted[0] : wanted[-1] + 1]
            self._programs[int(begin >= generated_rows)].step(
                cache,
                tokens=tokens[begin:end],
                sequence_start=np.array([0, end - begin], np.int32),
                first_position=first_position[place : place + 1],
                page_tables=[table[place : place + 1] for table in page_tables],
                output_rows=output_rows[wanted] - begin,
                logits=found,
                **options,
            )


@dataclass(frozen=True)
class _TwoArithmetics(Compiled):
    @classmethod
    def of(cls, generated: Compiled, prompt: Compiled) -> _TwoArithmetics:
        parts = {field.name: getattr(generated, field.name) for field in fields(Compiled)}
        return cls(**{**parts, "program": _TwoPrograms(generated.program, prompt.program)})

    @property
    def by_role(self) -> bool:
        return True


def _rounded(weights: NDArray[np.float32]) -> DenseMatrix:
    bits = weights.view(np.uint32)
    return DenseMatrix(((bits + 0x8000) & np.uint32(0xFFFF0000)).view(np.float32))


def _four_bits(weights: NDArray[np.float32]) -> LowBitMatrix:
    """16 levels for each group of a row."""
    rows, columns = weights.shape
    grouped = weights.reshape(rows, -1, GROUP)
    scale = (np.abs(grouped).max(axis=2) / 8).astype(np.float16)
    codes = np.clip(np.rint(grouped / scale[:, :, None].astype(np.float32) + 8), 0, 15).astype(np.uint8)
    return LowBitMatrix(
        rows=rows,
        columns=columns,
        bits=4,
        group_size=GROUP,
        source=codes.reshape(rows, columns),
        layout=plain_codes(),
        scale=scale,
        zero_point=8.0,
        offset=None,
    )
