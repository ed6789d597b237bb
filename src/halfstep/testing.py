"""The laws that every backend and every solver is held to, for our tests and for yours.

    from halfstep import testing
    for law in testing.LAWS:
        law(testing.Case(backend=MyBackend(), solver=MySolver()))

Each law is a function of a `Case` that raises `AssertionError` where the law is broken. The oracles
here are literal: double loops and dense float64 algebra, written from the formula and not from the
code under test.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from halfstep.backends import get_backend
from halfstep.backends.base import CSR, Array, Backend
from halfstep.data.ratings import Ratings
from halfstep.errors import ParameterError
from halfstep.factors import Factors
from halfstep.features.design import Tables
from halfstep.implicit import ImplicitSquaredError
from halfstep.models.explicit import ExplicitMF, check_reg
from halfstep.models.implicit import ImplicitMF
from halfstep.objectives import SquaredError
from halfstep.solvers import ALS, CG, GD, LBFGS, SGD, Problem, Solver, Subspace
from halfstep.solvers.als import half_step
from halfstep.threads import get_num_threads, set_num_threads

__all__ = [
    "BACKENDS",
    "DTYPES",
    "LAWS",
    "OBJECTIVES",
    "SOLVERS",
    "TOLERANCE",
    "Case",
    "combines",
    "gradient",
    "objective_value",
    "random_ratings",
]

BACKENDS = ("numpy", "native")
DTYPES: tuple[Literal["float32", "float64"], ...] = ("float32", "float64")
SOLVERS: tuple[Solver, ...] = (
    ALS(),
    ALS(linear=CG(steps=2)),
    ALS(linear=Subspace(block=2)),
    GD(),
    LBFGS(),
    SGD(rate=0.2),
)
OBJECTIVES: tuple[dict[str, Any], ...] = (
    {"biases": True, "reg_scaling": "count", "reg": (0.1, 0.2, 0.05)},
    {"biases": True, "reg_scaling": "none", "reg": (2.0, 1.0, 0.5)},
    {"biases": False, "reg_scaling": "count", "reg": 0.1},
    {"biases": False, "reg_scaling": "none", "reg": 1.0, "center": False},
    {"biases": False, "reg_scaling": "none", "reg": 0.5, "center": False, "nonnegative": True},
    {"biases": True, "reg_scaling": "count", "reg": 0.05, "nonnegative": True},
    {"biases": True, "reg_scaling": "sqrt", "reg": (0.6, 0.5, 0.2)},
    {"biases": True, "reg_scaling": "sqrt", "reg": (0.6, 0.4, 0.2), "implicit_features": True},
    {"biases": True, "reg_scaling": "none", "reg": (2.0, 1.0, 0.5), "implicit_features": True},
    {"biases": False, "reg_scaling": "count", "reg": 0.1, "implicit_features": True},
    {"loss": "ials", "reg": (0.1, 0.2, 0.1), "alpha": 0.5, "alpha0": 0.3, "nu": 0.5},
    {"loss": "ials", "reg": (2.0, 1.0, 0.5), "biases": True, "reg_scaling": "none"},
    {"loss": "ials", "reg": 0.1, "reg_scaling": "count", "confidence": "binary", "alpha": 3.0},
    {"loss": "wrmf", "reg": 0.1, "reg_scaling": "count", "confidence": "log", "alpha0": 1.0},
    {"loss": "wrmf", "reg": (0.2, 0.1, 0.1), "biases": True, "confidence": "binary"},
)
TOLERANCE = {"float32": 2e-4, "float64": 1e-10}
"""How far a backend may be from the oracle, relative to the largest entry of the answer, on
well-conditioned systems (the penalty at least 1/1000 of the largest eigenvalue)."""


@dataclass(frozen=True)
class Case:
    """One point of the product of the axes, and the ratings to try it on."""

    backend: str | Backend = "native"
    solver: Solver = field(default_factory=ALS)
    objective: dict[str, Any] = field(default_factory=lambda: dict(OBJECTIVES[0]))
    dtype: Literal["float32", "float64"] = "float64"
    rank: int = 3
    seed: int = 0
    weighted: bool = True

    def ratings(self, users: int = 23, items: int = 17, share: float = 0.4) -> Ratings:
        """Random ratings of the case's seed."""
        return random_ratings(users, items, share, seed=self.seed, weighted=self.weighted)

    @property
    def implicit(self) -> bool:
        """Whether the objective is one of implicit feedback."""
        return "loss" in self.objective

    def model(self, **changes: Any) -> ExplicitMF | ImplicitMF:
        """An unfitted model of the case."""
        params: dict[str, Any] = {
            "rank": self.rank,
            "solver": self.solver,
            "dtype": self.dtype,
            "seed": self.seed,
            "max_iter": 10,
            "tol": 0.0,
            **self.objective,
            **changes,
        }
        return ImplicitMF(**params) if self.implicit else ExplicitMF(**params)

    def fit(self, ratings: Ratings, **changes: Any) -> ExplicitMF | ImplicitMF:
        """A fitted model of the case."""
        return self.model(**changes).fit(ratings, backend=self.backend)

    @property
    def tolerance(self) -> float:
        """`TOLERANCE` of the dtype."""
        return TOLERANCE[self.dtype]


def combines(solver: Solver, objective: dict[str, Any]) -> bool:
    """Whether a model takes that solver with that objective (else it has told why not)."""
    try:
        Case(solver=solver, objective=objective).model()._check()
    except ParameterError:
        return False
    return True


def random_ratings(
    users: int, items: int, share: float, *, seed: int = 0, weighted: bool = False
) -> Ratings:
    """Half-star ratings (some of them 0) in a random pattern, with ids that are not row numbers."""
    generator = np.random.default_rng(seed)
    observed = generator.random((users, items)) < share
    observed[np.arange(users), generator.integers(items, size=users)] = True
    u, i = np.nonzero(observed)
    r = generator.integers(0, 11, size=len(u)) / 2.0
    weight = generator.choice([0.5, 1.0, 2.0], size=len(u)) if weighted else None
    return Ratings.from_arrays(100 + 3 * u, [f"é{n:04d}" for n in i.tolist()], r, weight=weight)


# ------------------------------------------------------------------------ oracles


def _dense(cells: CSR, columns: int) -> tuple[Array, Array]:
    """(ratings, weights) as dense float64 arrays; weight 0 where nothing is observed."""
    R, C = np.zeros((cells.n_rows, columns)), np.zeros((cells.n_rows, columns))
    for u in range(cells.n_rows):
        for p in range(cells.indptr[u], cells.indptr[u + 1]):
            R[u, cells.indices[p]] = cells.values[p]
            C[u, cells.indices[p]] = 1.0 if cells.weights is None else cells.weights[p]
    return R, C


def _implicit_parts(
    ratings: Ratings, objective: ImplicitSquaredError, f: Factors
) -> dict[str, Any]:
    """As `_parts`, with E = ∂J/∂ŷ of every cell, and `squares` the first two sums of J (twice)."""
    R, V = _dense(ratings.by_user, len(ratings.items))
    W, Z = f.user_factors.astype(float), f.item_factors.astype(float)
    b_u = np.zeros(len(W)) if f.user_bias is None else f.user_bias.astype(float)
    b_i = np.zeros(len(Z)) if f.item_bias is None else f.item_bias.astype(float)
    observed = V > 0
    some = np.outer(observed.any(axis=1), observed.any(axis=0))
    count = {"linear": np.abs(R), "log": np.log1p(np.abs(R)), "binary": np.ones_like(R)}
    c = objective.confidence.alpha * V * count[objective.confidence.counting]
    p, Y, alpha0 = (R > 0).astype(float), W @ Z.T + b_u[:, None] + b_i[None, :], objective.alpha0
    if objective.loss == "ials":
        on, off = c, alpha0 * some
    else:
        on, off = (alpha0 + c) * observed, alpha0 * (some & ~observed)
    n_u, n_i = observed.sum(axis=1), observed.sum(axis=0)
    frequency = objective.reg_scaling == "frequency"
    power = {"frequency": objective.nu, "count": 1.0, "none": 0.0}[objective.reg_scaling]
    return {
        "E": on * (Y - p) + off * Y,
        "squares": (on * (Y - p) ** 2).sum() + (off * Y**2).sum(),
        "W": W,
        "Z": Z,
        "b_u": b_u,
        "b_i": b_i,
        "s_u": (n_u + frequency * alpha0 * np.count_nonzero(n_i)) ** power,
        "s_i": (n_i + frequency * alpha0 * np.count_nonzero(n_u)) ** power,
    }


def _parts(
    ratings: Ratings, objective: SquaredError | ImplicitSquaredError, f: Factors
) -> dict[str, Any]:
    if isinstance(objective, ImplicitSquaredError):
        return _implicit_parts(ratings, objective, f)
    R, C = _dense(ratings.by_user, len(ratings.items))
    W, Z = f.user_factors.astype(float), f.item_factors.astype(float)
    b_u = np.zeros(len(W)) if f.user_bias is None else f.user_bias.astype(float)
    b_i = np.zeros(len(Z)) if f.item_bias is None else f.item_bias.astype(float)
    E = C * (objective.mean + b_u[:, None] + b_i[None, :] + W @ Z.T - R)  # masked: Ω only
    power = {"count": 1.0, "sqrt": 0.5, "none": 0.0}[objective.reg_scaling]
    s_u, s_i = C.sum(axis=1) ** power, C.sum(axis=0) ** power
    squares = (E[C > 0] ** 2 / C[C > 0]).sum()
    found = {
        "squares": squares,
        "E": E,
        "W": W,
        "Z": Z,
        "b_u": b_u,
        "b_i": b_i,
        "s_u": s_u,
        "s_i": s_i,
    }
    for side, rated, s, A in (("u", C > 0, s_u, f.user_map), ("i", (C > 0).T, s_i, f.item_map)):
        if A is not None:
            found |= _feature_parts(side, rated, s, A.astype(float), found)
    return found


def _feature_parts(
    side: str, rated: Array, s: Array, A: Array, parts: dict[str, Array]
) -> dict[str, Array]:
    """X and A of implicit features, and in place of the rows how far they are from X A."""
    X = rated / np.sqrt(np.maximum(rated.sum(axis=1, keepdims=True), 1))
    X = X.astype(np.float32).astype(float)  # the precision in which features are kept
    rows, K = parts["W" if side == "u" else "Z"], parts["W"].shape[1]
    gap, bias_gap = rows - X @ A[:, :K], parts[f"b_{side}"]
    if A.shape[1] > K:
        bias_gap = bias_gap - X @ A[:, K]
    return {
        f"X_{side}": X,
        f"A_{side}": A,
        f"gap_{side}": gap,
        f"bias_gap_{side}": bias_gap,
        f"s_{side}": s * rated.any(axis=1),
        f"mass_{side}": np.sqrt(1 + (X**2).sum(axis=0)),
        f"mean_s_{side}": s[rated.any(axis=1)].mean(),
    }


def objective_value(
    ratings: Ratings, objective: SquaredError | ImplicitSquaredError, factors: Factors
) -> float:
    """J, from dense float64 arrays."""
    p, reg = _parts(ratings, objective, factors), objective.reg
    total = 0.5 * p["squares"]
    for side, rows, level in (("u", "W", reg.user), ("i", "Z", reg.item)):
        gap = p.get(f"gap_{side}", p[rows])
        bias_gap = p.get(f"bias_gap_{side}", p[f"b_{side}"])
        total += 0.5 * level * (p[f"s_{side}"] @ (gap**2).sum(axis=1))
        total += 0.5 * reg.bias * (p[f"s_{side}"] @ bias_gap**2)
        if f"A_{side}" in p:
            strength = 1.5 * level * p[f"mean_s_{side}"]
            total += 0.5 * strength * (p[f"mass_{side}"] @ (p[f"A_{side}"] ** 2).sum(axis=1))
    return float(total)


def gradient(
    ratings: Ratings, objective: SquaredError | ImplicitSquaredError, factors: Factors
) -> dict[str, Array]:
    """∂J/∂W = E Z + λ_w S_u W and its like for Z and the biases, E the residuals on Ω.

    For implicit feedback E is ∂J/∂ŷ on all cells.
    """
    p, reg = _parts(ratings, objective, factors), objective.reg
    found = {}
    for name, side, rows, others, E, level in (
        ("user", "u", "W", "Z", p["E"], reg.user),
        ("item", "i", "Z", "W", p["E"].T, reg.item),
    ):
        s = p[f"s_{side}"]
        pull = level * s[:, None] * p.get(f"gap_{side}", p[rows])
        bias_pull = reg.bias * s * p.get(f"bias_gap_{side}", p[f"b_{side}"])
        found[f"{name}_factors"] = E @ p[others] + pull
        if factors.user_bias is not None:
            found[f"{name}_bias"] = E.sum(axis=1) + bias_pull
            pull = np.column_stack([pull, bias_pull])
        if f"A_{side}" in p:
            strength = 1.5 * level * p[f"mean_s_{side}"] * p[f"mass_{side}"]
            found[f"{name}_map"] = strength[:, None] * p[f"A_{side}"] - p[f"X_{side}"].T @ pull
    return found


def _objective_of(model: ExplicitMF | ImplicitMF) -> SquaredError | ImplicitSquaredError:
    found: Any = model.objective_
    assert isinstance(found, SquaredError | ImplicitSquaredError)
    return found


def _arrays(factors: Factors) -> dict[str, Array]:
    named = {
        "user_factors": factors.user_factors,
        "item_factors": factors.item_factors,
        "user_bias": factors.user_bias,
        "item_bias": factors.item_bias,
        "user_map": factors.user_map,
        "item_map": factors.item_map,
    }
    return {name: array for name, array in named.items() if array is not None}


def assert_same_bits(one: Factors, two: Factors) -> None:
    """Every array equal to the last bit."""
    for name, array in _arrays(one).items():
        other = _arrays(two)[name]
        assert array.tobytes() == other.tobytes(), f"{name} differs in its bits"


def assert_near(one: Factors, two: Factors, tolerance: float) -> None:
    """Every array equal within `tolerance` of its largest entry (or of 1)."""
    for name, array in _arrays(one).items():
        other = _arrays(two)[name]
        scale = max(1.0, float(np.abs(array).max(initial=0.0)))
        error = float(np.abs(array.astype(float) - other.astype(float)).max(initial=0.0))
        assert error <= tolerance * scale, f"{name} differs by {error:.3g}, allowed {tolerance:.3g}"


# --------------------------------------------------------------------------- laws


def law_objective_is_the_formula(case: Case) -> None:
    """The traced J is the formula's."""
    ratings = case.ratings()
    model = case.fit(ratings, max_iter=2)
    expected = objective_value(ratings, _objective_of(model), model.factors_)
    # confidences are kept in float32
    tolerance = max(case.tolerance, 1e-7) if case.implicit else case.tolerance
    assert abs(model.trace_[-1].objective - expected) <= tolerance * expected


def law_objective_never_rises(case: Case) -> None:
    """No sweep of a solver that descends raises J by more than rounding."""
    if not case.solver.descends:
        return
    trace = case.fit(case.ratings(), max_iter=15).trace_
    slack = 1e-6 if case.dtype == "float32" else 1e-12
    for before, after in pairwise(trace):
        assert after.objective <= before.objective * (1 + slack)


def law_gradient_is_zero_at_convergence(case: Case) -> None:
    """At the end of a long fit of a solver that descends every partial derivative of J vanishes.

    With bounds, J grows where it may go.
    """
    if not case.solver.descends:
        return
    ratings = case.ratings()
    model = case.fit(ratings, max_iter=2000, tol=1e-15)
    found = gradient(ratings, _objective_of(model), model.factors_)
    start = gradient(ratings, _objective_of(model), _zeroed(model.factors_))
    scale = max(float(np.abs(g).max()) for g in start.values())
    allowed = 2e-3 if case.dtype == "float32" else 1e-5
    if case.dtype == "float32" and isinstance(case.solver, GD):
        allowed = 5e-3  # its line search sees J to rounding ε, and so the gradient to √ε
    bounded: bool = _objective_of(model).nonnegative
    for name, g in found.items():
        if bounded and name.endswith("_factors"):
            # Karush, Kuhn and Tucker: a factor that is 0 may only have a slope upwards
            array = _arrays(model.factors_)[name]
            assert array.min() >= 0
            g = np.where(array > 0, g, np.minimum(g, 0))
        assert np.abs(g).max() <= allowed * scale, f"∂J/∂{name} is {np.abs(g).max():.3g}"


def law_comes_near_the_minimum(case: Case) -> None:
    """A solver that may raise J comes within 5 % of the minimum to which ALS goes on from there."""
    if case.solver.descends:
        return
    ratings = case.ratings()
    model = case.fit(ratings, max_iter=500)
    on = case.model(solver=ALS(), max_iter=300, tol=1e-10)
    least = on.fit(ratings, init=model, backend=case.backend).trace_[-1].objective
    found = model.trace_[-1].objective
    assert found <= 1.05 * least, (found, least)
    assert found < 0.8 * model.trace_[0].objective


def _zeroed(factors: Factors) -> Factors:
    return replace(
        factors,
        user_factors=factors.user_factors * 0 + 0.1,
        item_factors=factors.item_factors * 0 + 0.1,
    )


def law_weight_two_is_the_row_twice(case: Case) -> None:
    """Weights add up: twice the row, merged, is the row with weight 2; weight 0 is the row absent."""
    base = replace(case, weighted=False).ratings()
    users, items, r = base.to_arrays()
    generator = np.random.default_rng(case.seed)
    weight = generator.integers(0, 3, size=len(r))
    weight[np.unique(users, return_index=True)[1]] = 1  # keep every id
    weight[np.unique(items, return_index=True)[1]] = 1
    by_weight = Ratings.from_arrays(users, items, r, weight=weight)
    repeated = Ratings.from_arrays(
        np.repeat(users, weight), np.repeat(items, weight), np.repeat(r, weight), duplicates="merge"
    )
    one, two = case.fit(by_weight), case.fit(repeated)
    assert_near(one.factors_, two.factors_, case.tolerance)
    assert abs(one.factors_.mean - two.factors_.mean) <= 1e-12
    assert abs(one.trace_[-1].objective - two.trace_[-1].objective) <= (
        case.tolerance * one.trace_[-1].objective
    )


def law_rows_without_ratings_are_zero(case: Case) -> None:
    """A user or item without ratings gets zeros.

    With implicit features the mean of the others' stands for theirs: the row is A'x̄.
    """
    ratings = case.ratings()
    rows = ratings.user_index()
    part = ratings.select((rows != 4) & (ratings.by_user.indices != 6))
    f = case.fit(part).factors_
    if f.user_map is not None and f.item_map is not None:
        parts = _parts(part, _objective_of(case.fit(part)), f)
        for side, A, own, empty in (
            ("u", f.user_map, (f.user_factors, f.user_bias), 4),
            ("i", f.item_map, (f.item_factors, f.item_bias), 6),
        ):
            X = parts[f"X_{side}"]
            expected = X[X.any(axis=1)].mean(axis=0) @ A
            row = own[0][empty] if own[1] is None else np.append(own[0][empty], own[1][empty])
            assert np.abs(row - expected).max() <= max(1e-6, case.tolerance)
        return
    assert not f.user_factors[4].any()
    assert not f.item_factors[6].any()
    if f.user_bias is not None and f.item_bias is not None:
        assert f.user_bias[4] == 0
        assert f.item_bias[6] == 0


def law_relabelling_permutes(case: Case) -> None:
    """Other ids, the initial factors with them, give the same rows in another order.

    (Not where the order of the ratings decides the path: a solver that may raise J.)
    """
    if not case.solver.descends:
        return
    ratings = case.ratings()
    _, _, r = ratings.to_arrays()
    m, n = ratings.shape
    generator = np.random.default_rng(case.seed + 1)
    new_user, new_item = generator.permutation(m), generator.permutation(n)
    relabelled = Ratings.from_arrays(
        new_user[ratings.user_index()],
        new_item[ratings.by_user.indices],
        r,
        weight=ratings.by_user.weights,
    )
    start = _start(case, ratings)
    moved = _start(case, relabelled)
    moved.user_factors[new_user] = start.user_factors
    one = _sweeps(case, ratings, start, 3)
    two = _sweeps(case, relabelled, moved, 3)
    back = replace(
        two,
        user_factors=two.user_factors[new_user],
        item_factors=two.item_factors[new_item],
        user_bias=None if two.user_bias is None else two.user_bias[new_user],
        item_bias=None if two.item_bias is None else two.item_bias[new_item],
        user_map=None if two.user_map is None else two.user_map[new_item],
        item_map=None if two.item_map is None else two.item_map[new_user],
    )
    assert_near(one, back, case.tolerance * 10)


def _start(case: Case, ratings: Ratings) -> Factors:
    objective = _objective(case, ratings)
    start = Factors.random(
        ratings,
        case.rank,
        biases=objective.biases,
        mean=getattr(objective, "mean", 0.0),
        dtype=case.dtype,
        seed=case.seed,
        nonnegative=objective.nonnegative,
    )
    if getattr(objective, "features", None) is None:
        return start
    return start.with_maps(*ratings.shape[::-1])


def _objective(case: Case, ratings: Ratings) -> SquaredError | ImplicitSquaredError:
    model = case.model()
    if isinstance(model, ImplicitMF):
        return model._objective(check_reg(model.reg), float(model.alpha0)).fitted_to(ratings)
    params = model.get_params()
    mean = ratings.mean() if params["center"] else 0.0
    objective = SquaredError(
        mean,
        check_reg(params["reg"]),
        params["reg_scaling"],
        params["biases"],
        params["nonnegative"],
    )
    tables = Tables(implicit=params["implicit_features"])
    return objective.with_features(ratings, tables.designs(ratings), params["feature_reg"])


def _sweeps(case: Case, ratings: Ratings, start: Factors, sweeps: int) -> Factors:
    backend = get_backend(case.backend, dtype=case.dtype)
    problem = Problem.of(ratings, _objective(case, ratings), case.rank, case.dtype)
    current, spare = start.copy(), start.empty_like()
    sweep = case.solver.begin(problem, current, backend)
    for _ in range(sweeps):
        for _step in sweep(current, spare):
            pass
        current, spare = spare, current
    return current


def law_swapping_sides_swaps_the_factors(case: Case) -> None:
    """Users for items, λ, initial factors and the order of half-steps with them, swaps W and Z."""
    ratings = case.ratings()
    users, items, r = ratings.to_arrays()
    swapped = Ratings.from_arrays(items, users, r, weight=ratings.by_user.weights)
    objective = _objective(case, ratings)
    reg = objective.reg
    mirrored = replace(_objective(case, swapped), reg=replace(reg, user=reg.item, item=reg.user))
    if isinstance(mirrored, SquaredError) and isinstance(objective, SquaredError):
        mirrored = replace(mirrored, mean=objective.mean)
    backend = get_backend(case.backend, dtype=case.dtype)
    ours = Problem.of(ratings, objective, case.rank, case.dtype)
    theirs = Problem.of(swapped, mirrored, case.rank, case.dtype)
    W, b_u = _start(case, ratings).user_factors, None
    if objective.biases:
        b_u = np.linspace(-0.5, 0.5, len(W)).astype(case.dtype)
    Z = np.full((len(ratings.items), case.rank), 0.25, dtype=case.dtype)
    one = (Z, None if b_u is None else np.zeros(len(Z), dtype=case.dtype))
    two = (Z.copy(), None if b_u is None else np.zeros(len(Z), dtype=case.dtype))
    linear = case.solver.linear if isinstance(case.solver, ALS) else "auto"
    method = None if linear == "auto" else linear
    half_step(ours, "item", (W, b_u), one, backend, method)
    half_step(theirs, "user", (W, b_u), two, backend, method)
    assert one[0].tobytes() == two[0].tobytes()
    assert (one[1] is None) == (two[1] is None)
    if one[1] is not None and two[1] is not None:
        assert one[1].tobytes() == two[1].tobytes()


def law_same_bits_for_any_threads(case: Case) -> None:
    """1, 2, 3 and 8 threads give the same bits, J included.

    On ratings that are worth a thread's start; for numpy, which has none of its own, on few.
    """
    ratings = case.ratings(60, 40, 0.3)
    if case.backend != "numpy":
        case, ratings = replace(case, rank=48), case.ratings(600, 300, 0.35)
    before = get_num_threads()
    fits = []
    try:
        for threads in (1, 2, 3, 8):
            set_num_threads(threads)
            fits.append(case.fit(ratings, max_iter=2))
    finally:
        set_num_threads(before)
    for other in fits[1:]:
        assert_same_bits(fits[0].factors_, other.factors_)
        assert [row.objective for row in other.trace_] == [r.objective for r in fits[0].trace_]


def law_same_bits_for_any_order_of_rows(case: Case) -> None:
    """The order of the table does not reach the answer."""
    ratings = case.ratings()
    users, items, r = ratings.to_arrays()
    order = np.random.default_rng(case.seed + 2).permutation(len(r))
    weights = ratings.by_user.weights
    shuffled = Ratings.from_arrays(
        users[order], items[order], r[order], weight=None if weights is None else weights[order]
    )
    assert_same_bits(case.fit(ratings).factors_, case.fit(shuffled).factors_)


def law_fold_in_is_the_users_row(case: Case) -> None:
    """Folding in the training ratings gives the stored user factors, to the last bit."""
    ratings = case.ratings()
    model = case.fit(ratings)
    if not model._exact_users:
        return
    folded = model.fold_in(ratings, backend=case.backend)
    assert folded.factors.tobytes() == model.factors_.user_factors.tobytes()
    single = model.fold_in(ratings.select(ratings.user_index() == 5), backend=case.backend)
    assert single.factors[5].tobytes() == model.factors_.user_factors[5].tobytes()


def law_explanations_sum_to_the_score(case: Case) -> None:
    """The contributions of a user's ratings and the baseline sum to the predicted rating."""
    ratings = case.ratings()
    model = case.fit(ratings)
    if not model._exact_users:
        return
    for user in ratings.users.take(np.arange(3)).tolist():
        item = ratings.items.id_at(2)
        told = model.explain(user, item)
        expected = float(model.predict(user, item, backend=case.backend))
        assert abs(told.score - expected) <= max(1e-4, 10 * case.tolerance)
        assert abs(told.baseline + told.contributions.sum() - told.score) <= 1e-9


def law_a_stored_zero_is_observed(case: Case) -> None:
    """A rating of 0 is a rating: adding one changes the fit, and its own prediction goes down.

    (Of implicit feedback where interactions are not counted; a count of 0 has no confidence.)
    """
    if case.implicit and case.objective.get("confidence") != "binary":
        return
    ratings = replace(case, weighted=False).ratings()
    users, items, r = ratings.to_arrays()
    user = int(users[0])
    theirs = set(items[users == user].tolist())
    new = next(i for i in ratings.items.take(np.arange(17)).tolist() if i not in theirs)
    more = Ratings.from_arrays([*users.tolist(), user], [*items.tolist(), new], [*r.tolist(), 0.0])
    assert len(more) == len(ratings) + 1
    before, after = case.fit(ratings), case.fit(more)
    assert after.predict(user, new, backend=case.backend) < before.predict(
        user, new, backend=case.backend
    )


def law_matches_the_oracle(case: Case) -> None:
    """A half-step, J, predictions and rankings equal those of the numpy backend in float64."""
    ratings = case.ratings()
    start = _start(case, ratings)
    one = _sweeps(case, ratings, start, 1)
    exact = replace(case, backend="numpy", dtype="float64")
    two = _sweeps(exact, ratings, _start(exact, ratings), 1)
    assert_near(one, two, case.tolerance)


LAWS: tuple[Callable[[Case], None], ...] = (
    law_objective_is_the_formula,
    law_objective_never_rises,
    law_gradient_is_zero_at_convergence,
    law_comes_near_the_minimum,
    law_weight_two_is_the_row_twice,
    law_rows_without_ratings_are_zero,
    law_relabelling_permutes,
    law_swapping_sides_swaps_the_factors,
    law_same_bits_for_any_threads,
    law_same_bits_for_any_order_of_rows,
    law_fold_in_is_the_users_row,
    law_explanations_sum_to_the_score,
    law_a_stored_zero_is_observed,
    law_matches_the_oracle,
)
