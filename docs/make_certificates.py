"""The figures of docs/theory.md on certificates: MovieLens 100K, three tables on the terminal.

    HALFSTEP_DATA=/path/to/data python docs/make_certificates.py          some minutes

1. K = 5, 20 and 100, each with the λ that does best on 10 % held out, then fitted to all ratings: what
   the certificate says.
2. The gap of K = 100 after more and more sweeps of ALS, at λ = 15.
3. `rank="grow"` at λ = 15: the rank, the sweeps and the gap that it ends with.

λ is plain, λ_b = 3, float64.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import halfstep as hs

BIAS = 3.0
LAMBDAS = (5.0, 7.0, 9.0, 11.0, 13.0, 15.0, 18.0)


def model(rank: Any, reg: float, **changes: Any) -> hs.ExplicitMF:
    """An unfitted model of the page."""
    options = {"reg_scaling": "none", "dtype": "float64", "tol": 0.0, **changes}
    return hs.ExplicitMF(rank, reg=(reg, reg, BIAS), **options)


def verdicts(ratings: hs.Ratings) -> Table:
    """Table 1."""
    train, valid = hs.split_random(ratings, test=0.1, seed=0)
    table = Table("K", "λ", "held-out RMSE", "J", "gap", "σ/λ", "verdict")
    for rank in (5, 20, 100):
        errors = {
            reg: model(rank, reg, max_iter=100).fit(train, validation=valid).rmse(valid)
            for reg in LAMBDAS
        }
        reg = min(errors, key=errors.__getitem__)
        fitted = model(rank, reg, max_iter=600).fit(ratings)
        told = fitted.certificate()
        figures = (f"{told.objective:,.1f}", f"{told.gap:.2g}", f"{told.spectral_ratio:.4f}")
        table.add_row(str(rank), f"{reg:g}", f"{errors[reg]:.4f}", *figures, str(told))
    return table


def gaps(ratings: hs.Ratings) -> Table:
    """Table 2."""
    table = Table("sweeps", "J", "gap")
    fitted = None
    for sweeps, more in ((10, 10), (30, 20), (60, 30), (100, 40), (200, 100), (300, 100)):
        fitted = model(100, 15.0, max_iter=more).fit(ratings, init=fitted)
        told = fitted.certificate()
        table.add_row(str(sweeps), f"{told.objective:,.3f}", f"{told.gap:.2g}")
    return table


def grown(ratings: hs.Ratings) -> Table:
    """Table 3."""
    table = Table("tol", "dtype", "rank", "sweeps", "J", "gap")
    for tol, dtype in ((1e-4, "float32"), (1e-6, "float64")):
        fitted = model("grow", 15.0, tol=tol, max_iter=500, dtype=dtype).fit(ratings)
        told = fitted.certificate()
        figures = (f"{told.objective:,.3f}", f"{told.gap:.2g}")
        table.add_row(f"{tol:g}", dtype, str(fitted.rank_), str(fitted.n_iter_), *figures)
    return table


def main() -> None:
    path = Path(os.environ.get("HALFSTEP_DATA", "")) / "ml-100k" / "u.data"
    if not path.exists():
        sys.exit(f"{path} is not there: let HALFSTEP_DATA name the folder that holds ml-100k")
    ratings = hs.read_ratings(path)
    console = Console()
    for table in (verdicts, gaps, grown):
        console.print(table(ratings))


if __name__ == "__main__":
    main()
