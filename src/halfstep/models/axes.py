"""Which factors these are, whether they are the best ones, and how much of the ratings they use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from halfstep.backends.base import Array, Backend
from halfstep.checks import is_number
from halfstep.data.ratings import Ratings
from halfstep.errors import ParameterError

if TYPE_CHECKING:
    from halfstep.diagnostics.certificate import Certificate
    from halfstep.diagnostics.effective_parameters import EffectiveParameters

from halfstep.models.fitted import Fitted
from halfstep.models.side_features import refuse_features

__all__ = ["Axes"]


class Axes(Fitted):
    """`canonical`, `singular_values`, `align`, `certificate`, `effective_parameters`."""

    def canonical(self) -> Self:
        """This model with its factors in canonical axes: J, predictions and fold-in stay what they
        are.

        `Factors.canonical` with the S of the objective, which count scaling takes from the history.
        The result's `departure_` is 0 at a stationary point of J and says how far the fit is from
        one.

        Raises
        ------
        NotFittedError
        HistoryRequiredError
            Count scaling, and the model was saved without its users' ratings.
        ParameterError
            A non-negative model: a rotation would break W, Z ≥ 0.
        """
        self._check_fitted()
        self._refuse_nonnegative("canonical")
        found = self.factors_.canonical(*self._scales("canonical"))
        fresh = self._with(found.factors)
        fresh.departure_ = found.departure
        return fresh

    def singular_values(self) -> Array:
        """The singular values of S_w^½ W Zᵀ S_z^½, decreasing; see `Factors.singular_values`.

        Raises
        ------
        NotFittedError, HistoryRequiredError
        """
        self._check_fitted()
        return self.factors_.singular_values(*self._scales("singular_values"))

    def align(self, other: Fitted) -> Self:
        """This model in the axes of another; see `Factors.align`.

        The result's `distance_` says how far apart both are (0: the same up to a rotation). So a
        retrained model keeps the axes of the one before.

        Raises
        ------
        NotFittedError, DataError
        ParameterError
            A non-negative model, or another of higher rank.
        """
        self._check_fitted()
        if not isinstance(other, Fitted):
            raise ParameterError(
                "other", other, "must be a fitted model", "use factors_.align for bare factors"
            )
        other._check_fitted()
        self._refuse_nonnegative("align")
        if other.factors_.rank > self.factors_.rank:
            raise ParameterError(
                "other",
                f"a model of rank {other.factors_.rank}",
                f"must not have a higher rank than this one, {self.factors_.rank}",
                "use factors_.align, which fills up with zeros",
            )
        found = self.factors_.align(other.factors_)
        fresh = self._with(found.factors)
        fresh.distance_ = found.distance
        return fresh

    def certificate(
        self, ratings: Ratings | None = None, *, tolerance: float | None = None
    ) -> Certificate:
        """Whether the model is the optimum of its objective, over all factors of all ranks.

        `print(model.certificate())` says it in a sentence: globally optimal to within a gap; or the
        rank is too small, and by how much J would fall; or not converged. See
        `diagnostics/certificate.py` for the dual problem behind it, `docs/theory.md` for the
        derivation. All in float64.

        Parameters
        ----------
        ratings : Ratings, optional
            What the model was fitted to. Default: its history.
        tolerance : float
            The gap (J − D)/J up to which the verdict is "optimal". Default: 1e-6, and 1e-5 for factors
            in float32, whose rounding alone leaves a gap of some 1e-7.

        Raises
        ------
        NotFittedError, HistoryRequiredError, UnknownIdError
        ParameterError
            A non-negative model, reg = 0 for users or items, or a model fitted with features.
        """
        from halfstep.diagnostics.certificate import certify, check_certifiable

        self._check_fitted()
        refuse_features(self, "certificate")
        objective = check_certifiable(self.objective_)
        if tolerance is None:
            tolerance = 1e-6 if self.factors_.dtype == "float64" else 1e-5
        if not is_number(tolerance) or not tolerance >= 0:
            raise ParameterError(
                "tolerance", tolerance, "must be a number ≥ 0", "try tolerance=1e-6"
            )
        cells = self._whole_history("certificate") if ratings is None else self._as_history(ratings)
        return certify(cells, objective, self.factors_, tolerance=float(tolerance))

    def effective_parameters(
        self,
        ratings: Ratings | None = None,
        *,
        probes: int = 4,
        seed: int = 0,
        tol: float = 1e-3,
        max_iter: int = 500,
        backend: str | Backend = "native",
    ) -> EffectiveParameters:
        """How many parameters the fit really used: df = Σ ∂r̂_ui/∂r_ui, by small changes of the ratings.

        The model's own solver fits the ratings again, in float64 and from these factors on, after
        they were all changed a little at random: `probes` times two fits of up to `max_iter` sweeps. A
        figure to understand a fit by; to choose one, use held-out ratings. See
        `diagnostics/effective_parameters.py`.

        Parameters
        ----------
        ratings : Ratings, optional
            What the model was fitted on, in place of its history.
        probes : int
            Random directions, at least 2.
        seed : int
            Of the directions.
        tol : float
            A probe ends when ten more sweeps change it by less than this share.
        max_iter : int
            The most sweeps of a fit; `converged` is False where they were not enough.

        Raises
        ------
        NotFittedError, HistoryRequiredError, ParameterError, SingularSystemError
        """
        from halfstep.diagnostics.effective_parameters import effective_parameters

        if getattr(self.objective_, "alpha0", None) is not None:
            raise ParameterError(
                "model",
                type(self).__name__,
                "fits preferences, which are 0 or 1: there is no rating to change a little",
                "compare fits by score, on held-out interactions",
            )
        refuse_features(self, "count of effective parameters")
        return effective_parameters(
            self, ratings, probes=probes, seed=seed, tol=tol, max_iter=max_iter, backend=backend
        )

    def _refuse_nonnegative(self, what: str) -> None:
        if getattr(self.objective_, "nonnegative", False):
            raise ParameterError(
                "nonnegative",
                True,
                f"{what} is a rotation, which would break W ≥ 0 and Z ≥ 0",
                "leave the factors as they are: non-negative ones have axes of their own",
            )
