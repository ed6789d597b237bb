"""The progress lines of long work, on the terminal's error stream."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from halfstep.selection.result import Trial
from halfstep.training import Listener, TraceRow
from halfstep.wording import metric_title

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["fit_progress", "trials_progress", "tuning_progress"]


@contextmanager
def fit_progress(max_iter: int, chains: int = 1) -> Iterator[list[Listener]]:
    """A bar over the sweeps with J and the errors of the last one; gone when the fit is done.

    `max_iter` are the sweeps of all chains together.
    """
    with _bar("sweep", max_iter) as bar:
        task = bar.add_task("", total=max_iter)

        def swept(row: TraceRow) -> None:
            text = f"J {row.objective:.6g}"
            if row.validation_score is None and not math.isnan(row.train_rmse):
                text += f"  train RMSE {row.train_rmse:.4f}"
            if row.validation_rmse is not None:
                text += f"  validation {row.validation_rmse:.4f}"
            if row.validation_score is not None:
                text += f"  validation score {row.validation_score:.4f}"
            if chains > 1:
                text = f"chain {(row.sweep - 1) * chains // max_iter + 1} of {chains}  {text}"
            bar.update(task, completed=row.sweep, description=text)

        yield [Listener(on_sweep=swept)]


@contextmanager
def trials_progress(shown: bool) -> Iterator[Callable[[Trial], None] | None]:
    """A line that counts the trials of a selection, with the last one; gone at the end."""
    if not shown:
        yield None
        return
    from rich.console import Console

    count = 0
    with Console(stderr=True).status("choosing rank and regularization") as status:

        def told(trial: Trial) -> None:
            nonlocal count
            count += 1
            told = f"trial {count}: rank {trial.rank}, "
            if trial.alpha0 is not None:
                told += f"alpha0 {trial.alpha0:g}, "
            told += f"reg {trial.reg.user:g} ({trial.reg_scaling}), {trial.ratings:,} ratings: "
            status.update(f"{told}{metric_title(trial.metric)} {trial.score:.4f}")

        yield told


@contextmanager
def tuning_progress(trials: int | None) -> Iterator[Callable[[Any, Any], None]]:
    """A callback of Optuna's that draws a bar over the trials with the best value so far."""
    with _bar("trial", trials) as bar:
        task = bar.add_task("", total=trials)

        def ended(study: Any, trial: Any) -> None:
            complete = any(t.state.name == "COMPLETE" for t in study.get_trials(deepcopy=False))
            text = f"best {study.best_value:.4f}" if complete else ""
            bar.update(task, advance=1, description=text)

        yield ended


def _bar(what: str, total: int | None) -> Progress:
    """A bar that counts, with the time and a description; it goes when it is done."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn(f"{what} {{task.completed}}" + ("" if total is None else "/{task.total}")),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
        console=Console(stderr=True),
        transient=True,
    )
