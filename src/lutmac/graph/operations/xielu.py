"""xIELU (Huang and Schlag, 2024, https://arxiv.org/abs/2411.13010), an activation with parameters that were trained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lutmac.graph.ir import Floats, Op, Reference, Value, Vector, unequal_widths


@dataclass(frozen=True)
class Xielu(Op):
    """``p x^2 + beta x`` where x is above 0, elsewhere ``n (e^min(x, eps) - 1 - x) + beta x``.

    p is softplus(alpha_p), n is beta + softplus(alpha_n). The four parameters are vectors of one float, or numbers
    where a file has them among its metadata.
    """

    x: Value
    out: Value
    alpha_p: Vector | tuple[float]
    alpha_n: Vector | tuple[float]
    beta: Vector | tuple[float]
    eps: Vector | tuple[float]
    READS = ("x",)
    WRITES = ("out",)
    ROWWISE = True

    def faults(self) -> Iterator[str]:
        """Rows of another width."""
        yield from unequal_widths(self.out, self.x)

    def reference(self, at: Reference, x: Floats) -> Floats:
        """[rows, width]."""
        alpha_p, alpha_n, beta, eps = (
            at.vector(parameter.name)[0] if isinstance(parameter, Vector) else np.float32(parameter[0])
            for parameter in (self.alpha_p, self.alpha_n, self.beta, self.eps)
        )
        positive, negative = np.logaddexp(0, alpha_p), beta + np.logaddexp(0, alpha_n)
        below = (np.expm1(np.minimum(x, eps)) - x) * negative
        return np.asarray(np.where(x > 0, positive * x * x, below) + beta * x, np.float32)
