"""The Rust kernels behind the backend protocol (`crates/kernels` does the work).

Same bits for any number of threads; float32 or float64; every call releases the GIL and answers
Ctrl-C.
"""

from __future__ import annotations

import numpy as np

from halfstep import _native
from halfstep.backends.base import (
    CSR,
    Array,
    CosineBlocks,
    CosineRows,
    CosineTerms,
    Negatives,
    Noise,
    Parts,
    RankingRows,
    RankingTerms,
    RowTerms,
    StepRows,
    StepTerms,
)
from halfstep.errors import SingularSystemError
from halfstep.factors import Factors
from halfstep.solvers.linear import CG, Linear, NonNegative, Subspace

__all__ = ["NativeBackend"]


class NativeBackend:
    """Row-parallel kernels for AVX-512, AVX2, NEON and any other CPU, chosen at run time."""

    name = "native"

    def supports(self, *, dtype: str) -> str | None:
        if dtype not in ("float32", "float64"):
            return f"the native backend works in float32 and float64, not in {dtype}"
        return None

    def gram(self, factors: Array, scale: Array | None = None) -> Array:
        K = factors.shape[1]
        out = np.empty((K, K), dtype=factors.dtype)
        _native.gram(factors, scale, out)
        return out

    def rotate(self, factors: Array, basis: Array) -> Array:
        out = np.empty_like(factors)
        _native.rotate(factors, basis, out)
        return out

    def multiply(self, cells: CSR, factors: Array) -> Array:
        out = np.empty((cells.n_rows, factors.shape[1]), dtype=factors.dtype)
        _native.multiply(cells.indptr, cells.indices, cells.values, factors, out)
        return out

    def solve_rows(
        self,
        cells: CSR,
        fixed: Array,
        terms: RowTerms,
        *,
        offset: Array | None,
        prior: Array | None,
        linear: Array | None,
        ridge: Array,
        scale: Array | None,
        out: Array,
        out_bias: Array | None,
        method: Linear | None = None,
    ) -> None:
        try:
            _native.solve_rows(
                cells.indptr,
                cells.indices,
                cells.values,
                cells.weights,
                fixed,
                offset,
                (terms.a0, terms.a1, terms.b0, terms.b1),
                prior,
                linear,
                ridge,
                scale,
                out,
                out_bias,
                _described(method),
            )
        except _native.SingularSystem as error:
            raise SingularSystemError(str(error.args[0]), row=int(error.args[1])) from None

    def draw_rows(
        self,
        cells: CSR,
        fixed: Array,
        terms: RowTerms,
        *,
        offset: Array | None,
        prior: Array,
        linear: Array,
        noise: Noise,
        out: Array,
        out_bias: Array | None,
        mean: tuple[Array, Array | None] | None = None,
    ) -> None:
        try:
            _native.draw_rows(
                cells.indptr,
                cells.indices,
                cells.values,
                cells.weights,
                fixed,
                offset,
                (terms.a0, terms.a1, terms.b0, terms.b1),
                prior,
                linear,
                (noise.seed, noise.step),
                out,
                out_bias,
                mean,
            )
        except _native.SingularSystem as error:
            raise SingularSystemError(str(error.args[0]), row=int(error.args[1])) from None

    def sgd_grid(self, cells: CSR, users: Parts, items: Parts) -> _native.Grid:
        return _native.Grid(
            cells.indptr,
            cells.indices,
            cells.values,
            cells.weights,
            (users.order, users.cuts),
            (items.order, items.cuts),
        )

    def sgd_epoch(
        self,
        grid: _native.Grid,
        diagonals: Array,
        step: StepTerms,
        users: StepRows,
        items: StepRows,
    ) -> None:
        _native.sgd_epoch(
            grid,
            diagonals,
            (
                step.mean,
                step.rate,
                step.bias_rate,
                step.reg,
                step.growth,
                step.head_only,
                step.nonnegative,
            ),
            (users.factors, users.bias, users.share, users.sums),
            (items.factors, items.bias, items.share, items.sums),
        )

    def ranking_epoch(
        self,
        grid: _native.Grid,
        schedule: Array,
        negatives: Negatives,
        step: RankingTerms,
        users: RankingRows,
        items: RankingRows,
    ) -> int:
        return _native.ranking_epoch(
            grid,
            schedule,
            (
                negatives.positives,
                negatives.ends,
                negatives.own,
                negatives.count,
                negatives.seed,
                negatives.epoch,
                negatives.anonymous,
            ),
            (
                step.loss,
                step.rate,
                step.reg,
                step.growth,
                step.hard,
                step.margin,
                step.ranks,
                step.items_fixed,
            ),
            (users.factors, users.bias, users.sums),
            (items.factors, items.bias, items.sums),
        )

    def cosine_epoch(
        self,
        positives: CSR,
        blocks: CosineBlocks,
        step: CosineTerms,
        users: CosineRows,
        items: CosineRows,
    ) -> None:
        _native.cosine_epoch(
            (positives.indptr, positives.indices, positives.values, positives.weights),
            (blocks.order, blocks.size, blocks.drawn.ravel()),
            (step.margin, step.weight, step.rates, step.items_fixed),
            (users.factors, users.sums),
            (items.factors, items.sums),
        )

    def row_variances(
        self,
        cells: CSR,
        fixed: Array,
        terms: RowTerms,
        *,
        prior: Array | None,
        ridge: Array,
        scale: Array | None,
        asked: tuple[Array, Array],
        vectors: Array,
    ) -> Array:
        out = np.empty(len(asked[1]), dtype=fixed.dtype)
        try:
            _native.row_variances(
                cells.indptr,
                cells.indices,
                cells.values,
                cells.weights,
                fixed,
                (terms.a0, terms.a1, terms.b0, terms.b1),
                prior,
                ridge,
                scale,
                asked,
                vectors,
                out,
            )
        except _native.SingularSystem as error:
            raise SingularSystemError(str(error.args[0]), row=int(error.args[1])) from None
        return out

    def squared_error(
        self,
        cells: CSR,
        users: Array,
        items: Array,
        user_bias: Array | None,
        item_bias: Array | None,
        mean: float,
        by_row: Array | None = None,
    ) -> float:
        return _native.squared_error(
            cells.indptr,
            cells.indices,
            cells.values,
            cells.weights,
            users,
            items,
            user_bias,
            item_bias,
            mean,
            by_row,
        )

    def line_errors(self, cells: CSR, factors: Factors, way: Factors) -> Array:
        here, step = (
            (f.user_factors, f.item_factors, f.user_bias, f.item_bias) for f in (factors, way)
        )
        found = _native.line_errors(
            cells.indptr, cells.indices, cells.values, cells.weights, here, step, factors.mean
        )
        return np.array(found)

    def gradient(
        self,
        cells: CSR,
        rows: Array,
        fixed: Array,
        bias: Array | None,
        offset: Array | None,
        mean: float,
        *,
        out: Array,
        out_bias: Array | None,
    ) -> float:
        return _native.gradient(
            cells.indptr,
            cells.indices,
            cells.values,
            cells.weights,
            rows,
            fixed,
            bias,
            offset,
            mean,
            out,
            out_bias,
        )

    def predict(
        self,
        user_index: Array,
        item_index: Array,
        users: Array,
        items: Array,
        user_bias: Array | None,
        item_bias: Array | None,
        mean: float,
    ) -> Array:
        out = np.empty(len(user_index), dtype=users.dtype)
        _native.predict(user_index, item_index, users, items, user_bias, item_bias, mean, out)
        return out

    def topk(
        self,
        queries: Array,
        items: Array,
        item_bias: Array | None,
        n: int,
        *,
        exclude: tuple[Array, Array] | None = None,
        candidates: tuple[Array, Array] | None = None,
        allow: Array | None = None,
    ) -> tuple[Array, Array]:
        index = np.empty((len(queries), n), dtype=np.int64)
        score = np.empty((len(queries), n), dtype=queries.dtype)
        _native.topk(queries, items, item_bias, exclude, candidates, allow, index, score)
        return index, score


def _described(method: Linear | None) -> tuple[str, int, float] | None:
    """The method as the kernels read it: name, steps or block, tol; None is exact."""
    if isinstance(method, CG):
        return method.name, int(method.steps), float(method.tol)
    if isinstance(method, Subspace):
        return method.name, int(method.block), 0.0
    if isinstance(method, NonNegative):
        return method.name, 0, 0.0
    return None
