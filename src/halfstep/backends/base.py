"""The protocol that every backend answers, and the values that cross it.

A backend says where the arithmetic runs; it does not change the answer beyond rounding. It is a run
option, never saved in a model, and it refuses (`supports`) rather than drop an argument.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from halfstep.factors import Factors
    from halfstep.solvers.linear import Linear

__all__ = [
    "CSR",
    "Array",
    "Backend",
    "CosineBlocks",
    "CosineRows",
    "CosineTerms",
    "Negatives",
    "Noise",
    "Parts",
    "RankingRows",
    "RankingTerms",
    "RowTerms",
    "StepRows",
    "StepTerms",
]

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class CSR:
    """Observed cells by row: row u owns cells `indptr[u]:indptr[u + 1]`, columns ascending.

    `indptr` int64 (rows + 1), `indices` uint32, `values` float32, `weights` float32 or None for
    all ones. A stored 0 is observed.
    """

    indptr: Array
    indices: Array
    values: Array
    weights: Array | None = None

    @property
    def n_rows(self) -> int:
        return len(self.indptr) - 1

    @property
    def nnz(self) -> int:
        return len(self.indices)

    def to_scipy(self, n_columns: int) -> Any:
        """The values as a scipy CSR array, float64."""
        from scipy.sparse import csr_array

        shape = self.n_rows, n_columns
        return csr_array((self.values.astype(np.float64), self.indices, self.indptr), shape=shape)

    def select(self, keep: Array) -> CSR:
        """The cells where the mask `keep` is True; every row stays, if only as an empty one."""
        before = np.concatenate([[0], np.cumsum(keep, dtype=np.int64)])
        return CSR(
            before[self.indptr],
            self.indices[keep],
            self.values[keep],
            None if self.weights is None else self.weights[keep],
        )


@dataclass(frozen=True, slots=True)
class RowTerms:
    """How an observed value v of weight c becomes the terms (a, b) of its row problem.

        a = c (a0 + a1 v)        b = c (b0 + b1 v) − a · offset

    where `offset` is the bias of the fixed side's row. Squared error on the observed cells is
    a = c, b = c (v − μ − offset).
    """

    a0: float
    a1: float
    b0: float
    b1: float


@dataclass(frozen=True, slots=True)
class Noise:
    """The random numbers of one step of a chain: row u has its own, whoever asks and in whatever order.

    Word k of row u is that of Philox4x32-10 with the counter (k div 4, u mod 2³², u div 2³², `step`) and
    the key `seed` (64 bits; `step` has 32); the normal number is Φ⁻¹((word + ½) / 2³²). Source: Salmon,
    Moraes, Dror and Shaw (2011), «Parallel random numbers: as easy as 1, 2, 3».
    """

    seed: int
    step: int


@dataclass(frozen=True, slots=True)
class Parts:
    """The rows of a side in a dealt order, cut into B parts: part p is `order[cuts[p]:cuts[p + 1]]`.

    `order` uint32, every row once; `cuts` int64 (B + 1).
    """

    order: Array
    cuts: Array


@dataclass(frozen=True, slots=True)
class StepTerms:
    """What all steps of an epoch of stochastic gradient descent share.

    μ, the rates η of factors and η' of biases, (λ_w, λ_z, λ_b), the growth g of the sums of AdaGrad,
    whether only the head (the first 16 factors) and the biases are changed, and whether factors are kept
    ≥ 0.
    """

    mean: float
    rate: float
    bias_rate: float
    reg: tuple[float, float, float]
    growth: float
    head_only: bool
    nonnegative: bool


@dataclass(frozen=True, slots=True)
class StepRows:
    """The arrays of users, or of items, that steps of stochastic gradient descent change.

    `factors` (rows × K) and `bias` (or None); `share` is s / n of every row (None: 1) and is only read;
    `sums` (rows × 2) is G of every row, for its head and for the rest (None: rates do not adapt).
    """

    factors: Array
    bias: Array | None
    share: Array | None
    sums: Array | None


@dataclass(frozen=True, slots=True)
class Negatives:
    """How the negatives of an epoch are drawn: items that a user has no positive cell with.

    Draw d of cell (u, i) takes words 2 (d mod 2) and the next, a and b, of Philox4x32-10 with the
    counter (d div 2, i, u, `epoch`) and the key `seed`. It is from part g, that of i, where a <
    `own`[g], else from the part h that goes with it; of the items there, in the order of the grid,
    it is the ⌊b · size / 2³²⌋-th, or with `ends` the first whose end is above b. Draws that are
    positives of u are passed over, at most 31 more than are wanted.

    `positives` (indptr, indices) by user, ascending; `ends` (uint32 by place in the dealt order:
    2³² times the chance of an item and those before it in its part, or None: all alike); `own`
    (uint32 by part);
    `count` N; with `anonymous` every u is 0 in the counter, so that a row does not depend on its
    number.
    """

    positives: tuple[Array, Array]
    ends: Array | None
    own: Array
    count: int
    seed: int
    epoch: int
    anonymous: bool


@dataclass(frozen=True, slots=True)
class RankingTerms:
    """What all steps of `ranking_epoch` share.

    The loss ("bpr", "warp", "logistic" or "softmax"), the rate η, (λ_w, λ_z, λ_b), the growth of
    the sums of AdaGrad, whether only the negative of the highest x is taken, WARP's margin and its
    L_t for t = 1, 2, …, and whether only users are changed.
    """

    loss: str
    rate: float
    reg: tuple[float, float, float]
    growth: float
    hard: bool
    margin: float
    ranks: Array
    items_fixed: bool


@dataclass(frozen=True, slots=True)
class RankingRows:
    """The arrays of users, or of items, that `ranking_epoch` changes.

    `factors` (rows × K), `bias` (None for users) and `sums` (rows: G, or None: rates do not adapt).
    """

    factors: Array
    bias: Array | None
    sums: Array | None


@dataclass(frozen=True, slots=True)
class CosineBlocks:
    """The users of `cosine_epoch` in the order in which they are visited, in blocks of `size`.

    `order` (uint32, each user at most once); `drawn` (blocks × J, uint32): the items drawn for each
    block, the last of which may have fewer users.
    """

    order: Array
    size: int
    drawn: Array


@dataclass(frozen=True, slots=True)
class CosineTerms:
    """What all steps of `cosine_epoch` share.

    The margin m, ω, η of users and of items (angles), and whether only users are changed.
    """

    margin: float
    weight: float
    rates: tuple[float, float]
    items_fixed: bool


@dataclass(frozen=True, slots=True)
class CosineRows:
    """The arrays of users, or of items, that `cosine_epoch` changes: unit rows, and G of each.

    `factors` (rows × K) and `sums` (rows).
    """

    factors: Array
    sums: Array


class Backend(Protocol):
    """The operations that the solvers and the models stand on.

    Arrays are C-contiguous and owned by the caller; a backend writes into `out`. Factors are float32
    or float64, the same in all arrays of one call.
    """

    name: str

    def supports(self, *, dtype: str) -> str | None:
        """None where the backend can work in `dtype`, else the reason why not."""

    def gram(self, factors: Array, scale: Array | None = None) -> Array:
        """Fᵀ diag(scale) F, shape (K, K)."""

    def rotate(self, factors: Array, basis: Array) -> Array:
        """F Q for F (rows × K) and Q (K × K); a row's bits do not depend on the others."""

    def multiply(self, cells: CSR, factors: Array) -> Array:
        """C F for the sparse C of `cells` (weights play no part) and F (columns × K): rows × K."""

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
        """Solve every row's problem (P + Σ a f fᵀ + s_u diag(d)) x = q + Σ b f, or come nearer.

        `fixed` (columns × K) holds the rows f of the fixed side and `offset` their biases; `prior`
        is P, or its diagonal where that is all (an array of one dimension), `linear` is q (one row
        for all, or one each), `ridge` is d and `scale` is s. Where `out_bias` is given, every f is
        lengthened by a constant 1, so that P, q and d have K + 1 entries a side, and the last
        unknown is written there. A row without cells and without q is zero. `method` says how: None
        and `Cholesky()` solve exactly; `NonNegative()` finds the minimum of ½ xᵀ A x − hᵀ x over
        factors ≥ 0 (the bias, where there is one, is free), A and h the two sides of the system; for
        the others `out` and `out_bias` hold the start on entry.

        Raises `SingularSystemError` naming the row.
        """

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
        """Draw every row's x ~ N(A⁻¹ h, A⁻¹), A = P + Σ a f fᵀ and h = q + Σ b f as in `solve_rows`.

        With A = Lᵀ L, L upper triangular, x = A⁻¹ h + L⁻¹ ε, the bias the last unknown where there
        is one; ε of row u are the normal numbers that `noise` has for u. `prior` is P (or its diagonal)
        and `linear` is q (one row for all, or one each): of a row with the prior N(m, P⁻¹), q = P m.
        A row without cells is drawn from its prior. `mean`, arrays like `out` and `out_bias`, is given
        A⁻¹ h.

        Raises `SingularSystemError` naming the row.
        """

    def sgd_grid(self, cells: CSR, users: Parts, items: Parts) -> Any:
        """The cells (rows are users) in the order in which `sgd_epoch` visits them.

        Block (p, q) holds the cells of user part p and item part q; `sgd_epoch` takes as many parts of
        items as of users. In it, users come in eights, those
        at places 0 to 7 of the part first; of every eight, each user's first cell of the block, then
        each one's second, and so on. What is returned is the backend's own.
        """

    def sgd_epoch(
        self, grid: Any, diagonals: Array, step: StepTerms, users: StepRows, items: StepRows
    ) -> None:
        """One step of stochastic gradient descent for every cell, one after the other.

        For each d of `diagonals` (int64) and each part p the cells of block (p, (p + d) mod B), in the
        order of `grid`. With e = r − μ − b_u − b_i − w·z, all before the step:

            w ← (w + η_u c e z) / (1 + η_u c λ_w s_u / n_u)              z likewise, with the old w
            b_u ← (b_u + η'_u c e) / (1 + η'_u c λ_b s_u / n_u)          b_i likewise

        η_u = η and η'_u = η'. With `sums`, the head (the first 16 factors) and the rest have rates
        η / √G_u of their own, where G_u ← G_u + g (c e)² · mean of z² over these factors after the step;
        biases go by the G of the head. With `nonnegative`, negative entries of w and z become 0 after
        every step.
        """

    def ranking_epoch(
        self,
        grid: Any,
        schedule: Array,
        negatives: Negatives,
        step: RankingTerms,
        users: RankingRows,
        items: RankingRows,
    ) -> int:
        """One step for every cell against its negatives, one after the other; how many there were.

        `schedule` (steps × B × 2, int64) has (g, h) for every user part p of every step: the cells
        of block (p, g) in the order of `grid`, with negatives of the parts g and h, which no other
        part of the step has (unless items are fixed). For a cell (u, i) of weight c with the
        negatives j, N or as many as there are (none: it is left), and x = w·z + b, all before the
        step:

            "bpr"        g_j = −c/N σ(x_j − x_i)       g_i = −Σ_j g_j
            "warp"       g_j = −c L_t                  g_i = c L_t, of the first x_j > x_i − margin
            "logistic"   g_j = −σ(x_j)                 g_i = c σ(−x_i)
            "softmax"    g_j = −c p_j                  g_i = c (1 − p_i), p = softmax of x_i and
            all x_j

            w ← (w + η_u (g_i z_i + Σ_j g_j z_j)) / (1 + η_u c λ_w)
            z ← (z + η_z g w) / (1 + η_z e λ_z)        e = c for i, c/N for j (logistic: 1)
            b ← (b + η_z g) / (1 + η_z e λ_b)

        with the old w, i first and then every j, which are skipped where g = 0. η is the rate over
        √G of the row, and then G ← G + growth · mean square of what η multiplies in w or z;
        without `sums` G = 1.
        """

    def cosine_epoch(
        self,
        positives: CSR,
        blocks: CosineBlocks,
        step: CosineTerms,
        users: CosineRows,
        items: CosineRows,
    ) -> None:
        """One step of every row that a block of users pulls, block after block.

        With x = w·z, rows of unit length, c the weights of `positives` (None: 1) and C_u = Σ c of
        the user, the loss of a block is

            L = Σ_u Σ_i c (1 − x_ui) + C_u ω/J Σ_j max(0, x_uj − m)

        over the positives i of u, ascending in each row, and over the drawn j that are none of
        them. Every row r with the gradient g, all taken before the block's first step, goes

            q = g − (g·r) r        G ← G + q·q        r ← r − η/√G q, over its length

        or stays where q = 0.
        """

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
        """fᵀ A⁻¹ f, A = P + Σ a f fᵀ + s_u diag(d), of every row u for the vectors f it is asked about.

        `asked` is (indptr, indices): row u is asked about `vectors[indices[indptr[u]:indptr[u + 1]]]`,
        of K entries each; where `ridge` has K + 1, they and the rows of `fixed` are lengthened by a
        constant 1. Returns one value for each of `indices`. Rows that are not asked cost nothing; one
        without cells has A = P + s_u diag(d).

        Raises `SingularSystemError` naming the row.
        """

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
        """Σ c (v − μ − b_u − b_i − w_u·z_i)² over the cells (rows are users).

        `by_row` (rows, float64) is given the sum of every row.
        """

    def line_errors(self, cells: CSR, factors: Factors, way: Factors) -> Array:
        """The coefficients in t⁰ … t⁴ of Σ c (v − r̂)² at `factors` + t `way` (rows are users), float64.

        μ is that of `factors` for every t.
        """

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
        """The gradient of ½ Σ c (v − r̂)² in the rows of one side, and Σ c (v − r̂)².

        With E = c (r̂ − v) on the cells and nothing elsewhere, `out` is E F and `out_bias` is E·1, where
        r̂ = μ + bias + offset + x·f, x a row of `rows` and f one of `fixed` (the columns), whose biases
        are `bias` and `offset`. The cells by item with the sides exchanged give Eᵀ W and Eᵀ·1. A row
        without cells has gradient 0.
        """

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
        """μ + b_u + b_i + w_u·z_i for index pairs; −1 is unknown and contributes nothing."""

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
        """The n items of the highest q·z_i + b_i for every query, equal scores by item index.

        `exclude` and `candidates` are (indptr, indices) per query, indices ascending; `allow` is one
        mask over the items for all queries. Returns (index, score), each (queries, n); where fewer
        than n items are left, the index is −1 and the score NaN.
        """
