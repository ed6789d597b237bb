"""The table and the picture of docs/evaluating.md: MovieLens 100K, two models, every split.

    HALFSTEP_DATA=/path/to/data python docs/make_evaluating.py          a minute; needs matplotlib

Five seeds of every split that draws; five moments of those by time. The models are
`ExplicitMF(rank=32)` with its defaults and one with a plain λ; the baselines know what the models may
know when they are asked (of new users what is folded in too). Nothing is clipped. The figures of a split
are means over the seeds, ± their standard deviation.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from rich.console import Console
from rich.table import Table

import halfstep as hs
from halfstep.evaluation.splits.leaks import cells_of

FOLDER = Path(__file__).with_name("pictures")
ORANGE, BLUE, GREEN, INK = "#D55E00", "#0072B2", "#009E73", "#333333"
MODELS: dict[str, dict[str, Any]] = {
    "λ n_u": {},
    "plain λ": {"reg": (9.0, 9.0, 4.0), "reg_scaling": "none"},
}
COLOURS = {"biases only": BLUE, "λ n_u": ORANGE, "plain λ": GREEN}
SEEDS = range(5)
Parts = tuple[hs.Ratings, ...]


def by_seed(split: Callable[[int], Parts]) -> Callable[[], Iterable[Parts]]:
    return lambda: map(split, SEEDS)


def splits(r: hs.Ratings) -> dict[str, Callable[[], Iterable[Parts]]]:
    """Name → the parts, one after another."""
    return {
        "random": by_seed(lambda s: hs.split_random(r, seed=s)),
        "leave one out": by_seed(lambda s: hs.split_leave_k_out(r, seed=s)),
        "new users, 80 % given": by_seed(lambda s: hs.split_users(r, seed=s)),
        "new users, 5 given": by_seed(lambda s: hs.split_users(r, given=5, seed=s)),
        "last of each user": by_seed(lambda s: hs.split_last(r, seed=s)),
        "last 10 of each user": by_seed(lambda s: hs.split_last(r, 10, seed=s)),
        "time": lambda: hs.rolling_origin(r, 5, test=0.1),
        "cold users": by_seed(lambda s: hs.split_cold(r, "user", seed=s)),
        "cold items": by_seed(lambda s: hs.split_cold(r, "item", seed=s)),
    }


def measure(ratings: hs.Ratings, parts: Parts) -> dict[str, float]:
    """RMSE of the models and of the baselines; the share of the test part that is of new users."""
    train, test = parts[0], parts[-1]
    models = {name: hs.ExplicitMF(rank=32, **more).fit(train) for name, more in MODELS.items()}
    if isinstance(parts, hs.UserSplit):
        models = {name: m.with_rows(m.fold_in(parts.given)) for name, m in models.items()}
    left = ratings.select(~cells_of(ratings, test))
    known = left if isinstance(parts, hs.UserSplit) else train
    new = np.diff(known.by_user.indptr)[test.user_index()] == 0
    found = {
        "ratings": float(len(test)),
        "new users": float(new.mean()),
        **{name: model.rmse(test) for name, model in models.items()},
        **hs.baseline_rmse(known, test),
    }
    if 0 < new.mean() < 1:
        for whose, rows in (("new users", new), ("known users", ~new)):
            some = test.select(rows)
            for name, model in models.items():
                found[f"{name}, {whose}"] = model.rmse(some)
            found[f"biases only, {whose}"] = hs.baseline_rmse(known, some)["biases only"]
    return found


def drawn(found: dict[str, list[dict[str, float]]]) -> None:
    """The models and the biases under every split."""
    figure, axes = plt.subplots(figsize=(8, 4.8), layout="constrained")
    names = sorted(found, key=lambda name: -mean(found[name], "λ n_u"))
    for place, name in enumerate(names):
        ends = {who: mean(found[name], who) for who in COLOURS}
        axes.plot(list(ends.values()), [place] * len(ends), color=INK, linewidth=1, zorder=1)
        for who, colour in COLOURS.items():
            each = [row[who] for row in found[name]]
            axes.plot(each, [place - 0.28] * len(each), ".", color=colour, markersize=4, alpha=0.6)
            label = who if who == "biases only" else f"rank 32, {who}"
            mark = {"color": colour, "markersize": 9, "label": None if place else label}
            axes.plot(ends[who], place, "o", **mark)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("RMSE on the test part (small: each seed or moment)")
    axes.set_title("One table of ratings, nine questions", loc="left")
    axes.grid(axis="x", color="#DDDDDD", linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.legend(frameon=False, loc="upper right")
    FOLDER.mkdir(exist_ok=True)
    figure.savefig(FOLDER / "splits.png", dpi=100, metadata={"Software": None})
    plt.close(figure)


def mean(rows: list[dict[str, float]], name: str) -> float:
    return float(np.mean([row[name] for row in rows]))


def shown(rows: list[dict[str, float]], name: str) -> str:
    return f"{mean(rows, name):.4f} ± {np.std([row[name] for row in rows], ddof=1):.4f}"


def main() -> None:
    path = Path(os.environ.get("HALFSTEP_DATA", "")) / "ml-100k" / "u.data"
    if not path.exists():
        sys.exit(f"{path} is not there: let HALFSTEP_DATA name the folder that holds ml-100k")
    ratings = hs.read_ratings(path)
    console = Console(width=140)
    table = Table("split", "test", "new users", "mean", *COLOURS)
    found: dict[str, list[dict[str, float]]] = {}
    for name, parts in splits(ratings).items():
        rows = found[name] = [measure(ratings, each) for each in parts()]
        figures = [shown(rows, key) for key in ("global mean", *COLOURS)]
        share = f"{100 * mean(rows, 'new users'):.0f} %"
        size = f"{mean(rows, 'ratings'):,.0f}"
        table.add_row(name, size, share, *figures)
    console.print(table)
    for number, row in enumerate(found["time"], 1):
        console.print(f"moment {number}:", {key: round(value, 4) for key, value in row.items()})
    drawn(found)


if __name__ == "__main__":
    main()
