"""What is optimal: objectives, and how each becomes the row problem that the kernels solve.

To add an objective: one class here with the methods of `Objective`, one entry in the lists of
`halfstep.testing`, one section in `docs/objectives.md`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

import numpy as np

from halfstep.backends.base import CSR, Array, Backend, Noise, RowTerms
from halfstep.backends.wide import wide_gram
from halfstep.errors import SingularSystemError
from halfstep.factors import Factors

if TYPE_CHECKING:
    from halfstep.data.ratings import Ratings
    from halfstep.features.design import Designs
    from halfstep.features.prior import FeaturePrior, FeaturePriors
    from halfstep.solvers.everywhere import Everywhere
    from halfstep.solvers.linear import Linear

__all__ = [
    "SIDES",
    "Along",
    "Objective",
    "Reg",
    "RowProblem",
    "Scaling",
    "Shared",
    "Side",
    "Smooth",
    "SquaredError",
    "Value",
    "penalty_along",
    "row_scale",
    "row_weights",
    "scaled",
    "scales",
]

Side = Literal["user", "item"]
SIDES: tuple[Side, Side] = ("user", "item")
Scaling = Literal["count", "sqrt", "none"]


@dataclass(frozen=True, slots=True)
class Reg:
    """λ_w, λ_z and λ_b: the strength of the penalty on user factors, item factors and biases."""

    user: float
    item: float
    bias: float


@dataclass(frozen=True, slots=True)
class RowProblem:
    """The arguments of `Backend.solve_rows` that do not change from sweep to sweep.

    (P + Σ a f fᵀ + s_u diag(d)) x = q + Σ b f, with d = `ridge`, s = `scale`, P = `prior` (N × N, or the
    N entries of a diagonal) and q = `linear`. Where d has a 0, rows without cells are those of `mean`.
    With `nonnegative`, the minimum of ½ xᵀ A x − hᵀ x (A and h the two sides of that system) over
    factors ≥ 0, the bias free. `everywhere` is α₀ where every cell counts that much, observed or not
    (`with_all`).
    """

    terms: RowTerms
    ridge: Array
    scale: Array | None
    nonnegative: bool = False
    prior: Array | None = None
    linear: Array | None = None
    mean: Array | None = None
    everywhere: float = 0.0

    def with_all(self, fixed: tuple[Array, Array | None], backend: Backend) -> RowProblem:
        """The same with α₀ Σ f fᵀ in P and −α₀ Σ b f in q, for the α₀ that is `everywhere`.

        The sums are over all rows of the fixed side, b its biases; where it has some, rows that are 0
        altogether are those of nobody and are left out.
        """
        if not self.everywhere:
            return self
        F, offset = fixed
        if offset is None:
            P = self.everywhere * wide_gram(F, backend)
            return replace(self, prior=P.astype(F.dtype), everywhere=0.0)
        here = (F.any(axis=1) | (offset != 0)).astype(F.dtype)
        K = F.shape[1]
        whole = wide_gram(np.hstack([F, here[:, None], offset[:, None]]), backend)
        whole *= self.everywhere
        P, q = whole[: K + 1, : K + 1], -whole[K + 1 :, : K + 1]
        return replace(
            self,
            prior=np.ascontiguousarray(P, dtype=F.dtype),
            linear=np.ascontiguousarray(q, dtype=F.dtype),
            everywhere=0.0,
        )

    def shared(self, fixed: tuple[Array, Array | None], backend: Backend) -> Shared | None:
        """What all rows have in common where `everywhere` is not 0: to be made once for many `solve`."""
        if not self.everywhere:
            return None
        if fixed[1] is not None:
            return self.with_all(fixed, backend)
        from halfstep.solvers.everywhere import Everywhere

        return Everywhere.of(fixed[0], self.everywhere, backend)

    def around(self, mean: Array, cells: CSR) -> RowProblem:
        """The same with penalties ½ s Σ_k d_k (x_k − m_k)² in place of ½ s Σ_k d_k x_k²: q = s d m.

        `mean` has a row m for each of `cells`. A row without cells is its m, whatever its scale.
        """
        scale = self.scale
        if scale is not None:
            scale = np.where(np.diff(cells.indptr) > 0, scale, 1).astype(scale.dtype)
        q = mean * self.ridge
        if scale is not None:
            q *= scale[:, None]
        return replace(self, scale=scale, linear=q, mean=mean)

    def solve(
        self,
        cells: CSR,
        fixed: tuple[Array, Array | None],
        out: tuple[Array, Array | None],
        backend: Backend,
        method: Linear | None = None,
        shared: Shared | None = None,
    ) -> None:
        """Solve every row of `cells` with the other side's (factors, bias) fixed, into `out`.

        Exactly, or by another `method`, for which `out` holds the start on entry. `shared` is that of
        this fixed side, where it is there already.

        Raises `SingularSystemError` with the number of the row.
        """
        if method is None and self.nonnegative:
            from halfstep.solvers.linear import NonNegative

            method = NonNegative()
        rated = np.diff(cells.indptr) > 0
        if self.everywhere:
            shared = self.shared(fixed, backend) if shared is None else shared
            if isinstance(shared, RowProblem):
                whole = replace(self, prior=shared.prior, linear=shared.linear, everywhere=0.0)
                whole.solve(cells, fixed, out, backend, method)
            elif shared is not None:
                shared.solve(replace(self, everywhere=0.0), cells, out[0], backend, method)
            for array in out:
                if array is not None and not rated.all():
                    array[~rated] = 0
            return
        if self.mean is not None and not self.ridge.all() and not rated.all():
            self._solve_rated(rated, self.mean, cells, fixed, out, backend, method)
            return
        backend.solve_rows(
            cells,
            fixed[0],
            self.terms,
            offset=fixed[1],
            prior=self.prior,
            linear=self.linear,
            ridge=self.ridge,
            scale=self.scale,
            out=out[0],
            out_bias=out[1],
            method=method,
        )

    def _solve_rated(
        self,
        rated: Array,
        mean: Array,
        cells: CSR,
        fixed: tuple[Array, Array | None],
        out: tuple[Array, Array | None],
        backend: Backend,
        method: Linear | None,
    ) -> None:
        """`solve` where a penalty is 0: the others, of which nothing is known, are their means."""
        rows = np.flatnonzero(rated)
        scale = None if self.scale is None else self.scale[rows]
        linear = None if self.linear is None else self.linear[rows]
        there = CSR(
            np.append(cells.indptr[:1], cells.indptr[1:][rows]),
            cells.indices,
            cells.values,
            cells.weights,
        )
        factors, bias = out
        part = factors[rows], None if bias is None else bias[rows]
        try:
            replace(self, scale=scale, linear=linear, mean=None).solve(
                there, fixed, part, backend, method
            )
        except SingularSystemError as error:
            if error.row is not None:
                error.row = int(rows[error.row])
            raise
        K = factors.shape[1]
        factors[rows], factors[~rated] = part[0], mean[~rated, :K]
        if bias is not None:
            bias[rows], bias[~rated] = part[1], mean[~rated, K]

    def draw(
        self,
        cells: CSR,
        fixed: tuple[Array, Array | None],
        out: tuple[Array, Array | None],
        backend: Backend,
        noise: Noise,
        mean: tuple[Array, Array | None] | None = None,
    ) -> None:
        """Draw every row of `cells` from N(A⁻¹ h, A⁻¹), its posterior where P and q are its prior's.

        `mean`, arrays like those of `out`, is given A⁻¹ h.

        Raises `SingularSystemError` with the number of the row.
        """
        assert self.prior is not None
        assert self.linear is not None
        backend.draw_rows(
            cells,
            fixed[0],
            self.terms,
            offset=fixed[1],
            prior=self.prior,
            linear=self.linear,
            noise=noise,
            out=out[0],
            out_bias=out[1],
            mean=mean,
        )


Shared: TypeAlias = "RowProblem | Everywhere"
"""The shared part of row problems whose cells all count: P and q, or the axes in which P is diagonal."""


class Objective(Protocol):
    """What a solver, a model and a test need to know of an objective."""

    @property
    def nonnegative(self) -> bool:
        """Whether W and Z must be ≥ 0."""

    def row_problem(self, side: Side, cells: CSR, rank: int, dtype: str) -> RowProblem:
        """The row problem of every row of `cells`, whose rows are of that side."""

    def cells(self, cells: CSR) -> CSR:
        """The cells as its row problems and `value` take them: what is stored, as targets and
        weights.
        """

    def scales(self, side: Side, cells: CSR) -> Array:
        """s of every row of `cells`, whose rows are of that side, float64."""

    def value(self, by_user: CSR, by_item: CSR, factors: Factors, backend: Backend) -> Value:
        """J and the part of it that measures the fit."""


class Along(Objective, Protocol):
    """An objective that is known along lines."""

    def along(
        self, by_user: CSR, by_item: CSR, factors: Factors, way: Factors, backend: Backend
    ) -> Array:
        """The coefficients in t⁰ … t⁴ of J at `factors` + t `way`, but for a constant: t⁰ is 0."""


class Penalized(Protocol):
    """An objective with L2 penalties."""

    @property
    def reg(self) -> Reg:
        """λ."""

    def scales(self, side: Side, cells: CSR) -> Array:
        """s of every row."""


class Smooth(Objective, Protocol):
    """An objective with a gradient."""

    def gradient(
        self, by_user: CSR, by_item: CSR, factors: Factors, backend: Backend, out: Factors
    ) -> Value:
        """Write ∂J into the arrays of `out`; J as `value` gives it."""


@dataclass(frozen=True, slots=True)
class Value:
    """J at some factors, and the (weighted) root mean squared error on the observed cells."""

    objective: float
    train_rmse: float


@dataclass(frozen=True, slots=True)
class SquaredError:
    """Squared error on the observed cells Ω, with L2 penalties.

        J = ½ Σ_Ω c_ui (r_ui − μ − b_u − b_i − w_u·z_i)²
            + ½ λ_w Σ_u s_u ‖w_u‖² + ½ λ_z Σ_i s_i ‖z_i‖² + ½ λ_b (Σ_u s_u b_u² + Σ_i s_i b_i²)

    s = 1 where `reg_scaling` is "none"; s_u = n_u = Σ_i c_ui (and n_i likewise) where it is "count",
    the weighted-λ regularization of Zhou, Wilkinson, Schreiber and Pan (2008, «Large-scale Parallel
    Collaborative Filtering for the Netflix Prize», eq. 3); s_u = √n_u between them where it is "sqrt".
    The biases are those of Koren, Bell and
    Volinsky (2009, «Matrix Factorization Techniques for Recommender Systems», eq. 4 and 5), solved
    jointly with the factors of their row. With `nonnegative`, J is minimized over W ≥ 0 and Z ≥ 0
    (biases are free).

    With `features` x_u (and x_i) the rows are drawn to a linear map of them in place of 0,

        ½ Σ_u s_u (λ_w ‖w_u − A'x_u‖² + λ_b (b_u − a'x_u)²) + ½ Σ_f λ_f √(1 + t_f) ‖[A a]_f‖²

    over the rows that have ratings, with A and a learned too and t_f = Σ_u x_uf²: the maximum a
    posteriori estimate of Macau (Simm et al. 2017).
    """

    mean: float
    reg: Reg
    reg_scaling: Scaling
    biases: bool
    nonnegative: bool = False
    features: FeaturePriors | None = field(default=None, compare=False, repr=False)

    def with_features(
        self, ratings: Ratings, designs: Designs, strength: float | Literal["auto"]
    ) -> SquaredError:
        """This objective of a fit with features, if there are any; `strength` is λ_f."""
        from halfstep.features.prior import AUTO, FeaturePrior, FeaturePriors

        if designs.user is None and designs.item is None:
            return self
        made: list[FeaturePrior | None] = []
        for design, rows, cells, reg in (
            (designs.user, designs.user_rows, ratings.by_user, self.reg.user),
            (designs.item, designs.item_rows, ratings.by_item, self.reg.item),
        ):
            if design is None or rows is None:
                made.append(None)
                continue
            s = row_scale(cells, self.reg_scaling)[np.diff(cells.indptr) > 0]
            mean = float(np.add.reduce(s)) / max(len(s), 1)
            level = AUTO * reg * mean if strength == "auto" else float(strength)
            made.append(FeaturePrior.of(rows, design.width, cells, level, design.typical))
        return replace(self, features=FeaturePriors(*made))

    def prior(self, side: Side) -> FeaturePrior | None:
        """The features of a side."""
        if self.features is None:
            return None
        return self.features.user if side == "user" else self.features.item

    def cells(self, cells: CSR) -> CSR:
        return cells

    def scales(self, side: Side, cells: CSR) -> Array:
        return row_scale(cells, self.reg_scaling)

    def row_problem(self, side: Side, cells: CSR, rank: int, dtype: str) -> RowProblem:
        penalty = self.reg.user if side == "user" else self.reg.item
        ridge = np.full(rank + self.biases, penalty, dtype=dtype)
        if self.biases:
            ridge[rank] = self.reg.bias
        scale = None
        if self.reg_scaling != "none":
            scale = row_scale(cells, self.reg_scaling).astype(dtype)
        terms = RowTerms(a0=1.0, a1=0.0, b0=-self.mean, b1=1.0)
        return RowProblem(terms, ridge, scale, self.nonnegative)

    def value(self, by_user: CSR, by_item: CSR, factors: Factors, backend: Backend) -> Value:
        f = factors
        squares = backend.squared_error(
            by_user, f.user_factors, f.item_factors, f.user_bias, f.item_bias, self.mean
        )
        return self._value(squares, by_user, by_item, f, backend)

    def along(
        self, by_user: CSR, by_item: CSR, factors: Factors, way: Factors, backend: Backend
    ) -> Array:
        found = 0.5 * backend.line_errors(by_user, factors, way)
        found += penalty_along(self, by_user, by_item, factors, way)
        found[0] = 0.0
        return found

    def gradient(
        self, by_user: CSR, by_item: CSR, factors: Factors, backend: Backend, out: Factors
    ) -> Value:
        """Write ∂J into the arrays of `out`, which has the shapes of `factors`; J as `value` gives it.

            ∂J/∂W = E Z + λ_w S_u W      ∂J/∂b_u = E·1 + λ_b s_u b_u      E = c (r̂ − r) on Ω

        and likewise for the items, with Eᵀ; with features W − X A in place of W in the penalty, and
        ∂J/∂A = −λ_w Xᵀ S_u (W − X A) + diag(λ_f √(1 + t)) A. In the precision of the factors.
        """
        f = factors
        squares = 0.0
        for side, cells, rows, fixed, grad in (
            ("item", by_item, f.item_side, f.user_side, out.item_side),
            ("user", by_user, f.user_side, f.item_side, out.user_side),
        ):
            (X, bias), (F, offset), (g, g_bias) = rows, fixed, grad
            squares = backend.gradient(cells, X, F, bias, offset, self.mean, out=g, out_bias=g_bias)
            s = self._scale(cells)
            gap, bias_gap = self._gaps("user" if side == "user" else "item", f, backend)
            reg = self.reg.user if side == "user" else self.reg.item
            pull = (reg * s).astype(g.dtype)[:, None] * gap
            g += pull
            pulls = [pull]
            if bias_gap is not None and g_bias is not None:
                bias_pull = (self.reg.bias * s).astype(g_bias.dtype) * bias_gap
                g_bias += bias_pull
                pulls.append(bias_pull[:, None])
            prior = self.prior("user" if side == "user" else "item")
            A, into = (f.user_map, out.user_map) if side == "user" else (f.item_map, out.item_map)
            if prior is not None and A is not None and into is not None:
                into[...] = prior.penalty.astype(A.dtype)[:, None] * A
                into -= backend.multiply(prior.columns, np.hstack(pulls))
        return self._value(squares, by_user, by_item, f, backend)  # summed like `value`

    def _scale(self, cells: CSR) -> Array:
        """s of every row of `cells`, float64; with features 0 where a row has no ratings."""
        s = row_scale(cells, self.reg_scaling)
        if self.features is not None:
            s[np.diff(cells.indptr) == 0] = 0.0
        return s

    def _gaps(self, side: Side, factors: Factors, backend: Backend) -> tuple[Array, Array | None]:
        """What is penalized of the rows of a side: W and b, or how far they are from X A."""
        rows, bias = factors.user_side if side == "user" else factors.item_side
        A = factors.user_map if side == "user" else factors.item_map
        prior = self.prior(side)
        if prior is None or A is None:
            return rows, bias
        mean, K = prior.mean(A, backend), rows.shape[1]
        return rows - mean[:, :K], None if bias is None else bias - mean[:, K]

    def _value(
        self, squares: float, by_user: CSR, by_item: CSR, f: Factors, backend: Backend
    ) -> Value:
        penalty = 0.0
        for side, cells, reg, A in zip(
            SIDES,
            (by_user, by_item),
            (self.reg.user, self.reg.item),
            (f.user_map, f.item_map),
            strict=True,
        ):
            array, bias = self._gaps(side, f, backend)
            s = self._scale(cells)
            norms = np.einsum("rk,rk->r", array, array, dtype=np.float64)
            # not np.dot: BLAS would sum in another order for another number of threads
            penalty += 0.5 * reg * float(np.add.reduce(s * norms))
            if bias is not None:
                penalty += (
                    0.5 * self.reg.bias * float(np.add.reduce(s * bias.astype(np.float64) ** 2))
                )
            prior = self.prior(side)
            if prior is not None and A is not None:
                norms = np.einsum("fk,fk->f", A, A, dtype=np.float64)
                penalty += 0.5 * float(np.add.reduce(prior.penalty * norms))
        observed = float(np.add.reduce(row_weights(by_user)))
        return Value(0.5 * squares + penalty, float(np.sqrt(squares / observed)))


def penalty_along(
    objective: Penalized, by_user: CSR, by_item: CSR, factors: Factors, way: Factors
) -> Array:
    """The coefficients in t⁰ … t⁴ of ½ Σ λ s ‖·‖² at `factors` + t `way`."""
    found = np.zeros(5)
    for side, cells, reg in zip(
        SIDES, (by_user, by_item), (objective.reg.user, objective.reg.item), strict=True
    ):
        s = objective.scales(side, cells)
        (X, b), (D, d) = (
            (factors.user_side, way.user_side)
            if side == "user"
            else (factors.item_side, way.item_side)
        )
        products = [
            (reg, np.einsum("rk,rk->r", one, other, dtype=np.float64))
            for one, other in ((X, X), (X, D), (D, D))
        ]
        if b is not None and d is not None:
            wide, step = b.astype(np.float64), d.astype(np.float64)
            products += [(objective.reg.bias, one) for one in (wide**2, wide * step, step**2)]
        for place, (level, norms) in enumerate(products):
            power = place % 3
            found[power] += (1.0 if power == 1 else 0.5) * level * float(np.add.reduce(s * norms))
    return found


def row_weights(cells: CSR) -> Array:
    """n_u = Σ_i c_ui for every row, float64: the number of cells where all weights are 1."""
    if cells.weights is None:
        return np.diff(cells.indptr).astype(np.float64)
    sums = np.zeros(cells.n_rows)
    filled = (
        np.diff(cells.indptr) > 0
    )  # reduceat would give an empty row its successor's first cell
    starts = cells.indptr[:-1][filled]
    if len(starts):
        sums[filled] = np.add.reduceat(cells.weights.astype(np.float64), starts)
    return sums


def row_scale(cells: CSR, scaling: Scaling) -> Array:
    """s of every row, float64."""
    return np.ones(cells.n_rows) if scaling == "none" else scaled(row_weights(cells), scaling)


def scaled(weights: Array, scaling: Scaling) -> Array:
    """s of rows whose weights sum to these: 1, √n or n."""
    if scaling == "none":
        return np.ones_like(weights)
    return np.sqrt(weights) if scaling == "sqrt" else weights


def scales(by_user: CSR, items: int, reg_scaling: Scaling) -> tuple[Array, Array]:
    """The diagonals s_u and s_i of S_w and S_z, float64, from the cells by user."""
    weights = None if by_user.weights is None else by_user.weights.astype(np.float64)
    n_i = np.bincount(by_user.indices, weights, items).astype(np.float64)
    return row_scale(by_user, reg_scaling), scaled(n_i, reg_scaling)
