"""What every engine shares: reading the instance, peak memory, checking the answer, one JSON line.

Only numpy and the standard library, for engines run in different environments.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np


def arguments(description: str | None) -> argparse.Namespace:
    """`folder --threads N --options JSON`: how the drivers call an engine."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("folder", type=Path, help="where users.npy, items.npy, ratings.npy lie")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--options", type=json.loads, default={}, help="a JSON object")
    return parser.parse_args()


def load(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The columns users, items, ratings."""
    return tuple(np.load(folder / f"{name}.npy") for name in ("users", "items", "ratings"))


def peak_rss() -> float:
    """The most memory this process has held so far, in bytes.

    `ru_maxrss` starts from the parent's memory where a process is started by vfork and exec; Linux
    tells the process's own in /proc.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024.0 * int(line.split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak) * (1 if sys.platform == "darwin" else 1024)


def answer(**figures: Any) -> None:
    """Print the engine's one line."""
    print(json.dumps(figures), flush=True)


def worst_residual(
    indptr: np.ndarray,
    indices: np.ndarray,
    values: np.ndarray,
    fixed: np.ndarray,
    solved: np.ndarray,
    system: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
    rows: int = 300,
) -> float:
    """How far the solved rows are from their optimum: max ‖A x − b‖ / ‖b‖ over some rows.

    Computed in float64 from the definition. `system(F, v)` gives A and b of a row with fixed rows F
    and values v. An exact half-step in float32 is near 1e-6; an approximate one is not.
    """
    used = np.flatnonzero(np.diff(indptr))
    chosen = np.random.default_rng(0).choice(used, min(rows, len(used)), replace=False)
    chosen = np.append(chosen, np.argmax(np.diff(indptr)))
    worst = 0.0
    for row in chosen:
        cells = slice(indptr[row], indptr[row + 1])
        left, right = system(
            fixed[indices[cells]].astype(np.float64), values[cells].astype(np.float64)
        )
        gap = np.linalg.norm(left @ solved[row].astype(np.float64) - right)
        worst = max(worst, float(gap / np.linalg.norm(right)))
    return worst


def five_folds(n: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(train, test) row numbers of the customary five folds, in the order that they are drawn."""
    order = np.arange(n)
    np.random.RandomState(0).shuffle(order)
    parts = np.array_split(order, 5)
    for test in range(5):
        yield np.concatenate(parts[:test] + parts[test + 1 :]), parts[test]
