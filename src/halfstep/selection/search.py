"""Where to look: line searches in λ and λ_b along a ladder of ranks, for either scaling.

At an optimum of J only λ = √(λ_w λ_z) and λ_b count: W → t W, Z → Z / t changes no prediction, and the
t that makes the penalty smallest leaves λ_w ‖W‖² + λ_z ‖Z‖² = 2 √(λ_w λ_z) ‖W‖ ‖Z‖. So λ_w = λ_z = λ,
and a setting is (K, λ, λ_b, scaling).

for each scaling
    K ← the first rank; λ from half of the level above which all factors are 0; λ_b = λ / 4, for
    ratings of spread 1 (λ is in units of the ratings, λ_b in none)
    lines in λ and in λ_b
while some scaling may still win
    K ← 2 K, the line in λ again from where it was best
around the best
    the ranks between, and the lines in λ_b and in λ once more with small steps

The held-out error of neighbours is measured on the same ratings, so that it is a smooth function of
log λ even where its own standard error is larger than the differences: a line search ends in the
vertex of a parabola.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from halfstep.objectives import Reg, Scaling
from halfstep.selection.trials import Setting, Trials

__all__ = ["Ladder", "Range", "Surface", "ascend", "explore", "refine"]


_WIDE, _STEP, _FINE = 1.0, 0.6, 0.35
"""Octaves of λ between the points of a line: at the beginning, at another rank, at the end."""
_BIAS_STEP = 1.5
_GAIN = 2e-4
"""A change of the error below this share of it is none."""
_MUCH = 1e-3
"""One of λ_b above it may have moved the best λ."""
_NEAR = 3e-3
"""What is so much worse than the best, relative, is not looked at more closely."""
_FAR = 1e-2
"""The same where λ is not yet the best one."""
_OTHER = 1.4  # times as high: another rank
_BIAS_SHARE = 0.25
_DEAR = 64
"""λ_b is followed at lower ranks than these, and at the first one that is tried."""
_MOST_STEPS = 12


@dataclass(frozen=True, slots=True)
class Range:
    """What may be chosen: the ranks, and whatever is fixed."""

    ranks: tuple[int, ...]
    reg: Reg | None
    scalings: tuple[Scaling, ...]
    biases: bool


@dataclass(slots=True)
class Ladder:
    """One scaling: where the best point of each rank lies, as (log₂ λ, log₂ λ_b)."""

    scaling: Scaling
    errors: dict[int, float] = field(default_factory=dict)
    points: dict[int, tuple[float, float]] = field(default_factory=dict)

    def put(self, rank: int, point: tuple[float, float], surface: Surface) -> None:
        """The best point of that rank, so far."""
        self.points[rank] = point
        self.errors[rank] = surface.error(rank, self.scaling, point)

    @property
    def rank(self) -> int:
        """That of the lowest error."""
        return min(self.errors, key=lambda rank: self.errors[rank])

    @property
    def error(self) -> float:
        return self.errors[self.rank]


class Surface:
    """The held-out error as a function of (K, log₂ λ, log₂ λ_b, scaling)."""

    def __init__(self, trials: Trials, fixed: Reg | None, biases: bool) -> None:
        self.trials, self.fixed, self.biases = trials, fixed, biases

    def setting(self, rank: int, scaling: Scaling, point: tuple[float, float]) -> Setting:
        if self.fixed is not None:
            return Setting(rank, self.fixed, scaling)
        # three digits: a setting can be read, and typed again
        level, bias = (float(f"{2.0**x:.3g}") for x in point)
        return Setting(rank, Reg(level, level, bias if self.biases else level), scaling)

    def error(self, rank: int, scaling: Scaling, point: tuple[float, float]) -> float:
        return self.trials.error(self.setting(rank, scaling, point))


def explore(
    surface: Surface, wanted: Range, levels: dict[Scaling, float], unit: float = 1.0
) -> list[Ladder]:
    """Try settings until nothing is to be gained; the ladders hold the best of each rank.

    `levels` is the λ of each scaling above which all factors are 0, `unit` the spread of the ratings
    (any of their order will do).
    """
    ladders = [Ladder(scaling) for scaling in wanted.scalings]
    first, last = wanted.ranks[0], wanted.ranks[-1]
    for ladder in ladders:
        level = math.log2(levels[ladder.scaling]) - 1.0
        start = (level, level + math.log2(_BIAS_SHARE / unit))
        _climb(surface, ladder, first, start, _WIDE, biases=True)
    for rank in wanted.ranks[1:]:
        going = [ladder for ladder in ladders if _may_win(ladder, ladders)]
        if not going:
            break
        for ladder in going:
            _climb(surface, ladder, rank, ladder.points[max(ladder.points)], _STEP)
    _probe(surface, _best(ladders), ladders, last, _FAR)
    return ladders


def ascend(surface: Surface, wanted: Range, before: list[Ladder]) -> list[Ladder]:
    """The same with more ratings, from what was learned with fewer.

    Few ratings hardly tell ranks apart, and more of them tell in favour of either side: a ladder
    begins again at the smallest rank that was not much worse, and the highest rank, where J is nearly
    convex, is a place of its own.
    """
    lowest, last = _best(before).error, wanted.ranks[-1]
    ladders: list[Ladder] = []
    for old in before:
        if old.error > lowest * (1 + _NEAR):
            continue
        ladder = Ladder(old.scaling)
        ladders.append(ladder)
        first = min(rank for rank, error in old.errors.items() if error <= lowest * (1 + _FAR))
        # with more ratings the best λ is lower, with more ranks higher
        _climb(surface, ladder, first, old.points[first], _STEP, down=True, biases=True)
        for rank in (rank for rank in wanted.ranks if rank >= _OTHER * first):
            _climb(surface, ladder, rank, ladder.points[max(ladder.points)], _STEP)
            if ladder.rank != rank or not _may_win(ladder, ladders):
                break
        if old.errors.get(last, math.inf) <= lowest * (1 + _NEAR):
            _probe(surface, ladder, ladders, last, _FAR / 2)
    return ladders


def _probe(surface: Surface, ladder: Ladder, ladders: list[Ladder], last: int, far: float) -> None:
    """The highest rank, far from all others, where its error with their λ is not far from the best."""
    if last in ladder.errors:
        return
    point = ladder.points[max(ladder.points)]
    if surface.error(last, ladder.scaling, point) <= _best(ladders).error * (1 + far):
        _climb(surface, ladder, last, point, _FINE)


def refine(surface: Surface, wanted: Range, ladders: list[Ladder]) -> None:
    """The ranks between those of the best ladder, and smaller steps at the best one of them."""
    ladder = _best(ladders)
    rank, tried = ladder.rank, sorted(ladder.errors)
    for other in _between(tried, rank, wanted.ranks[-1]):
        _climb(surface, ladder, other, ladder.points[rank], _FINE)
    if surface.fixed is not None or not surface.biases or ladder.rank > max(_DEAR, tried[0]):
        return
    rank, before = ladder.rank, ladder.error
    level, bias = ladder.points[rank]
    bias = _line(lambda y: surface.error(rank, ladder.scaling, (level, y)), bias, 2 * _FINE)
    ladder.put(rank, (level, bias), surface)
    if ladder.error < before * (1 - _MUCH):
        _climb(surface, ladder, rank, (level, bias), _FINE)


def _best(ladders: list[Ladder]) -> Ladder:
    return min(ladders, key=lambda ladder: ladder.error)


def _may_win(ladder: Ladder, ladders: list[Ladder]) -> bool:
    """Whether larger ranks of that scaling may have the lowest error.

    The gain of a doubling shrinks as K grows. Two doublings without gain end a ladder, and so does a
    distance to the best one that three gains as large as the last would not make up for.
    """
    errors = [ladder.errors[rank] for rank in sorted(ladder.errors)]
    lowest = min(other.error for other in ladders)
    if len(errors) < 2:
        return True
    gain = errors[-2] - errors[-1]
    if errors[-1] - 3 * max(gain, 0.0) > lowest * (1 + _GAIN):
        return False
    before = min(errors[:-2], default=math.inf)
    return min(errors[-2:]) < before * (1 - _GAIN) or errors[-1] < errors[-2] * (1 - _GAIN)


def _climb(
    surface: Surface,
    ladder: Ladder,
    rank: int,
    start: tuple[float, float],
    step: float,
    *,
    down: bool = False,
    biases: bool = False,
) -> None:
    """The best λ (and λ_b) of one rank, from a start."""
    scaling = ladder.scaling
    level, bias = start
    ratio = bias - level
    if surface.fixed is None:
        # λ_b moves with λ: both are shares of the same noise
        level = _line(lambda x: surface.error(rank, scaling, (x, x + ratio)), level, step, down)
        bias = level + ratio
        if biases and surface.biases:
            bias = _line(lambda y: surface.error(rank, scaling, (level, y)), bias, _BIAS_STEP)
    ladder.put(rank, (level, bias), surface)


def _between(tried: list[int], rank: int, last: int) -> list[int]:
    """The geometric means of the best rank and its neighbours; none at the highest, where J is nearly
    convex and the rank hardly matters."""
    if rank == last:
        return []
    place = tried.index(rank)
    neighbours = tried[max(place - 1, 0) : place] + tried[place + 1 : place + 2]
    found = [round(math.sqrt(neighbour * rank)) for neighbour in neighbours]
    return [middle for middle in found if middle not in tried]


def _line(error: Callable[[float], float], start: float, step: float, down: bool = False) -> float:
    """The lowest point of a smooth function of one variable, near `start`: march, then a parabola.

    It tries a larger value first, or with `down` a smaller one.
    """
    direction = -step if down else step
    points = {start: error(start), start + direction: error(start + direction)}
    if points[start + direction] < points[start]:
        here = start + direction
    else:
        here, direction = start, -direction
    for _ in range(_MOST_STEPS):
        there = here + direction
        points[there] = error(there)
        if not points[there] < points[here]:
            break
        here = there
    vertex, gain = _vertex(points, here)
    if gain > _GAIN * points[here]:
        points[vertex] = error(vertex)
    return min(points, key=lambda x: points[x])


def _vertex(points: dict[float, float], here: float) -> tuple[float, float]:
    """Where the parabola through the lowest point and its neighbours is lowest, and how much lower."""
    near = sorted(sorted(points, key=lambda x: abs(x - here))[:3])
    if not all(math.isfinite(points[x]) for x in near):
        return here, 0.0
    a, b, c = near
    left, right = (points[b] - points[a]) / (b - a), (points[c] - points[b]) / (c - b)
    bend = (right - left) / (c - a)  # Newton's divided differences
    if not bend > 0:
        return here, 0.0
    vertex = min(max(0.5 * (a + b - left / bend), a), c)
    value = points[a] + left * (vertex - a) + bend * (vertex - a) * (vertex - b)
    return vertex, points[here] - value
