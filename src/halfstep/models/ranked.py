"""`Ranked`: what `recommend` and `similar_…` return, a flat table in the order of the questions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from halfstep.backends.base import Array

__all__ = ["Ranked"]


@dataclass(frozen=True, slots=True)
class Ranked:
    """For every question (a user, an item) the best answers with their scores, best first.

    A question may have fewer answers than asked for; there is never a placeholder among them.

    Attributes
    ----------
    asked : array of ids, one per question
    found : array of ids, all answers one question after the other
    scores : array, one per answer
    offsets : array (questions + 1), int64
        The answers of question q are `found[offsets[q]:offsets[q + 1]]`.
    """

    asked: Array
    found: Array
    scores: Array
    offsets: Array
    asked_name: str = "user"
    found_name: str = "item"

    @classmethod
    def of(
        cls, asked: Array, index: Array, scores: Array, ids: Any, names: tuple[str, str]
    ) -> Ranked:
        """From (questions, n) row numbers and scores, −1 where there is no answer."""
        there = index >= 0
        offsets = np.concatenate([[0], np.cumsum(there.sum(axis=1))]).astype(np.int64)
        return cls(asked, ids.take(index[there]), scores[there], offsets, *names)

    def __len__(self) -> int:
        """The number of questions."""
        return len(self.asked)

    def __getitem__(self, question: Any) -> list[tuple[Any, float]]:
        """[(answer, score), …] of the question with that id."""
        places = np.flatnonzero(self.asked == question)
        if not len(places):
            raise KeyError(question)
        part = slice(int(self.offsets[places[0]]), int(self.offsets[places[0] + 1]))
        return list(zip(self.found[part].tolist(), self.scores[part].tolist(), strict=True))

    def __iter__(self) -> Iterator[tuple[Any, Any, float]]:
        """(asked, answer, score), all of them."""
        asked = np.repeat(self.asked, np.diff(self.offsets))
        return iter(zip(asked.tolist(), self.found.tolist(), self.scores.tolist(), strict=True))

    def to_dict(self) -> dict[str, Array]:
        """Columns (asked, rank from 1, found, score): ready for any DataFrame."""
        sizes = np.diff(self.offsets)
        rank = np.arange(len(self.found)) - np.repeat(self.offsets[:-1], sizes) + 1
        return {
            self.asked_name: np.repeat(self.asked, sizes),
            "rank": rank,
            ("similar_" if self.asked_name == self.found_name else "")
            + self.found_name: self.found,
            "score": self.scores,
        }

    def __repr__(self) -> str:
        return f"Ranked({len(self.asked)} {self.asked_name}s, {len(self.found)} {self.found_name}s)"
