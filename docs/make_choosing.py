"""The figures of docs/choosing.md: MovieLens 100K, a picture and two tables.

    HALFSTEP_DATA=/path/to/data python docs/make_choosing.py          a minute

1. pictures/surface.png: the held-out error of every setting that `select` tried.
2. The best of each rank, in the page between its marks.
3. The error on a test part of what is chosen, of the one-standard-error rule's choice, of a rank that is
   given, and of λ that are a quarter and four times the chosen one.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import halfstep as hs
from halfstep.report.picture import write_picture
from halfstep.report.sections.choice import surface_chart

PAGE = Path(__file__).parent / "choosing.md"
MARKS = "<!-- choosing: begin -->\n", "<!-- choosing: end -->"


def table(columns: list[str], rows: list[list[str]]) -> str:
    """A table of Markdown, numbers to the right."""
    lines = [columns, ["---", *["--:"] * (len(columns) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def by_rank(found: hs.Selection) -> str:
    """The best trial of each rank and scaling on the path, and the final ones."""
    rows = []
    for scaling in ("none", "count"):
        path = [t for t in found.trials if t.reg_scaling == scaling and not t.final]
        for rank in sorted({trial.rank for trial in path}):
            best = min((t for t in path if t.rank == rank), key=lambda t: t.rmse)
            final = [
                t for t in found.trials if t.final and (t.rank, t.reg_scaling) == (rank, scaling)
            ]
            told = f"{final[0].rmse:.4f} ± {final[0].standard_error:.4f}" if final else ""
            told += ", chosen" if found.chosen in final else ""
            rows.append(
                [
                    f"{rank}, {'per row' if scaling == 'none' else 'per rating'}",
                    f"{best.reg.user:.3g}",
                    f"{best.reg.bias:.3g}",
                    f"{best.rmse:.4f}",
                    told,
                ]
            )
    return table(
        ["K, λ", "λ", "λ_b", "on the path, one part", "as it would be fitted, three parts"], rows
    )


def measured(train: hs.Ratings, test: hs.Ratings) -> str:
    """Choices, and the error on ratings that no choice has seen."""
    found = hs.select(train)
    simple = hs.select(train, rule="one-standard-error")
    given = hs.select(train, model=hs.ExplicitMF(rank=8, reg="auto"))
    rows = []
    for name, selection, factor in (
        ("chosen", found, 1.0),
        ("by one standard error", simple, 1.0),
        ("K = 8 given", given, 1.0),
        ("chosen, λ / 4", found, 0.25),
        ("chosen, 4 λ", found, 4.0),
    ):
        reg = selection.chosen.reg
        changed = replace(reg, user=reg.user * factor, item=reg.item * factor)
        params = {**selection.parameters, "reg": (changed.user, changed.item, changed.bias)}
        model = hs.ExplicitMF(**params).fit(train)
        seconds = f"{selection.seconds:.1f} s" if factor == 1.0 else ""
        rows.append(
            [name, str(model.rank_), f"{changed.user:.3g}", f"{model.rmse(test):.4f}", seconds]
        )
    for name, error in hs.baseline_rmse(train, test).items():
        rows.append([name, "", "", f"{error:.4f}", ""])
    return table(["", "K", "λ", "RMSE on the test part", "selection"], rows)


def main() -> None:
    folder = os.environ.get("HALFSTEP_DATA")
    if not folder:
        sys.exit("HALFSTEP_DATA must name a folder with ml-100k/u.data")
    ratings = hs.read_ratings(Path(folder) / "ml-100k" / "u.data")
    train, test = hs.split_random(ratings, test=0.1, seed=0)
    found = hs.select(train)
    write_picture(surface_chart(found), PAGE.parent / "pictures" / "surface.png")
    told = f"{found.reason}\n\n{by_rank(found)}\n{measured(train, test)}"
    text = PAGE.read_text(encoding="utf-8")
    head, rest = text.split(MARKS[0])
    tail = rest.split(MARKS[1])[1]
    PAGE.write_text(f"{head}{MARKS[0]}{told}{MARKS[1]}{tail}", encoding="utf-8")
    print(told)


if __name__ == "__main__":
    main()
