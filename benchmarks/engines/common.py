"""What every engine shares: reading the instance, memory, checking the answer, one JSON line.

Only numpy and the standard library, for engines run in different environments.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

System = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def arguments(description: str | None) -> argparse.Namespace:
    """`folder --threads N --options JSON`: how the drivers call an engine."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("folder", type=Path, help="where the instance's files lie")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--options", type=json.loads, default={}, help="a JSON object")
    return parser.parse_args()


def load(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The columns users, items, ratings."""
    return tuple(np.load(folder / f"{name}.npy") for name in ("users", "items", "ratings"))


def memory(field: str = "VmRSS") -> float:
    """What this process holds (VmRSS), or has held at the most (VmHWM), in bytes.

    `ru_maxrss` starts from the parent's memory where a process is started by vfork and exec; Linux
    tells the process's own in /proc. Elsewhere there is only the most.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith(f"{field}:"):
                return 1024.0 * int(line.split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak) * (1 if sys.platform == "darwin" else 1024)


def peak_rss() -> float:
    """The most memory this process has held so far, in bytes."""
    return memory("VmHWM")


def reset_peak() -> None:
    """Let `peak_rss` start again from what is held now, where Linux can."""
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")


def answer(**figures: Any) -> None:
    """Print the engine's one line."""
    print(json.dumps(figures), flush=True)


def digest(*arrays: np.ndarray) -> str:
    """The same bits have the same digest."""
    hashed = sha256()
    for array in arrays:
        hashed.update(np.ascontiguousarray(array).data)
    return hashed.hexdigest()


def timed(work: Callable[[], Any]) -> float:
    """Seconds of one call."""
    begun = perf_counter()
    work()
    return perf_counter() - begun


def sweeps_of_two_fits(fit: Callable[[int], Any], warmup: int, sweeps: int) -> list[float]:
    """Seconds of a sweep where a library tells no more than the seconds of a fit.

    Two fits that differ by `sweeps` sweeps share everything else: reading, transposing, starting.
    """
    short = timed(lambda: fit(warmup))
    return [(timed(lambda: fit(warmup + sweeps)) - short) / sweeps]


def ridge_regression(reg: float, mean: float = 0.0) -> System:
    """A and b of explicit ALS with λ scaled by the number of ratings."""

    def system(fixed: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        gram = fixed.T @ fixed + reg * len(values) * np.eye(fixed.shape[1])
        return gram, fixed.T @ (values - mean)

    return system


def worst_residual(
    indptr: np.ndarray,
    indices: np.ndarray,
    values: np.ndarray,
    fixed: np.ndarray,
    solved: np.ndarray,
    system: System,
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


def squared_error(
    users: np.ndarray,
    items: np.ndarray,
    ratings: np.ndarray,
    w: np.ndarray,
    z: np.ndarray,
    mean: float = 0.0,
) -> float:
    """Σ (r − μ − w·z)² over the rows, in float64 and in pieces."""
    total = 0.0
    for first in range(0, len(users), 1 << 18):
        part = slice(first, first + (1 << 18))
        fitted = np.einsum("rk,rk->r", w[users[part]], z[items[part]], dtype=np.float64)
        total += float(np.sum((ratings[part] - mean - fitted) ** 2))
    return total


def load_pairs(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """The columns users and items of interactions."""
    return np.load(folder / "users.npy"), np.load(folder / "items.npy")


def held_pairs(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Held-out interactions, users and items, and for each an item that the user has none with."""
    held = folder / "held"
    return (*load_pairs(held), np.load(held / "others.npy"))


def auc(
    pairs: tuple[np.ndarray, ...], w: np.ndarray, z: np.ndarray, bias: np.ndarray | None = None
) -> float:
    """The share of these (user, item, other item) with w·z + b in the right order, ties by half."""
    users, items, others = pairs
    right = 0.0
    for first in range(0, len(users), 1 << 18):
        part = slice(first, first + (1 << 18))
        i, j = items[part], others[part]
        gap = np.einsum("rk,rk->r", w[users[part]], z[i] - z[j], dtype=np.float64)
        if bias is not None:
            gap += bias[i] - bias[j]
        right += float(np.sum(gap > 0)) + 0.5 * float(np.sum(gap == 0))
    return right / len(users)


def five_folds(n: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(train, test) row numbers of the customary five folds, in the order that they are drawn."""
    order = np.arange(n)
    np.random.RandomState(0).shuffle(order)
    parts = np.array_split(order, 5)
    for test in range(5):
        yield np.concatenate(parts[:test] + parts[test + 1 :]), parts[test]


def parts(folder: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(train, test) row numbers: by the mask in test.npy where there is one, else the five folds."""
    mask = folder / "test.npy"
    if mask.exists():
        held = np.load(mask)
        yield np.flatnonzero(~held), np.flatnonzero(held)
    else:
        yield from five_folds(len(np.load(folder / "ratings.npy", mmap_mode="r")))
