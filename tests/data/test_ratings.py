"""`Ratings`: ids, policies, reports, selections."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import halfstep as hs
from halfstep.data.ids import MISSING, IdMap, encode, parse_integer
from halfstep.errors import DataError, DuplicatesError, ParameterError


def cells(ratings):
    return list(zip(*(a.tolist() for a in ratings.to_arrays()), strict=True))


# ------------------------------------------------------------------------------ ids


def test_ids_are_the_users_own():
    ratings = hs.Ratings.from_arrays(["zoë", "ann b", "ann b"], [30, -2, 7], [1, 2, 3])
    assert cells(ratings) == [("ann b", -2, 2.0), ("ann b", 7, 3.0), ("zoë", 30, 1.0)]
    assert ratings.users.lookup(["zoë", "nobody"]).tolist() == [1, -1]


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=50))
def test_integers_go_there_and_back(values):
    encoded = encode(np.array(values, dtype=np.int64), "users")
    assert encoded.ids.take(encoded.codes).tolist() == values
    assert encoded.ids.lookup(values).tolist() == encoded.codes.tolist()
    assert (np.diff(encoded.ids.values.astype(object)) > 0).all()


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1))
def test_text_goes_there_and_back(values):
    encoded = encode(values, "users")
    assert encoded.ids.take(encoded.codes).tolist() == values
    assert encoded.ids.lookup(values).tolist() == encoded.codes.tolist()
    assert encoded.ids.values.tolist() == sorted(set(values))
    assert encoded.ids.values.tolist() == sorted(set(values), key=lambda v: v.encode())


@pytest.mark.parametrize(
    ("column", "codes"),
    [
        (np.array([1.0, np.nan, 3.0]), [0, MISSING, 1]),
        (np.array([1, None, 3], dtype=object), [0, MISSING, 1]),
        (np.array(["a", "", "b"]), [0, MISSING, 1]),
        (np.array(["a", None, float("nan")], dtype=object), [0, MISSING, MISSING]),
        (np.array([b"a", b"b"]), [0, 1]),
    ],
)
def test_missing_ids_are_marked(column, codes):
    assert encode(column, "users").codes.tolist() == [int(c) for c in codes]


def test_unsigned_ids_beyond_64_bits_are_text():
    encoded = encode(np.array([2**63, 5], dtype=np.uint64), "users")
    assert encoded.ids.values.tolist() == ["5", str(2**63)]


@pytest.mark.parametrize(
    "column",
    [
        np.array([1.5, 2.0]),
        np.array([True, False]),
        np.array([1, "a"], dtype=object),
        np.array([["a"]]),
        np.array(["2020-01-01"], dtype="datetime64[D]"),
        np.array(["\ud800"], dtype=object),
        np.array([b"\xff"]),
        np.array([1 + 2j]),
    ],
)
def test_what_cannot_be_ids_is_refused(column):
    with pytest.raises(DataError, match="users"):
        encode(column, "users")


def test_text_and_integers_meet_in_their_canonical_form():
    numbers, text = IdMap(np.array([7, 12])), encode(["007", "12", "x"], "u").ids
    assert numbers.lookup(["12", "007", "7", "+7", "x", "9" * 30]).tolist() == [
        1,
        -1,
        0,
        -1,
        -1,
        -1,
    ]
    assert text.lookup([12, 7]).tolist() == [1, -1]


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("-3", -3), ("9223372036854775807", 2**63 - 1), ("-9223372036854775808", -(2**63))],
)
def test_canonical_integers(text, number):
    assert parse_integer(text) == number


@pytest.mark.parametrize(
    "text", ["", "-", "-0", "007", "+1", " 1", "1 ", "1.0", "1e3", "9223372036854775808", "٣", "²"]
)
def test_other_text_is_not_an_integer(text):
    assert parse_integer(text) is None


# ------------------------------------------------------------------------- policies

TWICE = (["a", "a", "b", "a"], [1, 1, 1, 2], [2.0, 5.0, 4.0, 3.0])


@pytest.mark.parametrize(
    ("policy", "value", "weight"),
    [
        ("mean", 3.5, None),
        ("sum", 7.0, None),
        ("first", 2.0, None),
        ("last", 5.0, None),
        ("merge", 3.5, 2.0),
    ],
)
def test_duplicates(policy, value, weight):
    ratings = hs.Ratings.from_arrays(*TWICE, duplicates=policy)
    assert cells(ratings) == [("a", 1, value), ("a", 2, 3.0), ("b", 1, 4.0)]
    assert ratings.report.repeats == 1
    weights = ratings.by_user.weights
    assert weights is None if weight is None else weights.tolist() == [weight, 1.0, 1.0]


def test_duplicates_are_an_error_that_names_the_pair():
    with pytest.raises(DuplicatesError, match=r"'a', 1\b.*mean, sum"):
        hs.Ratings.from_arrays(*TWICE)


def test_interactions_are_summed():
    ratings = hs.Ratings.from_arrays([1, 1, 2], [5, 5, 5])
    assert cells(ratings) == [(1, 5, 2.0), (2, 5, 1.0)]


@pytest.mark.parametrize("policy", ["sum", "merge"])
def test_sums_beyond_float32_are_refused(policy):
    most = [3e38, 3e38]
    with pytest.raises(DataError, match=f"duplicates='{policy}'.*float32"):
        hs.Ratings.from_arrays([1, 1], [1, 1], most, weight=most, duplicates=policy)


def test_last_goes_by_time_where_there_is_one():
    arrays = ([1, 1], [9, 9], [4.0, 2.0])
    assert cells(hs.Ratings.from_arrays(*arrays, time=[20, 10], duplicates="last"))[0][2] == 4.0
    assert cells(hs.Ratings.from_arrays(*arrays, time=[20, 10], duplicates="first"))[0][2] == 2.0
    assert cells(hs.Ratings.from_arrays(*arrays, duplicates="last"))[0][2] == 2.0


def test_weighted_duplicates():
    arrays = ([1, 1, 2], [9, 9, 9], [1.0, 4.0, 3.0])
    merged = hs.Ratings.from_arrays(*arrays, weight=[1, 2, 5], duplicates="merge")
    assert cells(merged)[0][2] == 3.0
    assert merged.by_user.weights.tolist() == [3.0, 5.0]
    mean = hs.Ratings.from_arrays(*arrays, weight=[1, 2, 5], duplicates="mean")
    assert cells(mean)[0][2] == 3.0
    assert mean.by_user.weights.tolist() == [1.5, 5.0]


@given(st.data())
def test_merging_does_not_depend_on_the_order_of_rows(data):
    n = data.draw(st.integers(2, 40))
    small = st.integers(0, 4)
    users = data.draw(st.lists(small, min_size=n, max_size=n))
    items = data.draw(st.lists(small, min_size=n, max_size=n))
    values = data.draw(st.lists(st.floats(-5, 5, width=32), min_size=n, max_size=n))
    order = data.draw(st.permutations(range(n)))
    policy = data.draw(st.sampled_from(["mean", "sum", "merge"]))
    one = hs.Ratings.from_arrays(users, items, values, duplicates=policy)
    two = hs.Ratings.from_arrays(
        [users[i] for i in order],
        [items[i] for i in order],
        [values[i] for i in order],
        duplicates=policy,
    )
    assert one.by_user.values.tobytes() == two.by_user.values.tobytes()
    assert one.by_item.values.tobytes() == two.by_item.values.tobytes()
    assert one.by_user.indices.tolist() == two.by_user.indices.tolist()


@pytest.mark.parametrize(
    ("column", "bad", "reason"),
    [
        ("ratings", np.nan, "not a number"),
        ("ratings", np.inf, "infinite"),
        ("ratings", 1e39, "beyond float32"),
        ("weight", np.nan, "not a number"),
        ("weight", -1.0, "negative"),
        ("time", np.nan, "not a number"),
    ],
)
def test_invalid_rows_are_named_or_dropped(column, bad, reason):
    columns = {"ratings": [1.0, 2.0, 3.0], "weight": [1.0, 1.0, 1.0], "time": [1.0, 2.0, 3.0]}
    columns[column][1] = bad
    with pytest.raises(DataError, match=rf"{column}=.*{reason} in row 2"):
        hs.Ratings.from_arrays([1, 2, 3], [4, 5, 6], **columns)
    ratings = hs.Ratings.from_arrays([1, 2, 3], [4, 5, 6], **columns, invalid="drop")
    assert [u for u, _, _ in cells(ratings)] == [1, 3]
    assert ratings.shape == (2, 2)
    assert ratings.report.dropped == {f"{column}: {reason}": 1}


def test_missing_ids_are_named_or_dropped():
    users = np.array([1, None, 3], dtype=object)
    with pytest.raises(DataError, match="users=None: missing id in row 2"):
        hs.Ratings.from_arrays(users, [4, 5, 6], [1, 2, 3])
    assert len(hs.Ratings.from_arrays(users, [4, 5, 6], [1, 2, 3], invalid="drop")) == 2


def test_weight_zero_is_the_row_absent():
    ratings = hs.Ratings.from_arrays([1, 2], [4, 5], [1, 2], weight=[1, 0])
    assert ratings.shape == (1, 1)
    assert ratings.report.dropped == {"weight of 0 (absent)": 1}


def test_weights_that_float32_rounds_to_zero_are_zero():
    ratings = hs.Ratings.from_arrays([1, 2], [4, 5], [1, 2], weight=[1, 1e-50])
    assert ratings.report.dropped == {"weight of 0 (absent)": 1}
    assert len(hs.Ratings.from_arrays([1, 2], [4, 5], [1, 2]).with_weights([1e-50, 1])) == 1


def test_half_precision_columns():
    half = np.array([1.0, 2.5, np.inf, np.nan], dtype=np.float16)
    ratings = hs.Ratings.from_arrays([1, 2], [4, 5], half[:2], weight=half[:2])
    assert cells(ratings) == [(1, 4, 1.0), (2, 5, 2.5)]
    with pytest.raises(DataError, match="ratings=inf: infinite in row 3"):
        hs.Ratings.from_arrays([1, 2, 3], [4, 5, 6], half[:3])
    ratings = hs.Ratings.from_arrays([1, 2, 3, 4], [4, 5, 6, 7], half, invalid="drop")
    assert ratings.report.dropped == {"ratings: not a number": 1, "ratings: infinite": 1}


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (([], [], []), DataError),
        (([1], [1, 2], [1.0]), DataError),
        (([1], [1], [1.0, 2.0]), DataError),
        (([1], [1], ["good"]), DataError),
        (([1], [1], [None]), DataError),
        (([1], [1], [float("nan")]), DataError),
    ],
)
def test_bad_tables(arguments, error):
    with pytest.raises(error):
        hs.Ratings.from_arrays(*arguments)


def test_unknown_policies():
    with pytest.raises(ParameterError, match="duplicates='best'"):
        hs.Ratings.from_arrays([1], [1], [1.0], duplicates="best")
    with pytest.raises(ParameterError, match="invalid='guess'"):
        hs.Ratings.from_arrays([1], [1], [1.0], invalid="guess")


# --------------------------------------------------------------------------- contents


def test_a_stored_zero_is_a_rating():
    from scipy.sparse import coo_array

    ratings = hs.Ratings.from_arrays([1, 1], [1, 2], [0.0, 3.0])
    assert len(ratings) == 2
    matrix = coo_array(([0.0, 3.0], ([0, 0], [0, 1])), shape=(2, 3))
    from_scipy = hs.Ratings.from_scipy(matrix)
    assert len(from_scipy) == 2
    assert from_scipy.shape == (2, 3)  # rows and columns without cells are kept
    assert from_scipy.to_scipy().nnz == 2


def test_memory_is_sixteen_bytes_a_rating(simulated):
    held = 0
    for side in (simulated.by_user, simulated.by_item):
        held += side.indices.nbytes + side.values.nbytes
        assert side.weights is None
        assert side.indptr.dtype == np.int64
    assert held == 16 * len(simulated)


def test_both_orientations_hold_the_same_cells(simulated):
    dense = np.full(simulated.shape, np.nan)
    dense[simulated.user_index(), simulated.by_user.indices] = simulated.by_user.values
    other = np.full(simulated.shape, np.nan)
    cols = np.repeat(np.arange(simulated.shape[1]), np.diff(simulated.by_item.indptr))
    other[simulated.by_item.indices, cols] = simulated.by_item.values
    np.testing.assert_array_equal(dense, other)


def test_ratings_are_immutable(simulated):
    with pytest.raises(ValueError, match="read-only"):
        simulated.by_user.values[0] = 1


def test_keep_order_remembers_the_table():
    ratings = hs.Ratings.from_arrays([2, 1, 2], [1, 1, 0], [1, 2, 3], keep_order=True)
    assert ratings.by_user.values[np.argsort(ratings.file_rank)].tolist() == [1.0, 2.0, 3.0]
    part = ratings.select([0, 2])
    assert sorted(part.file_rank.tolist()) == [0, 1]


def test_select_keeps_ids_and_cells(simulated):
    mask = np.arange(len(simulated)) % 3 == 0
    part = simulated.select(mask)
    assert part.shape == simulated.shape
    assert set(cells(part)) <= set(cells(simulated))
    assert len(part) == mask.sum()


def test_summary_tells_what_was_done():
    ratings = hs.Ratings.from_arrays(
        [1, 1, 2, 3], [1, 1, 2, 3], [1, 3, 5, np.nan], invalid="drop", duplicates="mean"
    )
    summary = ratings.summary()
    assert (summary.rows_read, summary.ratings, summary.repeats) == (4, 2, 1)
    assert summary.dropped == {"ratings: not a number": 1}
    assert summary.distribution == ((2.0, 1.0), (5.0, 1.0))
    text = str(summary)
    assert "1 × ratings: not a number" in text
    assert "2 × 2" in text
    assert max(map(len, text.splitlines())) <= 80


def test_means_and_weights():
    ratings = hs.Ratings.from_arrays([1, 2], [1, 1], [1.0, 4.0], weight=[2, 1])
    assert ratings.mean() == pytest.approx(2.0)
    assert ratings.with_weights([0, 1]).mean() == 4.0
    with pytest.raises(DataError, match="weights"):
        ratings.with_weights([1])
    with pytest.raises(DataError, match="weights"):
        ratings.with_weights([1, -1])
    with pytest.raises(DataError, match="weights"):
        ratings.with_weights([0, 0])
    with pytest.raises(DataError, match="weights"):
        ratings.with_weights([1, 1e39])


# ------------------------------------------------------- large tables, against numpy's way


def by_numpy(users, items, values, times):
    """What `Ratings` should hold, sorted the slow way."""
    user_ids, u = np.unique(users, return_inverse=True)
    item_ids, i = np.unique(items, return_inverse=True)
    arrays = [user_ids, item_ids]
    for rows, columns, count in ((u, i, len(user_ids)), (i, u, len(item_ids))):
        order = np.lexsort([columns, rows])
        indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=count))])
        arrays += [indptr, columns[order].astype(np.uint32), values[order].astype(np.float32)]
    return [*arrays, times[np.lexsort([i, u])]]


def of_ratings(ratings):
    arrays = [ratings.users.values, ratings.items.values]
    for side in (ratings.by_user, ratings.by_item):
        arrays += [side.indptr, side.indices, side.values]
    return [*arrays, ratings.time]


@pytest.fixture(params=["near", "far"])
def large(request):
    """A skewed table without repeats, its ids close together or all over 64 bits."""
    generator = np.random.default_rng(5)
    users = (generator.pareto(0.7, 400_000) * 300).astype(np.int64) % 30_000
    items = (generator.pareto(0.9, 400_000) * 20).astype(np.int64) % 5_000
    items[:3000], users[:3000] = np.arange(3000), 7
    pairs = np.unique(users * 5_000 + items)
    users, items = pairs // 5_000 - 11, pairs % 5_000
    if request.param == "far":
        users, items = users * 0x0123_4567_89AB, -items * 0x0FED_CBA9_8765
    return (
        users,
        items,
        generator.integers(1, 11, len(users)) / 2,
        generator.permutation(len(users)),
    )


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("how", ["sorted", "reversed", "by item", "shuffled"])
def test_large_tables_equal_numpy(large, how, threads):
    users, items, values, _times = large
    n = len(users)
    order = {
        "sorted": np.lexsort([items, users]),
        "reversed": np.lexsort([items, users])[::-1],
        "by item": np.lexsort([users, items]),
        "shuffled": np.random.default_rng(0).permutation(n),
    }[how]
    before = hs.get_num_threads()
    try:
        hs.set_num_threads(threads)
        arrays = [a[order] for a in large]
        found = hs.Ratings.from_arrays(*arrays, keep_order=True)
    finally:
        hs.set_num_threads(before)
    for one, two in zip(of_ratings(found), by_numpy(*large), strict=True):
        np.testing.assert_array_equal(one, two)
    assert found.by_user.values[np.argsort(found.file_rank)].tolist() == values[order].tolist()
    assert all(a.flags.writeable for a in arrays)  # the caller's arrays stay the caller's
    assert not any(np.shares_memory(a, b) for a in arrays for b in of_ratings(found))


@pytest.mark.parametrize("policy", ["mean", "sum", "first", "last", "merge"])
def test_large_tables_with_repeats(large, policy):
    users, items, values, times = large
    twice = np.concatenate([np.arange(len(users)), np.arange(0, len(users), 3)])
    order = np.random.default_rng(1).permutation(len(twice))
    again = np.where(np.arange(len(twice)) < len(users), 0.0, 1.0)
    found = hs.Ratings.from_arrays(
        users[twice][order],
        items[twice][order],
        (values[twice] + again)[order],
        (times[twice] + again * len(users))[order],
        duplicates=policy,
    )
    expected = values.copy()
    expected[::3] += {"mean": 0.5, "merge": 0.5, "sum": values[::3] + 1, "first": 0, "last": 1}[
        policy
    ]
    np.testing.assert_array_equal(
        found.by_user.values, expected[np.lexsort([items, users])].astype(np.float32)
    )
    assert found.report.repeats == len(twice) - len(users)


def test_columns_of_any_layout():
    """Other byte orders, strides, misaligned memory, small integers."""
    users, items = np.array([3, 1, 2]), np.array([1, 2, 3])
    values, times = np.array([1.0, 2.0, 3.0]), np.array([30, 10, 20])
    expected = of_ratings(hs.Ratings.from_arrays(users, items, values, times))

    def misaligned(array):
        raw = np.zeros(array.nbytes + 1, dtype=np.uint8)
        shifted = raw[1:].view(array.dtype)
        shifted[...] = array
        return shifted

    for change in (
        lambda a: a.astype(a.dtype.newbyteorder(">")),
        lambda a: np.repeat(a, 2)[::2],
        misaligned,
        lambda a: a.astype(np.int16),
        lambda a: a.astype(np.int32),
        lambda a: a.astype(np.uint32),
        lambda a: a.astype(np.float32),
    ):
        found = hs.Ratings.from_arrays(*map(change, (users, items, values, times)))
        for one, two in zip(of_ratings(found), expected, strict=True):
            np.testing.assert_array_equal(one, two)
