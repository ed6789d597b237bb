"""Which of the equivalent factors: canonical axes, and the axes of another model.

W Q and Z Q predict what W and Z predict for every orthogonal K × K matrix Q, and J is the same: its
penalties are sums of squared row lengths. That is the only freedom that the penalties leave, and
this module uses it.

Everything is done in float64 without BLAS on long arrays, so that the bits do not depend on the
number of threads; LAPACK sees K × K matrices only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from halfstep.backends.base import Array
from halfstep.errors import DataError

if TYPE_CHECKING:
    from halfstep.factors import Factors

__all__ = ["Aligned", "Canonical", "align", "canonical", "scaled", "singular_values"]

_TIED = 1e-6  # entries so near to the largest of their column count as equally large
_CHUNK = 1 << 14  # rows that are rotated at once


@dataclass(frozen=True, slots=True)
class Canonical:
    """Factors in canonical axes.

    Attributes
    ----------
    factors : Factors
        W Q, Z Q, and everything else as it was.
    rotation : array (K, K), float64
        Q, orthogonal.
    departure : float
        ‖off-diagonal of QᵀWᵀS_w W Q‖_F / ‖WᵀS_w W‖_F, in [0, 1]: 0 at every stationary point of J,
        so what is left of it measures how far the fit is from one (and 0 where W is 0).
    """

    factors: Factors
    rotation: Array
    departure: float


@dataclass(frozen=True, slots=True)
class Aligned:
    """Factors in the axes of others.

    Attributes
    ----------
    factors : Factors
        W Q, Z Q, of the larger of both ranks.
    rotation : array (K, rank of `factors`), float64
        Q with Q Qᵀ = I.
    distance : float
        √(‖W Q − W'‖² + ‖Z Q − Z'‖²) / √(‖W'‖² + ‖Z'‖²) over the rows that both know; 0 where they
        are the same, about 1.4 where they have nothing in common.
    """

    factors: Factors
    rotation: Array
    distance: float


def canonical(factors: Factors, user_scale: Array | None, item_scale: Array | None) -> Canonical:
    """See `Factors.canonical`."""
    gram = _gram(scaled(factors.item_factors, item_scale))
    rotation = np.linalg.eigh(gram)[1][:, ::-1]  # eigenvalues ascend
    turned = _rotated(factors.item_factors.astype(np.float64), rotation)
    rotation = np.ascontiguousarray(rotation * _signs(turned))
    result = factors.rotated(rotation)
    users = _gram(scaled(result.user_factors, user_scale))
    size = _norm(users)
    departure = _norm(users - np.diag(np.diag(users))) / size if size else 0.0
    return Canonical(result, rotation, departure)


def singular_values(factors: Factors, user_scale: Array | None, item_scale: Array | None) -> Array:
    """See `Factors.singular_values`."""
    users: Array = np.linalg.qr(scaled(factors.user_factors, user_scale))[1]
    items: Array = np.linalg.qr(scaled(factors.item_factors, item_scale))[1]
    values: Array = np.linalg.svd(users @ items.T, compute_uv=False)
    return values


def align(factors: Factors, other: Factors) -> Aligned:
    """See `Factors.align`."""
    rank = max(factors.rank, other.rank)
    cross = np.zeros((factors.rank, rank))
    pairs: list[tuple[Array, Array]] = []
    for ids, theirs, ours, target in (
        (factors.user_ids, other.user_ids, factors.user_factors, other.user_factors),
        (factors.item_ids, other.item_ids, factors.item_factors, other.item_factors),
    ):
        rows = theirs.lookup(ids.values)
        mine = ours[rows >= 0].astype(np.float64)
        wanted = np.zeros((len(mine), rank))
        wanted[:, : other.rank] = target[rows[rows >= 0]]
        cross += np.einsum("rk,rl->kl", mine, wanted)
        pairs.append((mine, wanted))
    if not any(len(mine) for mine, _ in pairs):
        raise DataError(
            "other",
            other,
            "shares no user and no item with these factors",
            "align models of one catalogue",
        )
    left, _, right = np.linalg.svd(cross, full_matrices=False)
    rotation = np.ascontiguousarray(np.einsum("ki,il->kl", left, right))
    apart = size = 0.0
    for mine, wanted in pairs:
        apart += _norm(_rotated(mine, rotation) - wanted) ** 2
        size += _norm(wanted) ** 2
    distance = float(np.sqrt(apart / size)) if size else float(apart > 0)
    return Aligned(factors.rotated(rotation), rotation, distance)


def scaled(array: Array, scale: Array | None) -> Array:
    """S^½ F in float64."""
    rows = array.astype(np.float64)
    if scale is not None:
        rows *= np.sqrt(np.asarray(scale, dtype=np.float64))[:, None]
    return rows


def rotated(array: Array, rotation: Array) -> Array:
    """F Q, computed in float64, in the dtype of F."""
    out = np.empty((len(array), rotation.shape[1]), dtype=array.dtype)
    for first in range(0, len(array), _CHUNK):
        part = slice(first, first + _CHUNK)
        out[part] = _rotated(array[part].astype(np.float64), rotation)
    return out


def _rotated(rows: Array, rotation: Array) -> Array:
    product: Array = np.einsum("rk,kl->rl", rows, rotation)
    return product


def _signs(items: Array) -> Array:
    """For each column the sign of its entry of largest magnitude; of equally large ones, the first."""
    if not len(items):
        return np.ones(items.shape[1])
    sizes = np.abs(items)
    first = np.argmax(sizes >= (1 - _TIED) * sizes.max(axis=0), axis=0)
    return np.where(items[first, np.arange(items.shape[1])] < 0, -1.0, 1.0)


def _gram(rows: Array) -> Array:
    gram: Array = np.einsum("rk,rl->kl", rows, rows)
    return gram


def _norm(array: Array) -> float:
    return float(np.sqrt(np.add.reduce(np.square(array), axis=None)))
