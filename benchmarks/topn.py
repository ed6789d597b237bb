"""Top ten of every user without the items that they have rated, and the time of one request.

    python benchmarks/topn.py                      138,000 users, 27,000 items; 100,000 items; K = 64
    python benchmarks/topn.py --ratings 1000000    smaller
    python benchmarks/topn.py --test               seconds; checks the answers, means nothing else

All engines rank the same factors, those of a short fit. Checked: for 100 users the ten scores are
those of a sort in float64, for all users they are halfstep's to rounding, and halfstep's items and
scores have the same bits on one thread and on all. faiss excludes nothing and is held against
halfstep's kernel doing the same.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from driver import Engine, available, check, main, parser, rounds
from instance import scaled, write_columns
from record import Figure

import halfstep as hs

SEEN, ALL = "without seen items", "nothing excluded"
ENGINES = [
    (SEEN, Engine("halfstep, kernel", "halfstep_topn.py", options={"through": "backend"})),
    (SEEN, Engine("halfstep, model", "halfstep_topn.py", options={"through": "model"})),
    (SEEN, Engine("implicit", "implicit_topn.py", "peers", "implicit")),
    (SEEN, Engine("irspack", "irspack_topn.py", "peers", "irspack")),
    (
        ALL,
        Engine(
            "halfstep, kernel",
            "halfstep_topn.py",
            options={"through": "backend", "exclude": False},
        ),
    ),
    (ALL, Engine("faiss, IndexFlatIP", "faiss_topn.py", "peers", "faiss-cpu")),
]
N = 10
ROUNDING = 1e-4  # of the largest score


def write_factors(folder: Path, recipe: dict[str, Any], rank: int) -> tuple[int, int]:
    """The factors of a short fit as arrays and as a model; m and n."""
    write_columns(folder, recipe)
    columns = [np.load(folder / f"{name}.npy") for name in ("users", "items", "ratings")]
    ratings = hs.Ratings.from_arrays(*columns)
    del columns
    model = hs.ExplicitMF(rank=rank, reg=0.05, biases=False, max_iter=2, tol=0).fit(ratings)
    model.save(folder / "model.safetensors")
    np.save(folder / "users.npy", model.factors_.user_factors)
    np.save(folder / "items.npy", model.factors_.item_factors)
    np.save(folder / "seen_indptr.npy", ratings.by_user.indptr)
    np.save(folder / "seen_indices.npy", ratings.by_user.indices)
    return len(ratings.users), len(ratings.items)


def truth(folder: Path, rows: np.ndarray, case: str) -> np.ndarray:
    """The N best scores of these users, from the definition."""
    users, items = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("users", "items"))
    indptr, seen = np.load(folder / "seen_indptr.npy"), np.load(folder / "seen_indices.npy")
    items = np.asarray(items, dtype=np.float64)
    best = []
    for row in rows:
        scores = items @ users[row].astype(np.float64)
        if case == SEEN:
            scores[seen[indptr[row] : indptr[row + 1]]] = -np.inf
        best.append(np.sort(scores)[: -N - 1 : -1])
    return np.array(best)


def ask_all(
    given: argparse.Namespace, folder: Path, what: str, rows: np.ndarray, **options: Any
) -> list[Figure]:
    """Every engine on the factors in `folder`; `rows` are the users whose scores it gives."""
    found = []
    for case in (SEEN, ALL):
        engines = available([e for c, e in ENGINES if c == case], given.only)
        sample = np.linspace(0, len(rows) - 1, min(100, len(rows))).astype(int)
        exact = truth(folder, rows[sample], case)
        size = np.abs(exact).max()
        base: dict[str, np.ndarray] = {}

        def run(
            engine: Engine,
            threads: int = given.threads,
            sample: np.ndarray = sample,
            exact: np.ndarray = exact,
            size: float = size,
            base: dict[str, np.ndarray] = base,
        ) -> dict[str, Any]:
            figures = engine.run(folder, threads, n=N, out="scores.npy", **options)
            scores = np.load(folder / "scores.npy")
            off = np.abs(scores[sample] - exact).max() / size
            check(off < ROUNDING, f"{engine.name}: scores off by {off:.1e} from the definition")
            off = np.abs(scores - base.setdefault("scores", scores)).max() / size
            check(off < ROUNDING, f"{engine.name}: scores off by {off:.1e} from the others'")
            return figures

        runs = rounds(engines, given.repeat, run)
        for engine in engines:
            if engine.peer is None and not options.get("single"):
                others = 1 if given.threads > 1 else 2
                again = run(engine, others)
                same = again["bits"] == runs[engine.name][0]["bits"]
                check(
                    same, f"{engine.name}: other bits on {others} threads than on {given.threads}"
                )
        for name, results in runs.items():
            shared = {"part": "topn", "case": f"{what}, {case}", "engine": name}
            shared |= {"version": results[0]["version"], "threads": given.threads, "K": given.rank}
            seconds = [second for result in results for second in result["seconds"]]
            if options.get("single"):
                unit, measure, scale = "µs", "one user", 1e6
            else:
                unit, measure, scale = "s", "all users", 1.0
            found.append(
                Figure.of([scale * s for s in seconds], measure=measure, unit=unit, **shared)
            )
    return found


def measure(given: argparse.Namespace) -> list[Figure]:
    """The part's figures."""
    ratings, items, single = given.ratings, 100_000, 500
    if given.test:
        ratings, given.rank, items, single = 30_000, 8, 500, 20
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        m, n = write_factors(folder, scaled(ratings), given.rank)
        found = ask_all(
            given, folder, f"{m:,} users, {n:,} items", np.arange(m), repeat=given.calls
        )
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        # Few users and all items: a recipe with ten ratings an item.
        recipe = scaled(10 * items) | {"n_items": items, "popularity": 0.0}
        m, n = write_factors(folder, recipe, given.rank)
        rows = np.random.default_rng(0).choice(m, min(single, m), replace=False)
        found += ask_all(given, folder, f"{n:,} items", rows, single=single)
    return found


if __name__ == "__main__":
    made = parser(__doc__)
    made.add_argument("--ratings", type=int, default=16_000_000, help="size of the first instance")
    made.add_argument("--rank", type=int, default=64, help="K (default 64)")
    made.add_argument("--calls", type=int, default=5, help="timed calls a round (default 5)")
    main(made, measure, "The ten best items")
