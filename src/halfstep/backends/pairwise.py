"""Steps of ranking losses in float64, as the formulas say: the oracle of
`crates/kernels/src/ranking.rs`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from halfstep.backends.base import Array, Negatives, Parts, RankingRows, RankingTerms
from halfstep.backends.philox import philox

__all__ = ["RankingSteps", "drawn", "gradients"]

_SPARE = 31
"""Draws beyond those wanted before a cell goes without."""


def drawn(
    dealt: Parts, negatives: Negatives, u: int, i: int, parts: tuple[int, int], wanted: int
) -> Iterator[int]:
    """The negatives of cell (u, i), drawn from the item parts (g, h); see `Negatives`."""
    indptr, indices = negatives.positives
    positives = set(indices[indptr[u] : indptr[u + 1]].tolist())
    tag = 0 if negatives.anonymous else u
    draws = wanted + _SPARE
    counter = np.array([[d // 2, i, tag, negatives.epoch] for d in range(0, draws, 2)])
    words = philox(counter, (negatives.seed & 0xFFFFFFFF, negatives.seed >> 32)).reshape(-1, 2)
    for a, b in words[:draws].tolist():
        q = parts[0] if a < negatives.own[parts[0]] else parts[1]
        part = slice(int(dealt.cuts[q]), int(dealt.cuts[q + 1]))
        own = dealt.order[part]
        place = b * len(own) >> 32
        if negatives.ends is not None:
            ends = negatives.ends[part]
            place = min(int(np.searchsorted(ends, b, side="right")), len(own) - 1)
        j = int(own[place])
        if j not in positives:
            yield j


def gradients(loss: str, c: float, x_i: float, x: Array) -> tuple[float, Array, float]:
    """g_i, g_j for the negatives' x, and e, the weight of their penalty."""
    N = len(x)
    if loss == "logistic":
        return c * float(_sigmoid(np.array(-x_i))), -_sigmoid(x), 1.0
    if loss == "softmax":
        e = np.exp(np.append(x, x_i) - max(x_i, float(np.max(x))))
        g = -c * e[:-1] / np.sum(e)
        return -float(np.sum(g)), g, c / N
    g = -c / N * _sigmoid(x - x_i)
    return -float(np.sum(g)), g, c / N


class RankingSteps:
    """The arrays in float64, and one step after the other."""

    def __init__(
        self,
        dealt: Parts,
        negatives: Negatives,
        step: RankingTerms,
        users: RankingRows,
        items: RankingRows,
    ) -> None:
        self._dealt, self._negatives, self._step = dealt, negatives, step
        self._rows = users, items
        self._W, self._Z = (side.factors.astype(np.float64) for side in (users, items))
        n = len(items.factors)
        self._b = np.zeros(n) if items.bias is None else items.bias.astype(np.float64)
        self._G = tuple(
            np.ones(len(side.factors)) if side.sums is None else side.sums.astype(np.float64)
            for side in (users, items)
        )

    def take(self, u: int, i: int, c: float, g: int, h: int) -> bool:
        """The step of a cell of weight c, with negatives of parts g and h; whether there was
        one."""
        step, w = self._step, self._W[u].copy()
        x_i = self._x(w, i)
        found = self._chosen(u, i, (g, h), w, x_i)
        if found is None:
            return False
        others, L = found
        if step.loss == "warp":
            g_i, g_j, e = c * L, np.array([-c * L]), c
        else:
            x = np.array([self._x(w, j) for j in others])
            g_i, g_j, e = gradients(step.loss, c, x_i, x)
        λ_w, λ_z, λ_b = step.reg
        adaptive = self._rows[0].sums is not None
        direction = np.zeros_like(w)
        terms = [(i, g_i, c), *((j, float(g), e) for j, g in zip(others, g_j, strict=True))]
        for item, weight, share in terms:
            if weight == 0:
                continue
            direction += weight * self._Z[item]
            if step.items_fixed:
                continue
            η = step.rate / np.sqrt(self._G[1][item])
            self._Z[item] = (self._Z[item] + η * weight * w) / (1 + η * share * λ_z)
            if self._rows[1].bias is not None:
                self._b[item] = (self._b[item] + η * weight) / (1 + η * share * λ_b)
            if adaptive:
                self._G[1][item] += step.growth * weight**2 * np.mean(w**2)
        η = step.rate / np.sqrt(self._G[0][u])
        self._W[u] = (w + η * direction) / (1 + η * c * λ_w)
        if adaptive:
            self._G[0][u] += step.growth * np.mean(direction**2)
        return True

    def _chosen(
        self, u: int, i: int, parts: tuple[int, int], w: Array, x_i: float
    ) -> tuple[list[int], float] | None:
        """The negatives of a step and WARP's L_t, or None where there are none."""
        step = self._step
        if step.loss == "warp":
            looked = drawn(self._dealt, self._negatives, u, i, parts, len(step.ranks))
            for L, j in zip(step.ranks.tolist(), looked, strict=False):
                if self._x(w, j) > x_i - step.margin:
                    return [j], L
            return None
        N = self._negatives.count
        found = drawn(self._dealt, self._negatives, u, i, parts, N)
        others = [j for _, j in zip(range(N), found, strict=False)]
        if step.hard and others:
            others = [max(others, key=lambda j: self._x(w, j))]
        return (others, 1.0) if others else None

    def _x(self, w: Array, item: int) -> float:
        return float(np.sum(w * self._Z[item]) + self._b[item])

    def write(self) -> None:
        """Put the arrays back where they came from."""
        for side, factors, sums in zip(self._rows, (self._W, self._Z), self._G, strict=True):
            side.factors[...] = factors
            if side.sums is not None:
                side.sums[...] = sums
        bias = self._rows[1].bias
        if bias is not None:
            bias[...] = self._b


def _sigmoid(x: Array) -> Array:
    found: Array = 1 / (1 + np.exp(-x))
    return found
