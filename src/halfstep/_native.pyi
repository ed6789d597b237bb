"""The Rust kernels as Python sees them (see `crates/python`).

Arrays are C-contiguous, of exactly the stated dtype, and checked once at this boundary; outputs are
written in place. `T` is float32 or float64, the same in all float arguments of one call except
`values` and `weights`, which are always float32. Wrong dtypes, shapes, lengths, layouts or indices
raise `halfstep.errors.InternalError` or `TypeError` (Python callers have checked them before); a row
that cannot be solved raises `SingularSystem` with the row's index in `args[1]`; Ctrl-C raises
`KeyboardInterrupt`. `method` is ("cg", steps, tol), ("subspace", block, 0.0), ("nonnegative", 0, 0.0),
or None for the exact solution; with the first two `out` and `out_bias` hold the start on entry.
`prior` is N × N, or the N entries of a diagonal one.
"""

from typing import TypeVar, final

import numpy as np
import numpy.typing as npt

_T = TypeVar("_T", np.float32, np.float64)
_N = TypeVar("_N", np.float32, np.float64, np.int64)
_I64 = npt.NDArray[np.int64]
_U32 = npt.NDArray[np.uint32]
_F32 = npt.NDArray[np.float32]

_F64 = npt.NDArray[np.float64]
_Ranked = tuple[npt.NDArray[_T], npt.NDArray[_T] | None, npt.NDArray[_T] | None]

_Rows = tuple[
    npt.NDArray[_T], npt.NDArray[_T] | None, npt.NDArray[_T] | None, npt.NDArray[_T] | None
]

__all__ = [
    "Grid",
    "SingularSystem",
    "__version__",
    "available_isas",
    "cosine_epoch",
    "draw_rows",
    "factorize",
    "get_num_threads",
    "gradient",
    "gram",
    "isa",
    "line_errors",
    "multiply",
    "predict",
    "ranking_epoch",
    "rotate",
    "row_variances",
    "set_num_threads",
    "sgd_epoch",
    "solve_rows",
    "sort_pairs",
    "squared_error",
    "take",
    "topk",
    "transpose",
]

__version__: str

class SingularSystem(ArithmeticError): ...

@final
class Grid:
    """Cells in the order of stochastic gradient descent; see `backends.base.Backend.sgd_grid`."""

    def __new__(
        cls,
        indptr: _I64,
        indices: _U32,
        values: _F32,
        weights: _F32 | None,
        users: tuple[_U32, _I64],
        items: tuple[_U32, _I64],
    ) -> Grid: ...
    def arrays(self) -> tuple[_I64, _U32, _U32, _F32, _F32 | None]:
        """Offsets by block (block (p, q) is number p B + q), users, items, values, weights."""

def isa() -> str: ...
def available_isas() -> list[str]: ...
def get_num_threads() -> int: ...
def set_num_threads(n: int) -> None: ...
def factorize(values: npt.NDArray[np.int32] | _I64) -> tuple[_I64, _U32]:
    """The distinct values, ascending, and the position of each element among them."""

def sort_pairs(
    rows: _U32, columns: _U32, n_rows: int, n_columns: int
) -> tuple[_I64, tuple[_U32, _U32] | None, int]:
    """Pairs by row, then by column: (offsets by row, (columns, old positions), number of repeats).

    None in the middle: the pairs stand in that order already.
    """

def transpose(
    indptr: _I64, indices: _U32, values: _F32, weights: _F32 | None, n_columns: int
) -> tuple[_I64, _U32, _F32, _F32 | None]: ...
def take(values: npt.NDArray[_N], order: _U32) -> npt.NDArray[_N]:
    """`values[order]`."""

def rotate(factors: npt.NDArray[_T], basis: npt.NDArray[_T], out: npt.NDArray[_T]) -> None: ...
def gram(factors: npt.NDArray[_T], scale: npt.NDArray[_T] | None, out: npt.NDArray[_T]) -> None: ...
def solve_rows(
    indptr: _I64,
    indices: _U32,
    values: _F32,
    weights: _F32 | None,
    fixed: npt.NDArray[_T],
    offset: npt.NDArray[_T] | None,
    terms: tuple[float, float, float, float],
    prior: npt.NDArray[_T] | None,
    linear: npt.NDArray[_T] | None,
    ridge: npt.NDArray[_T],
    scale: npt.NDArray[_T] | None,
    out: npt.NDArray[_T],
    out_bias: npt.NDArray[_T] | None,
    method: tuple[str, int, float] | None = None,
) -> None: ...
def sgd_epoch(
    grid: Grid,
    diagonals: _I64,
    step: tuple[float, float, float, tuple[float, float, float], float, bool, bool],
    users: _Rows[_T],
    items: _Rows[_T],
) -> None:
    """`step` is (μ, η, η', (λ_w, λ_z, λ_b), g, head_only, nonnegative).

    Rows are (factors, bias, share, sums); sums are rows × 2.
    """

def ranking_epoch(
    grid: Grid,
    schedule: _I64,
    negatives: tuple[tuple[_I64, _U32], _U32 | None, _U32, int, int, int, bool],
    step: tuple[str, float, tuple[float, float, float], float, bool, float, _F64, bool],
    users: _Ranked[_T],
    items: _Ranked[_T],
) -> int:
    """`negatives` is (positives, ends, own, count, seed, epoch, anonymous), `step` is (loss, η,
    (λ_w, λ_z, λ_b), growth, hard, margin, ranks, items_fixed); rows are (factors, bias, sums).
    """

def cosine_epoch(
    positives: tuple[_I64, _U32, _F32, _F32 | None],
    blocks: tuple[_U32, int, _U32],
    step: tuple[float, float, tuple[float, float], bool],
    users: tuple[npt.NDArray[_T], npt.NDArray[_T]],
    items: tuple[npt.NDArray[_T], npt.NDArray[_T]],
) -> None:
    """`positives` is (indptr, indices, values, weights), `blocks` is (order, size, drawn), `step` is
    (m, ω, η of users and items, items_fixed); rows are (factors, sums).
    """

def draw_rows(
    indptr: _I64,
    indices: _U32,
    values: _F32,
    weights: _F32 | None,
    fixed: npt.NDArray[_T],
    offset: npt.NDArray[_T] | None,
    terms: tuple[float, float, float, float],
    prior: npt.NDArray[_T],
    linear: npt.NDArray[_T],
    noise: tuple[int, int],
    out: npt.NDArray[_T],
    out_bias: npt.NDArray[_T] | None,
    mean: tuple[npt.NDArray[_T], npt.NDArray[_T] | None] | None,
) -> None:
    """Every row's solution, drawn (see `backends.base.Backend.draw_rows`); `noise` is (seed, step)."""

def multiply(
    indptr: _I64,
    indices: _U32,
    values: _F32,
    fixed: npt.NDArray[_T],
    out: npt.NDArray[_T],
) -> None:
    """C F (rows × K) for sparse C and F (columns × K)."""

def row_variances(
    indptr: _I64,
    indices: _U32,
    values: _F32,
    weights: _F32 | None,
    fixed: npt.NDArray[_T],
    terms: tuple[float, float, float, float],
    prior: npt.NDArray[_T] | None,
    ridge: npt.NDArray[_T],
    scale: npt.NDArray[_T] | None,
    asked: tuple[_I64, _U32],
    vectors: npt.NDArray[_T],
    out: npt.NDArray[_T],
) -> None:
    """`out[j]` = fᵀ A⁻¹ f with A the matrix of row u and f `vectors[asked[1][j]]`, `asked[0]` the
    offsets.

    A `ridge` of K + 1 entries says that there is a bias: every f is lengthened by a 1.
    """

def squared_error(
    indptr: _I64,
    indices: _U32,
    values: _F32,
    weights: _F32 | None,
    users: npt.NDArray[_T],
    items: npt.NDArray[_T],
    user_bias: npt.NDArray[_T] | None,
    item_bias: npt.NDArray[_T] | None,
    mean: float,
    by_row: npt.NDArray[np.float64] | None,
) -> float: ...
def line_errors(
    indptr: _I64,
    indices: _U32,
    values: _F32,
    weights: _F32 | None,
    model: tuple[npt.NDArray[_T], npt.NDArray[_T], npt.NDArray[_T] | None, npt.NDArray[_T] | None],
    way: tuple[npt.NDArray[_T], npt.NDArray[_T], npt.NDArray[_T] | None, npt.NDArray[_T] | None],
    mean: float,
) -> list[float]: ...
def gradient(
    indptr: _I64,
    indices: _U32,
    values: _F32,
    weights: _F32 | None,
    rows: npt.NDArray[_T],
    fixed: npt.NDArray[_T],
    bias: npt.NDArray[_T] | None,
    offset: npt.NDArray[_T] | None,
    mean: float,
    out: npt.NDArray[_T],
    out_bias: npt.NDArray[_T] | None,
) -> float: ...
def predict(
    user_index: _I64,
    item_index: _I64,
    users: npt.NDArray[_T],
    items: npt.NDArray[_T],
    user_bias: npt.NDArray[_T] | None,
    item_bias: npt.NDArray[_T] | None,
    mean: float,
    out: npt.NDArray[_T],
) -> None: ...
def topk(
    queries: npt.NDArray[_T],
    items: npt.NDArray[_T],
    item_bias: npt.NDArray[_T] | None,
    exclude: tuple[_I64, _U32] | None,
    candidates: tuple[_I64, _U32] | None,
    allow: npt.NDArray[np.bool_] | None,
    out_index: _I64,
    out_score: npt.NDArray[_T],
) -> None: ...
