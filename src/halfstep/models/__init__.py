"""Models: the constructor stores, `fit` learns, the rest answers."""

from halfstep.models.base import FactorModel
from halfstep.models.bayesian import BayesianMF
from halfstep.models.cosine import CosineMF
from halfstep.models.explanation import Explanation
from halfstep.models.explicit import ExplicitMF
from halfstep.models.foldin import FoldedIn
from halfstep.models.implicit import ImplicitMF
from halfstep.models.influence import Influence
from halfstep.models.ranked import Ranked
from halfstep.models.ranking import RankingMF

__all__ = [
    "BayesianMF",
    "CosineMF",
    "Explanation",
    "ExplicitMF",
    "FactorModel",
    "FoldedIn",
    "ImplicitMF",
    "Influence",
    "Ranked",
    "RankingMF",
]
