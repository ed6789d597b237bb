"""`Ratings.from_dense`: the ratings of its cells, without sorting them."""

import numpy as np
import pytest

import halfstep as hs
from halfstep import testing
from halfstep.errors import DataError

R = np.array([[5.0, 0.0, 1.5], [3.0, 2.0, 4.0], [0.5, 1.0, 2.5], [4.5, 3.5, 0.0]])


def triplets(table, users, items):
    u, i = np.nonzero(~np.isnan(table))
    return hs.Ratings.from_arrays(np.asarray(users)[u], np.asarray(items)[i], table[u, i])


def same(one, two):
    assert one.users == two.users
    assert one.items == two.items
    for a, b in ((one.by_user, two.by_user), (one.by_item, two.by_item)):
        for name in ("indptr", "indices", "values"):
            x, y = getattr(a, name), getattr(b, name)
            assert x.dtype == y.dtype
            np.testing.assert_array_equal(x, y)
        assert a.weights is None
        assert b.weights is None


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, ">f4", np.float16])
def test_a_zero_is_a_rating(dtype, order):
    made = hs.Ratings.from_dense(np.asarray(R, dtype=dtype, order=order))
    assert len(made) == 12
    assert made.is_complete
    same(made, triplets(R, np.arange(4), np.arange(3)))
    assert made.summary().ratings == 12


@pytest.mark.parametrize(
    ("users", "items"),
    [
        (["d", "b", "a", "c"], [30, 10, 20]),
        ([4, 3, 2, 1], ["x", "y", "z"]),
        (["a", "b", "c", "d"], [1, 2, 3]),
    ],
)
@pytest.mark.parametrize("gaps", [False, True])
def test_ids_in_any_order(users, items, gaps):
    table = R.copy()
    if gaps:
        table[0, 1] = table[2, 2] = np.nan
    same(hs.Ratings.from_dense(table, users=users, items=items), triplets(table, users, items))


def test_a_fit_is_that_of_the_triplets():
    for gaps in (False, True):
        table = np.random.default_rng(0).integers(0, 11, (60, 40)) / 2
        if gaps:
            table[np.random.default_rng(1).random(table.shape) < 0.3] = np.nan
        one = hs.ExplicitMF(rank=5, max_iter=4).fit(hs.Ratings.from_dense(table))
        two = hs.ExplicitMF(rank=5, max_iter=4).fit(triplets(table, np.arange(60), np.arange(40)))
        testing.assert_same_bits(one.factors_, two.factors_)
        assert one.trace_[-1].objective == two.trace_[-1].objective


def test_another_mark_of_what_is_missing():
    made = hs.Ratings.from_dense([[1, -1], [0, 2]], missing=-1)
    assert made.by_user.values.tolist() == [1.0, 0.0, 2.0]
    assert not made.is_complete
    assert len(hs.Ratings.from_dense([[1, -1], [0, 2]])) == 4


def test_rows_and_columns_without_ratings_are_kept():
    made = hs.Ratings.from_dense([[np.nan, np.nan, np.nan], [1.0, np.nan, 2.0]])
    assert made.shape == (2, 3)
    assert np.diff(made.by_user.indptr).tolist() == [0, 2]
    assert np.diff(made.by_item.indptr).tolist() == [1, 0, 1]


def test_the_table_is_copied():
    table = np.ones((2, 2), dtype=np.float32)
    made = hs.Ratings.from_dense(table)
    table[0, 0] = 9
    assert made.by_user.values[0] == 1


@pytest.mark.parametrize(
    ("table", "given", "match"),
    [
        ([1.0, 2.0], {}, r"^table=.*two-dimensional"),
        (np.ones((2, 2, 2)), {}, r"^table=.*two-dimensional"),
        ([["a", "b"]], {}, r"^table=.*numbers"),
        ([[1.0, 2.0], [3.0]], {}, r"^table=.*two-dimensional"),
        (np.ones((2, 2), dtype=bool), {}, r"^table=.*numbers"),
        (np.ones((2, 2), dtype=complex), {}, r"^table=.*numbers"),
        ([[1.0, np.inf]], {}, r"^table=inf: the cell of row 0 and column 1"),
        ([[1.0], [1e39]], {}, r"^table=1e\+39: the cell of row 1 and column 0"),
        ([[1.0, np.nan]], {"missing": 0}, r"^table=nan: the cell of row 0 and column 1"),
        ([[np.nan]], {}, r"^table=.*no ratings"),
        (np.ones((0, 3)), {}, r"^table=.*no ratings"),
        ([[1.0]], {"missing": "nan"}, r"^missing='nan'"),
        ([[1.0]], {"missing": True}, r"^missing=True"),
        ([[1.0]], {"missing": None}, r"^missing=None"),
        ([[1.0], [2.0]], {"users": ["a"]}, r"^users=.*one distinct id"),
        ([[1.0], [2.0]], {"users": ["a", "a"]}, r"^users=.*one distinct id"),
        ([[1.0, 2.0]], {"items": [1, 2, 3]}, r"^items=.*one distinct id"),
        ([[1.0, 2.0]], {"items": ["a", None]}, r"^items=.*one distinct id"),
    ],
)
def test_bad_tables(table, given, match):
    with pytest.raises(DataError, match=match):
        hs.Ratings.from_dense(table, **given)
