"""Folding in: factors of users that the fit has not seen, all in one call and one after the other.

    python benchmarks/foldin.py                    100,000 users of 20 interactions, 27,000 items, K = 64
    python benchmarks/foldin.py --test             seconds; checks the answers, means nothing else

A user alone is one call from a table of ids to factors. What ours folds in is the row of the fit.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from driver import Engine, available, check, main, parser, rounds
from instance import scaled, write_columns
from record import Figure

ENGINES = [
    Engine("halfstep", "halfstep_foldin.py"),
    Engine("implicit", "implicit_foldin.py", "peers", "implicit"),
]
NEAR = 1e-5


def measure(given: argparse.Namespace) -> list[Figure]:
    """The part's figures."""
    options: dict[str, Any] = {"rank": given.rank}
    if given.test:
        given.ratings = 30_000
        options = {"rank": 8, "users": 500, "singles": 20, "each": 5}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        count = write_columns(folder, scaled(given.ratings, items_power=0.0))
        runs = rounds(
            available(ENGINES, given.only),
            given.repeat,
            lambda engine: engine.run(folder, given.threads, **options),
        )
    found = []
    for name, results in runs.items():
        for result in results:
            if "off" in result:
                check(result["off"] <= NEAR, f"{name}: a folded row is off by {result['off']:.1e}")
        what: dict[str, Any] = {"part": "foldin", "engine": name}
        what |= {"version": results[0]["version"], "case": f"a model of {count:,} interactions"}
        what |= {"K": options["rank"], "threads": given.threads}
        rates = [rate for result in results for rate in result["users_per_second"]]
        alone = [seconds for result in results for seconds in result["one_user"]]
        found.append(Figure.of(rates, measure="all in one call", unit="users/s", **what))
        found.append(Figure.of(alone, measure="one user alone", unit="s", **what))
    return found


if __name__ == "__main__":
    made = parser(__doc__)
    made.add_argument("--ratings", type=int, default=2_000_000, help="of the model's table")
    made.add_argument("--rank", type=int, default=64, help="K")
    main(made, measure, "Folding in")
