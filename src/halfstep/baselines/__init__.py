"""What any model has to beat, under the interface of the models."""

from halfstep.baselines.compare import BaselineError, compare_baselines
from halfstep.baselines.ease import EASE
from halfstep.baselines.graph_filter import GraphFilter
from halfstep.baselines.knn import ItemKNN
from halfstep.baselines.nonpersonal import Biases, GlobalMean, MostPopular
from halfstep.baselines.puresvd import PureSVD
from halfstep.baselines.rankings import RankingBaselines, fit_ranking_baselines, preferences
from halfstep.baselines.scored import Scored

__all__ = [
    "EASE",
    "BaselineError",
    "Biases",
    "GlobalMean",
    "GraphFilter",
    "ItemKNN",
    "MostPopular",
    "PureSVD",
    "RankingBaselines",
    "Scored",
    "compare_baselines",
    "fit_ranking_baselines",
    "preferences",
]
