"""`halfstep evaluate`: cross-validation, or the error of a saved model."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter

from halfstep.backends.base import Array
from halfstep.cli.options import ModelOptions, ReadingOptions
from halfstep.cli.output import Column, Json, Output, note, watched
from halfstep.data.ratings import Ratings
from halfstep.errors import ParameterError
from halfstep.evaluation import cross_validate
from halfstep.evaluation.cross_validation import Fold
from halfstep.models.base import FactorModel

__all__ = ["evaluate"]

_FOLDS = 5


def evaluate(
    table: Annotated[Path, Parameter(help="The ratings: CSV, TSV, Parquet, JSON or a database.")],
    /,
    *,
    folds: Annotated[int | None, Parameter(help=f"Number of parts. [default: {_FOLDS}]")] = None,
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
    model_file: Annotated[
        Path | None,
        Parameter(name="--model", help="Measure this saved model on the table; nothing is fitted."),
    ] = None,
    model: ModelOptions | None = None,
    reading: ReadingOptions | None = None,
    as_json: Json = False,
) -> None:
    """Measure the error: by cross-validation, or of a saved model.

    The ratings are cut into parts at random; for each part a model is fitted on all
    others and measured on it. The table shows every part, and the mean with its
    standard error. With --model, a model that `halfstep fit` wrote is measured on
    the ratings of the table instead.

    For example:
        halfstep evaluate ratings.csv --folds 5 --rank 64
        halfstep evaluate new-ratings.csv --model movies.safetensors
    """
    out = Output(as_json)
    options, reader = model or ModelOptions(), reading or ReadingOptions()
    if model_file is None:
        unfitted = options.model()
        parts = _FOLDS if folds is None else folds
        if parts < 2:
            raise ParameterError("folds", parts, "must be at least 2", f"try folds={_FOLDS}")
        ratings = reader.read(table, keep_order=file_order)
        out.document(_cross_validation(out, unfitted, ratings, parts, file_order, clip))
        return
    given = options.changed()
    if folds is not None:
        given.append("--folds")
    if file_order:
        given.append("--file-order")
    if given:
        raise ParameterError(
            "--model", str(model_file), f"is fitted already: {given[0]} has no effect", "drop one"
        )
    from halfstep.models.saving import load

    saved = load(model_file)
    out.document(_saved(out, saved, model_file, reader.read(table), clip))


# ------------------------------------------------------------- cross-validation

_FIGURES = (
    ("rmse", "RMSE", ".4f"),
    ("mae", "MAE", ".4f"),
    ("train_rmse", "train RMSE", ".4f"),
    ("sweeps", "sweeps", ".0f"),
    ("fit_seconds", "fit s", ".2f"),
    ("predict_seconds", "predict s", ".3f"),
)


def _cross_validation(
    out: Output, model: Any, ratings: Ratings, folds: int, file_order: bool, clip: bool
) -> dict[str, Any]:
    order = "file" if file_order else "sorted"
    seed = model.seed
    kind = "in the order of the file" if file_order else "at random"
    m, n = ratings.shape
    out.facts(
        [
            ("ratings", f"{len(ratings):,} of {m:,} users and {n:,} items"),
            ("folds", f"{folds}, dealt {kind}, seed {seed}"),
            ("model", f"rank {model.rank}, reg {model.reg} ({model.reg_scaling})"),
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

            def told(done: int, fold: Fold) -> None:
                status.update(f"fold {min(done + 1, folds)} of {folds}: last RMSE {fold.rmse:.4f}")

            yield told

    return shown()


# ---------------------------------------------------------------- a saved model


def _saved(
    out: Output, model: FactorModel, path: Path, ratings: Ratings, clip: bool
) -> dict[str, Any]:
    begun = perf_counter()
    rmse, mae = model.rmse(ratings, clip=clip), model.mae(ratings, clip=clip)
    seconds = perf_counter() - begun
    users = model.factors_.user_ids.lookup(ratings.users.values)[ratings.user_index()]
    items = model.factors_.item_ids.lookup(ratings.items.values)[ratings.by_user.indices]
    unknown = int(np.count_nonzero((users < 0) | (items < 0)))
    trained = _trained(model, users, items)
    out.facts(
        [
            ("model", str(path)),
            ("ratings", f"{len(ratings):,}"),
            ("RMSE", f"{rmse:.4f}"),
            ("MAE", f"{mae:.4f}"),
            ("unknown", f"{unknown:,} ratings have a user or item that the model does not know"),
        ]
    )
    if trained and not out.as_json:
        note(
            f"{trained:,} of the ratings are of pairs that the model was fitted on: the error is too low"
        )
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


def _trained(model: FactorModel, users: Array, items: Array) -> int | None:
    """How many of these pairs are in the model's own history; None where it has none."""
    history = model.history_
    if history is None:
        return None
    n = len(model.factors_.item_ids)
    rows = np.repeat(np.arange(history.n_rows), np.diff(history.indptr))
    seen = rows * n + history.indices
    asked = users * n + items
    asked = asked[(users >= 0) & (items >= 0)]
    if not len(seen) or not len(asked):
        return 0
    place = np.minimum(np.searchsorted(seen, asked), len(seen) - 1)
    return int(np.count_nonzero(seen[place] == asked))
