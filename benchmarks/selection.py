"""Rank and λ chosen without being asked, beside a search of 200 trials by Optuna over the same model.

    HALFSTEP_DATA=/path/to/data python benchmarks/selection.py ml-100k ml-1m
    python benchmarks/selection.py --simulated     a budget of 60 seconds, 16 million ratings
    python benchmarks/selection.py --test          seconds; checks the answers, means nothing else

A tenth of the ratings is the test part, by `split_random`; both choose inside the other nine tenths, fit
what they chose to all of them, and are measured once. Optuna holds a tenth of those out, and searches
K (2 to 200), the scaling, and three λ in wide ranges, with TPE, as many sweeps and the same tolerance as
ours. Its median pruner is off: with it MovieLens 1M takes half the time and ends as well, but MovieLens
100K may end 0.2 % worse (`--prune`). K by orders of magnitude finds lower held-out errors than plain
integers. Seconds are those of choosing and fitting. The standard error of the difference is that of
1,000 bootstrap samples of the users.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from accuracy import FILES
from accuracy import write_columns as write_movielens
from driver import Engine, Failed, available, check, main, parser, rounds
from instance import scaled, write_columns
from record import Figure

SELECT = "halfstep_select.py"
OURS, OPTUNA = "halfstep, automatic", "Optuna, the same model"
LIMITED, UNLIMITED = "halfstep, budget of {:g} s", "halfstep, no budget"
AUTOMATIC = {"rank": "auto", "reg": "auto"}
MOST_LOSS, MOST_TIME = 0.003, 0.1
"""What is asserted of ours: RMSE above Optuna's, time of Optuna's."""
MOST_BUDGET, MOST_BUDGET_LOSS = 1.1, 0.01
"""What is asserted of a budget: time of what it says, RMSE above that without one."""


def bootstrap(errors: np.ndarray, others: np.ndarray, counts: np.ndarray) -> float:
    """The standard error of RMSE − RMSE from samples of the users, both of the same ones."""
    rng = np.random.default_rng(0)
    known = np.flatnonzero(counts)
    sums = np.stack([errors[known], others[known], counts[known].astype(np.float64)])
    differences = []
    for _ in range(1000):
        drawn = np.bincount(rng.integers(len(known), size=len(known)), minlength=len(known))
        first, second, ratings = (sums * drawn).sum(axis=1)
        differences.append(np.sqrt(first / ratings) - np.sqrt(second / ratings))
    return float(np.std(differences, ddof=1))


def told(engine: Engine, case: str, result: dict[str, Any]) -> None:
    """What an engine has chosen, for the reader at the terminal."""
    reg = ", ".join(f"{value:.3g}" for value in result["reg"])
    print(
        f"{case}: {engine.name}: K = {result['rank']}, λ = ({reg}) {result['scaling']}, "
        f"{result['sweeps']} sweeps: RMSE {result['rmse']:.5f} in {result['seconds']:.1f} s",
        file=sys.stderr,
        flush=True,
    )


def compare(
    engines: list[Engine], folder: Path, case: str, given: argparse.Namespace
) -> dict[str, list[dict[str, Any]]]:
    """What the engines gave for every test part, with the errors of the users."""
    runs: dict[str, list[dict[str, Any]]] = {engine.name: [] for engine in engines}
    for seed in range(given.seeds):

        def run(engine: Engine, seed: int = seed) -> dict[str, Any]:
            result = engine.run(folder, given.threads, seed=seed, errors="errors")
            result["errors"] = np.load(folder / "errors.npy")
            result["counts"] = np.load(folder / "counts.npy")
            again = float(np.sqrt(result["errors"].sum() / result["counts"].sum()))
            off = abs(again / result["rmse"] - 1)
            check(off < 1e-9, f"{engine.name} on {case}: RMSE {result['rmse']}, by user {again}")
            spread = result["spread"]
            check(result["rmse"] < spread, f"{engine.name} on {case}: no better than the mean")
            told(engine, case, result)
            return result

        for name, results in rounds(engines, given.repeat, run).items():
            runs[name] += results
    return runs


def figures_of(
    case: str, runs: dict[str, list[dict[str, Any]]], base: str, threads: int
) -> tuple[list[Figure], float, float]:
    """Figures of all; and of the first engine its mean RMSE above that of `base`, and its time."""
    found = []
    ours = next(iter(runs.values()))
    part = "selection" if base == OPTUNA else "budget"
    what: dict[str, Any] = {"part": part, "case": case, "threads": threads}
    for name, results in runs.items():
        named = what | {"engine": name, "version": results[0]["version"]}
        for measure, unit, values in (
            ("RMSE", "", [result["rmse"] for result in results]),
            ("chosen and fitted", "s", [result["seconds"] for result in results]),
            ("K chosen", "", [result["rank"] for result in results]),
            ("peak memory", "MB", [result["peak_rss"] / 1e6 for result in results]),
        ):
            found.append(Figure.of(values, measure=measure, unit=unit, **named))
    if base not in runs or len(runs) < 2:  # --only
        return found, 0.0, 0.0
    pairs = list(zip(ours, runs[base], strict=True))
    above = [own["rmse"] / other["rmse"] - 1 for own, other in pairs]
    errors = [
        bootstrap(own["errors"], other["errors"], own["counts"]) / other["rmse"]
        for own, other in pairs
    ]
    shares = [own["seconds"] / other["seconds"] for own, other in pairs]
    named = what | {"engine": next(iter(runs)), "version": ours[0]["version"]}
    for measure, values in (
        (f"RMSE above that of {base}", [100 * value for value in above]),
        ("its standard error", [100 * value for value in errors]),
        (f"time of that of {base}", [100 * value for value in shares]),
    ):
        found.append(Figure.of(values, measure=measure, unit="%", **named))
    return found, float(np.mean(above)), float(np.median(shares))


def against_optuna(given: argparse.Namespace) -> list[Figure]:
    """The settings that ours chooses beside those of Optuna's trials."""
    figures = []
    for data in ["simulated"] if given.test else given.data or list(FILES):
        searching = {"optuna": {"trials": given.trials, "prunes": given.prune}}
        engines = [
            Engine(OURS, SELECT, options={"params": given.automatic}),
            Engine(OPTUNA, SELECT, options=searching),
        ]
        with tempfile.TemporaryDirectory() as scratch:
            write_movielens(data, Path(scratch))
            runs = compare(available(engines, given.only), Path(scratch), data, given)
        case = f"{data}, {given.trials} trials"
        found, above, share = figures_of(case, runs, OPTUNA, given.threads)
        figures += found
        if given.picture and OPTUNA in runs:
            draw(case, runs, given.picture)
        if not given.test:
            message = f"{data}: RMSE {100 * above:.2f} % above that of Optuna"
            check(above <= MOST_LOSS, f"{message}, not {100 * MOST_LOSS} %")
            message = f"{data}: {100 * share:.1f} % of the time of Optuna"
            check(share <= MOST_TIME, f"{message}, not {100 * MOST_TIME:g} %")
    return figures


def within_budget(given: argparse.Namespace) -> list[Figure]:
    """A selection in so many seconds beside one that takes what it needs."""
    budget = given.budget
    limited = LIMITED.format(budget)
    engines = [
        Engine(limited, SELECT, options={"params": AUTOMATIC, "budget": budget}),
        Engine(UNLIMITED, SELECT, options={"params": AUTOMATIC, "budget": None}),
    ]
    with tempfile.TemporaryDirectory() as scratch:
        case = f"simulated, {write_columns(Path(scratch), scaled(given.ratings)):,} ratings"
        runs = compare(available(engines, given.only), Path(scratch), case, given)
    figures, above, _ = figures_of(case, runs, UNLIMITED, given.threads)
    for name, results in runs.items():
        chosen = [result["select"] for result in results]
        what = {"part": "budget", "case": case, "engine": name, "threads": given.threads}
        what["version"] = results[0]["version"]
        figures.append(Figure.of(chosen, measure="chosen", unit="s", **what))
        if name == limited and not given.test:
            longest = max(result["seconds"] for result in results)
            check(longest <= MOST_BUDGET * budget, f"{name}: took {longest:.1f} s")
    message = f"{limited}: RMSE {100 * above:.2f} % above that without"
    check(given.test or above <= MOST_BUDGET_LOSS, message)
    return figures


def measure(given: argparse.Namespace) -> list[Figure]:
    """The part's figures."""
    if unknown := [name for name in given.data if name not in FILES]:
        raise Failed(f"data={unknown[0]}: is not known; choose from {', '.join(FILES)}")
    if given.test:
        given.seeds, given.trials, given.ratings, given.budget = 1, 8, 50_000, 2.0
    if given.simulated:
        return within_budget(given)
    return against_optuna(given)


def draw(case: str, runs: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """K against λ = √(λ_w λ_z), coloured by the held-out RMSE, one panel an engine; the first test part.

    Only the product of λ_w and λ_z counts at an optimum without count scaling, and nearly so with it.
    Plain λ are divided by the mean number of ratings of a row, so that both scalings share an axis.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.lines import Line2D
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    shown = {name: results[0] for name, results in runs.items() if results[0].get("trials")}
    errors = [trial["rmse"] for result in shown.values() for trial in result["trials"]]
    low = min(errors)
    high = min(float(np.quantile(errors, 0.9)), 1.1 * low)
    markers = {"count": "o", "none": "s"}
    words = {"count": "λ times counts", "none": "λ plain"}
    legend = [
        Line2D([], [], color="#777777", marker=marker, linestyle="", label=words[scaling])
        for scaling, marker in markers.items()
    ]
    with pyplot.rc_context({"font.size": 11, "svg.hashsalt": "halfstep"}):
        picture, axes = pyplot.subplots(
            1,
            len(shown),
            figsize=(6.2 * len(shown), 5.0),
            layout="constrained",
            sharex=True,
            sharey=True,
            squeeze=False,
        )
        for place, (name, result) in zip(axes[0], shown.items(), strict=True):
            for scaling, marker in markers.items():
                trials = [trial for trial in result["trials"] if trial["scaling"] == scaling]
                points = place.scatter(
                    [trial["rank"] for trial in trials],
                    [level(trial["reg"], scaling, result) for trial in trials],
                    c=[trial["rmse"] for trial in trials],
                    marker=marker,
                    vmin=low,
                    vmax=high,
                    cmap="viridis_r",
                )
            chosen = place.scatter(
                [result["rank"]],
                [level(result["reg"], result["scaling"], result)],
                s=220,
                facecolors="none",
                edgecolors="#D55E00",
                linewidths=2.2,
                label="chosen",
            )
            place.set_title(
                f"{name}\n{len(result['trials'])} complete trials, {result['seconds']:.1f} s, "
                f"test RMSE {result['rmse']:.4f}",
                loc="left",
                fontsize=12,
            )
            place.set(xscale="log", yscale="log", xlabel="K")
            for axis in (place.xaxis, place.yaxis):
                axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
                axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
                axis.set_minor_formatter(NullFormatter())
            place.spines[["top", "right"]].set_visible(False)
        axes[0][0].set_ylabel(r"$\sqrt{\lambda_w \lambda_z}$, plain ones ÷ mean ratings of a row")
        picture.legend(
            handles=[*legend, chosen], loc="outside lower center", ncols=3, frameon=False
        )
        picture.colorbar(points, ax=axes[0], label="held-out RMSE", extend="max")
        picture.suptitle(case, fontsize=14, fontweight="bold")
        path.mkdir(parents=True, exist_ok=True)
        for ending in ("png", "svg"):
            picture.savefig(path / f"selection-{case.partition(',')[0]}.{ending}", dpi=160)
        pyplot.close(picture)


def level(reg: Sequence[float], scaling: str, result: dict[str, Any]) -> float:
    """√(λ_w λ_z) for one rating."""
    rows, columns = result["rows"]
    per_row = 1.0 if scaling == "count" else result["ratings"] / np.sqrt(rows * columns)
    return float(np.sqrt(reg[0] * reg[1]) / per_row)


if __name__ == "__main__":
    made = parser(__doc__)
    made.add_argument("data", nargs="*", help=f"{' and '.join(FILES)}, the default")
    made.add_argument("--seeds", type=int, default=3, help="test parts (default 3)")
    made.add_argument("--trials", type=int, default=200, help="of Optuna (default 200)")
    made.add_argument("--prune", action="store_true", help="Optuna with its median pruner")
    made.add_argument(
        "--automatic",
        type=json.loads,
        default=AUTOMATIC,
        help="ExplicitMF's parameters, a JSON object",
    )
    made.add_argument("--simulated", action="store_true", help="a budget, on simulated ratings")
    made.add_argument("--budget", type=float, default=60.0, help="seconds (default 60)")
    made.add_argument("--ratings", type=int, default=16_000_000, help="size of that instance")
    made.add_argument("--picture", type=Path, help="a folder for pictures of the trials")
    main(made, measure, "Rank and λ chosen")
