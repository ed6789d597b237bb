"""`evaluate`: the metrics of a model on a held-out part, with their uncertainty."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from halfstep.backends.base import Array
from halfstep.checks import check_integer, is_number
from halfstep.data.ratings import Ratings
from halfstep.errors import ParameterError
from halfstep.evaluation.lists import HeldOut, Unknown
from halfstep.evaluation.measures import Asked, Measure, Options, measures_of, parse_metrics
from halfstep.evaluation.resampling import bootstrap_totals, percentile_interval
from halfstep.evaluation.tables import aligned, figure

__all__ = [
    "Evaluation",
    "Figure",
    "check_resampling",
    "evaluate",
    "evaluation_of",
    "people",
]


@dataclass(frozen=True, slots=True, eq=False)
class Figure:
    """One metric of one model.

    Attributes
    ----------
    name : str
    value : float
        Over all; NaN where it is defined for nobody.
    lower, upper : float
        The interval by resampling users (of `item_rmse` and `item_mae`: items); NaN for fewer than two,
        and for `coverage` and `gini`, which belong to all lists together.
    unit : {"user", "item", ""}
    ids, values : arrays
        The users (items) for which the metric is defined, and its value for each of them alone.
    better : {"higher", "lower", ""}
    """

    name: str
    value: float
    lower: float
    upper: float
    unit: str
    ids: Array
    values: Array
    better: str


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Evaluation(Mapping[str, Figure]):
    """Figures by the name of their metric, and how they were taken. `print` shows a table.

    Attributes
    ----------
    figures : dict from name to Figure
    ratings : int
        Held-out ratings.
    users : int
        Users with held-out ratings.
    ranked : int or None
        Those of them whom metrics of rankings are about; None where there are no such metrics.
    without : int
        Those of `ranked` without relevant items: left out of all metrics that need some.
    unknown : int
        Users that the model does not know.
    repeated : int
        Relevant held-out pairs that the user had in training already: not counted as relevant, as they
        cannot be recommended.
    relevant : float or None
    confidence : float
    n_resamples, seed : int
    """

    figures: dict[str, Figure]
    ratings: int
    users: int
    ranked: int | None
    without: int
    unknown: int
    repeated: int
    relevant: float | None
    confidence: float
    n_resamples: int
    seed: int

    def __getitem__(self, name: str) -> Figure:
        return self.figures[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.figures)

    def __len__(self) -> int:
        return len(self.figures)

    def to_dict(self) -> dict[str, list[Any]]:
        """Columns, one entry for each metric: ready for any DataFrame."""
        found = list(self.figures.values())
        return {
            "metric": [f.name for f in found],
            "value": [f.value for f in found],
            "lower": [f.lower for f in found],
            "upper": [f.upper for f in found],
            "unit": [f.unit for f in found],
            "units": [len(f.ids) for f in found],
        }

    def as_dict(self) -> dict[str, Any]:
        """Plain values, without those of single users."""
        names = ("ratings", "users", "ranked", "without", "unknown", "repeated", "relevant")
        rest = {name: getattr(self, name) for name in (*names, "confidence", "n_resamples", "seed")}
        columns = self.to_dict()
        rows = zip(*columns.values(), strict=True)
        figures = [dict(zip(columns, row, strict=True)) for row in rows]
        return {"metrics": {f.pop("metric"): f for f in figures}, **rest}

    def __str__(self) -> str:
        rows = []
        for f in self.figures.values():
            interval = "–" if f.lower != f.lower else f"{figure(f.lower)} – {figure(f.upper)}"
            over = f"{len(f.ids):,} {f.unit}s" if f.unit else "all lists"
            rows.append([f.name, figure(f.value), interval, over])
        header = ["metric", "value", f"{100 * self.confidence:g} % interval", "over"]
        return "\n".join([aligned(header, rows), *self._notes()])

    def __repr__(self) -> str:
        told = ", ".join(f"{f.name}={figure(f.value)}" for f in self.figures.values())
        return f"Evaluation({told})"

    def _notes(self) -> list[str]:
        return people(self.ranked, self.without, self.unknown, self.repeated, self.relevant)


def people(
    ranked: int | None, without: int, unknown: int, repeated: int, relevant: float | None
) -> list[str]:
    """What a reader must know of the users behind metrics of rankings."""
    if ranked is None:
        return []
    what = "every held-out rating" if relevant is None else f"held-out ratings ≥ {relevant:g}"
    lines = [f"relevant: {what}"]
    if without:
        lines.append(f"{without:,} of {ranked:,} users have no relevant item and are left out")
    if unknown:
        lines.append(f"{unknown:,} users with held-out ratings are not known to the model")
    if repeated:
        lines.append(f"{repeated:,} held-out pairs were in training too: not counted as relevant")
    return lines


def evaluate(
    model: Any,
    test: Ratings,
    metrics: str | Sequence[str] = ("rmse", "mae", "ndcg@10", "recall@10"),
    *,
    train: Ratings | None = None,
    relevant: float | None = None,
    unknown: Unknown = "skip",
    exclude_seen: bool = True,
    clip: bool = False,
    item_vectors: Any = None,
    negatives: int = 100,
    candidates: Mapping[Any, Any] | None = None,
    confidence: float = 0.95,
    n_resamples: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Measure a fitted model on held-out ratings.

    Every figure comes with a percentile interval from resampling the users with all their ratings
    (Efron 1979): it says how much the figure would move with other users of the same kind, not with
    another split, another seed of the fit or another time.

    Parameters
    ----------
    model : a fitted model
        With `predict(users, items)` for errors of ratings, and `recommend(users, n=, exclude_seen=,
        ratings=)` for rankings (for `sampled_…` with `candidates=`).
    test : Ratings
        Held-out ratings. Their weights count in errors of ratings (r2 too), not in rankings.
    metrics : names
        Errors of ratings: "rmse", "mae", "r2" over all ratings; "user_rmse", "user_mae", "item_rmse",
        "item_mae", the means of the errors of single users and items, whatever their number of ratings.
        Forecasts: "log_score" and "crps" of N(mean, std²) from `predict(std=True)`; "log_loss" from
        `predict_proba`; "interval_coverage@90", "interval_width@90", "interval_score@90" (of any
        level in percent) from `predict(interval=0.9)`.
        Rankings, with any k: "precision@k", "recall@k", "recall_capped@k", "hit_rate@k", "ndcg@k",
        "ndcg_exp@k", "ndcg_binary@k", "map@k", "map_capped@k", "mrr@k" and, over the whole catalogue in
        order, "mrr" and "auc". Of the lists beyond hits: "coverage@k", "gini@k", "popularity@k",
        "novelty@k", "diversity@k". Among sampled items: "sampled_hit_rate@k", "sampled_ndcg@k",
        "sampled_mrr". Formulas and conventions: docs/metrics.md.
    train : Ratings, optional
        What users have seen and items' popularity is counted in. Default: the model's own history.
    relevant : number, optional
        The lowest held-out rating that counts as relevant, such as 4.0 of 5 stars. Default: every
        held-out rating is relevant, whatever its value, as in papers on interactions. Grades of `ndcg`
        are the ratings in any case.
    unknown : {"skip", "empty", "bias"}
        Held-out users that the model does not know: leave them out of rankings (and count them), count
        their lists as empty (0 in every metric of hits), or ask the model, which then ranks by the
        items' biases. Errors of ratings are over all ratings: unknown ids fall back to known biases.
    exclude_seen : bool
        Rank what the user has not rated in training. Held-out pairs that are in training too are not
        relevant then.
    clip : bool
        Clip predicted ratings, and the ends of intervals, to the scale of the training ratings.
    item_vectors : array (n, d), optional
        For "diversity@k", rows in the order of the model's item ids. Default: the item factors.
    negatives, candidates
        Of `sampled_…`: how many items are drawn for each user, or {user: items} to rank among.
    confidence : float
        Of the intervals.
    n_resamples : int
        0 for no intervals.
    seed : int
        Of the resampling and of sampled items.

    Raises
    ------
    ParameterError, DataError, HistoryRequiredError

    Examples
    --------
    >>> import halfstep as hs
    >>> ratings = hs.simulate(300, 120, rank=4, seed=0).ratings
    >>> train, test = hs.split_random(ratings, test=0.2, seed=0)
    >>> model = hs.ExplicitMF(rank=4, reg=0.05).fit(train)
    >>> found = hs.evaluate(model, test, ["rmse", "ndcg@10"])
    >>> bool(abs(found["rmse"].value - model.rmse(test)) < 1e-12)
    True
    >>> found["ndcg@10"].lower < found["ndcg@10"].value < found["ndcg@10"].upper
    True
    """
    asked = parse_metrics(metrics)
    options = Options(
        train, relevant, unknown, exclude_seen, clip, item_vectors, negatives, candidates, seed
    )
    return evaluation_of(model, test, asked, options, confidence, n_resamples)


def evaluation_of(
    model: Any,
    test: Ratings,
    asked: Sequence[Asked],
    options: Options,
    confidence: float = 0.95,
    n_resamples: int = 1000,
) -> Evaluation:
    """`evaluate` with its metrics and options read already."""
    check_resampling(confidence, n_resamples, 0)
    seed = int(options.seed)
    taken = measures_of(model, test, asked, options)
    intervals = _intervals(taken.measures, float(confidence), int(n_resamples), seed)
    figures = {
        measure.asked.name: Figure(
            measure.asked.name,
            measure.value,
            *interval,
            measure.unit,
            measure.ids,
            measure.per_unit,
            measure.asked.metric.better,
        )
        for measure, interval in zip(taken.measures, intervals, strict=True)
    }
    return Evaluation(
        figures,
        ratings=len(test),
        users=int(np.count_nonzero(np.diff(test.by_user.indptr))),
        **counts_of(taken.part),
        relevant=None if options.relevant is None else float(options.relevant),
        confidence=float(confidence),
        n_resamples=int(n_resamples),
        seed=seed,
    )


def counts_of(part: HeldOut | None) -> dict[str, Any]:
    """The numbers of users and pairs that an evaluation reports."""
    if part is None:
        return {"ranked": None, "without": 0, "unknown": 0, "repeated": 0}
    return {
        "ranked": len(part.ids),
        "without": part.without,
        "unknown": part.unknown,
        "repeated": part.repeated,
    }


def check_resampling(confidence: Any, n_resamples: Any, least: int) -> None:
    """The arguments that all resampling has."""
    if not is_number(confidence) or not 0 < confidence < 1:
        raise ParameterError("confidence", confidence, "must be a number in (0, 1)", "try 0.95")
    check_integer("n_resamples", n_resamples, least, example=1000)


def _intervals(
    measures: Sequence[Measure], confidence: float, resamples: int, seed: int
) -> list[tuple[float, float]]:
    found = [(float("nan"), float("nan"))] * len(measures)
    if not resamples:
        return found
    for places in same_units(measures):
        if len(measures[places[0]].ids) < 2:
            continue
        sums = np.hstack([measures[place].sums for place in places])
        totals = bootstrap_totals(sums, resamples, seed)
        begin = 0
        for place in places:
            width = measures[place].sums.shape[1]
            values = measures[place].of(totals[:, begin : begin + width])
            found[place] = percentile_interval(values, confidence)
            begin += width
    return found


def same_units(measures: Sequence[Measure]) -> list[list[int]]:
    """Positions of measures over equally many users or items, together: they are resampled at once."""
    groups: dict[int, list[int]] = {}
    for place, measure in enumerate(measures):
        groups.setdefault(len(measure.ids), []).append(place)
    return list(groups.values())
