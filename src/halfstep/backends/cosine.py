"""An epoch of the cosine contrastive loss in float64, as the formulas say: the oracle of
`crates/kernels/src/cosine.rs`."""

from __future__ import annotations

import numpy as np

from halfstep.backends.base import CSR, Array, CosineBlocks, CosineRows, CosineTerms

__all__ = ["cosine_epoch"]


def cosine_epoch(
    positives: CSR, blocks: CosineBlocks, step: CosineTerms, users: CosineRows, items: CosineRows
) -> None:
    """Block after block; see `Backend.cosine_epoch`."""
    W, Z = (side.factors.astype(np.float64) for side in (users, items))
    G_w, G_z = (side.sums.astype(np.float64) for side in (users, items))
    for first, drawn in zip(range(0, len(blocks.order), blocks.size), blocks.drawn, strict=True):
        block = blocks.order[first : first + blocks.size]
        g_w, g_z = np.zeros((len(block), W.shape[1])), np.zeros_like(Z)
        for place, u in enumerate(block.tolist()):
            cells = slice(int(positives.indptr[u]), int(positives.indptr[u + 1]))
            own = positives.indices[cells]
            c = np.ones(len(own))
            if positives.weights is not None:
                c = positives.weights[cells].astype(np.float64)
            near = drawn[(Z[drawn] @ W[u] > step.margin) & ~np.isin(drawn, own)]
            each = np.full(len(near), np.sum(c) * step.weight / len(drawn))
            pulled, weights = np.concatenate([own, near]), np.concatenate([-c, each])
            g_w[place] = weights @ Z[pulled]
            np.add.at(g_z, pulled, weights[:, None] * W[u])
        _turn(W, G_w, block, g_w, step.rates[0])
        if not step.items_fixed:
            _turn(Z, G_z, np.arange(len(Z)), g_z, step.rates[1])
    for side, factors, sums in ((users, W, G_w), (items, Z, G_z)):
        side.factors[...] = factors
        side.sums[...] = sums


def _turn(rows: Array, sums: Array, taken: Array, g: Array, rate: float) -> None:
    """Take the steps of these rows."""
    r = rows[taken]
    q = g - np.sum(g * r, axis=1)[:, None] * r
    squares = np.sum(q * q, axis=1)
    moved = squares > 0
    taken, r, q = taken[moved], r[moved], q[moved]
    sums[taken] += squares[moved]
    r = r - (rate / np.sqrt(sums[taken]))[:, None] * q
    rows[taken] = r / np.sqrt(np.sum(r * r, axis=1))[:, None]
