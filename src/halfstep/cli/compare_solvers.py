"""`halfstep compare-solvers`: the same start and the same objective, one solver after the other."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

from cyclopts import Parameter

from halfstep.cli.implicit import ImplicitOptions, hint_at_interactions
from halfstep.cli.options import GivenModelOptions, ReadingOptions, check_writable
from halfstep.cli.output import Column, Json, Output, duration, note, watched
from halfstep.data.ratings import Ratings
from halfstep.errors import DivergedError, ParameterError, SingularSystemError
from halfstep.evaluation import split_each_user, split_random
from halfstep.models.explicit import ExplicitMF
from halfstep.models.implicit import ImplicitMF
from halfstep.solvers import available_solvers, get_solver
from halfstep.training import TraceRow
from halfstep.wording import metric_title

__all__ = ["compare_solvers"]

_DEFAULT = ",".join(name for name in ("als", "sgd", "gd", "lbfgs") if name in available_solvers())
_DEFAULT_RANK = ExplicitMF().rank
_OF_LISTS = "als-cholesky,als-cg,als-subspace"


def compare_solvers(
    table: Annotated[Path, Parameter(help="The ratings: CSV, TSV, Parquet, JSON or a database.")],
    /,
    *,
    solvers: Annotated[
        str | None,
        Parameter(
            help=f"Names with commas between them, of {', '.join(available_solvers())}. "
            f"[default: {_DEFAULT}]",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        Parameter(
            name=["--output", "-o"],
            help="Draw the objective and the held-out figure against seconds: a PNG or SVG file.",
        ),
    ] = None,
    valid: Annotated[
        float, Parameter(help="Share of the table that only measures; 0 for none.")
    ] = 0.1,
    model: GivenModelOptions | None = None,
    interactions: ImplicitOptions | None = None,
    reading: ReadingOptions | None = None,
    as_json: Json = False,
) -> None:
    """Fit several solvers to one table, and compare what they reach, and when.

    All of them minimize the same objective from the same start on the same part of
    the ratings; the held-out part measures, and stops nothing. Seconds are those of
    the fit without the measuring. Ctrl-C shows what is finished.

    With --implicit the table holds interactions, and --metric of the lists for the
    held-out part is what is measured: by default als-cholesky, als-cg and als-subspace.

    For example:
        halfstep compare-solvers ratings.csv
        halfstep compare-solvers clicks.csv --implicit
        halfstep compare-solvers ratings.csv --solvers als,gd --rank 64 -o curves.png
    """
    out = Output(as_json)
    options, implicit = model or GivenModelOptions(), interactions or ImplicitOptions()
    unfitted: ExplicitMF | ImplicitMF
    if implicit.implicit:
        names = _names(_OF_LISTS if solvers is None else solvers, options)
        if implicit.alpha0 == "auto":
            raise ParameterError(
                "alpha0",
                "auto",
                "would give every solver an objective of its own",
                "try alpha0=0.1",
            )
        unfitted = implicit.model(options)
        for name in names:
            ImplicitMF(**{**unfitted.get_params(), "solver": name})._check()
    else:
        implicit.refuse()
        names = _names(_DEFAULT if solvers is None else solvers, options)
        unfitted = options.model()
    if not 0 <= valid < 1:
        raise ParameterError(
            "valid", valid, "must be a share of the ratings, in [0, 1)", "try valid=0.1"
        )
    if output is not None:
        from halfstep.report.picture import check_picture

        check_picture(output)
        check_writable(output, table)
    reader = reading or ReadingOptions()
    if implicit.implicit:
        ratings = implicit.read(reader, table)
    else:
        ratings = reader.read(table)
        hint_at_interactions(ratings)
    _Comparison(out, names, unfitted, valid, output).run(ratings)


def _names(text: str, options: GivenModelOptions) -> list[str]:
    """The solvers asked for, each known and each once."""
    if "--solver" in options.changed():
        raise ParameterError(
            "solver", options.solver, "has no effect here", f"try solvers={options.solver}"
        )
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names or len(set(names)) < len(names):
        raise ParameterError(
            "solvers", text, "must name each solver once", f"try solvers={_DEFAULT}"
        )
    rank = _DEFAULT_RANK if options.rank is None else options.rank
    if isinstance(rank, str):
        raise ParameterError(
            "rank", rank, "would give every solver a rank of its own", "try rank=32"
        )
    if options.reg == "auto":
        raise ParameterError(
            "reg", "auto", "would give every solver an objective of its own", "try reg=0.1"
        )
    for name in names:
        try:
            get_solver(name, rank, nonnegative=options.nonnegative)
        except ParameterError as error:
            remedy = error.remedy if error.argument == "solver" else f"try solvers={_DEFAULT}"
            raise ParameterError("solvers", name, error.rule, remedy) from None
    return names


@dataclass
class _Run:
    """One solver's fit, sweep by sweep as it goes on."""

    name: str
    rows: list[TraceRow] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    stopped: str = "interrupted"

    def fit(
        self, model: ExplicitMF | ImplicitMF, train: Ratings, valid: Ratings | None, progress: bool
    ) -> None:
        begun, measuring = perf_counter(), 0.0

        def swept(row: TraceRow) -> None:
            nonlocal measuring
            measuring += row.seconds["measure"]
            self.rows.append(row)
            self.seconds.append(perf_counter() - begun - measuring)

        try:
            model.fit(train, validation=valid, callbacks=[swept], progress=progress)
            self.stopped = model.stopped_
        except DivergedError:
            self.stopped = "diverged"
        except SingularSystemError:
            self.stopped = "singular"

    @property
    def failed(self) -> bool:
        return self.stopped in ("diverged", "singular") or not self.rows

    def as_dict(self, best: float) -> dict[str, Any]:
        last = self.rows[-1] if self.rows else None
        reached = None if last is None or self.failed else last
        return {
            "solver": self.name,
            "objective": reached and reached.objective,
            "above_best": None if reached is None else _above(reached.objective, best),
            "train_rmse": reached and reached.train_rmse,
            "heldout_rmse": reached and reached.validation_rmse,
            "heldout_score": reached and reached.validation_score,
            "seconds": self.seconds[-1] if self.seconds else 0.0,
            "sweeps": len(self.rows),
            "stopped": self.stopped,
            "trace": {
                "seconds": self.seconds,
                "objective": [row.objective for row in self.rows],
                "heldout_rmse": [row.validation_rmse for row in self.rows],
                "heldout_score": [row.validation_score for row in self.rows],
            },
        }


def _above(objective: float, best: float) -> float:
    """How far J is above the best, relative."""
    return (objective - best) / (abs(best) or 1.0)


@dataclass
class _Comparison:
    """All solvers on one split."""

    out: Output
    names: list[str]
    model: ExplicitMF | ImplicitMF
    valid: float
    path: Path | None

    def run(self, ratings: Ratings) -> None:
        train, valid = ratings, None
        if self.valid:
            split = split_random if self.model.learns == "ratings" else split_each_user
            train, valid = split(ratings, test=self.valid, seed=self.model.seed)
        self._head(ratings, train, valid)
        # what is loaded and laid out once in a process is no solver's time
        if "lbfgs" in self.names:
            import scipy.optimize  # noqa: F401
        type(self.model)(rank=1, max_iter=1).fit(train, validation=valid)
        runs: list[_Run] = []
        interrupted = False
        try:
            for name in self.names:
                runs.append(_Run(name))
                runs[-1].fit(self._fresh(name), train, valid, watched(self.out))
        except KeyboardInterrupt:
            interrupted = True
            if not any(run.rows for run in runs):
                raise
        best = min((r.rows[-1].objective for r in runs if not r.failed), default=math.nan)
        self._table(runs, best, valid is not None)
        document: dict[str, Any] = {
            "command": "compare-solvers",
            "data": ratings.summary().as_dict(),
            "parameters": {**self.model.get_params(), "solver": None},
            "split": {"train": len(train), "valid": len(valid) if valid else 0},
            "solvers": [run.as_dict(best) for run in runs],
            "interrupted": interrupted,
            "picture": self._draw(runs),
        }
        self.out.document(document)
        if best != best:  # none of them came to an end
            raise SystemExit(1)
        if interrupted:
            note("interrupted: the solvers after the last line were not run")
            raise SystemExit(130)

    def _fresh(self, name: str) -> ExplicitMF | ImplicitMF:
        """An unfitted model of the same start whose fit the held-out part does not stop."""
        params = self.model.get_params()
        return type(self.model)(**{**params, "solver": name, "patience": params["max_iter"] + 1})

    def _head(self, ratings: Ratings, train: Ratings, valid: Ratings | None) -> None:
        m, n = ratings.shape
        model = self.model
        held = f", {len(valid):,} held out" if valid else ""
        self.out.facts(
            [
                (model.learns, f"{len(ratings):,} of {m:,} users and {n:,} items"),
                ("fitted to", f"{len(train):,}{held}"),
                ("model", f"rank {model.rank}, reg {model.reg} ({model.reg_scaling})"),
                (
                    "stop",
                    f"after {model.max_iter} sweeps, or one that gains less than {model.tol:g}",
                ),
            ]
        )
        self.out.say()

    def _table(self, runs: list[_Run], best: float, held_out: bool) -> None:
        columns = [
            Column("solver"),
            Column("J", right=True),
            Column("above best", right=True),
            *([Column(self._figure, right=True)] if held_out else []),
            Column("seconds", right=True),
            Column("sweeps", right=True),
            Column("stopped"),
        ]
        self.out.table(columns, [self._line(run, best, held_out) for run in runs])

    @property
    def _figure(self) -> str:
        if isinstance(self.model, ImplicitMF):
            return metric_title(self.model.metric)
        return "held-out RMSE"

    def _line(self, run: _Run, best: float, held_out: bool) -> list[str]:
        J, above, error = "", "", ""
        if not run.failed:
            last = run.rows[-1]
            J = f"{last.objective:,.2f}"
            gap = _above(last.objective, best)
            above = "best" if gap == 0 else f"{gap:.1e}"
            loss = last.held_out_loss
            error = "" if loss is None else f"{abs(loss):.4f}"
        seconds = f"{run.seconds[-1]:.2f}" if run.seconds else ""
        shown = [run.name, J, above, *([error] if held_out else [])]
        return [*shown, seconds, str(len(run.rows)), _WHY.get(run.stopped, run.stopped)]

    def _draw(self, runs: list[_Run]) -> str | None:
        """The picture, where one was asked for and there is something to draw."""
        drawn = [run for run in runs if not run.failed]
        if self.path is None or not drawn:
            return None
        from halfstep.report.picture import write_picture
        from halfstep.report.traces import Curve, traces_chart

        curves = [
            Curve(
                run.name,
                run.seconds,
                [row.objective for row in run.rows],
                [abs(row.held_out_loss) for row in run.rows if row.held_out_loss is not None]
                or None,
            )
            for run in drawn
        ]
        longest = max(run.seconds[-1] for run in drawn)
        title = f"Solvers of one objective, rank {self.model.rank}, up to {duration(longest)}"
        write_picture(traces_chart(curves, title, self._figure), self.path)
        self.out.say()
        self.out.facts([("drawn", str(self.path))])
        return str(self.path)


_WHY = {
    "converged": "converged",
    "max_iter": "most sweeps",
}
