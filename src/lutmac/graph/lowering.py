"""From a graph's operations to the native program's, one to one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lutmac import _native
from lutmac.errors import UnsupportedModelError
from lutmac.graph.experts import ExpertGather, ExpertMatMul, ExpertSum, Route
from lutmac.graph.ir import (
    Add,
    Attention,
    Embed,
    GatedActivation,
    GatherOutputs,
    HiddenStates,
    Logits,
    MatMul,
    Multiply,
    Norm,
    Op,
    Prepare,
    RopeStore,
    RoundToInt8,
    Value,
    Vector,
)

CacheType = Literal["f16", "f32", "int8"]  # what keys and values are kept as


@dataclass
class Parameters:
    """The packed matrices, float32 vectors and int32 permutations (orders) that a graph names."""

    matrices: dict[str, _native.Matrix] = field(default_factory=dict)
    vectors: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    orders: dict[str, NDArray[np.int32]] = field(default_factory=dict)


@dataclass(frozen=True)
class CacheLayout:
    """What the key-value cache of a program must hold.

    type: of its elements. windows: for each cache group the window that its layers share (0: none). layer_groups: the
    group of each layer. layer_page_bytes: bytes of one page of each layer.
    """

    type: CacheType
    windows: tuple[int, ...]
    layer_groups: tuple[int, ...]
    layer_page_bytes: tuple[int, ...]

    @property
    def bytes_per_position(self) -> int:
        """Keys and values of one token in all layers."""
        return sum(self.layer_page_bytes) // _native.PAGE_TOKENS


@dataclass(frozen=True)
class Lowering:
    """Adds operations to a program.

    offsets: where each value lies in the arena. exact: products read plain floats.
    """

    program: _native.Program
    parameters: Parameters
    offsets: Mapping[Value, int]
    cache: CacheLayout
    exact: bool

    def lower(self, op: Op) -> None:  # noqa: PLR0912 (one case for each operation)
        """Adds one. Raises UnsupportedModelError for one that the native side does not have."""
        match op:
            case Embed():
                matrix = self.parameters.matrices[op.weight.name]
                self.program.embed(matrix=matrix, out=self.offsets[op.out], scale=op.scale)
            case GatherOutputs():
                self.program.gather_outputs(x=self.offsets[op.x], width=op.x.width, out=self.offsets[op.out])
            case Norm():
                self._norm(op)
            case Prepare():
                forms = self._forms(op.forms)
                self.program.prepare(rows=_rows(op.x), x=self.offsets[op.x], width=op.x.width, forms=forms)
            case MatMul():
                self._matmul(op)
            case RopeStore():
                self._rope_store(op)
            case Attention():
                self._attention(op)
            case GatedActivation():
                self._gated_activation(op)
            case HiddenStates():
                self.program.hidden_states(x=self.offsets[op.x], width=op.x.width)
            case Logits():
                matrix = self.parameters.matrices[op.weight.name]
                self.program.logits(
                    matrix=matrix, x=self.offsets[op.x], exact=self.exact, scale=op.scale, softcap=op.softcap
                )
            case Add() | Multiply() | RoundToInt8():
                self._elementwise(op)
            case Route() | ExpertGather() | ExpertMatMul() | ExpertSum():
                self._experts(op)
            case _:
                written = ", ".join(value.name for value in op.writes())
                raise UnsupportedModelError(
                    f"no native operation for {type(op).__name__} (it makes {written}) and no pass could fuse it"
                )

    def _forms(self, values: tuple[Value, ...]) -> list[tuple[str, int, NDArray[Any] | None]]:
        orders = self.parameters.orders
        return [(v.form, self.offsets[v], None if v.order is None else orders[v.order]) for v in values]

    def _out(self, value: Value | None) -> int | None:
        return None if value is None else self.offsets[value]

    def _vector(self, vector: Vector | None) -> NDArray[Any] | None:
        return None if vector is None else self.parameters.vectors[vector.name]

    def _norm(self, op: Norm) -> None:
        self.program.norm(
            rows=_rows(op.x),
            x=self.offsets[op.x],
            width=op.x.width,
            weight=self.parameters.vectors[op.weight.name],
            weight_bias=op.weight_bias,
            eps=op.eps,
            accumulate=op.residual is not None,
            out=self._out(op.out),
            forms=self._forms(op.forms),
        )

    def _matmul(self, op: MatMul) -> None:
        products = [
            (
                self.parameters.matrices[product.weight.name],
                self.offsets[product.x],
                self.offsets[product.out],
                self._vector(product.bias),
                product.residual is not None,
            )
            for product in op.products
        ]
        self.program.matmul(rows=op.products[0].x.rows, products=products, exact=self.exact)

    def _rope_store(self, op: RopeStore) -> None:
        self.program.rope_store(
            layer=op.layer,
            cache_group=self.cache.layer_groups[op.layer],
            q=self.offsets[op.q],
            k=self.offsets[op.k],
            v=self.offsets[op.v],
            num_heads=op.num_heads,
            num_kv_heads=op.num_kv_heads,
            head_dim=op.head_dim,
            cache_type=self.cache.type,
            style=op.rope.style,
            rotary_dim=op.rope.rotary_dim,
            inverse_frequency=np.asarray(op.rope.inverse_frequency, dtype=np.float32),
            attention_factor=op.rope.attention_factor,
        )

    def _attention(self, op: Attention) -> None:
        self.program.attention(
            layer=op.layer,
            cache_group=self.cache.layer_groups[op.layer],
            q=self.offsets[op.q],
            out=self.offsets[op.out],
            num_heads=op.num_heads,
            num_kv_heads=op.num_kv_heads,
            head_dim=op.head_dim,
            cache_type=self.cache.type,
            scale=op.scale,
            softcap=op.softcap,
            window=op.window,
        )

    def _gated_activation(self, op: GatedActivation) -> None:
        self.program.gated_activation(
            rows=_rows(op.gate),
            kind=op.kind,
            gate=self.offsets[op.gate],
            up=self.offsets[op.up],
            width=op.gate.width,
            out=self._out(op.out),
            forms=self._forms(op.forms),
        )

    def _elementwise(self, op: Add | Multiply | RoundToInt8) -> None:
        rows, width, out = _rows(op.out), op.out.width, self.offsets[op.out]
        match op:
            case Add():
                a, b, forms = self.offsets[op.a], self.offsets[op.b], self._forms(op.forms)
                self.program.add(rows=rows, a=a, b=b, scale=op.scale, width=width, out=out, forms=forms)
            case Multiply():
                self.program.multiply(rows=rows, a=self.offsets[op.a], b=self.offsets[op.b], width=width, out=out)
            case RoundToInt8():
                self.program.round_to_int8(rows=rows, x=self.offsets[op.x], width=width, out=out)

    def _experts(self, op: Route | ExpertGather | ExpertMatMul | ExpertSum) -> None:
        at = self.offsets
        match op:
            case Route():
                self.program.route(
                    logits=at[op.logits],
                    num_experts=op.logits.width,
                    per_token=op.per_token,
                    normalize=op.normalize,
                    choices=at[op.choices],
                    starts=at[op.starts],
                )
            case ExpertGather():
                self.program.expert_gather(
                    form=op.x.form,
                    x=at[op.x],
                    width=op.x.width,
                    choices=at[op.choices],
                    per_token=op.out.per_token,
                    out=at[op.out],
                )
            case ExpertMatMul():
                self.program.expert_matmul(
                    matrices=[self.parameters.matrices[weight.name] for weight in op.weights],
                    x=at[op.x],
                    starts=at[op.starts],
                    per_token=op.x.per_token,
                    y=at[op.out],
                    exact=self.exact,
                )
            case ExpertSum():
                self.program.expert_sum(
                    x=at[op.x],
                    width=op.x.width,
                    choices=at[op.choices],
                    per_token=op.x.per_token,
                    accumulate=op.residual is not None,
                    out=at[op.out],
                )


def _rows(value: Value) -> str:
    return value.rows if value.per_token == 1 else f"{value.rows}*{value.per_token}"
