"""Engines whose prompts have another arithmetic than their replies, on any machine.

Where the build has a target of two arithmetics that runs here, that is taken. Else two programs with one cache stand in
for it; that of prompts has its weights rounded to bfloat16. A step is cut in two, as such a target cuts its products.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from random_models import VOCABULARY, RandomModel

from lutmac import _native
from lutmac.engine.running.engine import Engine
from lutmac.graph.compile import Compiled
from lutmac.lowbit.matrix import DenseMatrix, LowBitMatrix, plain_codes

TARGET = next((name for name in _native.available_targets() if _native.computes_by_role(name)), None)
GROUP = 32


def engine_by_role(model: RandomModel, *, max_tokens: int = 64, threads: int = 1, memory: int | None = None) -> Engine:
    """memory: of keys, values and slots."""
    if TARGET is None:
        compiled: Compiled = _TwoArithmetics.of(model, max_tokens)
    else:
        compiled = model.compiled(_four_bits, max_tokens=max_tokens, target=TARGET, precision="default")
    return Engine(compiled, vocab_size=VOCABULARY, threads=threads, kv_cache_memory=memory)


class _TwoPrograms:
    """A step of generated tokens by one program, of prompts by the other."""

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
        rows = sequence_start.tolist()
        between = rows.index(generated_rows)  # a sequence has tokens of one role
        outputs = int(np.searchsorted(output_rows >= generated_rows, True))
        assert (output_rows[outputs:] >= generated_rows).all()
        parts = (slice(0, between), slice(0, outputs)), (slice(between, None), slice(outputs, None))
        for program, (sequences, wanted) in zip(self._programs, parts, strict=True):
            starts = sequence_start[sequences.start : None if sequences.stop is None else sequences.stop + 1]
            if len(starts) > 1:
                program.step(
                    cache,
                    tokens=tokens[starts[0] : starts[-1]],
                    sequence_start=starts - starts[0],
                    first_position=first_position[sequences],
                    page_tables=[table[sequences] for table in page_tables],
                    output_rows=output_rows[wanted] - starts[0],
                    logits=None if logits is None or not len(logits[wanted]) else logits[wanted],
                    **options,
                )


@dataclass(frozen=True)
class _TwoArithmetics(Compiled):
    @classmethod
    def of(cls, model: RandomModel, max_tokens: int) -> _TwoArithmetics:
        generated = model.compiled(DenseMatrix, max_tokens=max_tokens)
        prompt = model.compiled(_rounded, max_tokens=max_tokens)
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
