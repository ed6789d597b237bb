"""Every split against plain sets of rows: what it keeps out is out, nothing is lost, seeds decide."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import halfstep as hs
from halfstep.errors import DataError, ParameterError

TEXTS = ["ann", "bob b", "Zoë", "Ωmega", "7", "x" * 40, "'"]


@st.composite
def tables(draw, least=13):
    """Columns of a table of four users and seven items at most: text or integer ids, times with ties,
    sometimes weights. Of 13 ratings some user has four."""
    users = st.sampled_from(TEXTS[:4]) if draw(st.booleans()) else st.integers(-1, 2)
    items = st.sampled_from(TEXTS) if draw(st.booleans()) else st.integers(10, 16)
    pairs = draw(st.lists(st.tuples(users, items), min_size=least, max_size=24, unique=True))
    N = len(pairs)
    number = {"min_size": N, "max_size": N}
    whole = draw(st.booleans())
    times = st.integers(-4, 4) if whole else st.sampled_from([-0.5, 0.25, 1e9, 1e9 + 0.5])
    columns = {
        "users": [u for u, _ in pairs],
        "items": [i for _, i in pairs],
        "ratings": draw(st.lists(st.integers(0, 5), **number)),
        "time": draw(st.lists(times, **number)),
    }
    if draw(st.booleans()):
        columns["weight"] = draw(st.lists(st.sampled_from([0.5, 1.0, 3.0]), **number))
    return columns


def made(columns, order=None):
    if order is not None:
        columns = {name: [column[row] for row in order] for name, column in columns.items()}
    return hs.Ratings.from_arrays(**columns, keep_order=True)


def rows(ratings):
    """{(user, item): (rating, weight, time)}."""
    users, items, values = (column.tolist() for column in ratings.to_arrays())
    weights = ratings.by_user.weights
    weights = [None] * len(users) if weights is None else weights.tolist()
    return {
        (u, i): (r, c, t)
        for u, i, r, c, t in zip(users, items, values, weights, ratings.time.tolist(), strict=True)
    }


def users_of(ratings):
    return Counter(u for u, _ in rows(ratings))


def items_of(ratings):
    return Counter(i for _, i in rows(ratings))


def times_of(ratings):
    return ratings.time.tolist()


def attempt(split, ratings, seed):
    """The parts, as a list; a table that is too small for this split is none of this test."""
    try:
        return list(split(ratings, seed))
    except DataError:
        assume(False)


def first(folds):
    return next(iter(folds))


# name → (the split, the kind that `check_split` holds it to, whether its parts hold all ratings)
SPLITS = {
    "random": (lambda r, s: hs.split_random(r, test=0.3, seed=s), "random", True),
    "random, valid": (
        lambda r, s: hs.split_random(r, test=0.3, valid=0.2, seed=s),
        "random",
        True,
    ),
    "kfold": (lambda r, s: first(hs.kfold(r, 3, seed=s)), "random", True),
    "leave 1 out": (lambda r, s: hs.split_leave_k_out(r, seed=s), "random", True),
    "leave 2 out, valid": (
        lambda r, s: hs.split_leave_k_out(r, 2, valid=1, seed=s),
        "random",
        True,
    ),
    "last": (lambda r, s: hs.split_last(r, seed=s), "last", True),
    "last 2, valid": (lambda r, s: hs.split_last(r, 2, valid=1, seed=s), "last", True),
    "time": (lambda r, s: hs.split_by_time(r, test=0.4), "time", True),
    "time, valid": (lambda r, s: hs.split_by_time(r, test=0.3, valid=0.3), "time", True),
    "rolling": (lambda r, s: first(hs.rolling_origin(r, 2)), "time", False),
    "cold user": (lambda r, s: hs.split_cold(r, test=0.3, seed=s), "cold-user", True),
    "cold item": (lambda r, s: hs.split_cold(r, "item", test=0.3, seed=s), "cold-item", True),
    "cold user, valid": (
        lambda r, s: hs.split_cold(r, "user", test=0.3, valid=0.3, seed=s),
        "cold-user",
        True,
    ),
    "folds of cold items": (
        lambda r, s: first(hs.kfold_cold(r, "item", 2, seed=s)),
        "cold-item",
        True,
    ),
    "users": (lambda r, s: hs.split_users(r, test=0.4, given=0.5, seed=s), "users", True),
    "users, given 2": (lambda r, s: hs.split_users(r, test=0.5, given=2, seed=s), "users", True),
    "folds of users": (lambda r, s: first(hs.kfold_users(r, 2, seed=s)), "users", True),
}


@pytest.mark.parametrize("name", SPLITS)
@given(data=st.data())
def test_parts_are_the_ratings_cut(name, data):
    """Over the same ids, none empty, no pair twice, values with them, and together all of them."""
    split, kind, complete = SPLITS[name]
    columns = data.draw(tables())
    ratings = made(columns)
    parts = attempt(split, ratings, 0)
    whole = rows(ratings)
    seen = Counter()
    for part in parts:
        assert part.users is ratings.users
        assert part.items is ratings.items
        own = rows(part)
        assert own
        assert all(whole[pair] == values for pair, values in own.items())
        seen.update(own.keys())
        order = np.argsort(part.file_rank)
        in_file = list(zip(columns["users"], columns["items"], strict=True))
        kept = [pair for pair in in_file if pair in own]
        assert [list(own)[cell] for cell in order] == kept
    assert max(seen.values()) == 1
    assert complete == (seen.keys() == whole.keys())
    hs.check_split(*parts, kind=kind, of=ratings if complete else None)


@pytest.mark.parametrize("name", SPLITS)
@given(data=st.data())
def test_the_seed_decides_and_the_order_of_the_table_does_not(name, data):
    split, _, _ = SPLITS[name]
    columns = data.draw(tables())
    order = data.draw(st.permutations(range(len(columns["users"]))))
    seed = data.draw(st.integers(0, 3))
    parts = attempt(split, made(columns), seed)
    for again in (split(made(columns), seed), split(made(columns, order), seed)):
        assert [rows(part) for part in again] == [rows(part) for part in parts]


@pytest.mark.parametrize(
    "name", [n for n in SPLITS if not n.startswith(("time", "rolling")) and "valid" not in n]
)
def test_another_seed_is_another_split(name):
    """(Where all times differ, the last ratings are the last whatever the seed: here they do not.)"""
    split, _, _ = SPLITS[name]
    sim = hs.simulate(60, 40, rank=2, ratings_per_user=10, min_per_user=4, seed=1).ratings
    users, items, values = sim.to_arrays()
    ratings = hs.Ratings.from_arrays(users, items, values, time=np.arange(len(sim)) % 2)
    assert rows(list(split(ratings, 0))[-1]) != rows(list(split(ratings, 1))[-1])


# ---------------------------------------------------------------- what each keeps out


@given(tables())
def test_random_shares(columns):
    ratings = made(columns)
    N = len(ratings)
    _, valid, test = attempt(SPLITS["random, valid"][0], ratings, 0)
    assert (len(valid), len(test)) == (round(0.2 * N), round(0.3 * N))
    # the draw of earlier versions, so that a seed stays what it was
    drawn = np.random.default_rng(0).permutation(N)
    keys = list(rows(ratings))
    assert set(rows(test)) == {keys[cell] for cell in drawn[: len(test)]}
    assert set(rows(valid)) == {keys[cell] for cell in drawn[len(test) :][: len(valid)]}


@given(tables())
def test_kfold_holds_every_rating_out_once(columns):
    ratings = made(columns)
    drawn = np.arange(len(ratings))
    np.random.RandomState(4).shuffle(drawn)
    in_file = list(zip(columns["users"], columns["items"], strict=True))
    for order, keys in (("sorted", list(rows(ratings))), ("file", in_file)):
        tests = [set(rows(test)) for _, test in hs.kfold(ratings, 3, seed=4, order=order)]
        assert tests == [{keys[cell] for cell in part} for part in np.array_split(drawn, 3)]


@pytest.mark.parametrize("by", [hs.split_leave_k_out, hs.split_last])
@given(
    columns=tables(least=2), k=st.integers(1, 3), valid=st.integers(0, 2), more=st.integers(0, 2)
)
def test_each_user_gives_k_ratings(by, columns, k, valid, more):
    ratings = made(columns)
    need = k + valid + 1 + more
    counts = users_of(ratings)
    options = {"valid": valid or None, "min_ratings": need}
    if max(counts.values()) < need:
        with pytest.raises(DataError, match=r"at most \d+ of a user.*lower k or min_ratings"):
            by(ratings, k, **options)
        return
    parts = by(ratings, k, **options)
    enough = {user for user, count in counts.items() if count >= need}
    assert users_of(parts[-1]) == dict.fromkeys(enough, k)
    if valid:
        assert users_of(parts[1]) == dict.fromkeys(enough, valid)
    assert users_of(parts[0]).keys() == counts.keys()  # everybody is known


@given(tables())
def test_last_is_last(columns):
    train, valid, test = attempt(SPLITS["last 2, valid"][0], made(columns), 0)
    for user in users_of(test):
        stretches = [
            [t for (u, _), (_, _, t) in rows(part).items() if u == user]
            for part in (train, valid, test)
        ]
        assert max(stretches[0]) <= min(stretches[1])
        assert max(stretches[1]) <= min(stretches[2])


def test_ties_of_the_last_are_broken_by_chance_not_by_id():
    """All times equal: over many users, each of five items is the last as often as another."""
    m, n = 2000, 5
    users, items = np.repeat(np.arange(m), n), np.tile(np.arange(n), m)
    ratings = hs.Ratings.from_arrays(users, items, np.ones(m * n), time=np.zeros(m * n))
    _, test = hs.split_last(ratings)
    counts = np.bincount(test.by_user.indices, minlength=n)
    assert counts.sum() == m
    assert np.abs(counts - m / n).max() < 5 * np.sqrt(m / n)


@given(tables(least=2), st.sampled_from([0.05, 0.3, 0.5, 0.9]))
def test_time_cuts_at_the_moment_nearest_to_the_share(columns, share):
    ratings = made(columns)
    train, test = attempt(lambda r, s: hs.split_by_time(r, test=share), ratings, 0)
    assert max(times_of(train)) < min(times_of(test))
    times = times_of(ratings)
    sizes = [sum(t >= moment for t in times) for moment in set(times)]
    wanted = share * len(times)
    assert abs(len(test) - wanted) == pytest.approx(
        min(abs(size - wanted) for size in sizes if size < len(times))
    )


@given(tables())
def test_time_at_a_moment(columns):
    ratings = made(columns)
    moments = sorted(set(times_of(ratings)))
    assume(len(moments) > 2)
    _, test = hs.split_by_time(ratings, at=moments[-2])
    assert min(times_of(test)) == moments[-2]
    train, valid, same = hs.split_by_time(ratings, at=moments[-1], valid=1e-9)
    assert min(times_of(valid)) == max(times_of(valid)) == moments[-2]
    assert max(times_of(train)) < moments[-2]
    assert set(times_of(same)) == {moments[-1]}


def test_time_at_a_moment_beyond_all_numbers():
    ratings = hs.Ratings.from_arrays([1, 2], [1, 1], [1, 2], time=[1, 2])
    for at in (10**40, -(10**40)):
        with pytest.raises(ParameterError, match="at="):
            hs.split_by_time(ratings, at=at)


def test_time_at_a_date():
    days = np.array(["2015-02-28", "2015-03-01", "2015-03-02"], dtype="datetime64[D]")
    ratings = hs.Ratings.from_arrays([1, 1, 2], [1, 2, 1], [3, 4, 5], time=days)
    train, test = hs.split_by_time(ratings, at="2015-03-01")
    assert (len(train), len(test)) == (1, 2)
    train, test = hs.split_by_time(ratings, at="2015-03-01T00:00:01")
    assert (len(train), len(test)) == (2, 1)


@given(tables(), st.integers(2, 4))
def test_rolling_origin(columns, folds):
    ratings = made(columns)
    pairs = attempt(lambda r, s: hs.rolling_origin(r, folds), ratings, 0)
    assert len(pairs) == folds
    known = set()
    for train, test in pairs:
        assert max(times_of(train)) < min(times_of(test))
        assert known <= set(rows(train))  # all before it, the test parts of earlier folds too
        known = set(rows(train)) | set(rows(test))
    assert known == set(rows(ratings))


def test_rolling_origin_is_time_series_split():
    from sklearn.model_selection import TimeSeriesSplit

    N = 103
    time = np.random.default_rng(0).permutation(N)
    ratings = hs.Ratings.from_arrays(np.zeros(N, int), np.arange(N), np.ones(N), time=time)
    for options, ours in (({}, {}), ({"test_size": 10}, {"test": 10 / N})):
        theirs = TimeSeriesSplit(4, **options).split(np.arange(N))
        for (train, test), (known, held_out) in zip(
            hs.rolling_origin(ratings, 4, **ours), theirs, strict=True
        ):
            slack = 0 if options else 1  # they cut whole numbers of rows
            assert abs(len(train) - len(known)) <= 4 * slack
            assert abs(len(test) - len(held_out)) <= slack
            assert max(times_of(train)) == len(train) - 1


@pytest.mark.parametrize(("side", "ids"), [("user", users_of), ("item", items_of)])
@given(columns=tables())
def test_cold_sides_are_unseen(side, ids, columns):
    ratings = made(columns)
    train, test = attempt(lambda r, s: hs.split_cold(r, side, test=0.3, seed=s), ratings, 0)
    assert not ids(train).keys() & ids(test).keys()
    assert len(ids(test)) == round(0.3 * len(ids(ratings)))


@pytest.mark.parametrize(("side", "ids"), [("user", users_of), ("item", items_of)])
@given(columns=tables())
def test_folds_of_cold_sides(side, ids, columns):
    ratings = made(columns)
    pairs = attempt(lambda r, s: hs.kfold_cold(r, side, 2, seed=s), ratings, 0)
    assert all(not ids(train).keys() & ids(test).keys() for train, test in pairs)
    held_out = sum((ids(test) for _, test in pairs), Counter())
    assert held_out == ids(ratings)
    assert abs(len(ids(pairs[0][1])) - len(ids(pairs[1][1]))) <= 1


@given(tables(), st.sampled_from([0.1, 0.5, 0.8, 1, 2]), st.integers(0, 2))
def test_new_users(columns, share, more):
    ratings = made(columns)
    need = (share if isinstance(share, int) else 1) + 1 + more
    options = {"test": 0.5, "given": share, "min_ratings": need}
    train, told, test = attempt(lambda r, s: hs.split_users(r, **options, seed=s), ratings, 0)
    counts = users_of(ratings)
    enough = [user for user, count in counts.items() if count >= need]
    assert not users_of(train).keys() & users_of(told).keys()
    assert users_of(told).keys() == users_of(test).keys() <= set(enough)
    assert len(users_of(test)) == round(0.5 * len(enough))
    for user, count in users_of(told).items():
        wanted = share if isinstance(share, int) else round(share * counts[user])
        assert count == min(max(wanted, 1), counts[user] - 1)


@given(tables())
def test_folds_of_users(columns):
    ratings = made(columns)
    folds = attempt(lambda r, s: hs.kfold_users(r, 2, given=1, seed=s), ratings, 0)
    held_out = sum((users_of(fold.given) + users_of(fold.test) for fold in folds), Counter())
    counts = users_of(ratings)
    assert held_out == {user: count for user, count in counts.items() if count > 1}


def test_new_users_are_scored_by_folding_in():
    """As the docstring says; and it is what folding in each of them alone gives."""
    ratings = hs.simulate(80, 40, rank=3, ratings_per_user=15, min_per_user=5, seed=2).ratings
    train, told, test = hs.split_users(ratings, test=0.2, seed=3)
    model = hs.ExplicitMF(rank=3, reg=0.05).fit(train)
    scored = model.with_rows(model.fold_in(told))
    users, items, _ = test.to_arrays()
    for user in set(users.tolist()):
        given_users, given_items, given_ratings = told.to_arrays()
        own = given_users == user
        alone = hs.Ratings.from_arrays(given_users[own], given_items[own], given_ratings[own])
        told_alone = model.with_rows(model.fold_in(alone))
        asked = users == user
        np.testing.assert_array_equal(
            scored.predict(users[asked], items[asked]),
            told_alone.predict(users[asked], items[asked]),
        )


# ------------------------------------------------------------------- odd tables


def test_a_split_of_a_part_is_over_its_own_ratings():
    """A part has ids without ratings: they are nobody to hold out."""
    ratings = hs.simulate(60, 40, rank=2, ratings_per_user=10, min_per_user=4, seed=1).ratings
    outer = hs.split_users(ratings, test=0.5)
    present = users_of(outer.train).keys()
    inner = hs.split_users(outer.train, test=0.5)
    assert len(users_of(inner.test)) == round(0.5 * len(present))
    hs.check_split(*inner, kind="users", of=outer.train)
    _, cold = hs.split_cold(outer.train, test=0.5)
    assert len(users_of(cold)) == round(0.5 * len(present))
    hs.check_split(*hs.split_last(outer.train), kind="last", of=outer.train)


def test_one_user_of_a_million_ratings():
    N = 1_000_000
    time = np.random.default_rng(0).integers(0, 1000, N)
    ratings = hs.Ratings.from_arrays(np.zeros(N, int), np.arange(N), np.ones(N), time=time)
    train, test = hs.split_last(ratings, 10_000)
    assert len(test) == 10_000
    hs.check_split(train, test, kind="last", of=ratings)
    _, told, test = hs.split_users(
        hs.Ratings.from_arrays(
            np.concatenate([np.zeros(N, int), [1, 1]]), [*range(N), 0, 1], np.ones(N + 2)
        ),
        test=0.5,
    )
    assert len(told) in (1, 800_000)


def test_parts_too_far_apart_for_32_bits():
    """The largest user and item numbers of a large table do not overflow when pairs are compared."""
    m, n = 70_000, 70_000
    users = [*range(m), m - 1, m - 2]
    items = [*range(n), 0, 1]
    ratings = hs.Ratings.from_arrays(users, items, np.ones(m + 2))
    hs.check_split(*hs.split_random(ratings, test=0.5), of=ratings)


@pytest.mark.parametrize("name", [n for n in SPLITS if n != "leave 2 out, valid"])
def test_movielens(name, data_folder):
    split, kind, complete = SPLITS[name]
    ratings = hs.read_ratings(data_folder / "ml-100k" / "u.data")
    parts = split(ratings, 0)
    hs.check_split(*parts, kind=kind, of=ratings if complete else None)
    if name == "time":
        assert len(parts[1]) == pytest.approx(40_000, abs=50)  # bursts of one second stay whole
    if name.startswith("users"):
        assert len(users_of(parts[2])) == round(943 * (0.5 if "2" in name else 0.4))


# ----------------------------------------------------------------------- errors

SMALL = {"users": list("aabb"), "items": [1, 2, 1, 2], "ratings": [1, 2, 3, 4]}
TIMED = {**SMALL, "time": [1, 2, 3, 4]}


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda r: hs.split_random(r, test=0), "test=0: must be a share"),
        (lambda r: hs.split_random(r, test=True), "test=True"),
        (lambda r: hs.split_random(r, test="x"), "test='x'"),
        (lambda r: hs.split_random(r, test=float("nan")), "test=nan"),
        (lambda r: hs.split_random(r, valid=1.0), "valid=1.0"),
        (lambda r: hs.split_random(r, seed=-1), "seed=-1"),
        (lambda r: hs.kfold(r, 1), "folds=1"),
        (lambda r: hs.kfold(r, 2.5), "folds=2.5"),
        (lambda r: hs.kfold(r, 2, order="random"), "order='random'"),
        (lambda r: hs.kfold(r, 2, seed=2**32), "seed="),
        (lambda r: hs.split_leave_k_out(r, 0), "k=0"),
        (lambda r: hs.split_leave_k_out(r, 0.5), "k=0.5"),
        (lambda r: hs.split_leave_k_out(r, valid=0), "valid=0"),
        (lambda r: hs.split_leave_k_out(r, 2, min_ratings=2), "min_ratings=2.*try min_ratings=3"),
        (lambda r: hs.split_leave_k_out(r, seed=1.5), "seed=1.5"),
        (lambda r: hs.split_last(r, -1), "k=-1"),
        (lambda r: hs.split_last(r, seed="a"), "seed='a'"),
        (lambda r: hs.split_by_time(r, test=1), "test=1"),
        (lambda r: hs.split_by_time(r, test=0.5, at=2), "test=0.5.*pass one of the two"),
        (lambda r: hs.split_by_time(r, at=1), "at=1: leaves a part empty: .* from 1 to 4"),
        (lambda r: hs.split_by_time(r, at=5), "at=5"),
        (lambda r: hs.split_by_time(r, at="tomorrow"), "at='tomorrow'"),
        (lambda r: hs.split_by_time(r, at=""), "at=''"),
        (lambda r: hs.split_by_time(r, at=float("nan")), "at=nan"),
        (lambda r: hs.split_by_time(r, valid=0.0), "valid=0.0"),
        (lambda r: hs.rolling_origin(r, 1), "folds=1"),
        (lambda r: hs.rolling_origin(r, 2, test=0.5), "test=0.5: leaves nothing"),
        (lambda r: hs.rolling_origin(r, 2, test=2), "test=2"),
        (lambda r: hs.split_cold(r, "both"), "side='both'"),
        (lambda r: hs.split_cold(r, test=1.5), "test=1.5"),
        (lambda r: hs.split_cold(r, seed=-2), "seed=-2"),
        (lambda r: hs.kfold_cold(r, "row"), "side='row'"),
        (lambda r: hs.kfold_cold(r, folds=0), "folds=0"),
        (lambda r: hs.split_users(r, given=0), "given=0"),
        (lambda r: hs.split_users(r, given=1.0), "given=1.0"),
        (lambda r: hs.split_users(r, given=2, min_ratings=2), "min_ratings=2.*try min_ratings=3"),
        (lambda r: hs.split_users(r, min_ratings=1), "min_ratings=1"),
        (lambda r: hs.split_users(r, seed=-1), "seed=-1"),
        (lambda r: hs.kfold_users(r, True), "folds=True"),
    ],
)
def test_bad_arguments(call, named):
    with pytest.raises(ParameterError, match=named):
        call(made(TIMED))


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda r: hs.split_random(r, test=0.1), "4 ratings.*too few"),
        (lambda r: hs.split_random(r, test=0.6, valid=0.4), "4 ratings.*too few"),
        (lambda r: hs.kfold(r, 5), "4 ratings.*fewer than 5 folds"),
        (lambda r: hs.split_leave_k_out(r, 2), "at most 2 of a user.*min_ratings=3"),
        (lambda r: hs.split_cold(r), "2 users.*too few"),
        (lambda r: hs.split_cold(r, "item", test=0.9), "2 items.*too few"),
        (lambda r: hs.kfold_cold(r, folds=3), "2 users.*fewer than 3 folds"),
        (lambda r: hs.split_users(r), "2 users with 2 ratings.*too few"),
        (
            lambda r: hs.split_by_time(made(TIMED), test=0.5, valid=0.5),
            "2 ratings before the test part.*valid=0.5",
        ),
        (lambda r: hs.kfold_users(r, 2, given=2), "0 users with 3 ratings.*fewer than 2 folds"),
        (lambda r: hs.split_last(r), "without times.*time="),
        (lambda r: hs.split_by_time(r), "without times.*time="),
        (lambda r: hs.rolling_origin(r), "without times.*time="),
    ],
)
def test_too_few_ratings(call, named):
    with pytest.raises(DataError, match=named):
        call(made(SMALL))


@pytest.mark.parametrize(
    "call", [hs.split_by_time, hs.rolling_origin, lambda r: hs.split_by_time(r, valid=0.2)]
)
def test_one_moment_cannot_be_cut(call):
    with pytest.raises(DataError, match="all have the same time"):
        call(made({**SMALL, "time": [7, 7, 7, 7]}))


def test_too_few_moments_for_the_folds():
    with pytest.raises(DataError, match=r"2 different times.*lower folds"):
        hs.rolling_origin(made({**SMALL, "time": [7, 7, 8, 8]}), 3)


def test_file_order_needs_the_order():
    with pytest.raises(DataError, match="keep_order=True"):
        hs.kfold(hs.Ratings.from_arrays(**SMALL), 2, order="file")


EVERY = [
    *(hs.split_random, hs.kfold, hs.split_leave_k_out, hs.split_last, hs.split_by_time),
    *(hs.rolling_origin, hs.split_cold, hs.kfold_cold, hs.split_users, hs.kfold_users),
]


@pytest.mark.parametrize("split", EVERY)
@pytest.mark.parametrize("given_instead", [[[1, 2, 3.0]], None, "ratings.csv"])
def test_anything_but_ratings(split, given_instead):
    with pytest.raises(DataError, match="must be Ratings"):
        split(given_instead)


@pytest.mark.parametrize("split", EVERY)
def test_no_ratings(split):
    with pytest.raises(DataError):
        split(made(TIMED).select(np.zeros(4, dtype=bool)))
