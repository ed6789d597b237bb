"""What can be said of a fitted model: is it the optimum, and if not, why not; how much it has used."""

from halfstep.diagnostics.certificate import Certificate, Direction
from halfstep.diagnostics.effective_parameters import EffectiveParameters, effective_parameters

__all__ = ["Certificate", "Direction", "EffectiveParameters", "effective_parameters"]
