"""Have the chains converged? What a fit has followed draw by draw, under names, as a `ChainSummary`."""

from __future__ import annotations

import numpy as np

from halfstep.bayes.sampling import Record
from halfstep.diagnostics.chains import ChainSummary
from halfstep.factors import Factors

__all__ = ["summary_of"]


def summary_of(record: Record, factors: Factors) -> ChainSummary:
    """Of σ, J and every prediction that was followed; `factors` has the ids."""
    pairs = zip(
        factors.user_ids.take(record.users).tolist(),
        factors.item_ids.take(record.items).tolist(),
        strict=True,
    )
    names = ["σ", "J", *(f"r̂ of {user}, {item}" for user, item in pairs)]
    scalars = np.stack([record.sigma, record.objective], axis=2)
    return ChainSummary.of(np.concatenate([scalars, record.predictions], axis=2), names)
