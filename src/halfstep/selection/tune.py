"""`tune`: any parameters of any model, searched by Optuna (the extra `halfstep[tune]`).

Every trial is a setting of the parameters, a fit on the training part and one number, the metric on the
held-out part. The sampler (Bergstra, Bardenet, Bengio and Kégl 2011: tree-structured Parzen estimators)
proposes settings like those that did well; the pruner stops a fit whose held-out error after so many
sweeps is above the median of the earlier trials (Akiba et al. 2019, «Optuna»).
"""

from __future__ import annotations

import inspect
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from halfstep.checks import check_integer, is_number
from halfstep.data.pairs import as_ratings
from halfstep.data.ratings import Ratings
from halfstep.errors import (
    DataError,
    DivergedError,
    HalfstepError,
    ParameterError,
    SingularSystemError,
)
from halfstep.evaluation.splits import kfold, split_random
from halfstep.progress import tuning_progress
from halfstep.selection.space import Suggest, fresh, own_parameters, settings, suggestions
from halfstep.training import TraceRow

if TYPE_CHECKING:
    import optuna

__all__ = ["TuneResult", "tune"]

Metric = Literal["rmse", "mae", "score"] | Callable[[Any, Ratings], float]

_METHODS = {"rmse": "minimize", "mae": "minimize", "score": "maximize"}
_FAILURES = (DivergedError, SingularSystemError)
"""What a setting can do to a fit: the trial fails and the search goes on."""

_STARTUP = 10  # trials at random, before the sampler and the pruner judge by them
_WARMUP = 3  # sweeps that no fit is stopped in


@dataclass(frozen=True, slots=True)
class TuneResult:
    """The best setting, the model of it, and all that was tried.

    Attributes
    ----------
    params : dict
        The searched parameters as the model's constructor takes them: `type(model)(**params)`.
    value : float
        The metric of the best trial on the held-out ratings (with folds the mean over them).
    metric : str
    sweeps : int or None
        After how many sweeps the held-out error of the best trial was lowest (with folds their mean,
        rounded), where the model tells.
    model : fitted model, or None
        Fitted with `params` to all ratings; None with `refit=False` and after Ctrl-C.
    study : optuna.Study
        For Optuna's own pictures, importances and storage.
    stopped : {"trials", "timeout", "callback", "interrupted"}
    held_out : int
        Ratings that measured (with folds all of them, each once).
    folds : int
        Parts that were held out in turn; 1 is a single held-out part.
    seconds : float
        Of the search, without the refit.
    """

    params: dict[str, Any]
    value: float
    metric: str
    sweeps: int | None
    model: Any = field(repr=False)
    study: optuna.Study = field(repr=False)
    stopped: Literal["trials", "timeout", "callback", "interrupted"]
    held_out: int
    folds: int
    seconds: float

    def to_dict(self) -> dict[str, list[Any]]:
        """One list per column, one entry per trial: ready for any DataFrame.

        `trial`, `state` ("complete", "pruned" or "fail"), `value` (None where there is none; of a
        pruned trial the last one reported), `sweeps`, `seconds`, `error`, and the searched names.
        """
        trials = self.study.get_trials(deepcopy=False)
        names = list(dict.fromkeys(name for trial in trials for name in trial.params))
        columns: dict[str, list[Any]] = {
            "trial": [trial.number for trial in trials],
            "state": [trial.state.name.lower() for trial in trials],
            "value": [trial.value for trial in trials],
            "sweeps": [trial.user_attrs.get("sweeps") for trial in trials],
            "seconds": [trial.duration and trial.duration.total_seconds() for trial in trials],
            "error": [trial.user_attrs.get("error") for trial in trials],
        }
        return columns | {name: [trial.params.get(name) for trial in trials] for name in names}

    def count(self, state: Literal["complete", "pruned", "fail"]) -> int:
        """How many trials ended so."""
        return self.to_dict()["state"].count(state)

    def __str__(self) -> str:
        chosen = ", ".join(f"{name}={_short(value)}" for name, value in self.params.items())
        words = {"complete": "complete", "pruned": "pruned", "fail": "failed"}
        states = Counter(self.to_dict()["state"])
        ends = ", ".join(
            f"{states[state]} {word}" for state, word in words.items() if states[state]
        )
        where = f"{self.held_out:,} held-out ratings"
        where += f" in {self.folds} folds" if self.folds > 1 else ""
        return (
            f"{chosen}: {self.metric} {self.value:.4f} on {where}, the best of "
            f"{states.total()} trials ({ends}) in {self.seconds:.3g} s"
        )


def _short(value: Any) -> str:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, tuple):
        return f"({', '.join(map(_short, value))})"
    return repr(value)


def tune(
    model: Any,
    ratings: Any,
    space: Mapping[str, Any] | Callable[[optuna.Trial], Mapping[str, Any]],
    *,
    metric: Metric = "rmse",
    trials: int | None = 100,
    timeout: float | None = None,
    folds: int | None = None,
    valid: float | Ratings = 0.1,
    sampler: optuna.samplers.BaseSampler | None = None,
    pruner: optuna.pruners.BasePruner | None = None,
    seed: int = 0,
    callbacks: Sequence[Callable[[optuna.Study, optuna.trial.FrozenTrial], object]] = (),
    progress: bool = False,
    study: optuna.Study | None = None,
    refit: bool = True,
    **fit_options: Any,
) -> TuneResult:
    """Search any parameters of a model for the lowest held-out error.

    The same seed gives the same result, to the bit. A fit that diverges or meets a singular system is
    a failed trial; any other error ends the search. Ctrl-C ends it with the best so far, not refitted
    (`stopped == "interrupted"`), or before the first complete trial by `KeyboardInterrupt`.

    Parameters
    ----------
    model : a model
        It is not changed. It has `fit(ratings)` and the metric as a method, and `get_params` or its
        constructor's parameters as attributes. Where `fit` takes `validation=` and `callbacks=`, the
        held-out part is passed as `validation` (so that the fit keeps its best sweep), and the RMSE of
        every sweep goes to the pruner.
    ratings : Ratings, or a table with a rating column
    space : mapping or callable
        From names to what is tried: `(low, high)`, both ends included, integers where both are;
        `(low, high, "log")` for what spans orders of magnitude; a list of choices, of any kind; or an
        Optuna distribution. A name is that of a parameter, or with a dot a part of one: `reg.user`,
        `reg.item`, `reg.bias`; `solver.rate` of a solver object. A callable takes the trial and
        returns such names with their values, where ranges depend on choices.
    metric : {"rmse", "mae", "score"} or callable
        The model's method, or `metric(model, held_out)`, of which lower is better.
    trials : int or None
        How many; None is as many as `timeout` allows.
    timeout : float, optional
        Seconds after which no trial begins.
    folds : int, optional
        Hold out each of so many parts in turn (`kfold`) and take the mean; the pruner then judges the
        mean over the folds so far. `valid` is not used.
    valid : float or Ratings
        The share of the ratings that is held out at random, or the held-out ratings themselves.
    sampler, pruner : Optuna's
        By default `TPESampler(seed=seed)` and `MedianPruner`, which leaves the first ten trials and
        three sweeps alone. `optuna.pruners.NopPruner()` stops none.
    seed : int
        Of the sampler and of the parts. The model's own seed is its parameter.
    callbacks : sequence of callables
        Called as Optuna does, with the study and the trial that has ended; a true return value stops.
    progress : bool
        Show a progress line on the terminal.
    study : optuna.Study, optional
        Goes on with this one, with its sampler and its pruner (to keep it in a file: Optuna's
        `storage`). Its direction must be the metric's.
    refit : bool
        Whether a model with the best setting is fitted to all `ratings`, with as many sweeps as were
        best where the model counts them.
    fit_options
        More arguments of every fit, such as `user_features` and `item_features`.

    Returns
    -------
    TuneResult

    Raises
    ------
    ParameterError, DataError
        Of an argument, or of a setting that the model refuses; or no trial succeeded.
    HalfstepError
        Optuna is not installed.

    Examples
    --------
    >>> import halfstep as hs
    >>> ratings = hs.simulate(200, 100, rank=3, seed=0).ratings
    >>> found = hs.tune(
    ...     hs.ExplicitMF(), ratings, {"rank": (1, 8), "reg": (0.01, 1.0, "log")}, trials=15
    ... )
    >>> found.model.rank_ == found.params["rank"]
    True
    """
    optuna = _import_optuna()
    own_parameters(model)
    name, direction, measure = _metric(metric, model)
    _check_counts(trials, timeout, seed)
    if not isinstance(callbacks, Sequence) or not all(map(callable, callbacks)):
        raise ParameterError(
            "callbacks", callbacks, "must be a list of callables", "pass callbacks=[function]"
        )
    suggest = suggestions(space, model)
    whole = as_ratings(ratings)
    parts = _parts(whole, folds, valid, seed)
    watched = _watched(model)
    search = _Search(model, suggest, parts, measure, watched, name == "rmse", fit_options)
    _check_kinds(optuna, sampler, pruner, study)
    with _quiet(optuna):
        if study is None:
            warmup = _WARMUP if folds is None else 0
            study = optuna.create_study(
                direction=direction,
                sampler=sampler or optuna.samplers.TPESampler(seed=seed, n_startup_trials=_STARTUP),
                pruner=pruner or optuna.pruners.MedianPruner(_STARTUP, n_warmup_steps=warmup),
            )
        _check_study(study, direction, sampler, pruner)
        begun = perf_counter()
        stopped = _run(study, search, trials, timeout, callbacks, progress)
        seconds = perf_counter() - begun
    best = _best(study, space, timeout, stopped)
    params = settings(model, suggest(best))
    sweeps = best.user_attrs.get("sweeps")
    fitted = None
    if refit and stopped != "interrupted":
        try:
            fitted = _refitted(model, params, sweeps, search.watched)
            fitted.fit(whole, **fit_options)
        except KeyboardInterrupt:
            fitted, stopped = None, "interrupted"
    value = float(best.value)
    held_out = sum(len(part) for _, part in parts)
    return TuneResult(
        params, value, name, sweeps, fitted, study, stopped, held_out, len(parts), seconds
    )


@dataclass(slots=True)
class _Search:
    """The objective: called with a trial, it returns the metric."""

    model: Any
    suggest: Suggest
    parts: Sequence[tuple[Ratings, Ratings]]
    measure: Callable[[Any, Ratings], float]
    watched: bool  # whether fit takes validation and callbacks
    traced: bool  # whether the metric is the trace's
    options: Mapping[str, Any]  # of every fit

    def __call__(self, trial: optuna.Trial) -> float:
        from optuna import TrialPruned

        values: list[float] = []
        sweeps: list[int] = []
        params: Mapping[str, Any] = {}
        try:
            params = settings(self.model, self.suggest(trial))
            for train, part in self.parts:
                fitted = fresh(self.model, params)
                if self._pruned_fit(trial, fitted, train, part):
                    raise TrialPruned
                values.append(_number(self.measure(fitted, part)))
                if self.watched and hasattr(fitted, "best_iter_"):
                    sweeps.append(int(fitted.best_iter_))
                if len(self.parts) > 1:
                    trial.report(math.fsum(values) / len(values), len(values))
                    if len(values) < len(self.parts) and trial.should_prune():
                        raise TrialPruned
        except TrialPruned:
            raise
        except _FAILURES as failure:
            trial.set_user_attr("error", str(failure))
            raise
        except Exception as error:
            if params:
                error.add_note(f"in trial {trial.number}: {dict(params)}")
            raise
        if sweeps:
            trial.set_user_attr("sweeps", round(sum(sweeps) / len(sweeps)))
        value = math.fsum(values) / len(values)
        if math.isnan(value):
            trial.set_user_attr("error", "the metric is not a number")
        return value

    def _pruned_fit(self, trial: optuna.Trial, model: Any, train: Ratings, part: Ratings) -> bool:
        """Fit the model; whether the pruner stopped it."""
        if not self.watched:
            model.fit(train, **self.options)
            return False
        pruned = False

        def report(row: TraceRow) -> bool:
            nonlocal pruned
            if self.traced and len(self.parts) == 1 and row.validation_rmse is not None:
                trial.report(row.validation_rmse, row.sweep)
                pruned = trial.should_prune()
            return pruned

        model.fit(train, validation=part, callbacks=[report], **self.options)
        return pruned


def _run(
    study: optuna.Study,
    search: _Search,
    trials: int | None,
    timeout: float | None,
    callbacks: Sequence[Callable[[optuna.Study, optuna.trial.FrozenTrial], object]],
    progress: bool,
) -> Literal["trials", "timeout", "callback", "interrupted"]:
    """Optuna's loop, and why it ended."""
    done, asked_to_stop = 0, False

    def heard(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        nonlocal done, asked_to_stop
        done += 1
        verdicts = [callback(study, trial) for callback in callbacks]  # all of them are told
        if any(verdicts):
            asked_to_stop = True
            study.stop()

    begun = perf_counter()
    try:
        with tuning_progress(trials) if progress else nullcontext(None) as tell:
            study.optimize(
                search,
                n_trials=trials,
                timeout=timeout,
                catch=_FAILURES,
                callbacks=[heard, *([tell] if tell else [])],
            )
    except KeyboardInterrupt:
        return "interrupted"
    if done == trials and not asked_to_stop:
        return "trials"
    late = timeout is not None and perf_counter() - begun >= timeout
    return "timeout" if late and not asked_to_stop else "callback"


def _best(
    study: optuna.Study, space: Any, timeout: float | None, stopped: str
) -> optuna.trial.FrozenTrial:
    from optuna.trial import TrialState

    trials = study.get_trials(deepcopy=False)
    if any(trial.state is TrialState.COMPLETE for trial in trials):
        return study.best_trial
    if stopped == "interrupted":
        raise KeyboardInterrupt
    if not trials:
        raise ParameterError("timeout", timeout, "was over before the first trial", "raise it")
    errors = [trial.user_attrs["error"] for trial in trials if "error" in trial.user_attrs]
    last = f"; the last error: {errors[-1]}" if errors else ""
    raise ParameterError(
        "space",
        space,
        f"holds no setting that a trial ended with, of {len(trials)}{last}",
        "try other ranges, or a pruner that stops fewer",
    )


def _refitted(model: Any, params: Mapping[str, Any], sweeps: int | None, watched: bool) -> Any:
    """The model of the best setting, with as many sweeps as were best and no other end."""
    made = fresh(model, params)
    names = own_parameters(made)
    if watched and sweeps is not None and {"max_iter", "tol"} <= set(names):
        made = fresh(made, {"max_iter": sweeps, "tol": 0.0})
    return made


def _parts(
    ratings: Ratings, folds: int | None, valid: Any, seed: int
) -> list[tuple[Ratings, Ratings]]:
    """(fitted to, measured on), once or for each fold."""
    if folds is not None:
        if isinstance(valid, Ratings):
            raise ParameterError(
                "valid",
                valid,
                "cannot be had with folds, which hold out parts themselves",
                "pass one of the two",
            )
        return list(kfold(ratings, folds, seed=seed))
    if isinstance(valid, Ratings):
        if not len(valid):
            raise DataError("valid", valid, "holds no ratings", "hold out a larger part")
        return [(ratings, valid)]
    if not is_number(valid) or not 0 < valid < 1:
        raise ParameterError(
            "valid", valid, "must be a share between 0 and 1, or Ratings", "try valid=0.1"
        )
    train, part = split_random(ratings, test=float(valid), seed=seed)
    return [(train, part)]


def _metric(metric: Any, model: Any) -> tuple[str, str, Callable[[Any, Ratings], float]]:
    """Its name, its direction, and how to measure it."""
    if isinstance(metric, str) and metric in _METHODS:
        if not hasattr(model, metric):
            raise ParameterError(
                "metric",
                metric,
                f"is not a method of {type(model).__name__}",
                "give the model this method, or pass a function of the model and held-out ratings",
            )
        return metric, _METHODS[metric], lambda fitted, part: getattr(fitted, metric)(part)
    if callable(metric):
        return getattr(metric, "__name__", type(metric).__name__), "minimize", metric
    raise ParameterError(
        "metric",
        metric,
        "is not known",
        f"choose one of {', '.join(_METHODS)}, or pass a function of the model and held-out ratings",
    )


def _number(measured: Any) -> float:
    """What a metric has returned."""
    try:
        return float(measured)
    except (TypeError, ValueError):
        raise ParameterError(
            "metric", measured, "is what it returned; it must be a number", "return a float"
        ) from None


def _watched(model: Any) -> bool:
    taken = inspect.signature(model.fit).parameters
    return "validation" in taken and "callbacks" in taken


def _check_counts(trials: Any, timeout: Any, seed: Any) -> None:
    if trials is not None:
        check_integer("trials", trials, 1, example=100)
    elif timeout is None:
        raise ParameterError(
            "trials",
            None,
            "would never end without a timeout",
            "pass timeout in seconds, or trials",
        )
    if timeout is not None and not (is_number(timeout) and 0 < timeout < math.inf):
        raise ParameterError(
            "timeout", timeout, "must be a positive number of seconds", "try timeout=60"
        )
    check_integer("seed", seed, 0, 2**32 - 1, example=0)


def _check_kinds(optuna: Any, sampler: Any, pruner: Any, study: Any) -> None:
    for name, given, kind in (
        ("sampler", sampler, optuna.samplers.BaseSampler),
        ("pruner", pruner, optuna.pruners.BasePruner),
        ("study", study, optuna.Study),
    ):
        if given is not None and not isinstance(given, kind):
            raise ParameterError(
                name, given, f"must be Optuna's {kind.__name__}", "or leave it out"
            )


def _check_study(study: Any, direction: str, sampler: Any, pruner: Any) -> None:
    if [found.name.lower() for found in study.directions] != [direction]:
        raise ParameterError(
            "study",
            study.study_name,
            f"must {direction} one value, as the metric does",
            f'make it with optuna.create_study(direction="{direction}")',
        )
    for name, given, own in (("sampler", sampler, study.sampler), ("pruner", pruner, study.pruner)):
        if given is not None and given is not own:
            raise ParameterError(
                name, given, "is not that of the study", f"set study.{name} instead"
            )


def _import_optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise HalfstepError(
            "tune needs Optuna, which is not installed: pip install 'halfstep[tune]'"
        ) from None
    return optuna


@contextmanager
def _quiet(optuna: Any) -> Iterator[None]:
    """Optuna's log tells of every trial, and of a failed one its traceback; the result tells both."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
