"""Turning rows into the form that products read."""

from __future__ import annotations

from dataclasses import dataclass

from lutmac.graph.ir import Op, Value


@dataclass(frozen=True)
class Prepare(Op):
    """x in the forms that its call says. Passes put it in front of products; models do not write it."""

    x: Value
    READS = ("x",)
    ROWWISE = True
