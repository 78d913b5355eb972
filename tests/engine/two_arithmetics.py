"""Engines whose prompts have another arithmetic than their replies, on any machine.

Where the build has a target of two arithmetics that runs here, that is taken. Else two programs with one cache stand in
for it. The one for prompts has weights that are rounded to bfloat16 or, of a model in a file, is of target `portable`,
which adds up in another order. A step is cut in two, as such a target cuts its products.
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
