"""R̂, effective sample sizes and MCSE against ArviZ, a naive twin, and chains whose answer is known."""

from statistics import NormalDist

import numpy as np
import pytest

from halfstep.diagnostics.chains import ChainSummary, ess, mcse_mean, rhat
from halfstep.errors import DataError, ParameterError


def autoregressive(phi, chains, draws, seed=0):
    """Stationary chains x_t = φ x_{t−1} + e_t of variance 1, each in a column of its own length."""
    rng = np.random.default_rng(seed)
    x = np.empty((chains, draws))
    x[:, 0] = rng.normal(size=chains)
    for t in range(1, draws):
        x[:, t] = phi * x[:, t - 1] + np.sqrt(1 - phi**2) * rng.normal(size=chains)
    return x


def naive_ess(draws):
    """S / τ̂ of split chains, term by term."""
    n = draws.shape[1] // 2
    halves = [half for chain in draws for half in (chain[:n], chain[-n:])]
    within = np.mean([half.var(ddof=1) for half in halves])
    plus = within * (n - 1) / n + np.var([half.mean() for half in halves], ddof=1)

    def rho(t):
        if t == 0:
            return 1.0
        lagged = [
            np.sum((half[: n - t] - half.mean()) * (half[t:] - half.mean())) / n for half in halves
        ]
        return 1 - (within - np.mean(lagged)) / plus

    tau, lowest, pair = -1.0, np.inf, 0
    while pair < (n - 1) // 2 - 1 and rho(2 * pair) + rho(2 * pair + 1) > 0:
        lowest = min(lowest, rho(2 * pair) + rho(2 * pair + 1))
        tau += 2 * lowest
        pair += 1
    tau += max(0.0, rho(2 * pair))
    size = len(halves) * n
    return size / max(tau, 1 / np.log10(size))


# ---------------------------------------------------------------------- known answers


@pytest.mark.parametrize("phi", [-0.5, 0.0, 0.5, 0.9])
def test_the_ess_of_autoregressive_chains_is_known(phi):
    draws = autoregressive(phi, chains=4, draws=20_000)
    size = draws.size
    known = size * (1 - phi) / (1 + phi)
    assert ess(draws).bulk == pytest.approx(known, rel=0.1)
    assert mcse_mean(draws) == pytest.approx(1 / np.sqrt(known), rel=0.1)
    assert rhat(draws) < 1.01
    # the rank of x is a function of x: a monotone map changes nothing
    assert ess(np.exp(draws)).bulk == ess(draws).bulk


def test_the_ess_of_a_quantile_is_that_of_an_indicator():
    # of independent draws both tails are worth what all draws are
    draws = np.random.default_rng(0).normal(size=(4, 5000))
    assert ess(draws).tail == pytest.approx(draws.size, rel=0.1)
    # the upper tail is visited seldom and for long: its indicator is a chain of two states
    rng = np.random.default_rng(1)
    inside = np.zeros((4, 20_000), dtype=bool)
    for t in range(1, 20_000):
        change = rng.random(4)
        inside[:, t] = np.where(inside[:, t - 1], change > 0.1, change < 0.1 * 0.05 / 0.95)
    x = rng.normal(size=inside.shape) + 100 * inside
    slow = 1 - 0.1 - 0.1 * 0.05 / 0.95  # the second eigenvalue of the two states
    assert ess(x).tail == pytest.approx(x.size * (1 - slow) / (1 + slow), rel=0.25)
    assert ess(x).bulk > 3 * ess(x).tail


@pytest.mark.parametrize("draws", [41, 60, 501])
@pytest.mark.parametrize("phi", [-0.7, 0.3, 0.95])
def test_mcse_and_its_ess_equal_the_naive_twin(draws, phi):
    x = autoregressive(phi, chains=3, draws=draws)
    assert mcse_mean(x) == pytest.approx(x.std(ddof=1) / np.sqrt(naive_ess(x)), rel=1e-9)


def test_rhat_finds_what_it_is_for():
    rng = np.random.default_rng(0)
    good = rng.normal(size=(4, 500))
    assert rhat(good) < 1.01
    shifted, wider = good.copy(), good.copy()
    shifted[0] += 1
    wider[0] *= 3  # the same mean: only the folded draws tell
    assert rhat(shifted) > 1.05
    assert rhat(wider) > 1.05
    trend = good + np.linspace(0, 3, 500)  # every chain the same, each disagrees with itself
    assert rhat(trend) > 1.2
    assert rhat(trend[:1]) > 1.2
    heavy = rng.standard_cauchy(size=(4, 500))  # no variance, but ranks
    assert rhat(heavy) < 1.02


def test_rhat_is_its_formula():
    x = np.random.default_rng(3).normal(size=(2, 10))
    x[1] += 2

    def of(values):
        flat = values.ravel()  # the two draws in the middle are as far from the median
        rank = [(np.sum(flat < v) + np.sum(flat <= v) + 1) / 2 for v in flat]
        z = [NormalDist().inv_cdf((r - 3 / 8) / (20 + 1 / 4)) for r in rank]
        halves = np.array(z).reshape(4, 5)  # of rows of ten: halves of five
        within = halves.var(axis=1, ddof=1).mean()
        return np.sqrt((within * 4 / 5 + halves.mean(axis=1).var(ddof=1)) / within)

    assert rhat(x) == pytest.approx(max(of(x), of(np.abs(x - np.median(x)))), rel=1e-12)


# ------------------------------------------------------------------------ odd chains


def test_constant_draws_and_chains_that_stand_still():
    constant = np.full((4, 100), 0.1)
    assert np.isnan([rhat(constant), ess(constant).bulk, ess(constant).tail]).all()
    assert np.isnan(mcse_mean(constant))
    apart = np.tile([[0.1], [0.2], [0.3]], 100)
    assert rhat(apart) == np.inf
    assert ess(apart).bulk < 10
    one_stuck = np.random.default_rng(0).normal(size=(4, 100))
    one_stuck[0] = 3.0
    assert 1.05 < rhat(one_stuck) < np.inf


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_draw_that_is_not_finite_silences_its_quantity_alone(wrong):
    draws = np.random.default_rng(0).normal(size=(2, 300, 3))
    whole = rhat(draws), ess(draws).bulk, ess(draws).tail, mcse_mean(draws)
    draws[1, 7, 1] = wrong
    for now, before in zip(
        (rhat(draws), ess(draws).bulk, ess(draws).tail, mcse_mean(draws)), whole, strict=True
    ):
        assert np.isnan(now).tolist() == [False, True, False]
        assert now[[0, 2]] == pytest.approx(before[[0, 2]], rel=1e-12)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_chains_too_short_to_split_have_no_answer(length):
    draws = np.random.default_rng(0).normal(size=(4, length, 2))
    found = ess(draws)
    for values in (rhat(draws), found.bulk, found.tail, mcse_mean(draws)):
        assert np.isnan(values).tolist() == [True, True]
    assert "cannot be judged" in ChainSummary.of(draws, ["a", "b"]).verdict


@pytest.mark.parametrize("length", [4, 5, 6, 7])
def test_short_chains_have_one(length):
    draws = np.random.default_rng(0).normal(size=(2, length))
    assert np.isfinite([rhat(draws), ess(draws).bulk, ess(draws).tail, mcse_mean(draws)]).all()


def test_quantities_are_told_as_each_alone():
    draws = np.stack([autoregressive(phi, 2, 301, seed=1) for phi in (0.0, 0.6, 0.99)], axis=2)
    draws[:, :, 2] = np.round(draws[:, :, 2])  # ties
    for q in range(3):
        one = draws[:, :, q]
        assert rhat(draws)[q] == pytest.approx(rhat(one), rel=1e-12)
        assert ess(draws).bulk[q] == pytest.approx(ess(one).bulk, rel=1e-12)
        assert ess(draws).tail[q] == pytest.approx(ess(one).tail, rel=1e-12)
        assert mcse_mean(draws)[q] == pytest.approx(mcse_mean(one), rel=1e-12)
    assert isinstance(rhat(draws[:, :, 0]), float)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros(5),
        np.zeros((0, 5)),
        np.zeros((2, 0)),
        np.zeros((2, 5, 0)),
        [["a", "b"]],
        np.zeros((1,) * 4),
    ],
)
@pytest.mark.parametrize("asked", [rhat, ess, mcse_mean])
def test_what_are_no_draws(asked, wrong):
    with pytest.raises(DataError, match="draws="):
        asked(wrong)


# ---------------------------------------------------------------------------- the table


def test_a_summary_is_made_of_the_diagnostics():
    draws = np.stack([autoregressive(phi, 2, 400) for phi in (0.0, 0.99)], axis=2)
    summary = ChainSummary.of(draws, ["sigma", "log posterior"])
    assert (summary.chains, summary.draws, len(summary)) == (2, 400, 2)
    assert summary.rhat.tolist() == rhat(draws).tolist()
    assert summary.ess_bulk.tolist() == ess(draws).bulk.tolist()
    assert summary.ess_tail.tolist() == ess(draws).tail.tolist()
    assert summary.mcse.tolist() == mcse_mean(draws).tolist()
    assert summary.mean == pytest.approx(draws.mean(axis=(0, 1)))
    assert summary.sd == pytest.approx(draws.reshape(800, 2).std(axis=0, ddof=1))
    assert summary.worst().names == ("log posterior",)
    assert summary.worst(5).names == ("log posterior", "sigma")
    assert summary.verdict.startswith("R̂ above 1.05 for log posterior: sample longer")
    assert summary.to_dict()["name"] == ["sigma", "log posterior"]
    assert ChainSummary.of(draws[:, :, 0], ["sigma"]).rhat[0] == pytest.approx(summary.rhat[0])


def test_verdicts():
    rng = np.random.default_rng(0)
    good = rng.normal(size=(2, 1000, 5))
    assert ChainSummary.of(good, "abcde").verdict.startswith("the chains agree")
    few = ChainSummary.of(rng.normal(size=(2, 60, 1)), ["σ"])
    assert few.verdict == "fewer than 100 effective draws for each chain of σ: sample longer"
    apart = good + np.arange(5) * np.arange(2)[:, None, None]  # all but the first disagree
    assert ChainSummary.of(apart, "abcde").verdict == (
        "R̂ above 1.05 for e, d, c and 1 more: sample longer"
    )
    still = good.copy()
    still[:, :, 3] = 2.0
    summary = ChainSummary.of(still, "abcde")
    assert summary.verdict == "no R̂ for d: the draws stand still or are not finite"
    assert summary.worst().names == ("d",)


def test_the_table_fits_a_terminal_whatever_the_names():
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(4, 5000, 4)) * [1.0, 1e-8, 1e6, 0.0] + [0, 0, -1e8, 3]
    draws[:, :, 1] = np.arange(4)[:, None]
    names = ["σ", "r̂ of «Ödön» and «Zweiundzwanzig Monde (1999)»", "log\nposterior\x1b[31m", "x"]
    text = str(ChainSummary.of(draws, names))
    lines = text.splitlines()
    assert len(lines) == 6  # header, four quantities, one line of what to think of them
    assert max(len(line) for line in lines[:-1]) <= 80
    assert "\x1b" not in text
    assert "inf" in lines[2]
    assert lines[-1].startswith("4 × 5,000 draws; R̂ above 1.05 for r̂ of «Ödön» and «")


def test_arguments_of_a_summary():
    draws = np.zeros((2, 10, 3))
    with pytest.raises(DataError, match="names=2: must be one for each of the 3"):
        ChainSummary.of(draws, ["a", "b"])
    with pytest.raises(ParameterError, match="n=0"):
        ChainSummary.of(draws, "abc").worst(0)


# ------------------------------------------------------------------------- the oracle


@pytest.mark.parametrize("chains", [1, 2, 4])
@pytest.mark.parametrize("length", [50, 101, 400])
def test_everything_equals_arviz(chains, length):
    oracle = pytest.importorskip("arviz_stats.base").array_stats
    rng = np.random.default_rng(length + chains)
    drifting = rng.normal(size=(chains, length)) + np.linspace(0, 1, length)
    kinds = [autoregressive(phi, chains, length, seed=chains) for phi in (-0.8, 0.0, 0.7, 0.99)]
    kinds += [drifting, np.round(drifting, 1), rng.standard_cauchy(size=(chains, length))]
    axes = {"chain_axis": 0, "draw_axis": 1}
    for x in kinds:
        if chains > 1:  # it refuses one, which is two halves
            assert rhat(x) == pytest.approx(oracle.rhat(x, method="rank", **axes), rel=1e-9)
        assert ess(x).bulk == pytest.approx(oracle.ess(x, method="bulk", **axes), rel=1e-9)
        assert ess(x).tail == pytest.approx(
            oracle.ess(x, method="tail", prob=(0.05, 0.95), **axes), rel=1e-9
        )
        assert mcse_mean(x) == pytest.approx(oracle.mcse(x, method="mean", **axes), rel=1e-9)
