"""Draw `docs/pictures/effective_parameters.png`: effective parameters and errors over K and λ.

HALFSTEP_DATA=/path/to/data .venv/bin/python docs/make_effective_parameters.py

MovieLens 100K, plain λ, biases on. Effective parameters of a fit to all ratings, as a share of
them, beside the RMSE of that fit and that of five folds. Prints the table that it draws.
Needs matplotlib: pip install --group bench
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import halfstep as hs

RANKS = (5, 20, 50)
LAMBDAS = (6.0, 10.0, 15.0, 25.0)
PICTURE = Path(__file__).parent / "pictures" / "effective_parameters.png"
INK = {5: "#2a9d8f", 20: "#e9a03b", 50: "#b5397a"}


def measure(ratings: hs.Ratings, rank: int, reg: float) -> dict[str, float]:
    """Share of the ratings, its standard error, and the two errors."""
    model = hs.ExplicitMF(rank, reg=reg, reg_scaling="none", max_iter=200, tol=1e-6)
    validated = hs.cross_validate(model, ratings, folds=5, order="file", clip=False)
    model.fit(ratings)
    found = model.effective_parameters(probes=2)
    return {
        "share": found.share,
        "error": found.standard_error / len(ratings),
        "train": model.rmse(ratings),
        "validated": validated.mean("rmse"),
    }


def draw(table: dict[tuple[int, float], dict[str, float]]) -> None:
    """Two panels over λ: shares, and errors."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained")
    for rank in RANKS:
        rows = [table[rank, reg] for reg in LAMBDAS]
        style: dict[str, Any] = {"color": INK[rank], "marker": "o", "markersize": 4}
        shares, errors = [row["share"] for row in rows], [2 * row["error"] for row in rows]
        left.errorbar(LAMBDAS, shares, yerr=errors, capsize=3, label=f"K = {rank}", **style)
        right.plot(LAMBDAS, [row["validated"] for row in rows], **style)
        right.plot(LAMBDAS, [row["train"] for row in rows], linestyle="--", **style)
    left.set(ylabel="effective parameters, share of the ratings", ylim=(0, None))
    left.legend(frameon=False)
    right.set(ylabel="RMSE")
    right.plot([], [], color="0.3", label="five folds")
    right.plot([], [], color="0.3", linestyle="--", label="the ratings it was fitted on")
    right.legend(frameon=False)
    for axes in (left, right):
        axes.set_xlabel("λ (not scaled by counts)")
        axes.set_xticks(LAMBDAS)
        axes.spines[["top", "right"]].set_visible(False)
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, dpi=150)


def main() -> None:
    ratings = hs.read_ratings(
        Path(os.environ["HALFSTEP_DATA"]) / "ml-100k" / "u.data", keep_order=True
    )
    table = {}
    print("| K | λ | effective parameters ÷ ratings | RMSE, fitted | RMSE, five folds |")
    print("|---|---|---|---|---|")
    for rank in RANKS:
        for reg in LAMBDAS:
            table[rank, reg] = row = measure(ratings, rank, reg)
            share = f"{row['share']:.3f} ± {row['error']:.3f}"
            errors = f"{row['train']:.3f} | {row['validated']:.3f}"
            print(f"| {rank} | {reg:g} | {share} | {errors} |", flush=True)
    draw(table)


if __name__ == "__main__":
    main()
