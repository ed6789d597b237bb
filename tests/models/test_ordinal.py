"""Ordered ratings: latent numbers and cutpoints against what is known, and what the model answers."""

import numpy as np
import pytest
from scipy.stats import norm, truncnorm

import halfstep as hs
from halfstep.backends import get_backend
from halfstep.bayes import cutpoints as of_cutpoints
from halfstep.bayes import latents
from halfstep.bayes.cutpoints import CutpointSampler
from halfstep.bayes.latents import draw_latents, expected_latents, fit_of, log_difference
from halfstep.bayes.levels import Levels, narrowest
from halfstep.bayes.ordinal import OrdinalDensity
from halfstep.bayes.priors import RowPrior
from halfstep.errors import DataError, ModelFileError, ParameterError, UnknownIdError
from halfstep.evaluation.residuals import chances_of
from halfstep.factors import Factors
from halfstep.files import read_tensors, write_tensors

FIVE = Levels(np.arange(1.0, 6.0), np.array([-1.5, -0.6, 0.4, 1.7]))
FAST = {"rank": 2, "samples": 30, "burn_in": 10, "keep": 10, "likelihood": "ordinal"}


def ordered(levels=FIVE, m=150, n=60, share=0.5, seed=0):
    """(ratings, η of every pair) of users and items whose latent numbers are known."""
    rng = np.random.default_rng(seed)
    W, Z = rng.normal(0, 0.7, (m, 2)), rng.normal(0, 0.7, (n, 2))
    eta = W @ Z.T + rng.normal(0, 0.4, (m, 1)) + rng.normal(0, 0.5, n)
    places = np.searchsorted(levels.cutpoints, eta + rng.normal(size=eta.shape))
    u, i = np.nonzero(rng.random(eta.shape) < share)
    return hs.Ratings.from_arrays(u, i, levels.values[places[u, i]]), eta


@pytest.fixture(scope="module")
def ratings():
    return ordered()[0]


@pytest.fixture(scope="module")
def model(ratings):
    return hs.BayesianMF(**FAST).fit(ratings)


# ---------------------------------------------------------------------------- latent numbers


@pytest.mark.parametrize("eta", [-6.0, -1.0, 0.0, 2.5, 7.0])
@pytest.mark.parametrize("place", range(5))
def test_latent_numbers_are_truncated_normal(eta, place):
    N = 20_000
    low, high = FIVE.edges[place], FIVE.edges[place + 1]
    drawn = draw_latents(np.full(N, eta), np.full(N, place), FIVE, (1, place), "float64")
    known = truncnorm(low - eta, high - eta, loc=eta)
    assert (drawn > low).all()
    assert (drawn <= high).all()
    error = known.std() / np.sqrt(N)
    assert drawn.mean() == pytest.approx(known.mean(), abs=4.5 * error)
    assert drawn.std() == pytest.approx(known.std(), rel=0.05)
    quantile = np.quantile(drawn, 0.2)
    assert known.cdf(quantile) == pytest.approx(0.2, abs=0.015)
    assert expected_latents(np.array([eta]), np.array([place]), FIVE)[0] == pytest.approx(
        known.mean(), rel=1e-9, abs=1e-9
    )


def test_latent_numbers_far_from_eta_stay_in_their_interval():
    eta = np.repeat([-300.0, -60.0, 60.0, 300.0], 5)
    places = np.tile(np.arange(5), 4)
    drawn = draw_latents(eta, places, FIVE, (1, 0), "float64")
    assert ((drawn >= FIVE.edges[places]) & (drawn <= FIVE.edges[places + 1])).all()
    assert np.isfinite(drawn).all()
    # far above its upper cutpoint a latent number is next to it
    assert drawn[15] == pytest.approx(FIVE.cutpoints[0], abs=0.1)
    assert np.isfinite(expected_latents(eta, places, FIVE)).all()


def test_latent_numbers_do_not_depend_on_how_cells_are_cut(monkeypatch):
    rng = np.random.default_rng(0)
    eta, places = rng.normal(size=1000), rng.integers(0, 5, 1000)
    whole = draw_latents(eta, places, FIVE, (2**64 - 1, 7))
    total = fit_of(eta, places, FIVE)
    monkeypatch.setattr(latents, "_CELLS", 36)
    assert (draw_latents(eta, places, FIVE, (2**64 - 1, 7)) == whole).all()
    assert fit_of(eta, places, FIVE) == pytest.approx(total, rel=1e-13)


def test_the_logarithm_of_a_difference_does_not_cancel():
    low, high = (
        np.array([-1.0, 10.0, -np.inf, 2.0, -40.0]),
        np.array([0.5, 11.0, -20.0, np.inf, 40.0]),
    )
    known = [
        np.log(norm.cdf(0.5) - norm.cdf(-1)),
        norm.logsf(10) + np.log1p(-np.exp(norm.logsf(11) - norm.logsf(10))),
        norm.logcdf(-20),
        norm.logsf(2),
        0.0,
    ]
    assert log_difference(low, high) == pytest.approx(known, rel=1e-12, abs=1e-15)
    assert log_difference(-high, -low) == pytest.approx(known, rel=1e-12, abs=1e-15)


def test_the_fit_is_that_of_every_cell():
    rng = np.random.default_rng(1)
    eta, places = rng.normal(0, 4, 500), rng.integers(0, 5, 500)
    logs = squares = 0.0
    for e, k in zip(eta, places, strict=True):
        own = truncnorm(FIVE.edges[k] - e, FIVE.edges[k + 1] - e)
        chances = np.diff(norm.cdf(FIVE.edges - e))
        logs += log_difference(np.array([own.args[0]]), np.array([own.args[1]]))[0]
        squares += (k + 1 - chances @ FIVE.values) ** 2
    assert fit_of(eta, places, FIVE) == pytest.approx((logs, squares), rel=1e-9)


# --------------------------------------------------------------------------- probabilities


def test_probabilities_of_an_unsure_eta_are_averages_over_it():
    values = Levels(np.array([-2.0, 0.0, 0.5, 10.0]), np.array([-0.3, 0.1, 2.0]))
    m, variance = np.array([-1.0, 0.4, 3.0]), np.array([0.0, 0.5, 2.0])
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    for row, (centre, own) in enumerate(zip(m, variance, strict=True)):
        each = np.diff(norm.cdf(values.edges[None] - (centre + np.sqrt(own) * nodes)[:, None]))
        known = weights @ each / weights.sum()
        chances = values.chances(m, variance)[row]
        assert chances == pytest.approx(known, abs=1e-9)
        assert values.expected(m, variance)[row] == pytest.approx(known @ values.values, abs=1e-8)
        gaps = values.values - known @ values.values
        assert values.std(chances[None])[0] == pytest.approx(np.sqrt(known @ gaps**2), abs=1e-8)


def test_the_narrowest_interval_against_all_runs():
    rng = np.random.default_rng(0)
    values = Levels(np.array([0.0, 1.0, 3.0, 3.5, 7.0]), np.arange(4.0))
    chances = rng.dirichlet(np.full(5, 0.5), 200)
    for level in (0.5, 0.9):
        low, high = narrowest(values, chances, level)
        for row, own in enumerate(chances):
            runs = [
                (values.values[k] - values.values[j], -own[j : k + 1].sum(), j, k)
                for j in range(5)
                for k in range(j, 5)
                if own[j : k + 1].sum() >= level + 1e-12
            ]
            _, _, j, k = min(runs)
            assert (low[row], high[row]) == (values.values[j], values.values[k])


# ------------------------------------------------------------------------------- cutpoints


def known_eta(levels, N, seed=0):
    rng = np.random.default_rng(seed)
    eta = rng.normal(0.3, 0.8, N)
    return eta, np.searchsorted(levels.cutpoints, eta + rng.normal(size=N))


def test_one_cutpoint_has_its_posterior_distribution():
    two = Levels(np.array([0.0, 1.0]), np.array([0.5]))
    eta, places = known_eta(two, 300)
    grid = np.linspace(-1, 2, 2001)
    fit = [
        np.where(places == 0, norm.logcdf(c - eta), norm.logsf(c - eta)).sum() - c * c / 200
        for c in grid
    ]
    density = np.exp(np.array(fit) - max(fit))
    density /= density.sum()
    mean = density @ grid
    std = np.sqrt(density @ (grid - mean) ** 2)
    rng, sampler, current, drawn = np.random.default_rng(1), CutpointSampler(), two, []
    for _ in range(2000):
        current = sampler.draw(current, eta, places, rng)
        drawn.append(current.cutpoints[0])
    assert np.mean(drawn) == pytest.approx(mean, abs=5 * std / np.sqrt(1000))
    assert np.std(drawn) == pytest.approx(std, rel=0.08)
    assert 0.7 < sampler.accepted / sampler.tried < 1


def test_rare_levels_at_both_ends_do_not_hold_the_chain():
    cuts = np.concatenate([np.linspace(-4.0, -3.0, 6), [0.0], np.linspace(3.0, 4.0, 6)])
    rare = Levels(np.arange(14.0), cuts)
    eta, places = known_eta(rare, 30_000)
    assert len(np.unique(places)) == 14
    rng, sampler, current, drawn = np.random.default_rng(0), CutpointSampler(), rare, []
    for _ in range(150):
        current = sampler.draw(current, eta, places, rng)
        drawn.append(current.cutpoints)
    assert sampler.accepted > 40
    assert (np.diff(drawn, axis=1) > 0).all()
    assert np.std(drawn, axis=0)[6] < 0.02 < np.std(drawn, axis=0)[0]
    assert (np.abs(np.mean(drawn, axis=0) - cuts) < 4 * np.std(drawn, axis=0) + 0.02).all()


def test_rounding_eta_hardly_moves_the_mode():
    eta, places = known_eta(FIVE, 20_000)
    start = of_cutpoints._free(FIVE.cutpoints, 2)
    exact = of_cutpoints._Counts(places, eta, np.ones(len(eta)), 2)
    modes = [
        of_cutpoints._cutpoints(of_cutpoints._mode(start, counts)[0], 2)
        for counts in (exact, of_cutpoints._Counts.of(eta, places, 5))
    ]
    std = 1 / np.sqrt(20_000)  # of the best known cutpoint, or more
    assert modes[1] == pytest.approx(modes[0], abs=0.005 * std)
    assert modes[0] == pytest.approx(FIVE.cutpoints, abs=0.06)  # the truth


def test_derivatives_of_the_cutpoints_density():
    eta, places = known_eta(FIVE, 5000)
    counts = of_cutpoints._Counts.of(eta, places, 5)
    mode, curvature = of_cutpoints._mode(np.array([0.3, -0.5, 0.4, 0.0]), counts)
    h = 1e-4
    for free in (mode, mode + 0.1):
        slope = of_cutpoints._slopes(free, counts)[0]
        for j, unit in enumerate(np.eye(4) * h):
            rise = of_cutpoints._value(free + unit, counts) - of_cutpoints._value(
                free - unit, counts
            )
            assert slope[j] == pytest.approx(rise / (2 * h), abs=1e-3)
    assert of_cutpoints._slopes(mode, counts)[0] == pytest.approx(np.zeros(4), abs=1e-4)
    for j, unit in enumerate(np.eye(4) * h):
        bend = (
            of_cutpoints._slopes(mode - unit, counts)[0]
            - of_cutpoints._slopes(mode + unit, counts)[0]
        ) / (2 * h)
        assert curvature[j] == pytest.approx(bend, rel=1e-2, abs=2.0)  # of some thousand


def test_cutpoints_where_eta_is_spread_out_without_bound():
    eta = np.array([-1e9, 0.0, 1e9, 3.0])
    counts = of_cutpoints._Counts.of(eta, np.array([0, 1, 1, 0]), 2)
    assert counts.count.sum() == 4
    assert len(counts.count) <= 4


def test_the_model_finds_the_cutpoints_of_simulated_ratings():
    ratings, _ = ordered(m=300, n=100, share=0.4)
    model = hs.BayesianMF(rank=2, samples=200, burn_in=60, keep=100, likelihood="ordinal").fit(
        ratings
    )
    drawn = np.array([draw.levels.cutpoints for draw in model.draws_])
    assert drawn.sum(axis=1) == pytest.approx(0, abs=1e-9)
    std = drawn.std(axis=0)
    assert (std < 0.06).all()
    known = FIVE.cutpoints - FIVE.cutpoints.mean()
    assert (np.abs(drawn.mean(axis=0) - known) < 3 * std).all()
    assert model.levels_.cutpoints == pytest.approx(drawn.mean(axis=0))


def test_the_gradient_is_that_of_the_density(ratings):
    rng = np.random.default_rng(0)
    backend = get_backend("numpy", dtype="float64")
    f = Factors.random(ratings, 2, biases=True, mean=0.0, dtype="float64", seed=0)
    f.user_factors[:] = rng.normal(size=f.user_factors.shape)
    root = rng.normal(size=(3, 3))
    prior = RowPrior(rng.normal(size=3), root @ root.T + np.eye(3), None, np.zeros(3))
    density = OrdinalDensity(0.0, prior, prior, 1.0, True, levels=FIVE)
    grad = f.empty_like()
    cells = ratings.by_user, ratings.by_item
    density.gradient(*cells, f, backend, grad)
    h = 1e-5
    for name, place in (
        ("user_factors", (3, 1)),
        ("item_factors", (5, 0)),
        ("user_bias", 7),
        ("item_bias", 2),
    ):
        found = []
        for sign in (1, -1):
            moved = f.copy()
            getattr(moved, name)[place] += sign * h
            found.append(density.value(*cells, moved, backend).objective)
        assert getattr(grad, name)[place] == pytest.approx(
            (found[0] - found[1]) / (2 * h), rel=1e-4, abs=1e-4
        )


# ------------------------------------------------------------------------------- the model


def test_it_predicts_better_than_shares_and_biases():
    ratings, eta = ordered(m=250, n=80, share=0.6)
    train, test = hs.split_random(ratings, test=0.2, seed=0)
    model = hs.BayesianMF(rank=2, samples=100, burn_in=30, likelihood="ordinal").fit(
        train, validation=test
    )
    assert model.rmse(test) < 0.97 * hs.baseline_rmse(train, test)["biases only"]
    assert model.trace_[-1].validation_rmse == pytest.approx(model.rmse(test), abs=0.01)
    r = train.by_user.values
    shares = np.array([np.mean(r == value) for value in FIVE.values])
    places = FIVE.places(test.by_user.values)
    assert -np.log(chances_of(model, test)).mean() < -np.log(shares[places]).mean() - 0.1
    # the probabilities are those of the simulation, but for what cannot be known of η
    users, items, _ = test.to_arrays()
    _, chances = model.predict_proba(users, items)
    known = FIVE.chances(eta[users, items])
    assert np.corrcoef(chances[:, 4], known[:, 4])[0, 1] > 0.8
    # and they are calibrated: in every quarter of the pairs as many ratings as they say
    observed = test.by_user.values[:, None] == FIVE.values
    for quarter in np.array_split(np.argsort(chances @ FIVE.values), 4):
        p = chances[quarter]
        gap = (observed[quarter] - p).sum(axis=0) / np.sqrt((p * (1 - p)).sum(axis=0))
        assert (np.abs(gap) < 4).all()
    found = hs.evaluate(model, test, metrics=["log_loss", "interval_coverage@80"])
    assert found["log_loss"].value == pytest.approx(-np.log(chances_of(model, test)).mean())
    assert found["interval_coverage@80"].value >= 0.78


def test_the_spread_of_the_draws_is_what_is_not_known_of_eta():
    ratings, eta = ordered(m=200, n=80, share=0.4, seed=2)
    model = hs.BayesianMF(rank=2, samples=150, burn_in=40, keep=150, likelihood="ordinal").fit(
        ratings
    )
    mean, variance = model._eta(*np.divmod(np.arange(eta.size), 80), "native")
    score = (eta.ravel() - FIVE.cutpoints.mean() - mean) / np.sqrt(variance)
    assert abs(score.mean()) < 0.15
    assert np.mean(np.abs(score) < 1.2816) == pytest.approx(0.8, abs=0.05)
    assert np.mean(np.abs(score) < 1.96) == pytest.approx(0.95, abs=0.025)


def test_predictions_are_averages_over_the_draws(ratings):
    model = hs.BayesianMF(rank=2, samples=150, burn_in=20, keep=150, likelihood="ordinal").fit(
        ratings
    )
    assert len(model.draws_) == 150
    users, items, _ = ratings.to_arrays()
    backend = get_backend("native", dtype="float32")
    each = [draw.predicted(users, items, backend) for draw in model.draws_]
    mean = np.mean([draw.rated(eta) for draw, eta in zip(model.draws_, each, strict=True)], axis=0)
    moments = np.mean(each, axis=0), np.var(each, axis=0, ddof=1)
    of_moments = model.levels_.expected(*moments)
    assert np.sqrt(np.mean((of_moments - mean) ** 2)) < 0.005
    # the mean of η is that of the users' conditional means, with another Monte Carlo error
    assert np.sqrt(np.mean((model.predict(users, items) - mean) ** 2)) < 0.03
    chances = np.mean(
        [draw.levels.chances(eta) for draw, eta in zip(model.draws_, each, strict=True)], axis=0
    )
    values, found = model.predict_proba(users, items)
    assert (values == FIVE.values).all()
    assert np.sqrt(np.mean((found - chances) ** 2)) < 0.01


def test_every_answer_is_made_of_the_probabilities(model, ratings):
    users, items, _ = ratings.to_arrays()
    users, items = users[:200], items[:200]
    values, chances = model.predict_proba(users, items)
    assert chances.shape == (200, 5)
    assert chances.sum(axis=1) == pytest.approx(1, abs=1e-12)
    assert (chances >= 0).all()
    mean, std = model.predict(users, items, std=True)
    assert mean == pytest.approx(chances @ values, abs=1e-5)
    assert std == pytest.approx(np.sqrt(chances @ values**2 - (chances @ values) ** 2), abs=1e-4)
    _, low, high = model.predict(users, items, interval=0.8)
    inside = (low[:, None] <= values) & (values <= high[:, None])
    assert (np.where(inside, chances, 0).sum(axis=1) >= 0.8).all()
    assert np.isin([low, high], values).all()
    one = model.predict_proba(users[0], items[0])
    assert (one[1] == chances[0]).all()
    assert model.predict(users[0], items[0]) == mean[0]


def test_unknown_users_and_items(model):
    _, chances = model.predict_proba([-5, 3, 10_000], [2, 999, 10_000])
    assert chances.sum(axis=1) == pytest.approx(1)
    assert (model.predict([-5], [2]) >= 1).all()
    # of what is not known at all less is said than of what is
    known = model.predict_proba([3], [2])[1]
    entropy = [-(p * np.log(p)).sum() for p in (known, chances[2:])]
    assert entropy[0] < entropy[1]
    with pytest.raises(UnknownIdError):
        model.predict_proba([-5], [2], unknown="error")
    with pytest.raises(ParameterError, match="unknown"):
        model.predict_proba([-5], [2], unknown="nan")
    found = model.predict([-5, 3], [2, 2], unknown="nan")
    assert np.isnan(found).tolist() == [True, False]


def test_lists_are_in_the_order_of_predicted_ratings(model, ratings):
    lists = model.recommend(n=7)
    users, items, _ = ratings.to_arrays()
    seen = set(zip(users.tolist(), items.tolist(), strict=True))
    for user in range(40):
        items, scores = (np.array(part) for part in zip(*lists[user], strict=True))
        assert (np.diff(scores) <= 0).all()
        assert not {(user, item) for item in items.tolist()} & seen
        assert scores == pytest.approx(model.predict(np.full(7, user), items), abs=1e-6)
        rest = np.array([i for i in range(60) if (user, i) not in seen])
        best = np.sort(model.predict(np.full(len(rest), user), rest))[::-1][:7]
        assert scores == pytest.approx(best, abs=1e-6)
    everything = model.recommend([3], n=10_000, exclude_seen=False)
    assert sorted(everything.found.tolist()) == list(range(60))
    only = model.recommend([3, -5], 5, candidates={3: [1, 2]}, unknown="bias")
    assert np.diff(only.offsets).tolist()[1] == 5
    assert {item for item, _ in only[3]} <= {1, 2}
    thompson = model.recommend(n=5, strategy="thompson", seed=1)
    assert ((thompson.scores > 1) & (thompson.scores < 5)).all()
    careful, hopeful = (model.recommend([3], 5, strategy="ucb", kappa=k) for k in (0.0, 1.0))
    assert careful.scores == pytest.approx(model.recommend([3], 5).scores, abs=1e-6)
    assert (hopeful.scores > careful.scores).all()


def test_folding_in_the_ratings_of_a_user_gives_their_predictions(ratings):
    model = hs.BayesianMF(rank=2, samples=120, burn_in=30, keep=40, likelihood="ordinal").fit(
        ratings
    )
    users, items, r = ratings.to_arrays()
    own = np.isin(users, [4, 9, 11])
    part = hs.Ratings.from_arrays(users[own] + 1000, items[own], r[own])
    grown = model.with_rows(model.fold_in(part))
    every = np.arange(60)
    for user in (4, 9, 11):
        was = model.predict(np.full(60, user), every)
        now, sure = grown.predict(np.full(60, user + 1000), every, std=True)
        assert np.sqrt(np.mean((was - now) ** 2)) < 0.08
        assert sure == pytest.approx(model.predict(np.full(60, user), every, std=True)[1], rel=0.1)
    again = model.fold_in(part)
    assert (again.factors == model.fold_in(part).factors).all()
    column = hs.Ratings.from_arrays(users[items == 5], items[items == 5] + 1000, r[items == 5])
    wider = model.with_rows(model.fold_in(column, side="item"))
    was, now = (wider.predict(np.arange(150), np.full(150, item)) for item in (5, 1005))
    assert np.sqrt(np.mean((was - now) ** 2)) < 0.1
    with pytest.raises(DataError, match="none of the levels"):
        model.fold_in(hs.Ratings.from_arrays([7], [3], [2.5]))


def test_an_explanation_sums_to_the_score_of_eta(model):
    found = model.explain(3, 5)
    assert found.baseline + found.contributions.sum() == pytest.approx(found.score)
    assert not found.exact
    f = model.factors_
    eta = f.mean + f.user_bias[3] + f.item_bias[5] + f.user_factors[3] @ f.item_factors[5]
    assert found.score == pytest.approx(eta, abs=0.3)
    assert model.explain(3, 5).score == found.score


def test_what_levels_are_worth_does_not_change_what_is_learned(ratings, model):
    worth = np.array([-3.0, 0.0, 0.25, 7.0, 100.0])
    users, items, r = ratings.to_arrays()
    other = hs.BayesianMF(**FAST).fit(
        hs.Ratings.from_arrays(users, items, worth[r.astype(int) - 1])
    )
    assert (other.factors_.user_factors == model.factors_.user_factors).all()
    values, chances = other.predict_proba(users, items)
    assert (values == worth).all()
    assert (chances == model.predict_proba(users, items)[1]).all()
    assert other.predict(users, items) == pytest.approx(chances @ worth, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_two_levels_one_of_them_zero(dtype):
    two = Levels(np.array([0.0, 1.0]), np.array([0.4]))
    ratings, _ = ordered(two, m=200, n=60, share=0.6, seed=2)
    train, test = hs.split_random(ratings, test=0.2, seed=0)
    model = hs.BayesianMF(**FAST | {"dtype": dtype, "chains": 2}).fit(train)
    users, items, r = test.to_arrays()
    _, chances = model.predict_proba(users, items)
    assert model.predict(users, items) == pytest.approx(chances[:, 1], abs=1e-5)
    likely = chances[:, 1] > np.median(chances[:, 1])
    assert r[likely].mean() > r[~likely].mean() + 0.2
    assert r.mean() == pytest.approx(chances[:, 1].mean(), abs=0.05)
    assert model.record_.predictions.shape == (2, 30, 20)
    assert ((model.record_.predictions > 0) & (model.record_.predictions < 1)).all()


def test_a_row_without_ratings_and_a_user_who_likes_everything():
    users = np.concatenate([np.repeat(np.arange(20), 8), np.full(30, 20)])
    rng = np.random.default_rng(0)
    items = np.concatenate(
        [np.concatenate([rng.permutation(30)[:8] for _ in range(20)]), np.arange(30)]
    )
    r = np.concatenate([rng.integers(1, 6, 160), np.full(30, 5)]).astype(float)
    table = hs.Ratings.from_arrays(users, items, r).with_ids(
        hs.Ratings.from_arrays([99], [99], [1.0]).users
    )
    model = hs.BayesianMF(**FAST).fit(table)
    assert model.predict(np.full(30, 20), np.arange(30)).mean() > 4.3
    assert 1 < model.predict(99, 3) < 5


# ---------------------------------------------------------------------------- same bits


CODE = """
import hashlib, sys
import numpy as np
import halfstep as hs
users, items = np.divmod(np.arange(40_000), 200)
rng = np.random.default_rng(0)
pairs = rng.permutation(40_000)[:18_000]
table = hs.Ratings.from_arrays(users[pairs], items[pairs], rng.integers(1, 6, 18_000).astype(float))
model = hs.BayesianMF(rank=5, samples=6, burn_in=6, keep=3, likelihood="ordinal").fit(table)
f = model.factors_
_, chances = model.predict_proba(users, items)
new = model.fold_in(hs.Ratings.from_arrays([500] * 50, np.arange(50), np.tile([1.0, 5.0], 25)))
parts = [f.user_factors, f.item_bias, chances, new.factors, model.recommend(n=5).scores]
print(hashlib.sha256(b"".join(np.ascontiguousarray(p).tobytes() for p in parts)).hexdigest())
"""


def test_the_same_bits_for_any_number_of_threads(run_code):
    found = {run_code(CODE, HALFSTEP_NUM_THREADS=str(k)).stdout for k in (1, 2, 3, 8)}
    assert len(found) == 1
    assert len(found.pop()) == 65


def test_the_order_of_the_rows_does_not_matter(ratings, model):
    users, items, r = ratings.to_arrays()
    order = np.random.default_rng(0).permutation(len(r))
    again = hs.BayesianMF(**FAST).fit(
        hs.Ratings.from_arrays(users[order], items[order], r[order], weight=np.ones(len(r)))
    )
    assert (again.factors_.user_factors == model.factors_.user_factors).all()
    assert (again.predict_proba(users, items)[1] == model.predict_proba(users, items)[1]).all()


def test_a_file_gives_the_same_answers(model, ratings, tmp_path):
    loaded = hs.load(model.save(tmp_path / "m.safetensors"))
    users, items, _ = ratings.to_arrays()
    pairs = users[:300], items[:300]
    assert (loaded.predict(*pairs) == model.predict(*pairs)).all()
    assert (loaded.predict_proba(*pairs)[1] == model.predict_proba(*pairs)[1]).all()
    for asked in ({"std": True}, {"interval": 0.9}):
        for now, was in zip(
            loaded.predict(*pairs, **asked), model.predict(*pairs, **asked), strict=True
        ):
            assert (now == was).all()
    assert loaded.likelihood == "ordinal"
    assert (loaded.levels_.cutpoints == model.levels_.cutpoints).all()
    part = hs.Ratings.from_arrays([7, 7], [3, 4], [1.0, 5.0])
    assert (loaded.fold_in(part).factors == model.fold_in(part).factors).all()
    assert loaded.explain(3, 5).score == model.explain(3, 5).score
    lists = [m.recommend([3], strategy="thompson").scores for m in (loaded, model)]
    assert (np.asarray(lists[0]) == np.asarray(lists[1])).all()


def test_a_damaged_file_is_refused(model, tmp_path):
    path = model.save(tmp_path / "m.safetensors")
    arrays, metadata = read_tensors(path)
    for name, damage in (
        ("draws.cutpoints", lambda a: a[:, ::-1].copy()),
        ("draws.cutpoints", lambda a: a[:, 1:].copy()),
        ("draws.cutpoints", lambda a: a * np.nan),
        ("draws.levels", lambda a: a[::-1].copy()),
        ("draws.levels", lambda a: a[:1].copy()),
    ):
        broken = write_tensors(
            tmp_path / "broken.safetensors", arrays | {name: damage(arrays[name])}, metadata
        )
        with pytest.raises(ModelFileError):
            hs.load(broken)
    del arrays["draws.levels"]
    with pytest.raises(ModelFileError):
        hs.load(write_tensors(tmp_path / "broken.safetensors", arrays, metadata))


# ------------------------------------------------------------------------------- bad input


def test_what_is_no_ordered_rating_is_refused(model):
    users, items = np.divmod(np.arange(100), 10)
    rng = np.random.default_rng(0)
    ordinal = hs.BayesianMF(**FAST)
    with pytest.raises(DataError, match="from 2 to 20 different values"):
        ordinal.fit(hs.Ratings.from_arrays(users, items, np.full(100, 3.0)))
    with pytest.raises(DataError, match="100 different values"):
        ordinal.fit(hs.Ratings.from_arrays(users, items, rng.random(100)))
    with pytest.raises(DataError, match="must all be 1"):
        ordinal.fit(
            hs.Ratings.from_arrays(
                users, items, rng.integers(1, 6, 100), weight=np.tile([1.0, 2.0], 50)
            )
        )
    with pytest.raises(ParameterError, match="likelihood"):
        hs.BayesianMF(likelihood="probit").fit(model_table(users, items, rng))
    gaussian = hs.BayesianMF(rank=2, samples=3, burn_in=1).fit(model_table(users, items, rng))
    assert gaussian.levels_ is None
    with pytest.raises(ParameterError, match="probabilities"):
        gaussian.predict_proba([1], [2])
    with pytest.raises(ParameterError, match="level"):
        model.predict([1], [2], interval=1.5)


def model_table(users, items, rng):
    return hs.Ratings.from_arrays(users, items, rng.integers(1, 6, len(users)).astype(float))
