"""Our sweep at several ranks: seconds, useful operations a second, operations a byte.

    python benchmarks/kernels.py                   16 million ratings, K = 10, 32, 64, 128
    python benchmarks/kernels.py --test            seconds; checks the answers, means nothing else

Bytes are those that a sweep reads and writes if no row of factors stays in a cache: index, value and
K factors of every rating on both sides, and the rows solved. What caches keep is read faster than the
memory of the machine gives it. The answers are checked as those of sweep.py are.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from driver import Failed, main, parser, rounds
from instance import scaled, write_columns
from record import Figure
from sweep import OURS, figures_of, operations, run_checked, same_bits


def bytes_moved(cells: int, rows: int, rank: int) -> float:
    """What an exact sweep moves in float32 without caches."""
    return 2.0 * cells * (8 + 4 * rank) + 4.0 * rows * rank


def measure(given: argparse.Namespace) -> list[Figure]:
    """The part's figures."""
    if given.only and given.only not in OURS.name:
        raise Failed(f"--only {given.only}: only {OURS.name} is measured here")
    if given.test:
        given.ratings, given.ranks, given.sweeps = 30_000, [4, 10], 3
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        case = f"{write_columns(folder, scaled(given.ratings)):,} ratings"
        for rank in given.ranks:
            options = {"rank": rank, "sweeps": given.sweeps}
            runs = rounds(
                [OURS],
                given.repeat,
                lambda e, o=options: run_checked(e, folder, given.threads, o),
            )
            first = runs[OURS.name][0]
            others, again = same_bits(OURS, folder, given.threads, options, first["bits"])
            found += figures_of("kernels", case, runs, rank, given.threads)
            found += figures_of("kernels", case, {OURS.name: [again]}, rank, others)
            work = operations(first["cells"], first["rows"], rank)
            found.append(
                Figure.of(
                    [work / bytes_moved(first["cells"], first["rows"], rank)],
                    part="kernels",
                    case=case,
                    engine=OURS.name,
                    version=first["version"],
                    K=rank,
                    threads=given.threads,
                    measure="operations a byte",
                    unit="FLOP/B",
                )
            )
    return found


if __name__ == "__main__":
    made = parser(__doc__)
    made.add_argument("--ratings", type=int, default=16_000_000, help="size of the instance")
    made.add_argument("--ranks", type=int, nargs="+", default=[10, 32, 64, 128], help="all K")
    made.add_argument("--sweeps", type=int, default=5, help="timed sweeps a round (default 5)")
    main(made, measure, "Our sweep by rank")
