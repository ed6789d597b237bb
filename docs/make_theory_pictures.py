"""Draw the pictures of `docs/theory.md` from simulated ratings (needs matplotlib).

.venv/bin/python docs/make_theory_pictures.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import halfstep as hs

FOLDER = Path(__file__).with_name("pictures")
ORANGE, BLUE, PALE, INK = "#D55E00", "#0072B2", "#9CC9E3", "#333333"
REG = {"reg": (12.0, 12.0, 2.0), "reg_scaling": "none", "dtype": "float64"}


def instance() -> hs.Ratings:
    return hs.simulate(300, 200, rank=8, ratings_per_user=40, min_per_user=10, seed=4).ratings


def fit(ratings: hs.Ratings, **more: Any) -> hs.ExplicitMF:
    return hs.ExplicitMF(**{**REG, "max_iter": 3000, "tol": 1e-12, **more}).fit(ratings)


def convex(ratings: hs.Ratings, grown: hs.ExplicitMF) -> None:
    """J at convergence for several K and seeds, and the certified minimum."""
    ranks = sorted({*range(1, 13), *range(14, grown.rank_ + 7, 2)})
    figure, axes = plt.subplots(figsize=(8, 4.4), layout="constrained")
    least = grown.certificate().objective
    for seed, mark in ((0, "o"), (1, "x"), (2, "+")):
        found = [fit(ratings, rank=K, seed=seed).trace_[-1].objective for K in ranks]
        axes.plot(
            ranks, found, mark, color=BLUE, label="J of ALS, three seeds" if not seed else None
        )
    axes.axhline(least, color=ORANGE, linewidth=1.5, label="minimum over all ranks, certified")
    axes.axvline(grown.rank_, color=INK, linewidth=1, linestyle=":")
    ends = f'rank="grow" ends at {grown.rank_}'
    axes.text(grown.rank_ + 0.2, 0.5, ends, transform=axes.get_xaxis_transform(), color=INK)
    axes.set_xticks(range(0, ranks[-1] + 1, 2))
    axes.set_xlabel("K")
    axes.set_ylabel("J at convergence")
    axes.set_title(
        "From the rank of the convex solution on, every seed ends at the same J", loc="left"
    )
    axes.legend(frameon=False, loc="upper center")
    save(figure, "convex")


def identifiable(ratings: hs.Ratings) -> None:
    """The same fit from two seeds, before and after the canonical rotation."""
    K = fit(ratings, rank="grow", tol=1e-8).rank_
    random = [
        hs.ExplicitMF(**{**REG, "rank": K, "max_iter": 1500, "tol": 1e-13, "seed": seed}).fit(
            ratings
        )
        for seed in (0, 1)
    ]
    figure, panels = plt.subplots(1, 2, figsize=(8, 4.2), layout="constrained")
    pairs = (("as they come", random), ("canonical", [m.canonical() for m in random]))
    for axes, (title, models) in zip(panels, pairs, strict=True):
        for axis, colour in ((0, BLUE), (1, ORANGE), (2, PALE)):
            x, y = (m.factors_.item_factors[:, axis] for m in models)
            axes.plot(x, y, ".", color=colour, markersize=4, label=f"axis {axis + 1}")
        axes.axline((0, 0), slope=1, color=INK, linewidth=0.8)
        axes.set_aspect("equal", adjustable="datalim")
        axes.set_title(title, loc="left")
        axes.set_xlabel("item factors, one seed")
    panels[0].set_ylabel("item factors, another seed")
    panels[0].legend(frameon=False)
    save(figure, "identifiable")


def rank(ratings: hs.Ratings, grown: hs.ExplicitMF) -> None:
    """Singular values by K, and the way of a growing fit."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained")
    for K, colour, size in ((grown.rank_ + 6, ORANGE, 11), (10, PALE, 7), (4, BLUE, 4)):
        values = fit(ratings, rank=K).singular_values()
        places = np.arange(1, K + 1)
        left.semilogy(places, values, "o", color=colour, markersize=size, label=f"K = {K}")
    left.axvline(grown.rank_, color=INK, linewidth=1, linestyle=":")
    left.set_ylim(1e-4 * values[0], 2 * values[0])
    left.set_xticks(range(0, grown.rank_ + 7, 2))
    left.set_xlabel("axis")
    left.set_title("singular values of W Zᵀ", loc="left")
    left.legend(frameon=False)
    sweeps = [stage.sweep for stage in grown.growth_]
    right.semilogy(sweeps, [max(stage.gap, 1e-12) for stage in grown.growth_], ".-", color=ORANGE)
    before = 0
    for stage in grown.growth_:
        if stage.rank != before:
            right.annotate(
                f"K = {stage.rank}",
                (stage.sweep, stage.gap),
                xytext=(7, 0),
                textcoords="offset points",
                fontsize=8,
                color=INK,
            )
        before = stage.rank
    right.set_xlabel("sweep")
    right.set_title('rank="grow": certified gap, and K', loc="left")
    save(figure, "rank")


def save(figure: Any, name: str) -> None:
    FOLDER.mkdir(exist_ok=True)
    figure.savefig(FOLDER / f"{name}.png", dpi=100, metadata={"Software": None})
    plt.close(figure)


if __name__ == "__main__":
    table = instance()
    model = fit(table, rank="grow", tol=1e-7)
    print(model, model.rank_, model.n_iter_, model.stopped_, model.certificate())
    convex(table, model)
    identifiable(table)
    rank(table, model)
