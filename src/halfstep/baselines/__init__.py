"""What any model has to beat, under the interface of the models."""

from halfstep.baselines.compare import BaselineError, compare_baselines
from halfstep.baselines.ease import EASE
from halfstep.baselines.knn import ItemKNN
from halfstep.baselines.nonpersonal import Biases, GlobalMean, MostPopular

__all__ = [
    "EASE",
    "BaselineError",
    "Biases",
    "GlobalMean",
    "ItemKNN",
    "MostPopular",
    "compare_baselines",
]
