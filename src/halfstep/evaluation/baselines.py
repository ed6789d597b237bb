"""What any model has to beat: the global mean, and biases alone."""

from __future__ import annotations

from halfstep.data.ratings import Ratings

__all__ = ["baseline_rmse"]


def baseline_rmse(
    train: Ratings, test: Ratings, reg: float = 5.0, *, clip: bool = False
) -> dict[str, float]:
    """RMSE on `test` of the mean of `train` (`GlobalMean`), and of μ + b_u + b_i (`Biases(reg)`).

    `clip` as in `rmse`: clip these where the model beside them is clipped.
    """
    from halfstep.baselines import Biases, GlobalMean

    return {
        "global mean": GlobalMean().fit(train).rmse(test, clip=clip),
        "biases only": Biases(reg).fit(train).rmse(test, clip=clip),
    }
