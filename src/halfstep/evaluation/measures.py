"""The metrics by name, and how each comes from a model and a held-out part."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from halfstep.backends.base import Array
from halfstep.checks import check_choice, check_integer, is_number
from halfstep.data.ratings import Ratings
from halfstep.errors import DataError, ParameterError
from halfstep.evaluation import catalogue, ranking, sampled, scores
from halfstep.evaluation.grouped import summed
from halfstep.evaluation.lists import Block, HeldOut, Unknown, ask, held_out
from halfstep.evaluation.past import Past, check_held_out
from halfstep.evaluation.ranking import Hits
from halfstep.evaluation.residuals import (
    chances_of,
    intervals_of,
    normals_of,
    predictions_of,
    weights_of,
)

__all__ = [
    "METRICS",
    "OF_HITS",
    "Asked",
    "Measure",
    "Options",
    "Taken",
    "measures_of",
    "parse_metrics",
]


# ------------------------------------------------------------------------- names


@dataclass(frozen=True, slots=True)
class Metric:
    """What a name stands for.

    `source` is what it is computed from: "ratings" (predictions), "normals" (their standard
    deviations), "chances" (probabilities of ratings), "intervals" (of k %), "lists" (the first k
    recommendations), "everything" (the whole catalogue in order), "sample" (some sampled items).
    `better` is "higher", "lower", or "" where neither is.
    """

    source: str
    cut: bool
    better: str


_LISTS = (
    *("precision", "recall", "recall_capped", "hit_rate", "mrr", "map", "map_capped"),
    *("ndcg", "ndcg_exp", "ndcg_binary"),
)
METRICS: dict[str, Metric] = {
    **{name: Metric("ratings", False, "lower") for name in ("rmse", "mae")},
    "r2": Metric("ratings", False, "higher"),
    **{
        f"{side}_{name}": Metric("ratings", False, "lower")
        for side in ("user", "item")
        for name in ("rmse", "mae")
    },
    **{name: Metric("normals", False, "lower") for name in ("log_score", "crps")},
    "log_loss": Metric("chances", False, "lower"),
    "interval_score@k": Metric("intervals", True, "lower"),
    **{f"interval_{name}@k": Metric("intervals", True, "") for name in ("coverage", "width")},
    **{f"{name}@k": Metric("lists", True, "higher") for name in _LISTS},
    "mrr": Metric("everything", False, "higher"),
    "auc": Metric("everything", False, "higher"),
    "coverage@k": Metric("lists", True, "higher"),
    "gini@k": Metric("lists", True, "lower"),
    **{f"{name}@k": Metric("lists", True, "") for name in ("novelty", "diversity", "popularity")},
    **{f"sampled_{name}@k": Metric("sample", True, "higher") for name in ("hit_rate", "ndcg")},
    "sampled_mrr": Metric("sample", False, "higher"),
}
_ALONE = ("coverage", "gini")  # figures of all lists together
_LISTED = ("lists", "everything", "sample")  # sources that are rankings


@dataclass(frozen=True, slots=True)
class Asked:
    """One metric that was asked for: "ndcg@10" is base "ndcg", k 10.

    k is a number of recommendations, or the level of an interval in percent.
    """

    name: str
    base: str
    k: int
    metric: Metric


def parse_metrics(metrics: Any) -> list[Asked]:
    """The metrics of these names, each once.

    >>> [(asked.base, asked.k) for asked in parse_metrics(["RMSE", "ndcg@10"])]
    [('rmse', 0), ('ndcg', 10)]

    Raises `ParameterError` with the nearest names where one is not known.
    """
    named = [metrics] if isinstance(metrics, str) or not isinstance(metrics, Iterable) else metrics
    named = list(named)
    if not named:
        raise ParameterError("metrics", metrics, "must not be empty", 'try ("rmse", "ndcg@10")')
    found = {}
    for name in named:
        asked = _parse(name)
        found[asked.name] = asked
    return list(found.values())


def _parse(name: Any) -> Asked:
    match = re.fullmatch(r"([a-z0-9_]+)(?:@([0-9]{1,9}))?", str(name).strip().lower())
    base, cut = match.groups() if match else (str(name).partition("@")[0].strip().lower(), None)
    known = f"{base}@k" if cut is not None else base
    k = int(cut or 0)
    level = f"{base}@k" in METRICS and METRICS[f"{base}@k"].source == "intervals"
    if match and known in METRICS and (cut is None or 0 < k < (100 if level else k + 1)):
        return Asked(base if cut is None else f"{base}@{k}", base, k, METRICS[known])
    if level:
        rule, remedy = "needs a level from 1 to 99, in percent", f"try {base}@90"
    elif f"{base}@k" in METRICS:
        rule, remedy = "needs a number of recommendations of at least 1", f"try {base}@10"
    elif base in METRICS:
        rule, remedy = "has no number of recommendations", f"try {base}"
    else:
        from difflib import get_close_matches

        bases = {
            known.removesuffix("@k"): known.replace(
                "@k", "@90" if metric.source == "intervals" else "@10"
            )
            for known, metric in METRICS.items()
        }
        near = [bases[close] for close in get_close_matches(base, bases, n=3, cutoff=0.5)]
        rule = "is not a metric"
        remedy = (
            f"did you mean {' or '.join(near)}?" if near else f"choose from {', '.join(METRICS)}"
        )
    raise ParameterError("metrics", name, rule, remedy)


# ---------------------------------------------------------------------- measures


@dataclass(frozen=True, slots=True)
class Measure:
    """A metric of one model: sums over users (or items), and the function that makes the figure of them.

    Attributes
    ----------
    asked : Asked
    unit : {"user", "item", ""}
        What the sums are over; "" where the figure belongs to all lists together.
    ids : array of ids
        The units for which the metric is defined.
    sums : array (units, s)
    of : callable
        The figure from totals (…, s).
    alone : float
        The figure where there are no units.
    """

    asked: Asked
    unit: str
    ids: Array
    sums: Array
    of: Callable[[Array], Array]
    alone: float = float("nan")

    @property
    def value(self) -> float:
        """The figure."""
        if not self.unit:
            return self.alone
        if not len(self.ids):
            return float("nan")
        return float(self.of(np.add.reduce(self.sums, axis=0)))

    @property
    def per_unit(self) -> Array:
        """The figure of every unit alone."""
        return self.of(self.sums)

    def at(self, units: Array) -> Measure:
        """For some units (a mask, or positions)."""
        return Measure(self.asked, self.unit, self.ids[units], self.sums[units], self.of)


@dataclass(frozen=True, slots=True)
class Options:
    """How `evaluate` and `compare` ask their models; checked when made."""

    train: Ratings | None = None
    relevant: float | None = None
    unknown: Unknown = "skip"
    exclude_seen: bool = True
    clip: bool = False
    item_vectors: Any = None
    negatives: int = 100
    candidates: Mapping[Any, Any] | None = None
    seed: int = 0
    ties: sampled.Ties = "id"

    def __post_init__(self) -> None:
        if self.relevant is not None and not (
            is_number(self.relevant) and self.relevant == self.relevant
        ):
            raise ParameterError(
                "relevant",
                self.relevant,
                "must be the lowest rating that counts as relevant, or None for all",
                "try relevant=4.0",
            )
        check_choice("unknown", self.unknown, ("skip", "empty", "bias"))
        for name in ("exclude_seen", "clip"):
            if not isinstance(getattr(self, name), (bool, np.bool_)):
                raise ParameterError(
                    name, getattr(self, name), "must be True or False", f"try {name}=True"
                )
        check_integer("negatives", self.negatives, 1, example=100)
        check_integer("seed", self.seed, 0)

    def asking(self) -> dict[str, Any]:
        """The arguments of `recommend`."""
        found: dict[str, Any] = {"exclude_seen": bool(self.exclude_seen)}
        if self.train is not None and self.exclude_seen:
            found["ratings"] = self.train
        if self.unknown == "bias":
            found["unknown"] = "bias"
        return found


@dataclass(frozen=True, slots=True)
class Taken:
    """The measures of one model, and whom those of rankings are about."""

    measures: tuple[Measure, ...]
    part: HeldOut | None = None


def measures_of(model: Any, test: Ratings, metrics: Sequence[Asked], options: Options) -> Taken:
    """Every metric of a model on a held-out part, in the order asked."""
    check_held_out(test)
    found: dict[str, Measure] = {}
    by_ratings = [asked for asked in metrics if asked.metric.source == "ratings"]
    if by_ratings:
        error = predictions_of(model, test, options.clip) - test.by_user.values
        found |= {asked.name: _of_ratings(asked, test, error) for asked in by_ratings}
    found |= _of_beliefs(model, test, metrics, options.clip)
    part = None
    if any(asked.metric.source in _LISTED for asked in metrics):
        past = Past.of(model, options.train)
        part = held_out(
            test,
            past,
            relevant=options.relevant,
            unknown=options.unknown,
            exclude_seen=options.exclude_seen,
        )
        in_lists = [a for a in metrics if a.metric.source in ("lists", "everything")]
        if in_lists:
            found |= _of_lists(model, part, past, in_lists, options)
        sampled_ones = [asked for asked in metrics if asked.metric.source == "sample"]
        if sampled_ones:
            found |= _of_samples(model, test, part, past, sampled_ones, options)
    return Taken(tuple(found[asked.name] for asked in metrics), part)


def mean_of(totals: Array) -> Array:
    """Σ x / Σ 1."""
    mean: Array = totals[..., 0] / totals[..., 1]
    return mean


def _root_of_mean(totals: Array) -> Array:
    return np.sqrt(totals[..., 0] / totals[..., 1])


def _r_squared(totals: Array) -> Array:
    """From Σ c e², Σ c d², Σ c d and Σ c, with d the ratings less some constant."""
    error, squares, total, c = np.moveaxis(totals, -1, 0)
    spread = squares - total**2 / c
    flat = spread <= 1e-12 * squares  # all ratings equal, to rounding
    value = 1.0 - error / np.where(flat, 1.0, spread)
    return np.where(flat, np.where(error == 0, 1.0, 0.0), value)


def _each(asked: Asked, ids: Array, values: Array, unit: str = "user") -> Measure:
    """The mean of one value for each unit, NaN where the metric is not defined for it."""
    there = np.flatnonzero(~np.isnan(values))
    sums = np.stack([values[there], np.ones(len(there))], axis=1)
    return Measure(asked, unit, ids[there], sums, mean_of)


def _of_ratings(asked: Asked, test: Ratings, error: Array) -> Measure:
    c = weights_of(test)
    unit = "item" if asked.base.startswith("item_") else "user"
    if unit == "user":
        row, ids = test.user_index(), test.users
    else:
        row, ids = test.by_user.indices, test.items
    count = len(ids)
    there = np.flatnonzero(np.bincount(row, minlength=count))
    names = ids.take(there)

    def total(values: Array) -> Array:
        sums: Array = summed(row, values, count)[there]
        return sums

    if asked.base == "r2":
        r = test.by_user.values.astype(np.float64)
        d = r - test.mean()
        sums = np.stack([total(c * error**2), total(c * d**2), total(c * d), total(c)], axis=1)
        return Measure(asked, unit, names, sums, _r_squared)
    squared = asked.base.endswith("rmse")
    of = _root_of_mean if squared else mean_of
    sums = np.stack([total(c * (error**2 if squared else np.abs(error))), total(c)], axis=1)
    if "_" in asked.base:
        return _each(asked, names, of(sums), unit)
    return Measure(asked, unit, names, sums, of)


# ----------------------------------------------------------------------- beliefs


def _of_beliefs(
    model: Any, test: Ratings, metrics: Sequence[Asked], clip: bool
) -> dict[str, Measure]:
    """The weighted mean over ratings of what a score says of each; every question is asked once."""
    r = test.by_user.values.astype(np.float64)
    values: dict[str, Array] = {}
    sources = {asked.metric.source for asked in metrics}
    if "normals" in sources:
        normal = normals_of(model, test, clip)
        for asked in metrics:
            if asked.metric.source == "normals":
                score = scores.gaussian_crps if asked.base == "crps" else scores.gaussian_log_score
                values[asked.name] = score(r, *normal)
    if "chances" in sources:
        least = np.finfo(np.float64).eps  # of what is held to be impossible, as scikit-learn has it
        values["log_loss"] = -np.log(np.maximum(chances_of(model, test), least))
    for level in {asked.k: None for asked in metrics if asked.metric.source == "intervals"}:
        lower, upper = intervals_of(model, test, level / 100, clip)
        values[f"interval_coverage@{level}"] = ((lower <= r) & (r <= upper)).astype(np.float64)
        values[f"interval_width@{level}"] = upper - lower
        values[f"interval_score@{level}"] = scores.interval_score(r, lower, upper, level / 100)
    return {
        asked.name: _mean_by_users(asked, test, values[asked.name])
        for asked in metrics
        if asked.name in values
    }


def _mean_by_users(asked: Asked, test: Ratings, values: Array) -> Measure:
    """Σ c x / Σ c, of a value for each rating."""
    c, user, m = weights_of(test), test.user_index(), len(test.users)
    there = np.flatnonzero(np.bincount(user, minlength=m))
    sums = np.stack([summed(user, c * values, m)[there], summed(user, c, m)[there]], axis=1)
    return Measure(asked, "user", test.users.take(there), sums, mean_of)


# ------------------------------------------------------------------------- lists

OF_HITS: dict[str, Callable[[Hits, int], Array]] = {
    "precision": ranking.precision,
    "recall": ranking.recall,
    "recall_capped": ranking.recall_capped,
    "hit_rate": ranking.hit_rate,
    "mrr": ranking.reciprocal_rank,
    "map": ranking.average_precision,
    "map_capped": ranking.average_precision_capped,
    "ndcg": ranking.ndcg,
    "ndcg_exp": partial(ranking.ndcg, gain="exponential"),
    "ndcg_binary": partial(ranking.ndcg, gain="binary"),
}


class _Beyond:
    """The figures that need the lists themselves, added up block by block."""

    def __init__(
        self, model: Any, part: HeldOut, past: Past, metrics: Iterable[Asked], options: Options
    ) -> None:
        self.wanted = [asked for asked in metrics if asked.base not in OF_HITS and asked.k]
        self.users, self.n = len(part.ids), len(past.catalogue)
        self.values = {asked.name: np.full(self.users, np.nan) for asked in self.wanted}
        self.counts = {asked.name: np.zeros(self.n, dtype=np.int64) for asked in self.wanted}
        bases = {asked.base for asked in self.wanted}
        if bases & {"popularity", "novelty"}:
            self.ratings = past.popularity(past.catalogue, "the popularity of items")
            cells = past.required("the popularity of items")
            self.raters = int(np.count_nonzero(np.diff(cells.indptr)))
        if "diversity" in bases:
            self.unit = catalogue.directions(_vectors(model, self.n, options.item_vectors))

    def add(self, block: Block) -> None:
        if not len(block.user):
            return
        begin = int(block.user[0])
        users = int(block.user[-1]) + 1 - begin
        for asked in self.wanted:
            inside = block.rank <= asked.k
            user, item = block.user[inside] - begin, block.item[inside]
            if asked.base in _ALONE:
                self.counts[asked.name] += np.bincount(item, minlength=self.n)
                continue
            if asked.base == "popularity":
                values = catalogue.popularity(user, item, users, self.ratings)
            elif asked.base == "novelty":
                values = catalogue.novelty(user, item, users, self.ratings, self.raters)
            else:
                values = catalogue.diversity(user, item, users, self.unit)
            self.values[asked.name][begin : begin + users] = values

    def measures(self, ids: Array) -> dict[str, Measure]:
        found = {}
        for asked in self.wanted:
            if asked.base in _ALONE:
                figure = catalogue.coverage if asked.base == "coverage" else catalogue.gini
                none = np.empty((0, 2))
                alone = figure(self.counts[asked.name])
                found[asked.name] = Measure(asked, "", ids[:0], none, mean_of, alone)
            else:
                found[asked.name] = _each(asked, ids, self.values[asked.name])
        return found


def _of_lists(
    model: Any, part: HeldOut, past: Past, metrics: list[Asked], options: Options
) -> dict[str, Measure]:
    beyond = _Beyond(model, part, past, metrics, options)
    size = len(past.catalogue)
    everything = any(asked.metric.source == "everything" for asked in metrics)
    longest = max((min(asked.k, size) for asked in metrics if asked.k), default=1)
    mid = np.full(len(part.user), np.nan)
    length = np.zeros(len(part.ids), dtype=np.int64)

    def told(block: Block) -> None:
        beyond.add(block)
        if everything:
            mid[block.relevant] = block.mid_ranks()[block.matched]
            users, sizes = np.unique(block.user, return_counts=True)
            length[users] = sizes

    rank = ask(model, part, past, size if everything else longest, options.asking(), told)
    hits = part.hits(rank)
    found = beyond.measures(part.ids)
    for asked in metrics:
        if asked.base == "auc":
            candidates = part.candidates(size)
            # what a list leaves out is tied behind it
            behind = ((length + 1 + candidates) / 2.0)[part.user]
            ranks = np.where((rank == 0) & (part.item >= 0), behind, mid)
            values = ranking.area_under_curve(hits, ranks, candidates)
            found[asked.name] = _each(asked, part.ids, values)
        elif asked.base in OF_HITS:
            k = asked.k if asked.k else size
            found[asked.name] = _each(asked, part.ids, OF_HITS[asked.base](hits, k))
    return found


def _vectors(model: Any, n: int, given: Any) -> Array:
    if given is None:
        factors = getattr(model, "factors_", None)
        if factors is None:
            raise DataError(
                "item_vectors",
                None,
                f"is needed for diversity: a {type(model).__name__} has no factors",
                "pass an array with one row for each item, in the order of the sorted ids",
            )
        given = factors.item_factors
    try:
        vectors = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):  # words, or rows of several lengths
        vectors = np.empty(0)
    if vectors.ndim != 2 or len(vectors) != n or not np.isfinite(vectors).all():
        raise DataError(
            "item_vectors",
            given if not vectors.size else vectors.shape,
            f"must be finite numbers of shape ({n}, d), rows in the order of the sorted ids",
            "pass one vector for each item of the model",
        )
    return vectors


def _of_samples(
    model: Any,
    test: Ratings,
    part: HeldOut,
    past: Past,
    metrics: list[Asked],
    options: Options,
) -> dict[str, Measure]:
    ranks = sampled.sampled_ranks(
        model,
        part,
        past,
        test,
        {"unknown": "bias"} if options.unknown == "bias" else {},
        negatives=int(options.negatives),
        seed=int(options.seed),
        candidates=options.candidates,
        ties=options.ties,
    )
    found = {}
    for asked in metrics:
        if asked.base == "sampled_mrr":
            values = sampled.sampled_reciprocal_rank(part, ranks)
        elif asked.base == "sampled_ndcg":
            values = sampled.sampled_ndcg(part, ranks, asked.k)
        else:
            values = sampled.sampled_hit_rate(part, ranks, asked.k)
        found[asked.name] = _each(asked, part.ids, values)
    return found
