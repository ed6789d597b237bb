"""Settings chosen inside a training part, fitted to all of it, measured once on the test part.

Options: `seed` of the split, and how the settings are chosen: by `params` of `ExplicitMF` (such as
rank="auto") and a `budget` in seconds, or by `optuna` ({"trials": …, "prunes": …}).
The squared error of every user goes to the file that `errors` names.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from time import perf_counter
from typing import Any

import numpy as np
from common import answer, arguments, load, peak_rss

import halfstep as hs

RANKS = (2, 200)
# λ of either scaling: a row has some hundred ratings.
REGS = {"count": (0.003, 1.0), "none": (0.3, 100.0)}
PARTS = ("user", "item", "bias")


def space(trial: Any) -> Mapping[str, Any]:
    """K, the scaling, and three λ in the ranges of that scaling, all of them by orders of magnitude."""
    scaling = trial.suggest_categorical("reg_scaling", list(REGS))
    reg = [trial.suggest_float(f"{scaling}.{p}", *REGS[scaling], log=True) for p in PARTS]
    rank = trial.suggest_int("rank", *RANKS, log=True)
    return {"rank": rank, "reg_scaling": scaling, "reg": tuple(reg)}


def by_params(
    train: hs.Ratings, params: Mapping[str, Any], budget: float | None = None
) -> tuple[Any, dict[str, Any]]:
    """`ExplicitMF` with these parameters, chosen automatically where they say so."""
    model = hs.ExplicitMF(**params).fit(train, budget=budget)
    return model, {} if model.selection_ is None else told(model.selection_)


def told(found: Any) -> dict[str, Any]:
    """The trials of a `Selection`, and the held-out error of its choice."""
    trials = [
        {
            "rank": trial.rank,
            "reg": [getattr(trial.reg, part) for part in PARTS],
            "scaling": trial.reg_scaling,
            "rmse": trial.rmse,
        }
        for trial in found.trials
    ]
    return {"trials": trials, "validation": found.chosen.rmse, "select": found.seconds}


def by_optuna(
    train: hs.Ratings, trials: int, prunes: bool, seed: int
) -> tuple[Any, dict[str, Any]]:
    """Optuna's TPE over the same model, with its median pruner or none; a tenth is held out."""
    from optuna.pruners import NopPruner

    pruner = None if prunes else NopPruner()
    found = hs.tune(hs.ExplicitMF(), train, space, trials=trials, pruner=pruner, seed=seed)
    tried = [
        {
            "rank": trial.params["rank"],
            "reg": [trial.params[f"{trial.params['reg_scaling']}.{part}"] for part in PARTS],
            "scaling": trial.params["reg_scaling"],
            "rmse": trial.value,
        }
        for trial in found.study.trials
        if trial.state.name == "COMPLETE"
    ]
    told = {"trials": tried, "validation": found.value, "version": version("optuna")}
    return found.model, told


def main() -> None:
    given = arguments(__doc__)
    options = given.options
    hs.set_num_threads(given.threads)
    ratings = hs.Ratings.from_arrays(*load(given.folder))
    train, test = hs.split_random(ratings, test=0.1, seed=options["seed"])
    begun = perf_counter()
    if "optuna" in options:
        model, found = by_optuna(train, **options["optuna"], seed=options["seed"])
    else:
        model, found = by_params(train, options["params"], options.get("budget"))
    seconds = perf_counter() - begun
    users, items, values = test.to_arrays()
    errors = (values - model.predict(users, items).astype(np.float64)) ** 2
    sums = np.bincount(test.user_index(), errors, minlength=test.shape[0])
    np.save(given.folder / options["errors"], sums)
    np.save(given.folder / "counts", np.diff(test.by_user.indptr))
    reg = model.objective_.reg
    answer(
        seconds=seconds,
        rmse=float(np.sqrt(np.mean(errors))),
        spread=float(np.std(values)),
        rank=model.rank_,
        reg=[getattr(reg, part) for part in PARTS],
        scaling=model.objective_.reg_scaling,
        sweeps=model.n_iter_,
        ratings=len(train),
        rows=list(train.shape),
        peak_rss=peak_rss(),
        **{"version": hs.__version__, **found},
    )


if __name__ == "__main__":
    main()
