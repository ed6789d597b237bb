"""The figures of docs/performance.md, from the record.

python benchmarks/tables.py            benchmarks/record → docs/performance.md, between its two marks
"""

from __future__ import annotations

from pathlib import Path

from driver import HERE
from record import Figure, ratios, read_rows

DOCS = HERE.parent / "docs" / "performance.md"
MARKS = "<!-- figures -->", "<!-- end of the figures -->"

# (title, part, measures)
TABLES = [
    ("A sweep, K = 64", "sweep", ["sweep", "useful operations", "peak memory"]),
    ("Our exact sweep by K", "kernels", ["sweep", "useful operations", "operations a byte"]),
    ("Seconds to within 0.1 % of the converged J", "objective", ["to 0.1% of the converged J"]),
    ("One objective, every solver", "solvers", ["above the smallest J", "gap", "fit"]),
    (
        "Stochastic gradient descent",
        "sgd",
        ["an epoch", "lowest held-out RMSE", "to LIBMF's best", "epochs to that"],
    ),
    (
        "Implicit ALS: seconds to within 0.1 % of the converged J",
        "implicit",
        ["to 0.1% of the converged J", "to 0.1% of the peers' lowest J", "sweep", "peak memory"],
    ),
    ("Users folded in", "foldin", ["all in one call", "one user alone"]),
    (
        "Bayesian personalized ranking",
        "ranking",
        ["an epoch", "highest AUC", "to implicit's best"],
    ),
    ("The ten best of 27,000 items, all users; one user", "topn", ["all users", "one user"]),
    ("Reading 14 million rows", "reading", ["read", "peak memory"]),
    (
        "Memory of a fit beyond the columns that it is given",
        "memory",
        ["beyond the columns", "of the bound"],
    ),
    ("As the data grow", "growth", ["sweep", "sweep, a rating"]),
    ("The shape of the Netflix prize", "netflix", ["sweep", "sweep, a rating", "peak memory"]),
    (
        "Rank and λ chosen, and 200 trials of Optuna",
        "selection",
        ["RMSE", "chosen and fitted", "K chosen"],
    ),
    ("Rank and λ chosen in a minute", "budget", ["RMSE", "chosen", "K chosen"]),
    ("MovieLens, five folds", "accuracy", ["RMSE", "a fold"]),
    (
        "Bayesian matrix factorization: a sweep, and the time to an error",
        "bayes",
        ["a sweep", "peak memory", "to an RMSE of 0.837", "lowest RMSE of the first fold"],
    ),
    ("Bayesian matrix factorization: errors", "bayes", ["RMSE", "MAE", "a part"]),
    (
        "Bayesian matrix factorization: how sure it is",
        "bayes",
        [*(f"covered by {level} % intervals" for level in (50, 80, 90, 95)), "log score"],
    ),
    ("The machine", "peak", ["float32 multiply-adds", "memory, read"]),
]


def number(value: float) -> str:
    """Three or four digits."""
    digits = 4 if abs(value) < 1 else 3
    text = f"{value:.{digits}g}"
    return f"{float(text):,.0f}" if abs(value) >= 100 else text


def lines(title: str, part: str, measures: list[str], figures: list[Figure]) -> list[str]:
    """One table, or nothing where the part was not run."""
    compared = zip(figures, ratios(figures), strict=True)
    chosen = [(f, ratio) for f, ratio in compared if f.part == part and f.measure in measures]
    if not chosen:
        return []
    found = [
        f"**{title}**",
        "",
        "| what | engine | K | threads | median | ÷ ours |",
        "|---|---|---|---|---|---|",
    ]
    for figure, ratio in sorted(chosen, key=lambda c: (measures.index(c[0].measure), c[0].case)):
        what = ", ".join(text for text in (figure.case, figure.measure) if text)
        value = f"{number(figure.value)} {figure.unit}".strip()
        cells = [what, figure.engine, figure.K or "", figure.threads, value]
        cells.append("" if ratio is None else f"{ratio:.2f}")
        found.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return [*found, ""]


def main() -> None:
    figures = [Figure.from_row(row) for row in read_rows(HERE / "record" / "figures.csv")]
    made = [line for table in TABLES for line in lines(*table, figures)]
    text = Path(DOCS).read_text()
    before, after = text.split(MARKS[0])[0], text.split(MARKS[1])[-1]
    DOCS.write_text(before + "\n".join([MARKS[0], "", *made, MARKS[1]]) + after)


if __name__ == "__main__":
    main()
