"""What can be said of a fitted model: is it the optimum, and if not, why not."""

from halfstep.diagnostics.certificate import Certificate, Direction

__all__ = ["Certificate", "Direction"]
