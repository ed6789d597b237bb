"""What the top-N engines share: the factors, what was seen, and how they are timed.

The folder holds users.npy (m × K), items.npy (n × K), and seen_indptr.npy, seen_indices.npy: the items
that each user has rated. Options: `n`; `repeat` calls after a warm-up; `single` asks for that many
users one at a time instead of for all of them; `out` names the file that the scores go to.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from common import answer, arguments, digest, peak_rss, timed

Ask = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


class Instance(NamedTuple):
    """What an engine ranks."""

    folder: Path
    users: np.ndarray
    items: np.ndarray
    indptr: np.ndarray
    indices: np.ndarray
    threads: int
    options: dict[str, Any]


def instance(description: str | None) -> Instance:
    """The instance that the driver asks for."""
    given = arguments(description)
    names = ("users", "items", "seen_indptr", "seen_indices")
    arrays = [np.load(given.folder / f"{name}.npy") for name in names]
    return Instance(given.folder, *arrays, given.threads, {"n": 10, "repeat": 1, **given.options})


def blocks(ask: Ask, size: int) -> Ask:
    """`ask` for so many users at a time."""

    def asked(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        parts = [ask(rows[first : first + size]) for first in range(0, len(rows), size)]
        return tuple(np.concatenate(column) for column in zip(*parts, strict=True))

    return asked


def run(given: Instance, ask: Ask, version: str) -> None:
    """Time `ask(row numbers of users)`, which gives (items, scores), and print the answer."""
    everyone = np.arange(len(given.users))
    if single := given.options.get("single"):
        rows = np.random.default_rng(0).choice(everyone, min(single, len(everyone)), replace=False)
        ask(rows[:1])
        seconds, parts = [], []
        for row in rows:
            begun = perf_counter()
            found = ask(row[None])
            seconds.append(perf_counter() - begun)
            parts.append(found)
        items, scores = (np.concatenate(column) for column in zip(*parts, strict=True))
    else:
        ask(everyone[:1000])
        seconds = []
        for _ in range(given.options["repeat"]):
            found = []
            seconds.append(timed(lambda found=found: found.append(ask(everyone))))
            items, scores = found[0]
    scores = np.ascontiguousarray(scores, dtype=np.float32)
    np.save(given.folder / given.options["out"], scores)
    items = np.ascontiguousarray(items, dtype=np.int64)
    answer(version=version, seconds=seconds, peak_rss=peak_rss(), bits=digest(items, scores))
