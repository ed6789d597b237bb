"""What can be said of a fitted model: is it the optimum, and if not, why not; how much it has used; have
its chains converged.
"""

from halfstep.diagnostics.certificate import Certificate, Direction
from halfstep.diagnostics.chains import ESS, ChainSummary, ess, mcse_mean, rhat
from halfstep.diagnostics.effective_parameters import EffectiveParameters, effective_parameters

__all__ = [
    "ESS",
    "Certificate",
    "ChainSummary",
    "Direction",
    "EffectiveParameters",
    "effective_parameters",
    "ess",
    "mcse_mean",
    "rhat",
]
