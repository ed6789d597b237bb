"""How sure a prediction is: against dense computations, on simulated data, and by refitting."""

import importlib
import math

import numpy as np
import pytest

import halfstep as hs
from halfstep import testing
from halfstep.errors import (
    DataError,
    HistoryRequiredError,
    NotCalibratedError,
    ParameterError,
    SingularSystemError,
    UnknownIdError,
)
from halfstep.models import calibration
from halfstep.models.uncertainty import noise_variance, variances

KINDS = [
    {},
    {"reg_scaling": "none", "reg": (0.7, 0.4, 0.2)},
    {"biases": False, "reg": 0.3},
    {"dtype": "float64", "reg": 0.3},
]


def fitted(weighted=True, seed=0, **params):
    ratings = testing.random_ratings(23, 17, 0.4, seed=seed, weighted=weighted)
    return hs.ExplicitMF(**({"rank": 3, "reg": 0.2, "max_iter": 30} | params)).fit(ratings), ratings


def dense_matrices(model, ratings, side):
    """A of every row of a side, and the other side's vectors f, in dense float64."""
    f, objective = model.factors_, model.objective_
    C = np.zeros(ratings.shape)
    weights = ratings.by_user.weights
    C[ratings.user_index(), ratings.by_user.indices] = 1.0 if weights is None else weights
    F, penalty = f.item_factors.astype(float), objective.reg.user
    if side == "item":
        C, F, penalty = C.T, f.user_factors.astype(float), objective.reg.item
    d = [penalty] * f.rank
    if f.user_bias is not None:
        F, d = np.column_stack([F, np.ones(len(F))]), [*d, objective.reg.bias]
    s = C.sum(axis=1) if objective.reg_scaling == "count" else np.ones(len(C))
    A = [F.T @ np.diag(c) @ F + own * np.diag(d) for c, own in zip(C, s, strict=True)]
    return A, F, C, np.diag(d), s


def dense_unsureness(model, ratings):
    A_u, F, *_ = dense_matrices(model, ratings, "user")
    A_i, G, *_ = dense_matrices(model, ratings, "item")
    user = np.array([np.einsum("ik,ki->i", F, np.linalg.solve(A, F.T)) for A in A_u])
    item = np.array([np.einsum("uk,ku->u", G, np.linalg.solve(A, G.T)) for A in A_i])
    return user, item.T


# ------------------------------------------------------------------------------------- std


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_std_is_the_formula(kind, weighted):
    model, ratings = fitted(weighted, **kind)
    user, item = dense_unsureness(model, ratings)
    C = dense_matrices(model, ratings, "user")[2]
    users, items, r = ratings.to_arrays()
    c = C[C > 0]
    squares = np.sum(c * (r - model.predict(users, items).astype(float)) ** 2)
    noise = squares / c.sum()
    for leverage in (user, item):
        noise /= 1 - np.sum(C * leverage) / C.sum()
    assert noise_variance(model, "this test") == pytest.approx(noise, rel=1e-4)
    pairs = np.indices(ratings.shape).reshape(2, -1)
    all_users, all_items = ratings.users.take(pairs[0]), ratings.items.take(pairs[1])
    expected = np.sqrt(noise * (1 + user + item)).ravel()
    for backend in ("native", "numpy"):
        mean, std = model.predict(all_users, all_items, std=True, backend=backend)
        assert std.dtype == mean.dtype == model.factors_.dtype
        np.testing.assert_allclose(std, expected, rtol=2e-4)
        np.testing.assert_array_equal(mean, model.predict(all_users, all_items, backend=backend))


def test_a_single_pair_is_a_float_and_has_the_bits_of_many():
    model, ratings = fitted()
    users, items, _ = ratings.to_arrays()
    _, many = model.predict(users, items, std=True)
    mean, std = model.predict(users[7], items[7], std=True)
    assert isinstance(mean, float)
    assert isinstance(std, float)
    assert std == many[7]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_an_unknown_row_is_less_sure_than_any(kind):
    """For the same vector of the other side, whatever it is."""
    model, ratings = fitted(**kind)
    m, n = ratings.shape
    for side, rows, others in (("user", m, n), ("item", n, m)):
        for other in range(-1, others):
            every = np.arange(-1, rows)
            found = variances(model, side, every, np.full(rows + 1, other), "this test")
            assert (found[0] >= found[1:] * (1 - 1e-5)).all()
    item = ratings.items.id_at(0)
    assert model.predict([10**6], [item], std=True)[0] == model.predict([10**6], [item])
    assert np.isnan(model.predict([10**6], [item], std=True, unknown="nan")[1])
    with pytest.raises(UnknownIdError):
        model.predict([10**6], [item], std=True, unknown="error")


@pytest.mark.parametrize("reg", [{"reg": 0.1}, {"reg": 5.0, "reg_scaling": "none"}])
def test_new_users_and_items_are_less_sure(reg):
    ratings = hs.simulate(200, 100, rank=3, seed=0).ratings
    model = hs.ExplicitMF(rank=3, **reg).fit(ratings)
    users, items, _ = ratings.to_arrays()
    _, known = model.predict(users, items, std=True)
    _, new_user = model.predict(np.full(len(items), 10**6), items, std=True)
    _, new_item = model.predict(users, np.full(len(users), 10**6), std=True)
    _, both = model.predict(10**6, 10**6, std=True)
    assert (new_user > known).mean() > 0.99
    assert (new_item > known).mean() > 0.99
    assert both > max(np.median(new_user), np.median(new_item))


def test_more_ratings_are_surer():
    ratings = testing.random_ratings(40, 30, 0.4, seed=2)
    model = hs.ExplicitMF(rank=2, reg=1.0, reg_scaling="none").fit(ratings)
    users, items, r = ratings.to_arrays()
    own = np.flatnonzero(users == ratings.users.id_at(0))
    before = math.inf
    for count in range(1, len(own) + 1):
        part = hs.Ratings.from_arrays(users[own[:count]], items[own[:count]], r[own[:count]])
        now = model.with_rows(model.fold_in(part))
        found = variances(now, "user", np.array([0]), np.array([3]), "this test")[0]
        assert found < before
        before = found


def test_without_history_and_without_a_solution(tmp_path):
    model, ratings = fitted()
    users, items, _ = ratings.to_arrays()
    model.calibrate(*other_ratings(ratings))
    bare = hs.load(model.save(tmp_path / "m.safetensors", history=False))
    for asked in ({"std": True}, {"interval": 0.9}):
        with pytest.raises(HistoryRequiredError, match="history=True"):
            bare.predict(users, items, **asked)
    for call in (
        lambda: bare.recommend(users[:1], exclude_seen=False, strategy="ucb"),
        lambda: bare.recommend(users[:1], exclude_seen=False, strategy="thompson"),
        lambda: bare.influence(users[0]),
        lambda: bare.effective_parameters(),
        lambda: bare.calibrate(*other_ratings(ratings)),
    ):
        with pytest.raises(HistoryRequiredError):
            call()
    loose = hs.ExplicitMF(rank=1, reg=0, biases=False).fit([(1, 1), (2, 2)], [2.0, 3.0])
    with pytest.raises(SingularSystemError, match="unknown user"):
        loose.predict([99], [1], std=True)
    with pytest.raises(ParameterError, match="ask twice"):
        model.predict(users, items, std=True, interval=0.9)


def test_nonnegative_rows_have_no_formula():
    from dataclasses import replace

    model, ratings = fitted()
    model.objective_ = replace(model.objective_, nonnegative=True)
    users, items, _ = ratings.to_arrays()
    with pytest.raises(ParameterError, match="nonnegative=False"):
        model.predict(users, items, std=True)
    with pytest.raises(ParameterError, match="nonnegative=False"):
        model.influence(users[0])


# ------------------------------------------------------------------------------- intervals


def other_ratings(ratings, seed=5):
    """(X, y) of pairs that are not among the ratings."""
    seen = np.zeros(ratings.shape, dtype=bool)
    seen[ratings.user_index(), ratings.by_user.indices] = True
    u, i = np.nonzero(~seen)
    y = np.random.default_rng(seed).integers(0, 11, len(u)) / 2
    pairs = list(zip(ratings.users.take(u).tolist(), ratings.items.take(i).tolist(), strict=True))
    return pairs, y


@pytest.fixture(scope="module")
def simulated():
    ratings = hs.simulate(400, 300, n_draws=60_000, rank=3, seed=1).ratings
    train, valid, test = hs.split_random(ratings, valid=0.2, test=0.3, seed=0)
    return hs.ExplicitMF(rank=3, reg=0.1).fit(train).calibrate(valid), train, valid, test


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.98])
def test_coverage_on_simulated_ratings(simulated, level):
    model, _, valid, test = simulated
    users, items, r = test.to_arrays()
    mean, low, high = model.predict(users, items, interval=level)
    assert (low < mean).all()
    assert (mean < high).all()
    covered = np.mean((low <= r) & (r <= high))
    # binomial deviations of the calibration and of the test part
    deviation = math.sqrt(level * (1 - level) * (1 / len(valid) + 1 / len(test)))
    assert abs(covered - level) < 4 * deviation


def test_a_higher_level_is_wider_and_clipping_is_inside(simulated):
    model, _, _, test = simulated
    users, items, _ = test.to_arrays()
    _, low, high = model.predict(users, items, interval=0.6)
    _, lower, higher = model.predict(users, items, interval=0.95)
    assert (lower < low).all()
    assert (higher > high).all()
    mean, left, right = model.predict(users, items, interval=0.95, clip=True)
    for clipped, whole in ((left, lower), (right, higher)):
        np.testing.assert_array_equal(clipped, np.clip(whole, *model.scale_))
    np.testing.assert_array_equal(mean, model.predict(users, items, clip=True))
    one = model.predict(users[0], items[0], interval=0.95)
    assert one == (pytest.approx(model.predict(users[0], items[0])), lower[0], higher[0])


def test_the_quantile_is_that_of_a_finite_sample():
    scores = np.arange(1.0, 20.0)  # 19
    assert calibration._quantile(scores, 19, 0.9) == 18.0  # ⌈20 · 0.9⌉
    assert calibration._quantile(scores, 19, 0.95) == 19.0
    with pytest.raises(ParameterError, match="at least 24 held-out"):
        calibration._quantile(scores, 19, 0.96)
    n = 1_000_000  # thinned: never a smaller score than the wanted one, and little more
    kept = calibration._ranks(n)
    assert len(kept) <= calibration._KEPT
    assert (kept[0], kept[-1]) == (1, n)
    for level in (0.001, 0.5, 0.9, 0.999):
        found = calibration._quantile(kept.astype(float), n, level)
        assert 0 <= found - math.ceil((n + 1) * level) <= 101


def test_folds_calibrate_without_a_held_out_part(simulated):
    _, train, _, test = simulated
    model = hs.ExplicitMF(rank=3, reg=0.1).fit(train)
    before = model.factors_.copy()
    assert model.calibrate(train, folds=4) is model
    testing.assert_same_bits(model.factors_, before)
    users, items, r = test.to_arrays()
    _, low, high = model.predict(users, items, interval=0.9)
    assert abs(np.mean((low <= r) & (r <= high)) - 0.9) < 0.02


def test_few_ratings_of_an_item_have_scores_of_their_own(simulated):
    model, train, valid, _ = simulated
    ratings = np.diff(train.by_item.indptr)[valid.by_user.indices]
    few = int(np.count_nonzero(ratings < calibration.FEW))
    groups = (few, len(valid) - few)
    assert model.calibration_.counts == (groups if few >= calibration._LEAST else (len(valid),))
    # items of few ratings that err three times as much
    x = np.column_stack([np.ones(4000), *np.zeros((6, 4000))])
    x[:1000, 4], x[1000:, 4] = np.log1p(2), np.log1p(50)
    errors = np.abs(np.random.default_rng(0).standard_normal(4000))
    errors[:1000] *= 3
    made = calibration._of(x, errors, seed=0)
    assert made.counts == (1000, 3000)
    half = made.half_width(x, 0.9)
    for part in (slice(0, 1000), slice(1000, None)):
        assert abs(np.mean(errors[part] <= half[part]) - 0.9) < 0.01
    assert half[0] / half[-1] == pytest.approx(3, rel=0.1)


def test_intervals_need_a_calibration(simulated):
    _, train, valid, _ = simulated
    model = hs.ExplicitMF(rank=2).fit(train)
    users, items, _ = valid.to_arrays()
    with pytest.raises(NotCalibratedError, match="call calibrate"):
        model.predict(users, items, interval=0.9)
    with pytest.raises(DataError, match=r"are among those .* folds=5"):
        model.calibrate(train)
    with pytest.raises(DataError, match="at least 20"):
        model.calibrate(list(zip(users[:5], items[:5], strict=True)), np.ones(5))
    model.calibrate(valid)
    for level in (0, 1, -0.1, 2, True, "0.9"):
        with pytest.raises(ParameterError, match="interval"):
            model.predict(users, items, interval=level)
    model.fit(train)
    assert model.calibration_ is None  # of other factors


def test_same_bits_for_any_threads(simulated):
    _, train, valid, test = simulated
    users, items, _ = test.to_arrays()
    before, found = hs.get_num_threads(), set()
    try:
        for threads in (1, 2, 3, 8):
            hs.set_num_threads(threads)
            model = hs.ExplicitMF(rank=3, reg=0.1, max_iter=3).fit(train).calibrate(valid)
            answers = (
                *model.predict(users, items, interval=0.9),
                model.predict(users, items, std=True)[1],
                *(
                    model.recommend(users[:9], 5, strategy=how, seed=4).scores
                    for how in ("ucb", "thompson")
                ),
            )
            found.add(b"".join(answer.tobytes() for answer in answers))
    finally:
        hs.set_num_threads(before)
    assert len(found) == 1


def test_an_interrupted_calibration_changes_nothing(simulated, monkeypatch):
    _, train, valid, _ = simulated
    model = hs.ExplicitMF(rank=3, reg=0.1).fit(train).calibrate(valid)
    kept, factors = model.calibration_, model.factors_.copy()
    fit, calls = hs.ExplicitMF.fit, []

    def interrupted(self, *given, **options):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return fit(self, *given, **options)

    monkeypatch.setattr(hs.ExplicitMF, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.calibrate(train, folds=3)
    assert len(calls) == 2
    assert model.calibration_ is kept
    testing.assert_same_bits(model.factors_, factors)


# ------------------------------------------------------------------------------ strategies


def test_ucb_is_mean_plus_kappa_deviations():
    model, ratings = fitted()
    user, item = dense_unsureness(model, ratings)
    noise = noise_variance(model, "this test")
    pairs = np.indices(ratings.shape).reshape(2, -1)
    mean = model.predict(ratings.users.take(pairs[0]), ratings.items.take(pairs[1]))
    bound = mean.reshape(ratings.shape) + 1.5 * np.sqrt(noise * (user + item))
    denied = ratings.items.id_at(4)
    for seen in (False, True):
        found = model.recommend(
            n=17, strategy="ucb", kappa=1.5, exclude_seen=seen, deny=[denied], min_ratings=2
        )
        counts = np.diff(ratings.by_item.indptr)
        for u in range(23):
            left = [i for i in range(17) if i != 4 and counts[i] >= 2]
            if seen:
                own = ratings.by_user.indices[slice(*ratings.by_user.indptr[u : u + 2])]
                left = [i for i in left if i not in own]
            order = sorted(left, key=lambda i: -bound[u, i])
            asked = found[ratings.users.id_at(u)]
            assert [name for name, _ in asked] == [ratings.items.id_at(i) for i in order]
            np.testing.assert_allclose([s for _, s in asked], bound[u, order], rtol=1e-3)
    plain = model.recommend(n=5)
    zero = model.recommend(n=5, strategy="ucb", kappa=0)
    np.testing.assert_array_equal(plain.found, zero.found)
    np.testing.assert_allclose(plain.scores, zero.scores, rtol=1e-6)


def test_ucb_in_batches(monkeypatch):
    from halfstep.models import strategies

    model, _ = fitted()
    whole = model.recommend(n=6, strategy="ucb")
    monkeypatch.setattr(strategies, "_PAIRS", 40)
    parts = model.recommend(n=6, strategy="ucb")
    np.testing.assert_array_equal(whole.found, parts.found)
    assert whole.scores.tobytes() == parts.scores.tobytes()


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_thompson_draws_from_the_users_distribution(kind):
    from halfstep.models.strategies import sampled_users

    model, ratings = fitted(**kind)
    A, *_ = dense_matrices(model, ratings, "user")
    covariance = noise_variance(model, "this test") * np.linalg.inv(A[3])
    draws = []
    for seed in range(4000):
        factors, bias = sampled_users(model, np.array([3]), seed, "native")
        draws.append(factors[0] if bias is None else np.append(factors[0], bias[0]))
    f = model.factors_
    mean = f.user_factors[3]
    mean = mean if f.user_bias is None else np.append(mean, f.user_bias[3])
    deviation = np.sqrt(np.diag(covariance))
    assert (np.abs(np.mean(draws, axis=0) - mean) < 5 * deviation / math.sqrt(4000)).all()
    gap = np.cov(np.array(draws).T) - covariance
    assert (np.abs(gap) < 0.1 * np.outer(deviation, deviation)).all()


def test_thompson_depends_on_the_seed_and_the_user_alone():
    model, ratings = fitted()
    users = ratings.users.take(np.arange(23)).tolist()
    together = model.recommend(users, 5, strategy="thompson", seed=3)
    for user in users[::5]:
        assert model.recommend([user], 5, strategy="thompson", seed=3)[user] == together[user]
    other = model.recommend(users, 5, strategy="thompson", seed=4)
    assert other.scores.tobytes() != together.scores.tobytes()
    chosen = ratings.items.take(np.array([1, 2, 5])).tolist()
    found = model.recommend(users, 5, strategy="thompson", allow=chosen, exclude_seen=False)
    assert set(found.found.tolist()) == set(chosen)
    seen = set(zip(*(column.tolist() for column in ratings.to_arrays()[:2]), strict=True))
    assert not seen & {(user, item) for user, item, _ in together}


@pytest.mark.parametrize("strategy", ["ucb", "thompson"])
def test_strategies_for_the_unknown(strategy):
    model, _ = fitted()
    found = model.recommend([10**6], 4, strategy=strategy, unknown="bias")
    assert len(found[10**6]) == 4
    with pytest.raises(UnknownIdError):
        model.recommend([10**6], 4, strategy=strategy)


@pytest.mark.parametrize(
    "wrong",
    [
        {"strategy": "best"},
        {"kappa": -1},
        {"kappa": math.nan},
        {"kappa": "1"},
        {"seed": -1},
        {"seed": 1.5},
    ],
    ids=str,
)
def test_wrong_strategies(wrong):
    model, _ = fitted()
    with pytest.raises(ParameterError, match=next(iter(wrong))):
        model.recommend(**wrong)


# ------------------------------------------------------------------------------- influence


@pytest.mark.parametrize("side", ["user", "item"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_influence_is_what_leaving_out_does(kind, weighted, side):
    model, ratings = fitted(weighted, **kind | {"dtype": "float64", "max_iter": 3})
    A, F, C, *_ = dense_matrices(model, ratings, side)
    users, items, r = ratings.to_arrays()
    own, others = (users, items) if side == "user" else (items, users)
    weights = ratings.by_user.weights
    ids = ratings.users if side == "user" else ratings.items
    other_ids = ratings.items if side == "user" else ratings.users
    for place in (0, 5):
        who = ids.id_at(place)
        found = model.influence(**{side: who})
        assert (found.side, found.row) == (side, who)
        assert sorted(found.others.tolist()) == sorted(others[own == who].tolist())
        assert (np.diff(found.change) <= 0).all()
        cells = np.flatnonzero(own == who)

        def solved(kept):
            part = hs.Ratings.from_arrays(
                users[kept], items[kept], r[kept], weight=None if weights is None else weights[kept]
            )
            folded = model.fold_in(part, side=side)
            return np.append(folded.factors[0], [] if folded.bias is None else folded.bias[0])

        whole = solved(cells)
        for j, (other, rating, change, leverage) in enumerate(found):
            left = solved(cells[others[cells] != other])
            np.testing.assert_allclose(found.moves[j], whole - left, atol=1e-9)
            assert change == pytest.approx(np.linalg.norm(whole - left), abs=1e-9)
            assert rating == r[cells[others[cells] == other]][0]
            column = other_ids.lookup([other])[0]
            f = F[column]
            expected = C[place, column] * f @ np.linalg.solve(A[place], f)
            assert leverage == pytest.approx(expected, rel=1e-9)


def test_influence_of_the_only_rating():
    ratings = hs.Ratings.from_arrays([1, 2, 2, 3], [1, 1, 2, 2], [5.0, 3, 2, 4])
    model = hs.ExplicitMF(rank=2, reg=0.1, dtype="float64").fit(ratings)
    found = model.influence(1)
    whole = np.append(model.factors_.user_factors[0], model.factors_.user_bias[0])
    np.testing.assert_allclose(found.moves[0], whole, atol=1e-12)
    assert "rated 1 5" in str(found)


def test_influence_of_ratings_that_are_given():
    model, ratings = fitted(weighted=False)
    user = ratings.users.id_at(2)
    users, items, r = ratings.to_arrays()
    own = users == user
    part = hs.Ratings.from_arrays([7] * int(own.sum()), items[own], r[own])
    one, two = model.influence(user), model.influence(7, ratings=part)
    np.testing.assert_allclose(one.change, two.change)
    for wrong in ({}, {"user": user, "item": items[0]}):
        with pytest.raises(ParameterError, match="exactly one"):
            model.influence(**wrong)
    with pytest.raises(UnknownIdError):
        model.influence(item="nobody")


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_contribution_is_what_a_rating_does_to_the_score(kind):
    """The system is linear in the ratings: other ratings change a score by their contributions."""
    model, ratings = fitted(weighted=True, **kind | {"dtype": "float64"})
    user, item = ratings.users.id_at(4), ratings.items.id_at(6)
    users, items, r = ratings.to_arrays()
    own = np.flatnonzero(users == user)
    weights = ratings.by_user.weights[own]
    told = model.explain(user, item)
    shares = dict(zip(told.items.tolist(), told.contributions.tolist(), strict=True))
    for j in range(0, len(own), 2):
        changed = r[own].copy()
        changed[j] += 0.5
        part = hs.Ratings.from_arrays(users[own], items[own], changed, weight=weights)
        score = float(model.with_rows(model.fold_in(part)).predict(user, item))
        again = model.explain(user, item, ratings=part)
        assert again.score == pytest.approx(score, abs=1e-9)
        share = dict(zip(again.items.tolist(), again.contributions.tolist(), strict=True))
        name = items[own][j]
        assert score - told.score == pytest.approx(share[name] - shares[name], abs=1e-9)
        assert abs(score - told.score) > 1e-6


# -------------------------------------------------------------------- effective parameters


def test_effective_parameters_of_a_linear_fit():
    """Only biases: r̂ = H r, and the trace of H is known."""
    ratings = testing.random_ratings(30, 20, 0.5, seed=1)
    model = hs.ExplicitMF(rank=1, reg=(1e9, 1e9, 2.0), reg_scaling="none", tol=1e-12, max_iter=500)
    model.fit(ratings)
    N, (m, n) = len(ratings), ratings.shape
    X = np.zeros((N, m + n))
    X[np.arange(N), ratings.user_index()] = 1
    X[np.arange(N), m + ratings.by_user.indices] = 1
    mean = np.full((N, N), 1 / N)
    ridge = X @ np.linalg.solve(X.T @ X + 2.0 * np.eye(m + n), X.T)
    exact = np.trace(mean + ridge @ (np.eye(N) - mean))
    found = model.effective_parameters(probes=60, tol=1e-7)
    assert found.converged
    assert found.share == found.count / N
    assert abs(found.count - exact) < 4 * found.standard_error
    assert found.standard_error < 0.05 * exact
    assert "effective parameters" in str(found)


def test_effective_parameters_of_factors():
    """Against a refit for every single rating."""
    ratings = testing.random_ratings(8, 6, 0.6, seed=4)
    params = {"rank": 2, "reg": 1.0, "reg_scaling": "none", "dtype": "float64"}
    model = hs.ExplicitMF(**params, tol=0.0, max_iter=3000).fit(ratings)
    users, items, r = ratings.to_arrays()
    exact = 0.0
    for j in range(len(r)):
        fitted_to = []
        for change in (1 / 64, -1 / 64):
            other = r.copy()
            other[j] += change
            part = hs.Ratings.from_arrays(users, items, other)
            again = hs.ExplicitMF(**params, tol=0.0, max_iter=1000).fit(part, init=model)
            fitted_to.append(float(again.predict(users[j], items[j])))
        exact += (fitted_to[0] - fitted_to[1]) * 32
    found = model.effective_parameters(probes=100, tol=1e-6, max_iter=2000)
    assert abs(found.count - exact) < 4 * found.standard_error
    assert found.standard_error < 0.05 * exact


def test_effective_parameters_leave_the_model_alone(monkeypatch):
    module = importlib.import_module("halfstep.diagnostics.effective_parameters")
    model, ratings = fitted(dtype="float64")
    before, trace = model.factors_.copy(), model.trace_
    one = model.effective_parameters(probes=2, max_iter=40)
    two = model.effective_parameters(ratings, probes=2, max_iter=40)
    assert one.probes.tobytes() == two.probes.tobytes()
    assert model.effective_parameters(probes=2, max_iter=40, seed=1).count != one.count
    train, calls = module.train, []

    def interrupted(*given, **options):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return train(*given, **options)

    monkeypatch.setattr(module, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.effective_parameters(probes=2)
    testing.assert_same_bits(model.factors_, before)
    assert model.trace_ is trace


@pytest.mark.parametrize(
    "wrong", [{"probes": 1}, {"seed": -1}, {"tol": 0}, {"max_iter": 1}, {"ratings": 1}], ids=str
)
def test_wrong_questions_of_effective_parameters(wrong):
    model, _ = fitted()
    if "ratings" in wrong:
        wrong = {"ratings": testing.random_ratings(5, 4, 0.5)}
    with pytest.raises((ParameterError, DataError), match=next(iter(wrong))):
        model.effective_parameters(**wrong)
