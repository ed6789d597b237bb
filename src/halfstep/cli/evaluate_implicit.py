"""`halfstep evaluate` of models of interactions: by the lists that they make."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import numpy as np

from halfstep.baselines import MostPopular, preferences
from halfstep.cli.implicit import metrics_of
from halfstep.cli.output import Column, Output, note
from halfstep.data.ratings import Ratings
from halfstep.errors import ParameterError
from halfstep.evaluation import Evaluation, UserSplit, evaluate, kfold
from halfstep.evaluation.measures import parse_metrics
from halfstep.models.base import FactorModel
from halfstep.models.implicit import ImplicitMF
from halfstep.wording import metric_title

__all__ = ["fitted_and_measured", "measured_lists"]

_LISTED = ("lists", "everything", "sample")  # sources of metrics that are rankings


def fitted_and_measured(
    out: Output,
    model: ImplicitMF,
    interactions: Ratings,
    folds: int,
    parts: tuple[Ratings, ...] | UserSplit | None,
    held_out: str,
    order: Literal["sorted", "file"],
    metrics: str | None,
) -> dict[str, Any]:
    """By cross-validation, or on one split where `parts` are given; popularity beside the model."""
    names = metric_names(metrics) or metrics_of(model)
    all_parts: Iterable[Any] = [parts]
    how = held_out.replace("ratings", "interactions").replace("rating", "interaction")
    if parts is None:
        all_parts = kfold(interactions, folds, seed=model.seed, order=order)
        how = f"every interaction once, in {folds} parts at random, seed {model.seed}"
    elif isinstance(parts, UserSplit):
        how = how.format(given=len(parts.given))
    else:
        time = parts[-1].time
        how = how.format(moment=None if time is None else time.min())
    m, n = interactions.shape
    out.facts(
        [
            ("interactions", f"{len(interactions):,} of {m:,} users and {n:,} items"),
            ("held out", how),
            ("model", _described(model)),
        ]
    )
    out.say()
    rows = [_on(model, part, names) for part in all_parts]
    popular = [row.pop("popular") for row in rows]
    columns = [*names, "sweeps", "fit_seconds"]
    table = [[str(k), *(_told(row, c) for c in columns)] for k, row in enumerate(rows, 1)]
    mean = {c: float(np.mean([row[c] for row in rows])) for c in columns}
    error: dict[str, float | None] = dict.fromkeys(columns)
    if len(rows) > 1:
        error = {
            c: float(np.std([row[c] for row in rows], ddof=1) / np.sqrt(len(rows))) for c in columns
        }
        table.append(["mean", *(_told(mean, c) for c in columns)])
        table.append(["±", *(_told(error, c) for c in columns)])
    beside = {name: float(np.mean([one[name] for one in popular])) for name in names}
    table.append(["most popular", *(_told(beside, c) for c in names), "", ""])
    titles = [*map(metric_title, names), "sweeps", "fit s"]
    out.table([Column("part"), *(Column(title, right=True) for title in titles)], table)
    if len(rows) > 1:
        out.say()
        out.say("(± is the standard error of the mean over the parts)")
    return {
        "command": "evaluate",
        "parameters": model.get_params(),
        "metrics": names,
        "parts": rows,
        "mean": mean,
        "standard_error": error,
        "baselines": {"most popular": beside},
        "seed": model.seed,
    }


def metric_names(text: str | None) -> list[str]:
    """The metrics of an option, each known."""
    if text is None:
        return []
    found = parse_metrics([name.strip() for name in text.split(",") if name.strip()])
    for asked in found:
        if asked.metric.source not in _LISTED:
            raise ParameterError(
                "metrics", asked.name, "is of ratings, not of ranked lists", "try metrics=ndcg@10"
            )
    return [asked.name for asked in found]


def _described(model: ImplicitMF) -> str:
    """What is fitted; where something is to be chosen, that it is for every fit anew."""
    told = {
        "rank": str(model.rank),
        "reg": f"{model.reg} ({model.reg_scaling})",
        "alpha": f"{model.alpha:g}",
        "alpha0": str(model.alpha0),
    }
    chosen = [name for name in told if getattr(model, name) == "auto"]
    given = [f"{name} {value}" for name, value in told.items() if name not in chosen]
    if chosen:
        given.append(f"{', '.join(chosen)} chosen on the training part of every fit")
    return ", ".join(given)


def _on(model: ImplicitMF, parts: Any, names: list[str]) -> dict[str, Any]:
    """One fit and its figures; `popular` are those of the most popular items."""
    given = parts.given if isinstance(parts, UserSplit) else None
    train, test = (parts.train, parts.test) if isinstance(parts, UserSplit) else parts
    begun = perf_counter()
    fresh: Any = copy.deepcopy(model).fit(train)
    sweeps = fresh.n_iter_
    if given is not None:
        fresh = fresh.with_rows(fresh.fold_in(given))
    seconds = perf_counter() - begun
    wanted = preferences(test)
    past = None if given is not None else train  # of a model that was told more: its own history
    found = evaluate(fresh, wanted, names, train=past, n_resamples=0)
    popular = evaluate(
        MostPopular().fit(preferences(train)), wanted, names, train=given or train, n_resamples=0
    )
    return {
        **{name: found[name].value for name in names},
        "users": found.ranked,
        "sweeps": sweeps,
        "fit_seconds": seconds,
        "popular": {name: popular[name].value for name in names},
    }


def _told(row: dict[str, Any], column: str) -> str:
    value = row[column]
    if value is None or value != value:
        return "–"
    if column == "sweeps":
        return format(value, "g")
    return format(value, ".2f" if column == "fit_seconds" else ".4f")


def measured_lists(
    out: Output, model: FactorModel, path: Path, interactions: Ratings, metrics: str | None
) -> dict[str, Any]:
    """A saved model's lists against the interactions of a table."""
    names = metric_names(metrics) or ["ndcg@10", "recall@20"]
    found: Evaluation = evaluate(model, preferences(interactions), names)
    out.facts([("model", str(path)), ("interactions", f"{len(interactions):,}")])
    out.say()
    out.lines(str(found).replace("held-out rating", "held-out interaction"))
    if found.repeated and not out.as_json:
        note(
            f"{found.repeated:,} of the interactions are known to the model and count for nothing: pass "
            "those that it was not fitted on"
        )
    return {"command": "evaluate", "model": str(path), **found.as_dict()}
