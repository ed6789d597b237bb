"""`halfstep evaluate`: cross-validation, one split, or the error of a saved model."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import Annotated, Any, Literal

import numpy as np
from cyclopts import Parameter

from halfstep.checks import check_integer
from halfstep.cli.bayes import BayesOptions, unfitted
from halfstep.cli.features import FeatureOptions, facts
from halfstep.cli.implicit import ImplicitOptions, hint_at_interactions
from halfstep.cli.options import ModelOptions, ReadingOptions, integer
from halfstep.cli.output import Column, Json, Output, note, watched
from halfstep.data.ratings import Ratings
from halfstep.errors import ParameterError
from halfstep.evaluation import (
    baseline_rmse,
    compare_cold,
    cross_validate,
    split_by_time,
    split_cold,
    split_each_user,
    split_last,
    split_leave_k_out,
    split_random,
    split_users,
)
from halfstep.evaluation import evaluate as measure
from halfstep.evaluation.cross_validation import Fold
from halfstep.evaluation.splits import UserSplit
from halfstep.evaluation.splits.leaks import cells_of
from halfstep.evaluation.splits.parts import check_share
from halfstep.models.base import FactorModel
from halfstep.models.bayesian import BayesianMF
from halfstep.models.explicit import ExplicitMF

__all__ = ["evaluate"]

_FOLDS = 5
_TEST = 0.1

_Split = Literal[
    "kfold",
    "random",
    "each-user",
    "time",
    "last",
    "leave-one-out",
    "cold-user",
    "cold-item",
    "users",
]


def evaluate(
    table: Annotated[Path, Parameter(help="The ratings: CSV, TSV, Parquet, JSON or a database.")],
    /,
    *,
    folds: Annotated[
        int | None, Parameter(converter=integer, help=f"Number of parts. [default: {_FOLDS}]")
    ] = None,
    split: Annotated[
        _Split,
        Parameter(
            help="What is held out: kfold, every rating once, in parts at random; or one part: random "
            "ratings; a share of each user's (each-user); all from a moment on (time); each user's last "
            "rating (last) or one at random "
            "(leave-one-out); all ratings of some users (cold-user) or items (cold-item); or of some "
            "users a fifth, the others folded in after the fit (users)."
        ),
    ] = "kfold",
    test: Annotated[
        float | None,
        Parameter(
            help=f"Share of the ratings, users or items to hold out in one part. [default: {_TEST}]"
        ),
    ] = None,
    cold: Annotated[
        Literal["users", "items"] | None,
        Parameter(
            help="What features are worth without ratings: hold all ratings of some users (items) out, "
            "in folds, and compare the model with features and without."
        ),
    ] = None,
    file_order: Annotated[
        bool,
        Parameter(
            negative="",
            show_default=False,
            help="Deal the rows into folds in the order of the file, as published protocols do "
            "(RandomState(seed).shuffle, contiguous parts: Surprise's KFold).",
        ),
    ] = False,
    clip: Annotated[
        bool, Parameter(help="Clip predictions to the scale of the training ratings.")
    ] = True,
    metrics: Annotated[
        str | None,
        Parameter(
            help="With --model or --implicit: metrics with commas between them, such as "
            "rmse,ndcg@10,recall@20; of a saved model each with an interval by resampling users. "
            "[default of interactions: ndcg@10,recall@20]",
            show_default=False,
        ),
    ] = None,
    relevant: Annotated[
        float | None,
        Parameter(
            help="The lowest held-out rating that counts as relevant in rankings. [default: any]",
            show_default=False,
        ),
    ] = None,
    model_file: Annotated[
        Path | None,
        Parameter(name="--model", help="Measure this saved model on the table; nothing is fitted."),
    ] = None,
    model: ModelOptions | None = None,
    bayes: BayesOptions | None = None,
    interactions: ImplicitOptions | None = None,
    known: FeatureOptions | None = None,
    reading: ReadingOptions | None = None,
    as_json: Json = False,
) -> None:
    """Measure the error: by cross-validation, or of a saved model.

    The ratings are cut into parts at random; for each part a model is fitted on all
    others and measured on it. The table shows every part, and the mean with its
    standard error. That says how well missing cells are filled in; --split asks
    other questions, such as how good the model is from tomorrow on. With --model, a
    model that `halfstep fit` wrote is measured on the ratings of the table instead.
    Models of interactions (--implicit) are measured by the lists that they make for
    the users of the test part, without what these have had before.

    For example:
        halfstep evaluate ratings.csv --folds 5 --rank 64
        halfstep evaluate ratings.csv --bayes --split time --test 0.2
        halfstep evaluate clicks.csv --implicit --split each-user --test 0.2
        halfstep evaluate ratings.csv --cold users --user-features users.csv
        halfstep evaluate new-ratings.csv --model movies.safetensors --metrics rmse,ndcg@10
    """
    out = Output(as_json)
    options, reader = model or ModelOptions(), reading or ReadingOptions()
    draws, features = bayes or BayesOptions(), known or FeatureOptions()
    implicit = interactions or ImplicitOptions()
    if model_file is None and implicit.implicit:
        from halfstep.cli.evaluate_implicit import fitted_and_measured, metric_names

        _refuse(cold is not None, "cold", cold, "implicit=True")
        _refuse(bool(draws.changed()), "bayes", True, "implicit=True")
        _refuse(features.given, "user_features", "…", "implicit=True")
        _refuse(relevant is not None, "relevant", relevant, "implicit=True")
        _refuse(not clip, "clip", clip, "implicit=True")
        if split == "kfold":
            _refuse(test is not None, "test", test, "split=kfold")
            check_integer("folds", _FOLDS if folds is None else folds, 2, example=_FOLDS)
        else:
            _refuse(folds is not None, "folds", folds, f"split={split}")
            _refuse(file_order, "file_order", True, f"split={split}")
            _refuse(test is not None and split in _ONE_EACH, "test", test, f"split={split}")
            check_share("test", _TEST if test is None else test)
        asked = implicit.model(options)
        metric_names(metrics)
        table_read = implicit.read(reader, table, keep_order=file_order)
        parts_of = None
        if split != "kfold":
            share = _TEST if test is None else test
            parts_of = _parts(table_read, split, share, asked.seed)
        out.document(
            fitted_and_measured(
                out,
                asked,
                table_read,
                _FOLDS if folds is None else folds,
                parts_of,
                _HELD_OUT[split] if split != "kfold" else "",
                "file" if file_order else "sorted",
                metrics,
            )
        )
        return
    implicit.refuse()
    if model_file is None:
        made = unfitted(options, draws, features.implicit_features)
        for name, value in (("metrics", metrics), ("relevant", relevant)):
            _refuse(value is not None, name, value, "fitting", "pass --model")
        if cold is not None:
            for name, value in (("split", None if split == "kfold" else split), ("test", test)):
                _refuse(value is not None, name, value, f"cold={cold}")
            _refuse(file_order, "file_order", True, f"cold={cold}")
            parts = _FOLDS if folds is None else folds
            check_integer("folds", parts, 2, example=_FOLDS)
            if not features.given:
                raise ParameterError(
                    "cold",
                    cold,
                    "compares a model with features and without, and there are none",
                    "pass --user-features or --item-features",
                )
            ratings = reader.read(table)
            hint_at_interactions(ratings)
            out.document(_cold(out, made, ratings, cold, parts, clip, features.read(ratings)))
            return
        if split == "kfold":
            _refuse(test is not None, "test", test, "split=kfold")
        else:
            _refuse(folds is not None, "folds", folds, f"split={split}")
            _refuse(file_order, "file_order", True, f"split={split}")
            _refuse(test is not None and split in _ONE_EACH, "test", test, f"split={split}")
            share = _TEST if test is None else test
            check_share("test", share)
            ratings = reader.read(table)
            hint_at_interactions(ratings)
            read = features.read(ratings)
            out.document(_one_split(out, made, ratings, split, share, clip, read))
            return
        parts = _FOLDS if folds is None else folds
        check_integer("folds", parts, 2, example=_FOLDS)
        ratings = reader.read(table, keep_order=file_order)
        hint_at_interactions(ratings)
        read = features.read(ratings)
        out.document(_cross_validation(out, made, ratings, parts, file_order, clip, read))
        return
    given = [
        *options.changed(),
        *(f"--{name.replace('_', '-')}" for name in draws.changed()),
        *(["--implicit"] if implicit.implicit else []),
        *(["--implicit-features"] if features.implicit_features else []),
    ]
    if cold is not None:
        given.append("--cold")
    if folds is not None:
        given.append("--folds")
    if file_order:
        given.append("--file-order")
    if split != "kfold":
        given.append("--split")
    if test is not None:
        given.append("--test")
    if given:
        raise ParameterError(
            "--model", str(model_file), f"is fitted already: {given[0]} has no effect", "drop one"
        )
    from halfstep.models.saving import load

    saved = features.told(load(model_file))
    if saved.learns == "interactions":
        from halfstep.cli.evaluate_implicit import measured_lists

        _refuse(relevant is not None, "relevant", relevant, "a model of interactions")
        _refuse(not clip, "clip", clip, "a model of interactions")
        out.document(
            measured_lists(out, saved, model_file, reader.read(table, duplicates="sum"), metrics)
        )
        return
    if metrics is not None:
        out.document(_measured(out, saved, model_file, reader.read(table), metrics, relevant, clip))
        return
    _refuse(relevant is not None, "relevant", relevant, "errors of ratings", "pass --metrics")
    out.document(_saved(out, saved, model_file, reader.read(table), clip))


# ------------------------------------------------------------- cross-validation

_FIGURES = (
    ("rank", "rank", ".0f"),
    ("rmse", "RMSE", ".4f"),
    ("mae", "MAE", ".4f"),
    ("train_rmse", "train RMSE", ".4f"),
    ("sweeps", "sweeps", ".0f"),
    ("fit_seconds", "fit s", ".2f"),
    ("predict_seconds", "predict s", ".3f"),
)


def _cross_validation(
    out: Output,
    model: Any,
    ratings: Ratings,
    folds: int,
    file_order: bool,
    clip: bool,
    known: dict[str, Any],
) -> dict[str, Any]:
    order = "file" if file_order else "sorted"
    seed = model.seed
    kind = "in the order of the file" if file_order else "at random"
    m, n = ratings.shape
    out.facts(
        [
            ("ratings", f"{len(ratings):,} of {m:,} users and {n:,} items"),
            ("folds", f"{folds}, dealt {kind}, seed {seed}"),
            *facts(known, ratings),
            ("model", _described(model)),
        ]
    )
    out.say()
    with _counting(out, folds) as told:
        found = cross_validate(
            model,
            ratings,
            folds,
            seed=seed,
            order="file" if file_order else "sorted",
            clip=clip,
            on_fold=told,
            **known,
        )
    rows = [
        [str(number), *(format(getattr(fold, name), form) for name, _, form in _FIGURES)]
        for number, fold in enumerate(found.folds, 1)
    ]
    for label, figure in (("mean", found.mean), ("±", found.standard_error)):
        rows.append([label, *(_digits(figure(name), form) for name, _, form in _FIGURES)])
    out.table(
        [Column("fold", right=True), *(Column(title, right=True) for _, title, _ in _FIGURES)], rows
    )
    out.say()
    out.say(f"{found} (± is the standard error{'' if clip else '; predictions not clipped'})")
    return {
        "command": "evaluate",
        "parameters": model.get_params(),
        "folds": folds,
        "order": order,
        "clip": clip,
        "seed": seed,
        "cross_validation": found.as_dict(),
    }


def _described(model: ExplicitMF | BayesianMF) -> str:
    """What is fitted; where something is to be chosen, that it is for every fit anew."""
    if isinstance(model, BayesianMF):
        chains = f" in {model.chains} chains" if model.chains > 1 else ""
        return f"Bayesian, rank {model.rank}, {model.chains * model.samples} draws{chains}"
    given = model._check()
    if not given.open:
        return f"rank {model.rank}, reg {model.reg} ({given.reg_scaling})"
    names = (("rank", model.rank), ("reg", model.reg))
    kept = [f"{name} {value}" for name, value in names if value != "auto"]
    chosen = [name for name, value in names if value == "auto"]
    return ", ".join([*kept, f"{' and '.join(chosen)} chosen on the training ratings of every fit"])


def _digits(value: float, form: str) -> str:
    return format(value, ".1f" if form == ".0f" else form)


def _counting(out: Output, folds: int) -> Any:
    """On a terminal, a line on the error stream that counts the folds."""
    from contextlib import contextmanager

    @contextmanager
    def shown() -> Any:
        if not watched(out):
            yield None
            return
        from rich.console import Console

        with Console(stderr=True).status(f"fold 1 of {folds}") as status:

            def told(done: int, fold: Fold | None = None) -> None:
                last = "" if fold is None else f": last RMSE {fold.rmse:.4f}"
                status.update(f"fold {min(done + 1, folds)} of {folds}{last}")

            yield told

    return shown()


# -------------------------------------------------------------------- one split

_ONE_EACH = ("last", "leave-one-out")
_HELD_OUT = {
    "random": "ratings at random",
    "each-user": "a share of each user's ratings, at random",
    "time": "all ratings from {moment} on",
    "last": "the last rating of each user",
    "leave-one-out": "one rating of each user, at random",
    "cold-user": "all ratings of some users",
    "cold-item": "all ratings of some items",
    "users": "a fifth of the ratings of some users; their others, {given:,}, folded in after the fit",
}


def _refuse(given: bool, name: str, value: object, why: str, remedy: str = "drop one") -> None:
    if given:
        raise ParameterError(name, value, f"has no effect with {why}", remedy)


def _parts(ratings: Ratings, split: _Split, test: float, seed: int) -> tuple[Ratings, ...]:
    match split:
        case "each-user":
            return split_each_user(ratings, test=test, seed=seed)
        case "time":
            return split_by_time(ratings, test=test)
        case "last":
            return split_last(ratings, seed=seed)
        case "leave-one-out":
            return split_leave_k_out(ratings, seed=seed)
        case "cold-user":
            return split_cold(ratings, "user", test=test, seed=seed)
        case "cold-item":
            return split_cold(ratings, "item", test=test, seed=seed)
        case "users":
            return split_users(ratings, test=test, seed=seed)
    return split_random(ratings, test=test, seed=seed)


def _one_split(
    out: Output,
    model: Any,
    ratings: Ratings,
    split: _Split,
    share: float,
    clip: bool,
    known_of: dict[str, Any],
) -> dict[str, Any]:
    parts: Any = _parts(ratings, split, share, model.seed)
    train, held_out = parts[0], parts[-1]
    given = len(parts.given) if isinstance(parts, UserSplit) else 0
    # what the model may know when it is asked; a user or item without any of it is answered by a mean
    known = ratings.select(~cells_of(ratings, held_out))
    new_users = int(np.count_nonzero(np.diff(known.by_user.indptr)[held_out.user_index()] == 0))
    new_items = int(np.count_nonzero(np.diff(known.by_item.indptr)[held_out.by_user.indices] == 0))
    m, n = ratings.shape
    moment = None if split != "time" or held_out.time is None else held_out.time.min()
    out.facts(
        [
            ("ratings", f"{len(ratings):,} of {m:,} users and {n:,} items"),
            ("held out", _HELD_OUT[split].format(moment=moment, given=given)),
            ("train", f"{len(train):,} ratings"),
            (
                "test",
                f"{len(held_out):,} ratings, {new_users:,} of users and {new_items:,} of items of "
                "which nothing else is known",
            ),
            *facts(known_of, ratings),
            ("model", f"{_described(model)}, seed {model.seed}"),
        ]
    )
    out.say()
    found = cross_validate(model, ratings, [parts], clip=clip, **known_of)
    (fold,) = found.folds
    baselines = baseline_rmse(known, held_out, clip=clip)
    out.table(
        [Column(title, right=True) for _, title, _ in _FIGURES],
        [[format(getattr(fold, name), form) for name, _, form in _FIGURES]],
    )
    out.say()
    told = ", ".join(f"{name} {value:.4f}" for name, value in baselines.items())
    out.say(f"{found}{'' if clip else ' (not clipped)'}; RMSE of baselines: {told}")
    return {
        "command": "evaluate",
        "parameters": model.get_params(),
        "split": split,
        "share": None if split in _ONE_EACH else share,
        "parts": {"train": len(train), "given": given, "test": len(held_out)},
        "unknown": {"users": new_users, "items": new_items},
        "clip": clip,
        "seed": model.seed,
        **found.as_dict()["mean"],
        "baseline_rmse": baselines,
    }


# ------------------------------------------------------------- nothing but features


def _cold(
    out: Output,
    model: Any,
    ratings: Ratings,
    cold: str,
    folds: int,
    clip: bool,
    known: dict[str, Any],
) -> dict[str, Any]:
    """Without ratings of their own: with features and without."""
    m, n = ratings.shape
    out.facts(
        [
            ("ratings", f"{len(ratings):,} of {m:,} users and {n:,} items"),
            ("held out", f"all ratings of some {cold}, in {folds} folds, seed {model.seed}"),
            *facts(known, ratings),
            ("model", _described(model)),
        ]
    )
    out.say()
    with _counting(out, folds) as told:
        found = compare_cold(
            model,
            ratings,
            "user" if cold == "users" else "item",
            folds,
            clip=clip,
            seed=model.seed,
            on_fold=told,
            **known,
        )
    out.lines(str(found))
    out.say()
    error = found.gain
    low, high = error.rmse_interval
    sense = "lower" if high < 0 else "raise" if low > 0 else "do not change"
    sure = "" if sense == "do not change" else f" by {abs(error.rmse):.4f}"
    out.say(
        f"For {cold} without ratings, features {sense} the RMSE{sure} "
        f"({100 * found.confidence:g} % interval of the difference {low:+.4f} to {high:+.4f}, "
        f"{found.units:,} {cold} resampled)."
    )
    return {
        "command": "evaluate",
        "parameters": model.get_params(),
        "cold": cold,
        "clip": clip,
        "seed": model.seed,
        **found.as_dict(),
    }


# ---------------------------------------------------------------- a saved model


def _saved(
    out: Output, model: FactorModel, path: Path, ratings: Ratings, clip: bool
) -> dict[str, Any]:
    begun = perf_counter()
    rmse, mae = model.rmse(ratings, clip=clip), model.mae(ratings, clip=clip)
    seconds = perf_counter() - begun
    unknown, trained = _known_to(model, ratings)
    out.facts(
        [
            ("model", str(path)),
            ("ratings", f"{len(ratings):,}"),
            ("RMSE", f"{rmse:.4f}"),
            ("MAE", f"{mae:.4f}"),
            ("unknown", f"{unknown:,} ratings have a user or item that the model does not know"),
        ]
    )
    _warn(out, trained)
    return {
        "command": "evaluate",
        "model": str(path),
        "ratings": len(ratings),
        "rmse": rmse,
        "mae": mae,
        "clip": clip,
        "unknown": unknown,
        "fitted_on": trained,
        "seconds": seconds,
    }


def _known_to(model: FactorModel, ratings: Ratings) -> tuple[int, int | None]:
    """How many ratings have a user or item that is unknown, and how many the model was fitted on."""
    users = model.factors_.user_ids.lookup(ratings.users.values)[ratings.user_index()]
    items = model.factors_.item_ids.lookup(ratings.items.values)[ratings.by_user.indices]
    unknown = int(np.count_nonzero((users < 0) | (items < 0)))
    return unknown, None if model.history_ is None else model._count_fitted(users, items)


def _warn(out: Output, trained: int | None) -> None:
    if trained and not out.as_json:
        note(
            f"{trained:,} of the ratings are of pairs that the model was fitted on: the error is too low"
        )


def _measured(
    out: Output,
    model: FactorModel,
    path: Path,
    ratings: Ratings,
    metrics: str,
    relevant: float | None,
    clip: bool,
) -> dict[str, Any]:
    """The metrics that were asked for, with their intervals."""
    names = [name.strip() for name in metrics.split(",") if name.strip()]
    found = measure(model, ratings, names, relevant=relevant, clip=clip)
    out.facts([("model", str(path)), ("ratings", f"{len(ratings):,}")])
    out.say()
    out.lines(str(found))
    _, trained = _known_to(model, ratings)
    _warn(out, trained)
    document = {"command": "evaluate", "model": str(path), **found.as_dict()}
    return {**document, "fitted_on": trained}
