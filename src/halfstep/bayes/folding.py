"""Folding in: new or changed rows drawn given each draw of the other side.

    for every kept draw s:   y_s ~ p(y | ratings, Z_s, α_s, m_s, Λ_s)       the row problem of the
    sampler

The mean prediction of the new row is that of its exact conditional means, without the noise of a
draw. In the axes of the model's mean factors Ẑ it is the row ŵ that is nearest for all items,

    ŵ = argmin Σ_i (ẑ_i·ŵ − 1/S Σ_s z'_is·w'_s)² = (ẐᵀẐ)⁻¹ · 1/S Σ_s (Ẑᵀ Z'_s) w'_s

with the draws centred as in `posterior.py`.
"""
