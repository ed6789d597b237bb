"""Intervals that hold what they promise: conformal prediction on held-out ratings.

A scale s(u, i) is fitted to the held-out residuals e = r − r̂, by maximum likelihood of e ~ N(0, s²),

    log s² = θ · x,   x = (1, log v_u, log v_i, log(1 + n_u), log(1 + n_i), r̂, r̂²)

with v_u = f_iᵀ A_u⁻¹ f_i and v_i = g_uᵀ A_i⁻¹ g_u the two parts of the variance of r̂
(`uncertainty.py`), n the numbers of ratings of the two rows that the model was fitted on, and r̂
clipped to the scale of the ratings (near its ends there is less room for an error). The scores |e|
/ s are kept, and an interval of level q is

    r̂ ± s · Q,   Q the ⌈(n + 1) q⌉-th smallest of the n scores,

which covers a new rating, exchangeable with the held-out ones, with probability at least q: Vovk,
Gammerman and Shafer (2005, «Algorithmic Learning in a Random World»); Lei, G'Sell, Rinaldo,
Tibshirani and Wasserman (2018, «Distribution-Free Predictive Inference for Regression», theorem
2.2); the division by s is from Papadopoulos, Gammerman and Vovk (2008, «Normalized nonconformity
measures»). Items of few ratings have scores of their own (Mondrian categories, Vovk et al. 2005,
§4.5). So that no rating of θ's own residual is in its score, the scores come from ten parts, each
with the θ of the other nine (Vovk 2015, «Cross-conformal predictors»): the guarantee is then
approximate, and every held-out rating serves twice.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from halfstep.backends.base import Array, Backend
from halfstep.checks import check_integer, is_number
from halfstep.data.pairs import as_ratings
from halfstep.data.ratings import Ratings
from halfstep.errors import DataError, HistoryRequiredError, ParameterError
from halfstep.evaluation.splits import kfold
from halfstep.models.side_features import fit_tables
from halfstep.models.uncertainty import cells_by, require_noise, variances
from halfstep.objectives import SIDES, Side

if TYPE_CHECKING:
    from halfstep.models.fitted import Fitted

__all__ = ["FEATURES", "FEW", "Calibration", "calibrated", "calibrated_by_folds", "features"]

FEATURES = ("1", "log v_u", "log v_i", "log(1 + n_u)", "log(1 + n_i)", "r̂", "r̂²")
FEW = 5
"""Items of fewer ratings have scores of their own."""
_LEAST = 50  # held-out ratings of a group of its own
_FEWEST = 20  # held-out ratings of a calibration
_KEPT = 10_000  # scores of a group
_PARTS = 10


@dataclass(frozen=True, slots=True)
class Calibration:
    """The scale and the scores; see the head of the module.

    Attributes
    ----------
    theta, shift, spread, low, high : arrays (7,), float64
        θ, for x clipped to [low, high], less `shift`, over `spread`.
    scores : tuple of one or two arrays, float64, ascending
        |e| / s: of all held-out ratings, or of those of items of few ratings and of all others.
    counts : tuple of int
        How many ratings each of them stands for; of more than 10,000 every so-manieth is kept.
    """

    theta: Array
    shift: Array
    spread: Array
    low: Array
    high: Array
    scores: tuple[Array, ...]
    counts: tuple[int, ...]

    def scale(self, x: Array) -> Array:
        """s for rows of features x."""
        return _scale(self.theta, (np.clip(x, self.low, self.high) - self.shift) / self.spread)

    def half_width(self, x: Array, level: float) -> Array:
        """s · Q.

        Raises `ParameterError` where the level is not in (0, 1) or needs more held-out ratings.
        """
        check_level(level)
        few = _few(x)
        widths = self.scale(x)
        for group, own in enumerate((few, ~few) if len(self.scores) > 1 else (np.ones_like(few),)):
            if own.any():
                widths[own] *= _quantile(self.scores[group], self.counts[group], level)
        return widths


def calibrated(model: Fitted, X: Any, y: Any, seed: int, backend: str | Backend) -> Calibration:
    """From held-out ratings that the model has not seen.

    Raises `DataError` where it has seen some of them, or where they are too few.
    """
    check_integer("seed", seed, 0)
    require_noise(model)
    ratings = as_ratings(X, y)
    users, items = rows_of(model, ratings)
    model._whole_history("calibrate")  # its error says what for
    seen = model._count_fitted(users, items)
    if seen:
        raise DataError(
            "held_out",
            f"{seen:,} of {len(ratings):,} ratings",
            "are among those that the model was fitted on, whose residuals are too small",
            "pass ratings that it has not seen, or all of them with folds=5",
        )
    x, fitted = features(model, users, items, backend)
    return _of(x, np.abs(ratings.by_user.values - fitted), seed)


def calibrated_by_folds(
    model: Fitted, X: Any, y: Any, folds: int, seed: int, backend: str | Backend
) -> Calibration:
    """From the residuals of `folds` fits, each of which has not seen one part of the ratings."""
    check_integer("seed", seed, 0)
    require_noise(model)
    ratings = as_ratings(X, y)
    known = fit_tables(model)
    for side in SIDES:
        own = model.features_.side(side)
        if own is not None and own.encoding is not None and f"{side}_features" not in known:
            raise HistoryRequiredError(
                f"{side}_features",
                None,
                "the model was saved without its history and its features, and copies of it need them",
                "fit again, or save with history=True",
            )
    # where it was stopped early, so are the copies
    early = model.best_iter_ < model.n_iter_ or model.stopped_ not in ("converged", "max_iter")
    alike: Any = model.settled(sweeps=early)
    xs, errors = [], []
    for train, test in kfold(ratings, folds, seed=seed):
        part = copy.deepcopy(alike).fit(train, backend=backend, **known)
        x, fitted = features(part, *rows_of(part, test), backend)
        xs.append(x)
        errors.append(np.abs(test.by_user.values - fitted))
    return _of(np.concatenate(xs), np.concatenate(errors), seed)


def rows_of(model: Fitted, ratings: Ratings) -> tuple[Array, Array]:
    """The model's row numbers of every cell's user and item; −1 is unknown."""
    f = model.factors_
    return (
        f.user_ids.lookup(ratings.users.values)[ratings.user_index()],
        f.item_ids.lookup(ratings.items.values)[ratings.by_user.indices],
    )


def features(
    model: Fitted, users: Array, items: Array, backend: str | Backend
) -> tuple[Array, Array]:
    """(x, r̂) of pairs of row numbers, float64; x has the columns `FEATURES`."""
    why = "an interval"
    fitted = model._predict_rows(users, items, backend).astype(np.float64)
    columns = [np.ones(len(users))]
    counts = []
    sides: tuple[Side, Side] = ("user", "item")
    for side, rows, others in zip(sides, (users, items), (items, users), strict=True):
        v = variances(model, side, rows, others, why, backend)
        columns.append(np.log(np.maximum(v, 1e-30)))
        n = np.diff(cells_by(model, side, why).indptr)
        counts.append(np.log1p(np.append(n, 0)[rows]))  # −1 is the last: none
    clipped = np.clip(fitted, *model.scale_)
    return np.stack([*columns, *counts, clipped, clipped**2], axis=1), fitted


def _of(x: Array, errors: Array, seed: int) -> Calibration:
    n = len(errors)
    if n < _FEWEST:
        raise DataError(
            "held_out", f"{n} ratings", f"must hold at least {_FEWEST}", "hold out a larger part"
        )
    if not errors.any():
        raise DataError("held_out", f"{n} ratings", "are all hit exactly", "pass other ratings")
    low, high = x.min(axis=0), x.max(axis=0)
    shift, spread = x.mean(axis=0), x.std(axis=0)
    shift[0] = 0.0
    spread[spread <= 1e-12 * np.abs(x).max(axis=0)] = 1.0
    standard = (x - shift) / spread
    squares = errors.astype(np.float64) ** 2
    part = np.random.default_rng(seed).permutation(n) % _PARTS
    scores = np.empty(n)
    whole = _fit(standard, squares)
    for k in range(_PARTS):
        theta = _fit(standard[part != k], squares[part != k], whole)
        scores[part == k] = errors[part == k] / _scale(theta, standard[part == k])
    few = _few(x)
    groups = [scores[few], scores[~few]]
    if min(len(group) for group in groups) < _LEAST:
        groups = [scores]
    return Calibration(
        whole,
        shift,
        spread,
        low,
        high,
        tuple(np.sort(group)[_ranks(len(group)) - 1] for group in groups),
        tuple(len(group) for group in groups),
    )


def _few(x: Array) -> Array:
    """Whether the item of a row of features has few ratings."""
    few: Array = x[:, FEATURES.index("log(1 + n_i)")] < np.log1p(FEW - 0.5)
    return few


def _scale(theta: Array, standard: Array) -> Array:
    scale: Array = np.exp(0.5 * np.einsum("np,p->n", standard, theta))
    return scale


def _fit(x: Array, squares: Array, start: Array | None = None) -> Array:
    """θ that minimizes ½ Σ (log s² + e² / s²) + ½ Σ_{k > 0} θ_k², by Newton's method: it is convex.

    The penalty is that of one observation: it only decides what few ratings leave open. Sums are taken
    by columns and without BLAS, so that they are the same bits everywhere.
    """
    columns = np.ascontiguousarray(x.T)
    size = len(columns)
    penalty = np.ones(size)
    penalty[0] = 0.0
    if start is None:
        start = np.zeros(size)
        start[0] = math.log(float(np.add.reduce(squares)) / len(squares))
    theta = start.copy()
    H = np.empty((size, size))
    for _ in range(100):
        ratio = squares / np.exp(np.einsum("pn,p->n", columns, theta))
        weighted = columns * ratio
        for p in range(size):
            for q in range(p + 1):
                H[p, q] = H[q, p] = 0.5 * np.add.reduce(weighted[p] * columns[q])
        g = 0.5 * np.add.reduce(weighted - columns, axis=1) - penalty * theta
        step = np.linalg.solve(H + np.diag(penalty + 1e-9), g)
        largest = float(np.abs(np.einsum("pn,p->n", columns, step)).max())
        theta += step * min(1.0, 1.0 / max(largest, 1e-300))
        if largest < 1e-9:
            break
    return theta


def _ranks(n: int) -> Array:
    """The ranks, from 1 to n, of the scores that are kept of n."""
    return np.unique(np.ceil(np.linspace(1, n, min(n, _KEPT))).astype(np.int64))


def check_level(level: Any) -> None:
    """A share of the ratings, neither none nor all."""
    if not is_number(level) or not 0 < level < 1:
        raise ParameterError("interval", level, "must be a level between 0 and 1", "try 0.9")


def _quantile(scores: Array, n: int, level: float) -> float:
    """The ⌈(n + 1) q⌉-th smallest score, or the next larger that was kept."""
    wanted = math.ceil((n + 1) * float(level))
    if wanted > n:
        raise ParameterError(
            "interval",
            level,
            f"needs at least {math.ceil(level / (1 - level))} held-out ratings of its kind, and "
            f"the calibration had {n}",
            "calibrate with more, or ask for a lower level",
        )
    return float(scores[np.searchsorted(_ranks(n), wanted)])


def to_arrays(calibration: Calibration) -> dict[str, Array]:
    """The arrays of a model file."""
    table = np.stack([getattr(calibration, name) for name in _ROWS])
    scores = {f"calibration.scores.{k}": s for k, s in enumerate(calibration.scores)}
    return {"calibration.scale": table, **scores}


def from_arrays(arrays: dict[str, Array], counts: Any) -> Calibration:
    """Back from a model file; raises ValueError where they make no sense."""
    counts = tuple(counts)
    table = arrays["calibration.scale"]
    scores = tuple(arrays[f"calibration.scores.{k}"] for k in range(len(counts)))
    if (
        table.shape != (len(_ROWS), len(FEATURES))
        or not np.isfinite(table).all()
        or not (table[_ROWS.index("spread")] > 0).all()
        or not (table[_ROWS.index("low")] <= table[_ROWS.index("high")]).all()
        or len(counts) not in (1, 2)
        or not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in counts)
    ):
        raise ValueError("the scale of its intervals makes no sense")
    for own, n in zip(scores, counts, strict=True):
        if (
            own.shape != _ranks(n).shape
            or own.dtype != np.float64
            or not np.isfinite(own).all()
            or not (np.diff(own, prepend=0.0) >= 0).all()
        ):
            raise ValueError("the scores of its intervals make no sense")
    theta, shift, spread, low, high = (np.array(row, dtype=np.float64) for row in table)
    return Calibration(theta, shift, spread, low, high, scores, counts)


_ROWS = ("theta", "shift", "spread", "low", "high")
