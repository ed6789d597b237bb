"""Have the chains converged, and how much are their draws worth: R̂, effective sample size, MCSE.

Vehtari, Gelman, Simpson, Carpenter and Bürkner (2021, «Rank-normalization, folding, and localization:
an improved R̂ for assessing convergence of MCMC», Bayesian Analysis 16). Every chain is split into two
halves first, so that one chain that drifts disagrees with itself: M halves of N draws below. Where N is
half an odd number, the draw in the middle is left out.

Draws are arrays (chains, draws) or (chains, draws, quantities); the answers are a float, or an array
(quantities,). NaN stands where there is no answer: for a quantity with a draw that is not finite or
whose draws are all the same, and for chains of fewer than four draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from halfstep.backends.base import Array
from halfstep.checks import check_integer
from halfstep.errors import DataError
from halfstep.evaluation.tables import aligned, figure
from halfstep.wording import printable

__all__ = ["ESS", "ChainSummary", "ess", "mcse_mean", "rhat"]

_RHAT = 1.05
"""Above it the chains disagree (the paper asks for 1.01 of what is published)."""
_ESS_PER_CHAIN = 100
"""Below it the diagnostics themselves are rough (§4 of the paper)."""
_FEWEST = 4  # draws of a chain
_WIDTH = 22  # letters of a name in the table


@dataclass(frozen=True, slots=True)
class ESS:
    """Effective sample sizes: as many independent draws would tell as much.

    Attributes
    ----------
    bulk : float or array (quantities,)
        Of the middle of the distribution: of the rank-normalized draws.
    tail : float or array (quantities,)
        Of its tails: the smaller of those of the 5 % and the 95 % quantile.
    """

    bulk: Any
    tail: Any


def rhat(draws: Any) -> Any:
    """R̂ = √(((N − 1)/N · within + between) / within), rank-normalized, of split chains.

    `within` is the mean variance of a half and `between` the variance of the halves' means, both of
    z = Φ⁻¹((rank − 3/8) / (S + 1/4)) with the ranks among all S draws: no moments are needed. The larger
    of that of the draws (location) and that of |draw − median| (scale) is returned; 1 is agreement.

    Returns
    -------
    float, or array (quantities,); inf where every half stands still at a place of its own

    Raises `DataError` where the draws are no numbers of two or three dimensions.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> draws = rng.normal(size=(4, 500))
    >>> bool(rhat(draws) < 1.01), bool(rhat(draws + np.arange(4)[:, None]) > 1.5)
    (True, True)
    """
    whole, single = _checked(draws)
    return _answer(_rhat(_halves(whole)), single)


def ess(draws: Any) -> ESS:
    """Effective sample size: S / τ̂, of the bulk and of the tails.

    τ̂ = −1 + 2 Σ_t ρ̂_t, with ρ̂_t = 1 − (within − mean autocovariance at lag t) / var⁺ over all halves,
    and var⁺ the numerator of R̂²; the sum ends where ρ̂_t + ρ̂_{t+1} of an even t is no longer positive,
    and these pairs are kept from rising (Geyer 1992, the initial monotone sequence).
    τ̂ is at least 1/log₁₀ S: chains that alternate are worth more than S, but not without bound.

    Raises `DataError` where the draws are no numbers of two or three dimensions.

    Examples
    --------
    >>> found = ess(np.random.default_rng(0).normal(size=(4, 500)))
    >>> bool(1700 < found.bulk < 2300), bool(1500 < found.tail < 2300)
    (True, True)
    """
    whole, single = _checked(draws)
    halves = _halves(whole)
    return ESS(_answer(_ess(_normal(halves)), single), _answer(_ess_tail(halves, whole), single))


def mcse_mean(draws: Any) -> Any:
    """Monte Carlo standard error of the mean of the draws: sd / √ESS, in their unit.

    The ESS is that of the draws as they are (neither ranked nor of the tails).

    Raises `DataError` where the draws are no numbers of two or three dimensions.
    """
    whole, single = _checked(draws)
    return _answer(_mcse(_halves(whole), _sd(whole)), single)


@dataclass(frozen=True, slots=True, eq=False)
class ChainSummary:
    """What the chains say of some quantities, and whether to believe it. `print` shows a table.

    Attributes
    ----------
    names : tuple of str
    chains, draws : int
        M chains of so many draws.
    mean, sd : arrays (quantities,)
        Over all draws, in the unit of the quantity.
    mcse : array (quantities,)
        The Monte Carlo standard error of `mean` (`mcse_mean`).
    ess_bulk, ess_tail : arrays (quantities,)
        Effective sample sizes (`ess`).
    rhat : array (quantities,)
        Disagreement of the chains (`rhat`); 1 is none.
    """

    names: tuple[str, ...]
    chains: int
    draws: int
    mean: Array
    sd: Array
    mcse: Array
    ess_bulk: Array
    ess_tail: Array
    rhat: Array

    @classmethod
    def of(cls, draws: Any, names: Sequence[str]) -> ChainSummary:
        """Of draws (chains, draws, quantities), or (chains, draws) for a single name.

        Raises `DataError` where the draws are no numbers of that shape.

        Examples
        --------
        >>> draws = np.random.default_rng(0).normal(size=(2, 800, 2))
        >>> summary = ChainSummary.of(draws, ["sigma", "log posterior"])
        >>> summary.verdict
        'the chains agree: R̂ at most 1.05, at least 100 effective draws for each chain'
        """
        whole, _ = _checked(draws)
        chains, length, quantities = whole.shape
        names = tuple(str(name) for name in names)
        if len(names) != quantities:
            raise DataError(
                "names",
                len(names),
                f"must be one for each of the {quantities} quantities",
                "pass draws of shape (chains, draws, quantities)",
            )
        halves = _halves(whole)
        sd = _sd(whole)
        return cls(
            names,
            chains,
            length,
            np.mean(whole, axis=(0, 1)),
            sd,
            _mcse(halves, sd),
            _ess(_normal(halves)),
            _ess_tail(halves, whole),
            _rhat(halves),
        )

    def __len__(self) -> int:
        """The number of quantities."""
        return len(self.names)

    def worst(self, n: int = 1) -> ChainSummary:
        """The n quantities that are furthest from converged: without an R̂, then of the largest."""
        check_integer("n", n, 1)
        order = np.argsort(-np.where(np.isnan(self.rhat), np.inf, self.rhat), kind="stable")[:n]
        columns = {name: getattr(self, name)[order] for name in _COLUMNS}
        names = tuple(self.names[place] for place in order)
        return ChainSummary(names, self.chains, self.draws, **columns)

    @property
    def verdict(self) -> str:
        """One line: whether the chains have converged, or of what they have not."""
        silent = np.isnan(self.rhat)
        if self.draws < _FEWEST:
            return f"chains of {self.draws} draws cannot be judged: sample longer"
        if (self.rhat > _RHAT).any():
            return f"R̂ above {_RHAT} for {self._which(self.rhat > _RHAT)}: sample longer"
        few = np.fmin(self.ess_bulk, self.ess_tail) < _ESS_PER_CHAIN * self.chains
        if few.any():
            return (
                f"fewer than {_ESS_PER_CHAIN} effective draws for each chain of "
                f"{self._which(few)}: sample longer"
            )
        if silent.any():
            return f"no R̂ for {self._which(silent)}: the draws stand still or are not finite"
        return (
            f"the chains agree: R̂ at most {_RHAT}, at least {_ESS_PER_CHAIN} effective draws "
            "for each chain"
        )

    def to_dict(self) -> dict[str, Any]:
        """Columns by name: ready for any DataFrame."""
        return {"name": list(self.names), **{name: getattr(self, name) for name in _COLUMNS}}

    def __str__(self) -> str:
        header = ["", "mean", "sd", "MCSE", "ESS bulk", "ESS tail", "R̂"]
        rows = [
            [
                _short(name),
                *(figure(float(column[q])) for column in (self.mean, self.sd, self.mcse)),
                *(_whole(float(column[q])) for column in (self.ess_bulk, self.ess_tail)),
                _ratio_text(float(self.rhat[q])),
            ]
            for q, name in enumerate(self.names)
        ]
        told = f"{self.chains} × {self.draws:,} draws; {self.verdict}"
        return f"{aligned(header, rows)}\n{told}"

    def _which(self, chosen: Array) -> str:
        """«sigma, log posterior and 3 more», from the largest R̂ on."""
        places = np.flatnonzero(chosen)
        places = places[np.argsort(-np.nan_to_num(self.rhat[places]), kind="stable")]
        named = ", ".join(_short(self.names[place]) for place in places[:3])
        return named if len(places) <= 3 else f"{named} and {len(places) - 3} more"


_COLUMNS = tuple(field.name for field in fields(ChainSummary))[3:]


def _short(name: str) -> str:
    name = printable(name)
    return name if len(name) <= _WIDTH else name[: _WIDTH - 1] + "…"


def _ratio_text(value: float) -> str:
    return f"{value:.3f}" if value < 100 else figure(value)


def _whole(value: float) -> str:
    return "–" if value != value else f"{value:,.0f}"


# --------------------------------------------------------------------------- draws


def _checked(draws: Any) -> tuple[Array, bool]:
    """(chains, draws, quantities) as float64, and whether it is of one quantity without an axis."""
    try:
        found = np.asarray(draws, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError("draws", draws, "must be numbers", "pass an array") from None
    if found.ndim not in (2, 3) or not found.size:
        raise DataError(
            "draws",
            f"an array of shape {found.shape}",
            "must be of shape (chains, draws) or (chains, draws, quantities), and not empty",
            "pass draws[None] for a single chain",
        )
    whole = found[:, :, None] if found.ndim == 2 else found
    # one draw that is not finite leaves nothing to tell of its quantity
    return np.where(np.isfinite(whole).all(axis=(0, 1)), whole, np.nan), found.ndim == 2


def _halves(whole: Array) -> Array:
    """The first and the last N draws of every chain as chains (M, N, quantities)."""
    half = whole.shape[1] // 2 if whole.shape[1] >= _FEWEST else 0
    return np.concatenate([whole[:, :half], whole[:, whole.shape[1] - half :]])


def _answer(values: Array, single: bool) -> Any:
    return float(values[0]) if single else values


def _judged(halves: Array, values: Array) -> Array:
    """The values, NaN where nothing can be told."""
    if not halves.shape[1]:
        return np.full(halves.shape[2], np.nan)
    moves = halves.min(axis=(0, 1)) < halves.max(axis=(0, 1))
    return np.where(moves, values, np.nan)


# ----------------------------------------------------------------------- formulas


def _normal(halves: Array) -> Array:
    """Φ⁻¹((rank − 3/8) / (S + 1/4)), ranks among all draws of a quantity, mean ranks of equal draws."""
    from scipy.special import ndtri

    if not halves.shape[1]:
        return halves
    flat = halves.reshape(-1, halves.shape[2])
    S = len(flat)
    order = np.argsort(flat, axis=0, kind="stable")
    ascending = np.take_along_axis(flat, order, axis=0)
    place = np.arange(S)[:, None]
    new = np.ones(flat.shape, dtype=bool)
    new[1:] = ascending[1:] != ascending[:-1]
    last = np.ones(flat.shape, dtype=bool)
    last[:-1] = new[1:]
    first_of = np.maximum.accumulate(np.where(new, place, 0), axis=0)
    last_of = np.minimum.accumulate(np.where(last, place, S)[::-1], axis=0)[::-1]
    rank = np.empty(flat.shape)
    np.put_along_axis(rank, order, (first_of + last_of) / 2.0 + 1.0, axis=0)
    rank[np.isnan(flat)] = np.nan
    normal: Array = ndtri((rank - 0.375) / (S + 0.25)).reshape(halves.shape)
    return normal


def _rhat(halves: Array) -> Array:
    if not halves.shape[1]:
        return _judged(halves, halves)
    folded = np.abs(halves - np.median(halves, axis=(0, 1)))
    # of two equally frequent values the folded draws stand still
    return np.fmax(_ratio(_normal(halves)), _ratio(_normal(folded)))


def _ratio(halves: Array) -> Array:
    """√(var⁺ / within)."""
    within, plus = _variances(halves)
    stuck = (halves.min(axis=1) == halves.max(axis=1)).all(axis=0)  # within is 0 but for rounding
    ratio = np.sqrt(plus / np.where(stuck, 1.0, np.where(within > 0, within, np.nan)))
    return _judged(halves, np.where(stuck, np.inf, ratio))


def _variances(halves: Array) -> tuple[Array, Array]:
    """(within, var⁺) of halves (M, N, quantities)."""
    N = halves.shape[1]
    within = np.mean(np.var(halves, axis=1, ddof=1), axis=0)
    between = np.var(np.mean(halves, axis=1), axis=0, ddof=1)
    return within, within * (N - 1) / N + between


def _ess(halves: Array) -> Array:
    """S / τ̂ of halves as they are."""
    M, N = halves.shape[:2]
    if not N:
        return _judged(halves, halves)
    within, plus = _variances(halves)
    plus = np.where(plus > 0, plus, np.nan)
    rho = 1.0 - (within - np.mean(_autocovariance(halves), axis=0)) / plus
    rho[0] = 1.0
    pairs = max(1, (N - 1) // 2)
    even = rho[: 2 * pairs : 2]
    sums = even + rho[1 : 2 * pairs : 2]
    kept = np.logical_and.accumulate(sums > 0, axis=0)
    kept[-1] = False  # the last pair is not known to be followed by another
    falling = np.minimum.accumulate(sums, axis=0)
    end = np.add.reduce(kept, axis=0)
    beyond = np.take_along_axis(even, end[None], axis=0)[0]  # of the first pair that is left out
    tau = -1.0 + 2.0 * np.add.reduce(np.where(kept, falling, 0.0), axis=0) + np.maximum(beyond, 0)
    return _judged(halves, M * N / np.maximum(tau, 1.0 / np.log10(M * N)))


def _autocovariance(halves: Array) -> Array:
    """Σ_s (x_s − x̄)(x_{s+t} − x̄) / N at every lag t, by the fast Fourier transform."""
    N = halves.shape[1]
    size = 1 << (2 * N - 1).bit_length()  # zeros behind keep the end from meeting the beginning
    centred = halves - np.mean(halves, axis=1, keepdims=True)
    spectrum = np.fft.rfft(centred, size, axis=1)
    found: Array = np.fft.irfft(np.abs(spectrum) ** 2, size, axis=1)[:, :N] / N
    return found


def _ess_tail(halves: Array, whole: Array) -> Array:
    if not halves.shape[1]:
        return _judged(halves, halves)
    ends = np.quantile(whole, [0.05, 0.95], axis=(0, 1))
    below = [_ess((halves <= end).astype(np.float64)) for end in ends]
    return _judged(halves, np.fmin(*below))


def _sd(whole: Array) -> Array:
    """√(Σ (x − x̄)² / (S − 1)) over all draws."""
    if whole.shape[0] * whole.shape[1] == 1:
        return np.full(whole.shape[2], np.nan)
    still = whole.min(axis=(0, 1)) == whole.max(axis=(0, 1))
    return np.where(still, 0.0, np.std(whole, axis=(0, 1), ddof=1))  # 0 without its rounding


def _mcse(halves: Array, sd: Array) -> Array:
    error: Array = sd / np.sqrt(_ess(halves))
    return error
