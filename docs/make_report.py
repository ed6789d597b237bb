"""Write the report of simulated ratings, and the pictures of `docs/report.md` (needs halfstep[report]).

.venv/bin/python docs/make_report.py [FOLDER FOR THE WHOLE REPORT]
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import vl_convert

import halfstep as hs
from halfstep.report import write_report
from halfstep.report.sheet import sheet_of
from halfstep.report.write import Report, drawings

PICTURES = Path(__file__).with_name("pictures")


def report(folder: Path) -> Report:
    """Of a table with four true factors; validated, tested, and fitted again to everything."""
    ratings = hs.simulate(1500, 700, rank=4, ratings_per_user=60, seed=3).ratings
    titles = {item: f"Film {item}" for item in ratings.items.values.tolist()}
    train, valid, test = hs.split_random(ratings, valid=0.1, test=0.1, seed=0)
    first = hs.ExplicitMF(rank=8, reg=0.06).fit(train, validation=valid)
    final = hs.ExplicitMF(rank=8, reg=0.06, max_iter=first.best_iter_, tol=0.0).fit(ratings)
    path = folder / "report.html"
    return write_report(final, ratings, path, titles=titles, test=test, measured=first)


def main(folder: Path) -> None:
    made = report(folder)
    for name, wanted in (
        ("report-data", ("ratings",)),
        ("report-error", ("error", "axes")),
    ):
        part = replace(made, sections=tuple(s for s in made.sections if s.id in wanted))
        drawn = vl_convert.svg_to_png(sheet_of(part, drawings(part)), scale=1.0)
        (PICTURES / f"{name}.png").write_bytes(drawn)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(Path(folder))
