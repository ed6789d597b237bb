"""The progress line of a long fit, on the terminal's error stream."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from halfstep.training import Listener, TraceRow

__all__ = ["fit_progress"]


@contextmanager
def fit_progress(max_iter: int) -> Iterator[list[Listener]]:
    """A bar over the sweeps with J and the errors of the last one; gone when the fit is done."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    with Progress(
        TextColumn("sweep {task.completed}/{task.total}"),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
        console=Console(stderr=True),
        transient=True,
    ) as bar:
        task = bar.add_task("", total=max_iter)

        def swept(row: TraceRow) -> None:
            text = f"J {row.objective:.6g}  train RMSE {row.train_rmse:.4f}"
            if row.validation_rmse is not None:
                text += f"  validation {row.validation_rmse:.4f}"
            bar.update(task, completed=row.sweep, description=text)

        yield [Listener(on_sweep=swept)]
