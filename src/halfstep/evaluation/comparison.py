"""`compare`: is one model better than another, on the same held-out users?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from halfstep.backends.base import Array
from halfstep.data.ratings import Ratings
from halfstep.errors import ParameterError
from halfstep.evaluation.evaluation import check_resampling, counts_of, people, same_units
from halfstep.evaluation.lists import Unknown
from halfstep.evaluation.measures import Asked, Measure, Options, measures_of, parse_metrics
from halfstep.evaluation.resampling import (
    bootstrap_totals,
    exchanged_totals,
    holm,
    percentile_interval,
)
from halfstep.evaluation.tables import aligned, figure

__all__ = ["Comparison", "Difference", "compare"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One metric of two models on the same users (of `item_…`: items).

    Attributes
    ----------
    metric, one, two : str
        The metric, and the names of the models.
    value_one, value_two : float
    difference : float
        value_one − value_two.
    lower, upper : float
        Its percentile interval under resampling of users.
    p : float
        The share of random exchanges of the two models' labels within users that give a difference at
        least as large in magnitude (this one among them).
    p_corrected : float
        p after Holm's correction for all differences of the comparison.
    units : int
        Users (items) for which both models have the metric.
    better : str
        The name of the better model where p_corrected ≤ 1 − confidence, "" where neither is shown to be.
    """

    metric: str
    one: str
    two: str
    value_one: float
    value_two: float
    difference: float
    lower: float
    upper: float
    p: float
    p_corrected: float
    units: int
    better: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Every metric of every pair of models. `print` shows a table.

    Attributes
    ----------
    values : dict from model to dict from metric to float
        On the users (items) for which all models have the metric.
    differences : tuple of Difference
    ranked, without, unknown, repeated : as in `Evaluation`
        Of the model for which they are largest (`ranked`: smallest).
    relevant : float or None
    confidence : float
    n_resamples, seed : int
    """

    values: dict[str, dict[str, float]]
    differences: tuple[Difference, ...]
    ranked: int | None
    without: int
    unknown: int
    repeated: int
    relevant: float | None
    confidence: float
    n_resamples: int
    seed: int

    def to_dict(self) -> dict[str, list[Any]]:
        """Columns, one entry for each difference: ready for any DataFrame."""
        rows = [asdict(difference) for difference in self.differences]
        return {name: [row[name] for row in rows] for name in rows[0]}

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def __str__(self) -> str:
        metrics = list(next(iter(self.values.values())))
        values = [
            [name, *(figure(found[metric]) for metric in metrics)]
            for name, found in self.values.items()
        ]
        header = ["metric", "models", "difference", f"{100 * self.confidence:g} % interval"]
        rows = [
            [
                d.metric,
                f"{d.one} − {d.two}",
                _signed(d.difference),
                "–" if d.lower != d.lower else f"{_signed(d.lower)} – {_signed(d.upper)}",
                f"{d.p:.4f}",
                f"{d.p_corrected:.4f}",
                d.better or "–",
            ]
            for d in self.differences
        ]
        return "\n".join(
            [
                aligned(["model", *metrics], values),
                "",
                aligned([*header, "p", "p (Holm)", "better"], rows, left=2),
                *people(self.ranked, self.without, self.unknown, self.repeated, self.relevant),
            ]
        )


def compare(
    models: Mapping[str, Any],
    test: Ratings,
    metrics: str | Sequence[str] = ("rmse", "ndcg@10"),
    *,
    reference: str | None = None,
    train: Ratings | None = None,
    relevant: float | None = None,
    unknown: Unknown = "skip",
    exclude_seen: bool = True,
    clip: bool = False,
    item_vectors: Any = None,
    negatives: int = 100,
    candidates: Mapping[Any, Any] | None = None,
    confidence: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Compare fitted models on the same held-out users.

    For every metric and pair of models: the difference of the two figures, its interval, and a p-value.
    Both are paired by user. The interval is that of the difference when users are drawn with
    replacement, with all their ratings. The p-value is that of a randomization test (Fisher 1935;
    Smucker, Allan and Carterette 2007 for rankings): if the models were alike, it would not matter which
    of them stands behind which of a user's two results, so these are exchanged with probability ½ in
    every user, and p is (1 + the exchanges whose difference is at least as large) / (1 + n_resamples).
    For "rmse", "mae" and "r2" it is the figure over all ratings that is computed again from exchanged
    or resampled users, not the mean of the users' own errors. All p-values together are corrected
    by Holm's method, so that the chance of calling any model better that is not stays below
    1 − confidence.

    The users are the sample: the seeds of the fits and the split are taken as they are.

    Parameters
    ----------
    models : mapping from name to fitted model
        Two or more.
    reference : str, optional
        Compare each model with this one alone; default is every pair. Fewer tests find more.
    test, metrics, train, relevant, unknown, exclude_seen, clip, item_vectors, negatives, candidates
        As in `evaluate`. Metrics of all lists together ("coverage@k", "gini@k") have no users to pair.
    confidence : float
    n_resamples : int
        The smallest p that can be found is 1 / (1 + n_resamples).
    seed : int

    Raises
    ------
    ParameterError, DataError, HistoryRequiredError

    Examples
    --------
    >>> import halfstep as hs
    >>> ratings = hs.simulate(300, 120, rank=4, seed=0).ratings
    >>> train, test = hs.split_random(ratings, test=0.2, seed=0)
    >>> models = {f"rank {k}": hs.ExplicitMF(rank=k, reg=0.05).fit(train) for k in (1, 4)}
    >>> hs.compare(models, test, "rmse").differences[0].better
    'rank 4'
    """
    asked = parse_metrics(metrics)
    pairs = _pairs(models, reference)
    check_resampling(confidence, n_resamples, 1)
    for one in asked:
        if one.base in ("coverage", "gini"):
            raise ParameterError(
                "metrics",
                one.name,
                "belongs to all lists together: no users can be paired",
                "ask evaluate for it",
            )
    options = Options(
        train, relevant, unknown, exclude_seen, clip, item_vectors, negatives, candidates, seed
    )
    taken = {name: measures_of(model, test, asked, options) for name, model in models.items()}
    measures = _common({name: list(found.measures) for name, found in taken.items()})
    raw = [
        row
        for one, two in pairs
        for row in _differences(
            (one, two), measures[one], measures[two], float(confidence), int(n_resamples), int(seed)
        )
    ]
    order = {one.name: place for place, one in enumerate(asked)}
    raw.sort(key=lambda difference: order[difference.metric])
    corrected = holm(np.array([difference.p for difference in raw]))
    counts = [counts_of(one.part) for one in taken.values()]
    return Comparison(
        values={name: {m.asked.name: m.value for m in own} for name, own in measures.items()},
        differences=tuple(
            _judged(difference, float(p), asked[order[difference.metric]], float(confidence))
            for difference, p in zip(raw, corrected, strict=True)
        ),
        ranked=min((c["ranked"] for c in counts if c["ranked"] is not None), default=None),
        without=max(c["without"] for c in counts),
        unknown=max(c["unknown"] for c in counts),
        repeated=max(c["repeated"] for c in counts),
        relevant=None if relevant is None else float(relevant),
        confidence=float(confidence),
        n_resamples=int(n_resamples),
        seed=int(seed),
    )


def _pairs(models: Any, reference: str | None) -> list[tuple[str, str]]:
    if not isinstance(models, Mapping) or len(models) < 2:
        raise ParameterError(
            "models",
            models,
            "must map names to two or more fitted models",
            'pass {"ALS": one, "SGD": two}',
        )
    names = list(models)
    wrong = [name for name in names if not isinstance(name, str)]
    if wrong:
        raise ParameterError("models", wrong[0], "is not a name", "name every model by a string")
    if reference is None:
        return list(combinations(names, 2))
    if reference not in names:
        raise ParameterError(
            "reference", reference, "is none of the models", f"choose one of {', '.join(names)}"
        )
    return [(name, reference) for name in names if name != reference]


def _common(measures: dict[str, list[Measure]]) -> dict[str, list[Measure]]:
    """The measures of all models, on the units that all have."""
    found: dict[str, list[Measure]] = {name: [] for name in measures}
    for column in zip(*measures.values(), strict=True):
        ids = column[0].ids
        if any(not np.array_equal(measure.ids, ids) for measure in column[1:]):
            for measure in column[1:]:
                ids = np.intersect1d(ids, measure.ids, assume_unique=True)
            column = tuple(measure.at(np.isin(measure.ids, ids)) for measure in column)
        for name, measure in zip(measures, column, strict=True):
            found[name].append(measure)
    return found


def _differences(
    names: tuple[str, str],
    one: list[Measure],
    two: list[Measure],
    confidence: float,
    resamples: int,
    seed: int,
) -> list[Difference]:
    """Every metric of one pair; p is not corrected yet."""
    found = []
    for places in same_units(one):
        units = len(one[places[0]].ids)
        first, second = (np.hstack([side[place].sums for place in places]) for side in (one, two))
        drawn = exchanged = None
        if units >= 2:
            both = np.hstack([first, second])
            drawn = np.split(bootstrap_totals(both, resamples, seed), 2, axis=1)
            exchanged = exchanged_totals(first, second, resamples, seed + 1)
        begin = 0
        for place in places:
            measure = one[place]
            part = slice(begin, begin + measure.sums.shape[1])
            begin = part.stop
            values = measure.value, two[place].value
            difference = values[0] - values[1]
            lower = upper = float("nan")
            p = 1.0
            if drawn is not None and exchanged is not None:
                lower, upper = percentile_interval(_between(measure, drawn, part), confidence)
                p = _share_as_large(difference, _between(measure, exchanged, part), values)
            found.append(
                Difference(
                    *(measure.asked.name, *names, *values, difference),
                    *(lower, upper, p, p, units, ""),
                )
            )
    return found


def _between(measure: Measure, totals: Any, part: slice) -> Array:
    """The difference of the figures, from totals of both models (resamples, s)."""
    one, two = totals
    difference: Array = measure.of(one[:, part]) - measure.of(two[:, part])
    return difference


def _share_as_large(difference: float, exchanged: Array, values: tuple[float, float]) -> float:
    # the same difference summed in another order is as large
    rounding = 1e-12 * max(abs(values[0]), abs(values[1]))
    as_large = np.count_nonzero(np.abs(exchanged) >= abs(difference) - rounding)
    return float(1 + as_large) / (1 + len(exchanged))


def _judged(
    difference: Difference, corrected: float, asked: Asked, confidence: float
) -> Difference:
    better = ""
    if asked.metric.better and corrected <= 1.0 - confidence + 1e-12:
        first = (difference.difference > 0) == (asked.metric.better == "higher")
        better = difference.one if first else difference.two
    return replace(difference, p_corrected=corrected, better=better)


def _signed(value: float) -> str:
    return f"{'+' if value > 0 else ''}{figure(value)}"
