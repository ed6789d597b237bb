"""What a fit is like, beyond its errors."""

from halfstep.diagnostics.effective_parameters import EffectiveParameters, effective_parameters

__all__ = ["EffectiveParameters", "effective_parameters"]
