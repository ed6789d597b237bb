"""`check_split`: a split that leaks is caught, kind by kind, and a pair that leaks is named."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import halfstep as hs
from halfstep.errors import DataError, LeakError, ParameterError

# cell:  0          1          2         3         4          5
USERS = ["Zoë", "Zoë", "Zoë", "bob b", "bob b", "ann"]
ITEMS = [10, 20, 30, 10, 20, 30]
TIME = [5, 6, 9, 1, 2, 7]


@pytest.fixture
def ratings():
    return hs.Ratings.from_arrays(USERS, ITEMS, np.arange(6.0), time=TIME)


def cells(ratings, *pairs):
    """These (user, item) pairs, over the same ids."""
    users, items, _ = ratings.to_arrays()
    known = list(zip(users.tolist(), items.tolist(), strict=True))
    return ratings.select([known.index(pair) for pair in pairs])


def rest(ratings, part):
    """All others."""
    users, items, _ = ratings.to_arrays()
    own = set(zip(*(c.tolist() for c in part.to_arrays()[:2]), strict=True))
    return ratings.select(
        np.array([pair not in own for pair in zip(users.tolist(), items.tolist(), strict=True)])
    )


def leaks(*parts, **options):
    with pytest.raises(LeakError) as caught:
        hs.check_split(*parts, **options)
    return caught.value


# ------------------------------------------------------------- one leak of each kind


def test_a_pair_in_both_parts(ratings):
    test = cells(ratings, ("ann", 30), ("Zoë", 20))
    error = leaks(cells(ratings, ("Zoë", 10), ("Zoë", 20), ("bob b", 10)), test)
    assert error.argument == "test"
    assert error.value == ("Zoë", 20)
    assert "is in train too" in str(error)
    assert "put every rating into one part" in str(error)


@pytest.mark.parametrize(("first", "second"), [(0, 1), (0, 2), (1, 2)])
def test_a_pair_in_two_of_three_parts(ratings, first, second):
    pairs = [[("Zoë", 10)], [("Zoë", 20)], [("Zoë", 30)]]
    pairs[first].append(("ann", 30))
    pairs[second].append(("ann", 30))
    names = ("train", "valid", "test")
    error = leaks(*(cells(ratings, *part) for part in pairs))
    assert error.argument == names[second]
    assert error.value == ("ann", 30)
    assert f"is in {names[first]} too" in str(error)


def test_an_earlier_rating_in_test(ratings):
    test = cells(ratings, ("Zoë", 30), ("ann", 30), ("bob b", 20))
    error = leaks(rest(ratings, test), test, kind="time")
    assert error.value == ("bob b", 20)
    assert "its time 2 is not later than 6, that of ('Zoë', 20) in train" in str(error)
    assert "split_by_time" in str(error)
    hs.check_split(rest(ratings, test), test)  # at random nobody minds


def test_a_tie_at_the_moment(ratings):
    tied = hs.Ratings.from_arrays(USERS, ITEMS, np.arange(6.0), time=[5, 6, 9, 1, 2, 6])
    test = cells(tied, ("Zoë", 30), ("ann", 30))
    assert leaks(rest(tied, test), test, kind="time").value == ("ann", 30)


def test_an_earlier_rating_of_the_user_in_test(ratings):
    test = cells(ratings, ("Zoë", 30), ("bob b", 10))
    error = leaks(rest(ratings, test), test, kind="last")
    assert error.value == ("bob b", 10)
    assert "earlier than 2, that of the same user's ('bob b', 20) in train" in str(error)
    assert "split_last" in str(error)
    hs.check_split(rest(ratings, test), test)


def test_ties_of_a_user_may_fall_on_both_sides(ratings):
    tied = hs.Ratings.from_arrays(USERS, ITEMS, np.arange(6.0), time=[5, 5, 5, 1, 2, 7])
    test = cells(tied, ("Zoë", 10), ("bob b", 20))
    hs.check_split(rest(tied, test), test, kind="last")


def test_a_user_of_a_cold_split_in_train(ratings):
    test = cells(ratings, ("ann", 30), ("bob b", 10))
    error = leaks(rest(ratings, test), test, kind="cold-user")
    assert error.value == ("bob b", 10)
    assert "its user has ratings in train too (1)" in str(error)
    assert 'split_cold(side="user")' in str(error)


def test_an_item_of_a_cold_split_in_train(ratings):
    test = cells(ratings, ("Zoë", 10), ("bob b", 10), ("ann", 30))
    error = leaks(rest(ratings, test), test, kind="cold-item")
    assert error.value == ("ann", 30)
    assert 'split_cold(side="item")' in str(error)


def test_a_cold_user_of_the_test_part_in_the_validation_part(ratings):
    train = cells(ratings, ("ann", 30))
    valid = cells(ratings, ("Zoë", 10), ("bob b", 10))
    error = leaks(train, valid, cells(ratings, ("bob b", 20)), kind="cold-user")
    assert error.argument == "test"
    assert "in valid" in str(error)


@pytest.mark.parametrize("part", ["given", "test"])
def test_a_held_out_user_in_train(ratings, part):
    train = [("ann", 30)]
    train.append(("Zoë", 10))
    told, test = [("bob b", 10)], [("bob b", 20)]
    (told if part == "given" else test).append(("Zoë", 20))
    error = leaks(*(cells(ratings, *pairs) for pairs in (train, told, test)), kind="users")
    assert error.argument == part
    assert error.value == ("Zoë", 20)


def test_a_rating_to_predict_among_the_given(ratings):
    told = cells(ratings, ("Zoë", 10), ("Zoë", 20))
    error = leaks(cells(ratings, ("ann", 30)), told, cells(ratings, ("Zoë", 20)), kind="users")
    assert error.argument == "test"
    assert "is in given too" in str(error)


def test_a_held_out_user_with_nothing_given(ratings):
    told, test = cells(ratings, ("Zoë", 10)), cells(ratings, ("Zoë", 20), ("bob b", 10))
    with pytest.raises(DataError, match=r"test=\('bob b', 10\): its user has no rating in given"):
        hs.check_split(cells(ratings, ("ann", 30)), told, test, kind="users")


def test_a_rating_in_no_part(ratings):
    train, test = cells(ratings, ("Zoë", 10), ("ann", 30)), cells(ratings, ("Zoë", 20))
    hs.check_split(train, test)
    error = leaks(train, test, of=ratings)
    assert error.argument == "of"
    assert error.value == ("Zoë", 30)
    assert "is in no part, as 2 other pairs are" in str(error)


def test_a_rating_from_elsewhere(ratings):
    train, test = cells(ratings, ("Zoë", 10), ("ann", 30)), cells(ratings, ("Zoë", 20))
    error = leaks(train, test, of=cells(ratings, ("Zoë", 10), ("Zoë", 20)))
    assert (error.argument, error.value) == ("train", ("ann", 30))
    nothing = ratings.select(np.zeros(6, dtype=bool))
    assert leaks(train, test, of=nothing).value == ("Zoë", 10)


@pytest.mark.parametrize("side", ["user", "item"])
@pytest.mark.parametrize("swapped", [False, True])
def test_parts_with_ids_of_their_own(side, swapped):
    """Two tables that were read apart: row 1 of one is not row 1 of the other."""
    names = ["users", "items"] if side == "user" else ["items", "users"]
    wide = hs.Ratings.from_arrays(**{names[0]: [1, 2, 3], names[1]: [5, 5, 5]}, ratings=[1, 2, 3])
    narrow = hs.Ratings.from_arrays(**{names[0]: [1, 2], names[1]: [5, 5]}, ratings=[1, 2])
    error = leaks(*((narrow, wide) if swapped else (wide, narrow)))
    place = "test" if swapped else "train"
    assert f"other {side} ids" in str(error)
    assert f"3 is in the ids of {place} and not in those of" in str(error)
    with pytest.raises(LeakError, match="ids"):
        hs.check_split(wide.select([0]), wide.select([1]), of=narrow)


def test_ids_of_another_kind():
    text = hs.Ratings.from_arrays(["a", "b"], [1, 2], [1, 2])
    number = hs.Ratings.from_arrays([1, 2], [1, 2], [1, 2])
    assert "other user ids than train: text, not integers" in str(leaks(number, text))
    digits = hs.Ratings.from_arrays(["1", "2"], [1, 2], [1, 2])
    assert "text, not integers" in str(leaks(number, digits))


# ------------------------------------------------------------------ planted leaks

PLANTS = {
    "random": lambda r: hs.split_random(r, test=0.3),
    "time": lambda r: hs.split_by_time(r, test=0.3),
    "last": lambda r: hs.split_last(r),
    "cold-user": lambda r: hs.split_cold(r, test=0.3),
    "cold-item": lambda r: hs.split_cold(r, "item", test=0.3),
    "users": lambda r: hs.split_users(r, test=0.3),
}


@pytest.mark.parametrize("kind", PLANTS)
@given(data=st.data())
def test_one_planted_cell_is_found(kind, data):
    """One cell of the test part goes into train, or stays where it was and is in both."""
    sim = hs.simulate(12, 9, rank=2, ratings_per_user=5, min_per_user=3, seed=5).ratings
    users, items, values = sim.to_arrays()
    ratings = hs.Ratings.from_arrays(users, items, values, time=np.arange(len(sim)) * 7 % 101)
    parts = list(PLANTS[kind](ratings))
    hs.check_split(*parts, kind=kind, of=ratings)
    pairs = list(zip(*(c.tolist() for c in parts[-1].to_arrays()[:2]), strict=True))
    stolen = data.draw(st.sampled_from(pairs))
    train = list(zip(*(c.tolist() for c in parts[0].to_arrays()[:2]), strict=True))
    both = cells(ratings, *train, stolen)
    assert leaks(both, *parts[1:], kind=kind).value == stolen
    left = [pair for pair in pairs if pair != stolen]
    moved = cells(ratings, *left)
    if kind == "users":  # the others of that user, in given, still are its
        assert leaks(both, parts[1], moved, kind=kind).value[0] == stolen[0]
    elif kind == "random":
        hs.check_split(both, moved, kind=kind, of=ratings)
    elif kind.startswith("cold"):
        axis = 0 if kind == "cold-user" else 1
        alike = [pair for pair in left if pair[axis] == stolen[axis]]
        if alike:
            assert leaks(both, moved, kind=kind).value in alike
        else:
            hs.check_split(both, moved, kind=kind, of=ratings)
    elif kind == "time":
        when = dict(zip(pairs, parts[1].time.tolist(), strict=True))
        if when[stolen] > min(when[pair] for pair in left):
            assert when[leaks(both, moved, kind=kind).value] < when[stolen]
        else:
            hs.check_split(both, moved, kind=kind, of=ratings)


# --------------------------------------------------------------- arguments and parts


def test_bad_arguments(ratings):
    a, b, c = (cells(ratings, pair) for pair in (("ann", 30), ("Zoë", 10), ("Zoë", 20)))
    with pytest.raises(ParameterError, match=r"kind='folds'.*choose one of random, time"):
        hs.check_split(a, b, kind="folds")
    for parts in ((), (a,), (a, b, c, a)):
        with pytest.raises(ParameterError, match=f"parts={len(parts)}"):
            hs.check_split(*parts)
    with pytest.raises(ParameterError, match=r"\(train, given, test\)"):
        hs.check_split(a, b, kind="users")
    with pytest.raises(DataError, match="must be Ratings"):
        hs.check_split(a, [1, 2])
    with pytest.raises(DataError, match="must be Ratings"):
        hs.check_split(a, b, of="all")


@pytest.mark.parametrize("empty", [0, 1, 2])
def test_an_empty_part(ratings, empty):
    parts = [cells(ratings, pair) for pair in (("ann", 30), ("Zoë", 10), ("Zoë", 20))]
    parts[empty] = ratings.select(np.zeros(6, dtype=bool))
    name = ("train", "valid", "test")[empty]
    with pytest.raises(DataError, match=f"{name}=.*holds no ratings"):
        hs.check_split(*parts)


@pytest.mark.parametrize("kind", ["time", "last"])
def test_no_times(kind):
    ratings = hs.Ratings.from_arrays(USERS, ITEMS, np.arange(6.0))
    with pytest.raises(DataError, match=r"train='without times'.*time="):
        hs.check_split(cells(ratings, ("Zoë", 10)), cells(ratings, ("Zoë", 20)), kind=kind)


def test_what_is_no_ratings_is_named(ratings):
    whole = ratings.select(np.arange(len(ratings)))
    with pytest.raises(DataError, match="test=3: must be Ratings"):
        hs.check_split(whole, 3)
    with pytest.raises(DataError, match="of=3: must be Ratings"):
        hs.check_split(whole.select([0]), whole.select([1]), of=3)


def test_users_that_only_one_part_has(ratings):
    """No user in common: nothing of theirs can be too late."""
    hs.check_split(cells(ratings, ("Zoë", 30)), cells(ratings, ("bob b", 10)), kind="last")
