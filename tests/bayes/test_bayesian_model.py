"""`BayesianMF` as its users see it: laws, planted truth, uncertainty, folding in, interrupts."""

from dataclasses import replace

import numpy as np
import pytest
from gibbs_steps import State, sweeps
from scipy import stats
from sklearn.base import clone
from sklearn.model_selection import KFold, cross_val_score

import halfstep as hs
from halfstep import testing
from halfstep.backends import get_backend
from halfstep.bayes.predictive import noise_variance
from halfstep.errors import ParameterError
from halfstep.objectives import SIDES


def bits(model):
    """Everything that was drawn."""
    f = model.factors_
    arrays = [f.user_factors, f.item_factors, f.user_bias, f.item_bias]
    for draw in model.draws_:
        arrays += [draw.factors.user_factors, draw.factors.item_factors, draw.users.precision]
    arrays += [model.record_.sigma, model.record_.predictions, model.noise_shape_.quantiles]
    return b"".join(array.tobytes() for array in arrays)


def planted(users=200, items=120, K=2, *, sigma=0.6, share=0.4, seed=0, gammas=None):
    """(ratings, r̂ of all cells, the mask of those observed): normal, neither rounded nor clipped."""
    random = np.random.default_rng(seed)
    W, Z = 0.7 * random.standard_normal((users, K)), 0.7 * random.standard_normal((items, K))
    truth = 3.5 + W @ Z.T
    truth += 0.4 * random.standard_normal((users, 1)) + 0.4 * random.standard_normal(items)
    there = random.random(truth.shape) < share
    noise = sigma * random.standard_normal(truth.shape)
    if gammas is not None:
        noise /= np.sqrt(gammas)[:, None]
    u, i = np.nonzero(there)
    return hs.Ratings.from_arrays(u, i, (truth + noise)[there]), truth, there


@pytest.fixture(scope="module")
def world():
    return planted()


@pytest.fixture(scope="module")
def model(world):
    return hs.BayesianMF(rank=4, samples=150, burn_in=60, keep=75).fit(world[0])


# ------------------------------------------------------------------------------ laws


@pytest.mark.parametrize("features", [False, True])
@pytest.mark.parametrize("noise", ["shared", "user"])
def test_same_bits_for_any_number_of_threads(noise, features):
    ratings = testing.random_ratings(400, 250, 0.3, weighted=True)
    options = {"noise": noise, "implicit_features": features}
    before, seen = hs.get_num_threads(), set()
    try:
        for threads in (1, 2, 3, 8):
            hs.set_num_threads(threads)
            made = hs.BayesianMF(rank=17, samples=4, burn_in=1, keep=2, **options).fit(ratings)
            mean, low, high = made.predict([100, 103], ["é0001", "é0002"], interval=0.8)
            seen.add((bits(made), mean.tobytes(), low.tobytes(), high.tobytes()))
    finally:
        hs.set_num_threads(before)
    assert len(seen) == 1


def test_same_bits_for_any_order_of_rows_and_ids_of_the_same_order():
    ratings = testing.random_ratings(30, 20, 0.4)
    users, items, r = ratings.to_arrays()
    order = np.random.default_rng(0).permutation(len(r))
    options = {"rank": 3, "samples": 6, "burn_in": 2, "keep": 3}
    first = hs.BayesianMF(**options).fit(ratings)
    shuffled = hs.Ratings.from_arrays(users[order], items[order], r[order])
    assert bits(hs.BayesianMF(**options).fit(shuffled)) == bits(first)
    renamed = hs.Ratings.from_arrays(users * 7 - 10_000, items, r)
    assert bits(hs.BayesianMF(**options).fit(renamed)) == bits(first)
    assert bits(hs.BayesianMF(**options, seed=1).fit(ratings)) != bits(first)


def test_weight_two_is_the_row_twice():
    users, items, r = testing.random_ratings(30, 20, 0.4).to_arrays()
    weight = np.random.default_rng(0).integers(1, 4, len(r))
    options = {"rank": 3, "samples": 6, "burn_in": 2, "keep": 3}
    one = hs.BayesianMF(**options).fit(hs.Ratings.from_arrays(users, items, r, weight=weight))
    twice = hs.Ratings.from_arrays(
        *(np.repeat(column, weight) for column in (users, items, r)), duplicates="merge"
    )
    assert bits(hs.BayesianMF(**options).fit(twice)) == bits(one)


@pytest.mark.parametrize("noise", ["shared", "user"])
@pytest.mark.parametrize("biases", [False, True])
def test_backends_draw_the_same(biases, noise):
    """Noise belongs to rows, so that draws agree to rounding, sweep by sweep."""
    ratings = testing.random_ratings(25, 18, 0.4)
    options = {"rank": 3, "samples": 4, "burn_in": 0, "keep": 2, "dtype": "float64"}
    made = [
        hs.BayesianMF(**options, biases=biases, noise=noise).fit(ratings, backend=backend)
        for backend in testing.BACKENDS
    ]
    pairs = np.indices(ratings.shape).reshape(2, -1)
    ids = ratings.users.take(pairs[0]), ratings.items.take(pairs[1])
    one, two = (model.predict(*ids, std=True) for model in made)
    np.testing.assert_allclose(one[0], two[0], atol=1e-7)
    np.testing.assert_allclose(one[1], two[1], rtol=1e-6)
    np.testing.assert_allclose(made[0].record_.sigma, made[1].record_.sigma, rtol=1e-7)


@pytest.mark.parametrize("unit", [4.0, 10.0])
@pytest.mark.parametrize("noise", ["shared", "user"])
def test_the_unit_of_the_ratings_does_not_matter(noise, unit):
    """Ratings and the state in another unit, the same numbers: predictions in that unit."""
    base = testing.random_ratings(20, 15, 0.5)
    users, items, r = base.to_arrays()
    random = np.random.default_rng(0)
    rows = {
        side: random.standard_normal((size, 4)) for side, size in zip(SIDES, (20, 15), strict=True)
    }
    found = []
    for factor in (1.0, unit):
        ratings = hs.Ratings.from_arrays(users, items, r * factor)
        scale = np.array([factor**0.5] * 3 + [factor])
        state = State.simple(
            *(rows[side] * scale for side in SIDES), spread=factor, alpha=factor**-2
        )
        if noise == "user":
            state.steadiness = np.ones(20)
        *_, (last, _) = sweeps(ratings, state, 4, 0, mean=2.5 * factor)
        W, Z = (last.rows[side] for side in SIDES)
        fitted = 2.5 * factor + W[:, :3] @ Z[:, :3].T + W[:, 3:] + Z[:, 3]
        found.append((fitted / factor, last.alpha**-0.5 / factor, last.freedom))
    np.testing.assert_allclose(found[0][0], found[1][0], atol=2e-5)  # ratings are float32
    assert found[0][1] == pytest.approx(found[1][1], rel=1e-5)
    assert found[0][2] == found[1][2]


def test_users_and_items_without_ratings():
    """They get the mean of their prior, and a wide interval."""
    ratings, _, _ = planted(60, 40, share=0.5)
    part = ratings.select((ratings.user_index() != 4) & (ratings.by_user.indices != 6))
    made = hs.BayesianMF(rank=3, samples=60, burn_in=30, keep=60, noise="shared").fit(part)
    assert made.predict(4, 9) == pytest.approx(made.predict(10**6, 9), abs=1e-5)
    assert made.predict(5, 6) == pytest.approx(made.predict(5, 10**6), abs=1e-5)
    users, items = np.delete(np.arange(60), 4), np.delete(np.arange(40), 6)

    def unsure(users, items):
        return made.predict(*(x.ravel() for x in np.meshgrid(users, items)), std=True)[1].mean()

    for user in (4, 10**6):
        assert unsure([user], items) > 1.1 * unsure(users, items)
    for item in (6, 10**6):
        assert unsure(users, [item]) > 1.1 * unsure(users, items)
    assert unsure([10**6], [10**6]) > 1.1 * unsure(users, items)


@pytest.mark.parametrize("dtype", testing.DTYPES)
def test_extremes_have_an_answer(dtype):
    """One rating; ratings that are all equal; one user of very many ratings; a rank above both sides."""
    for users, items, r in (
        ([1], [1], [3.0]),
        ([1, 1, 2], [1, 2, 1], [3.0, 3.0, 3.0]),
        (np.zeros(70_000, dtype=int), np.arange(70_000), np.arange(70_000) % 5 + 1.0),
        ([1, 2, 3], [1, 1, 2], [0.0, 1e3, -1e3]),
    ):
        made = hs.BayesianMF(rank=5, samples=4, burn_in=2, keep=2, dtype=dtype)
        made.fit(hs.Ratings.from_arrays(users, items, r))
        mean, low, high = made.predict(users[:3], items[:3], interval=0.9)
        assert np.isfinite([mean, low, high]).all()
        assert (low <= high).all()


# ---------------------------------------------------------------------- planted truth


def test_finds_the_noise_that_was_planted(world, model):
    assert model.record_.sigma.mean() == pytest.approx(0.6, rel=0.05)
    shared = hs.BayesianMF(rank=4, samples=80, burn_in=60, noise="shared").fit(world[0])
    assert shared.record_.sigma.mean() == pytest.approx(0.6, rel=0.05)


def test_finds_who_is_steady():
    gammas = np.where(np.arange(150) % 3 == 0, 4.0, 0.7)
    ratings, truth, there = planted(150, 100, gammas=gammas, share=0.5)
    options = {"rank": 3, "samples": 80, "burn_in": 50, "keep": 40}
    found = hs.BayesianMF(**options).fit(ratings)
    gamma = np.mean([draw.steadiness[:-1] for draw in found.draws_], axis=0)
    assert gamma[::3].mean() > 3 * np.delete(gamma, np.s_[::3]).mean()
    u, i = np.nonzero(~there)
    shared = hs.BayesianMF(**options, noise="shared").fit(ratings)
    errors = [np.sqrt(np.mean((made.predict(u, i) - truth[u, i]) ** 2)) for made in (found, shared)]
    assert errors[0] < 0.97 * errors[1]
    std = found.predict(u, i, std=True)[1]
    assert std[u % 3 == 0].mean() < 0.6 * std[u % 3 > 0].mean()


def test_the_draws_hold_the_planted_predictions(world, model):
    """90 % of them inside the middle 90 % of the draws, seen or not."""
    _, truth, there = world
    for cells in (there, ~there):
        u, i = np.nonzero(cells)
        drawn = np.array([d.predicted(u, i, model._backend("native")) for d in model.draws_])
        low, high = np.quantile(drawn, [0.05, 0.95], axis=0)
        covered = np.mean((low <= truth[u, i]) & (truth[u, i] <= high))
        assert 0.85 < covered < 0.95
        z = (model.predict(u, i) - truth[u, i]) / drawn.std(axis=0)
        assert np.sqrt(np.mean(z**2)) == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize("level", [0.5, 0.8, 0.95])
def test_intervals_hold_the_ratings_that_they_promise(world, model, level):
    _, truth, there = world
    u, i = np.nonzero(~there)
    r = truth[u, i] + 0.6 * np.random.default_rng(9).standard_normal(len(u))
    mean, low, high = model.predict(u, i, interval=level)
    assert np.mean((low <= r) & (r <= high)) == pytest.approx(level, abs=0.015)
    _, std = model.predict(u, i, std=True)
    width = stats.norm.ppf(0.5 + level / 2) * 2 * std
    np.testing.assert_allclose((high - low).mean(), width.mean(), rtol=0.03)
    assert ((low < mean) & (mean < high)).all()


def test_the_mean_is_better_than_any_draw(world, model):
    _, truth, there = world
    u, i = np.nonzero(~there)

    def error(found):
        return np.sqrt(np.mean((found - truth[u, i]) ** 2))

    of_draws = [error(d.predicted(u, i, model._backend("native"))) for d in model.draws_]
    assert error(model.predict(u, i)) < 0.85 * min(of_draws)
    best = min(
        error(hs.ExplicitMF(rank=2, reg=reg).fit(world[0]).predict(u, i))
        for reg in (0.01, 0.03, 0.1)
    )
    assert error(model.predict(u, i)) < 1.02 * best


# ------------------------------------------------------------------------- single rows


@pytest.mark.parametrize("side", SIDES)
def test_folding_in_the_ratings_of_a_fit_comes_near_its_rows(world, model, side):
    """The same row given the same other side: near beside how sure the model is of it."""
    ratings, _, there = world
    index = ratings.user_index() if side == "user" else ratings.by_user.indices
    some = hs.Ratings.from_arrays(*(column[index < 12] for column in ratings.to_arrays()))
    folded = model.fold_in(some, side=side)
    assert len(folded.draws) == len(model.draws_)
    fresh = model.with_rows(folded)
    u, i = np.indices((12, there.shape[1])) if side == "user" else np.indices((there.shape[0], 12))
    u, i = u.ravel(), i.ravel()
    before, after = (made.predict(u, i) for made in (model, fresh))
    own = model._mean_std(u, i, "", "native")
    assert np.sqrt(np.mean((before - after) ** 2)) < 0.4 * own.mean()
    one, two = (made.predict(u, i, std=True)[1] for made in (model, fresh))
    assert np.abs(one / two - 1).mean() < 0.08
    # the others stay
    others = [100 + np.arange(20)] * 2
    assert (fresh.predict(*others) == model.predict(*others)).all()
    assert model.fold_in(some, side=side).factors.tobytes() == folded.factors.tobytes()


def test_new_rows_are_known_and_sorted_in(model, world):
    truth = world[1]
    generator = np.random.default_rng(1)
    new = hs.Ratings.from_arrays(np.full(60, -5), np.arange(60), truth[3, :60])
    fresh = model.with_rows(model.fold_in(new))
    assert fresh.factors_.user_ids.take(np.array([0])).tolist() == [-5]
    rest = np.arange(60, 120)
    found = fresh.predict(np.full(60, -5), rest)
    assert np.sqrt(np.mean((found - truth[3, 60:]) ** 2)) < 0.35
    std = fresh.predict(np.full(60, -5), rest, std=True)[1]
    assert (std < model.predict(np.full(60, -5), rest, std=True)[1]).mean() > 0.9
    known = generator.integers(0, 200, 50), generator.integers(0, 120, 50)
    for answer, again in zip(
        model.predict(*known, interval=0.8), fresh.predict(*known, interval=0.8), strict=True
    ):
        np.testing.assert_array_equal(answer, again)
    assert fresh.recommend([-5], 5, strategy="thompson").to_dict()


@pytest.mark.parametrize("noise", ["shared", "user"])
def test_explanations_know_how_steady_a_user_is(noise):
    """They sum to a score near that of `predict`, though ratings of some users say little."""
    gammas = np.where(np.arange(60) % 3 == 0, 0.05, 4.0)
    ratings, _, _ = planted(60, 40, share=0.5, gammas=gammas)
    made = hs.BayesianMF(rank=3, samples=60, burn_in=60, keep=60, noise=noise).fit(ratings)
    gaps = [
        made.explain(user, item).score - made.predict(user, item)
        for user in (0, 1, 2, 3, 6, 9)
        for item in range(0, 40, 7)
    ]
    assert np.abs(gaps).mean() < 0.1
    told = made.explain(1, 5)
    assert told.baseline + told.contributions.sum() == pytest.approx(told.score, abs=1e-9)


def test_rows_of_another_model_are_refused(model, world):
    other = hs.BayesianMF(rank=4, samples=4, burn_in=0, keep=2).fit(world[0])
    with pytest.raises(ParameterError, match="folded"):
        model.with_rows(other.fold_in(world[0].select(world[0].user_index() < 2)))
    plain = hs.ExplicitMF(rank=4).fit(world[0])
    with pytest.raises(ParameterError, match="folded"):
        model.with_rows(plain.fold_in(world[0].select(world[0].user_index() < 2)))


def test_thompson_gives_a_user_the_same_items_whoever_else_asks(model):
    everyone = model.recommend(None, 7, strategy="thompson", seed=4)
    for users in ([3], [150, 3, 77], [3, 10**6]):
        told = model.recommend(users, 7, strategy="thompson", seed=4, unknown="bias")
        assert told[3] == everyone[3]
    others = model.recommend(None, 7, strategy="thompson", seed=5)
    assert sum(everyone[user] != others[user] for user in range(200)) > 150
    # the scores are those of one draw, users and items alike
    items = np.array([item for item, _ in everyone[3]])
    scores = np.array([score for _, score in everyone[3]])
    drawn = [d.predicted(np.full(7, 3), items, model._backend("native")) for d in model.draws_]
    assert np.abs(np.array(drawn) - scores).max(axis=1).min() < 1e-5
    # as often best as it is likely to be
    likely = model.recommend([3], 1, strategy="thompson", exclude_seen=False)
    assert likely.found[0] in {
        int(np.argmax(d.predicted(np.full(120, 3), np.arange(120), model._backend("native"))))
        for d in model.draws_
    }


# ---------------------------------------------------------------- interrupts, contract


@pytest.mark.parametrize(
    ("samples", "chains", "keep", "kept"),
    [(10, 1, 3, 3), (10, 1, 10, 10), (10, 1, 99, 10), (7, 2, 5, 5), (2, 1, 2, 2), (100, 1, 32, 32)],
)
def test_as_many_draws_are_kept_as_were_asked_for(samples, chains, keep, kept):
    ratings = testing.random_ratings(12, 10, 0.4)
    made = hs.BayesianMF(rank=2, samples=samples, burn_in=1, chains=chains, keep=keep).fit(ratings)
    assert len(made.draws_) == kept
    assert made.record_.sigma.shape == (chains, samples)
    assert len(made.trace_) == chains * (samples + 1)


class Stop(Exception):
    pass


def after(sweeps, error):
    seen = []

    def callback(row):
        seen.append(row.sweep)
        if len(seen) == sweeps:
            raise error

    return callback


def test_an_interrupted_fit_keeps_its_draws(world, tmp_path):
    made = hs.BayesianMF(rank=3, samples=50, burn_in=5, keep=25)
    with pytest.raises(KeyboardInterrupt):
        made.fit(world[0], callbacks=[after(20, KeyboardInterrupt())])
    assert made.stopped_ == "interrupted"
    assert 5 <= len(made.draws_) <= 8
    assert made.record_.sigma.shape[1] <= 15
    mean, low, high = made.predict([1, 2], [3, 4], interval=0.9)
    assert (low < mean).all()
    assert (mean < high).all()
    again = hs.load(made.save(tmp_path / "part.safetensors"))
    assert again.predict([1, 2], [3, 4]).tobytes() == made.predict([1, 2], [3, 4]).tobytes()


def test_interrupted_in_the_second_chain(world):
    made = hs.BayesianMF(rank=2, samples=10, burn_in=2, keep=10, chains=2)
    with pytest.raises(KeyboardInterrupt):
        made.fit(world[0], callbacks=[after(17, KeyboardInterrupt())])
    assert len(made.draws_) == 6  # every second one of ten and of two or three
    assert np.isfinite(made.record_.sigma).all()
    assert np.isfinite(made.predict(1, 1))


def test_an_early_interrupt_leaves_the_model_as_it_was(world):
    made = hs.BayesianMF(rank=2, samples=10, burn_in=5, keep=5)
    with pytest.raises(KeyboardInterrupt):
        made.fit(world[0], callbacks=[after(2, KeyboardInterrupt())])
    with pytest.raises(hs.errors.NotFittedError):
        made.predict(1, 1)
    made.fit(world[0])
    before = bits(made)
    with pytest.raises(KeyboardInterrupt):
        made.fit(world[0], callbacks=[after(2, KeyboardInterrupt())])
    assert bits(made) == before
    with pytest.raises(Stop):
        made.fit(world[0], callbacks=[after(12, Stop())])


def test_a_callback_ends_a_chain(world):
    made = hs.BayesianMF(rank=2, samples=30, burn_in=5, keep=30)
    made.fit(world[0], callbacks=[lambda row: row.sweep == 15])
    assert len(made.trace_) == 15
    assert len(made.draws_) == 10
    assert made.record_.sigma.shape == (1, 10)


@pytest.mark.parametrize("last", [3, 6])
def test_a_callback_that_leaves_too_few_draws(world, last):
    made = hs.BayesianMF(rank=2, samples=30, burn_in=5, keep=10)
    with pytest.raises(ParameterError, match=r"callbacks.*burn_in"):
        made.fit(world[0], callbacks=[lambda row: row.sweep == last])
    with pytest.raises(hs.errors.NotFittedError):
        made.predict(1, 1)


def test_a_chain_that_has_just_begun_does_not_shorten_the_record(world):
    made = hs.BayesianMF(rank=2, samples=10, burn_in=2, keep=10, chains=2)
    with pytest.raises(KeyboardInterrupt):
        made.fit(world[0], callbacks=[after(15, KeyboardInterrupt())])
    assert made.record_.sigma.shape == (1, 10)
    with pytest.raises(KeyboardInterrupt):
        made.fit(world[0], callbacks=[after(22, KeyboardInterrupt())])
    assert made.record_.predictions.shape == (2, 8, 20)


def test_the_record_follows_rows_that_move(world):
    """Ids that come before all others: the pairs that were followed keep their names."""
    made = hs.BayesianMF(rank=2, samples=6, burn_in=2).fit(world[0])
    new = made.fold_in(hs.Ratings.from_arrays([-2, -1], [3, 4], [1.0, 5.0]))
    fresh = made.with_rows(new)
    item = fresh.fold_in(hs.Ratings.from_arrays([3, 4], [-7, -7], [1.0, 5.0]), side="item")
    fresh = fresh.with_rows(item)
    assert fresh.factors_.user_ids.id_at(0) == -2
    assert str(fresh.chain_summary()) == str(made.chain_summary())


@pytest.mark.parametrize(
    "other", [{"rank": 3}, {"keep": 5}, {"noise": "shared"}, {"biases": False}], ids=str
)
def test_rows_of_a_model_of_another_form_are_refused(world, other):
    options = {"rank": 2, "samples": 6, "burn_in": 1}
    made, another = (hs.BayesianMF(**options | own).fit(world[0]) for own in ({}, other))
    new = hs.Ratings.from_arrays([901], [3], [4.0])
    with pytest.raises(ParameterError, match="draws of this model"):
        made.with_rows(another.fold_in(new))


def test_new_users_and_new_items_are_drawn_independently(world):
    made = hs.BayesianMF(rank=3, samples=60, burn_in=20, keep=60, noise="shared").fit(world[0])
    user = made.fold_in(hs.Ratings.from_arrays([901], [3], [4.0]))
    item = made.fold_in(hs.Ratings.from_arrays([3], [901], [4.0]), side="item")
    gaps = []
    for rows, side in ((user, "users"), (item, "items")):
        drawn = np.array([np.append(factors[0], bias) for factors, bias, _ in rows.draws])
        priors = [getattr(draw, side) for draw in made.draws_]
        gaps.append(
            [
                np.linalg.cholesky(prior.precision).T @ (row - prior.mean)
                for row, prior in zip(drawn, priors, strict=True)
            ]
        )
    for one, two in zip(*np.swapaxes(gaps, 1, 2), strict=True):
        assert abs(np.corrcoef(one, two)[0, 1]) < 0.4


def test_folded_in_users_are_as_uncertain_as_those_of_training():
    """Their noise, as it is expected, also where a few ratings hardly say how steady they are."""
    random = np.random.default_rng(0)
    gammas = random.gamma(2.0, 0.5, 400)
    ratings, _, _ = planted(400, 80, gammas=gammas, share=0.04, seed=1)
    made = hs.BayesianMF(rank=3, samples=100, burn_in=40, keep=100).fit(ratings)
    users, items, r = ratings.to_arrays()
    again = made.with_rows(made.fold_in(hs.Ratings.from_arrays(users + 1000, items, r)))
    half = len(ratings.users)
    trained, folded = np.split(noise_variance(again.draws_, np.arange(2 * half)), 2)
    assert np.median(folded / trained) == pytest.approx(1.0, abs=0.08)


def test_the_trace_has_the_error_of_the_mean(world):
    ratings, truth, there = world
    u, i = np.nonzero(~there)
    held = hs.Ratings.from_arrays(u, i, truth[u, i])
    made = hs.BayesianMF(rank=3, samples=30, burn_in=20).fit(ratings, validation=held)
    told = [row.validation_rmse for row in made.trace_]
    assert len(told) == 50
    assert told[-1] < 0.9 * told[19]
    assert told[-1] == pytest.approx(made.rmse(held), rel=0.02)


def test_the_contract_of_scikit_learn(world):
    users, items, r = world[0].to_arrays()
    X = np.column_stack([users, items])
    made = hs.BayesianMF(rank=2, samples=12, burn_in=6, keep=4, noise="shared")
    twin = clone(made.set_params(seed=3))
    assert twin.get_params() == made.get_params()
    assert twin.get_params()["noise"] == "shared"
    assert not hasattr(twin, "draws_")
    scores = cross_val_score(made, X, r, cv=KFold(3, shuffle=True, random_state=0))
    assert (scores > 0.3).all()
    assert bits(made.fit(X, r)) == bits(twin.fit(X, r))
    assert made.score(X, r) > scores.max()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rank", 0),
        ("rank", 2.5),
        ("samples", 1),
        ("burn_in", -1),
        ("chains", 0),
        ("keep", 1),
        ("seed", -1),
        ("biases", "yes"),
        ("center", 2),
        ("noise", "item"),
        ("dtype", "float16"),
        ("implicit_features", None),
    ],
)
def test_wrong_parameters_are_named(world, name, value):
    with pytest.raises(ParameterError, match=name):
        hs.BayesianMF(**{name: value}).fit(world[0])


@pytest.mark.parametrize("noise", ["shared", "user"])
def test_rows_are_drawn_given_all_else(noise):
    """Both sides of a sweep against the dense conditionals; the users' means to rounding."""
    random = np.random.default_rng(0)
    ratings = testing.random_ratings(60, 40, 0.5, weighted=True)
    cells = ratings.by_user
    R, C = np.zeros((2, 60, 40))
    rows = np.repeat(np.arange(60), np.diff(cells.indptr))
    R[rows, cells.indices], C[rows, cells.indices] = cells.values, cells.weights
    state = State.simple(random.standard_normal((60, 3)), random.standard_normal((40, 3)))
    if noise == "user":
        state.steadiness = np.ones(60)

    def conditional(prior, others, target, precisions):
        F = np.column_stack([others[:, :2], np.ones(len(others))])
        A = prior.precision + (F.T * precisions) @ F
        h = prior.precision @ prior.mean + F.T @ (precisions * (target - 2.5 - others[:, 2]))
        return np.linalg.solve(A, h), np.linalg.cholesky(A).T

    white: dict = {"user": [], "item": []}
    before = state.rows["user"]
    for now, (factors, bias) in sweeps(ratings, state, 40, 0, mean=2.5):
        gamma = np.ones(60) if now.steadiness is None else now.steadiness
        precisions = now.alpha * gamma[:, None] * C
        for row in (0, 7, 30):
            given = now.priors["item"], before, R[:, row], precisions[:, row]
            mean, root = conditional(*given)
            white["item"] += (root @ (now.rows["item"][row] - mean)).tolist()
            given = now.priors["user"], now.rows["item"], R[row], precisions[row]
            mean, root = conditional(*given)
            white["user"] += (root @ (now.rows["user"][row] - mean)).tolist()
            np.testing.assert_allclose([*factors[row], bias[row]], mean, atol=1e-5)
        before = now.rows["user"]
    if noise == "user":
        assert np.ptp(gamma) > 0.5
    for values in white.values():
        assert stats.kstest(values, "norm").pvalue > 1e-3


def test_popular_items_are_liked_more_and_unrated_ones_expected_as_they_are_met():
    """Items of many ratings are better here; a cold item is met as often as any, in test ratings too."""
    random = np.random.default_rng(5)
    n, quality = 60, np.linspace(-1.5, 1.5, 60)
    chance = np.exp(quality) / np.exp(quality).max()
    there = random.random((200, n)) < 0.5 * chance
    users, items = np.nonzero(there)
    values = 3 + quality[items] + 0.3 * random.standard_normal(len(users))
    cold = np.isin(items, np.arange(0, n, 5))
    train = hs.Ratings.from_arrays(users[~cold], items[~cold], values[~cold])
    model = hs.BayesianMF(rank=2, samples=60, burn_in=20).fit(train)
    met = values[cold].mean()  # that of a rating, not of an item
    assert abs(model.predict(users[0], 10_000) - met) < 0.25
    assert abs(values[~cold].mean() - met) < abs((3 + quality.mean()) - met)


@pytest.mark.parametrize("noise", ["shared", "user"])
def test_the_gradient_is_that_of_the_density(noise):
    """Against central differences of J."""
    ratings = testing.random_ratings(12, 9, 0.6)
    model = hs.BayesianMF(rank=2, samples=4, burn_in=2, dtype="float64", noise=noise).fit(ratings)
    draw, backend = model.draws_[-1], get_backend("native", dtype="float64")
    density = draw.density()
    if draw.steadiness is not None:
        density.steadiness = draw.steadiness[:-1]
    f = draw.factors
    f = replace(
        f,
        user_factors=f.user_factors[:-1].copy(),
        item_factors=f.item_factors[:-1].copy(),
        user_bias=f.user_bias[:-1].copy(),
        item_bias=f.item_bias[:-1].copy(),
    )
    out = f.empty_like()
    density.gradient(ratings.by_user, ratings.by_item, f, backend, out)
    for name, place in (
        ("user_factors", (3, 1)),
        ("item_factors", (5, 0)),
        ("user_bias", 2),
        ("item_bias", 4),
    ):
        array, values = getattr(f, name), []
        for step in (1e-5, -1e-5):
            array[place] += step
            values.append(density.value(ratings.by_user, ratings.by_item, f, backend).objective)
            array[place] -= step
        numeric = (values[0] - values[1]) / 2e-5
        assert getattr(out, name)[place] == pytest.approx(numeric, rel=1e-4, abs=1e-4)
