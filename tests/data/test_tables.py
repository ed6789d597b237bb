"""`Ratings.from_table`: DataFrames and Arrow objects of every library at hand."""

import datetime
import decimal
import subprocess
import sys
import textwrap

import duckdb
import narwhals as nw
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import halfstep as hs
from halfstep.data.ids import MISSING
from halfstep.data.tables import extract
from halfstep.errors import DataError, ReadError


class Capsule:
    """Any object with an Arrow stream, of no library."""

    def __init__(self, table):
        self.table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self.table.__arrow_c_stream__(requested_schema)


def relation(table):
    connection = duckdb.connect()
    connection.register("given", table)
    return connection.sql("SELECT * FROM given")


MAKERS = {
    "pandas": lambda t: t.to_pandas(),
    "pandas nullable": lambda t: t.to_pandas().convert_dtypes(),
    "pandas arrow": lambda t: t.to_pandas(types_mapper=pd.ArrowDtype),
    "polars": pl.from_arrow,
    "polars lazy": lambda t: pl.from_arrow(t).lazy(),
    "pyarrow": lambda t: t,
    "pyarrow batch": lambda t: pa.record_batch(
        [column.combine_chunks() for column in t.columns], names=t.column_names
    ),
    "pyarrow reader": lambda t: t.to_reader(),
    "narwhals": lambda t: nw.from_native(pl.from_arrow(t)),
    "duckdb": relation,
    "capsule": Capsule,
}


@pytest.fixture(params=MAKERS)
def make(request):
    return MAKERS[request.param]


def cells(ratings):
    return list(zip(*(a.tolist() for a in ratings.to_arrays()), strict=True))


def test_numbers(make):
    table = pa.table(
        {
            "timestamp": pa.array([100, 200, 300]),
            "movieId": pa.array([10, 10, -20], pa.int16()),
            "userId": pa.array([7, 3, 7], pa.uint64()),
            "rating": pa.array([4.5, 0.0, 1.0], pa.float32()),
            "weight": pa.array([1, 2, 3], pa.int8()),
        }
    )
    ratings = hs.Ratings.from_table(make(table))
    assert cells(ratings) == [(3, 10, 0.0), (7, -20, 1.0), (7, 10, 4.5)]
    assert ratings.time.tolist() == [200, 300, 100]
    assert ratings.by_user.weights.tolist() == [2.0, 3.0, 1.0]


def test_text(make):
    table = pa.table({"user": ["zoë", "7", "007", "𐍈"], "item": ["b", "a", "b", "ﬀ"]})
    ratings = hs.Ratings.from_table(make(table))
    assert ratings.users.kind == "str"
    assert cells(ratings) == [
        ("007", "b", 1.0),
        ("7", "a", 1.0),
        ("zoë", "b", 1.0),
        ("𐍈", "ﬀ", 1.0),
    ]


def test_dictionaries(make):
    items = pa.array(["b", "a", None, "b"]).dictionary_encode()
    found = extract(make(pa.table({"user": [1, 2, 3, 4], "item": items})))
    assert found.items.ids.values.tolist() == ["a", "b"]
    assert found.items.codes.tolist() == [1, 0, int(MISSING), 1]


def test_missing_values(make):
    table = pa.table(
        {
            "user": pa.array([2, None, 1]),
            "item": ["x", "y", None],
            "rating": pa.array([1.0, 2.0, None]),
            "time": pa.array([5, None, 6]),
        }
    )
    found = extract(make(table))
    assert found.users.ids.values.tolist() == [1, 2]  # and not 1.0, 2.0
    assert found.users.codes.tolist() == [1, int(MISSING), 0]
    assert found.items.codes.tolist() == [0, 1, int(MISSING)]
    np.testing.assert_array_equal(found.ratings, [1.0, 2.0, np.nan])
    np.testing.assert_array_equal(found.time, [5.0, np.nan, 6.0])
    with pytest.raises(DataError, match="row 2"):
        hs.Ratings.from_table(make(table))
    assert cells(hs.Ratings.from_table(make(table), invalid="drop")) == [(2, "x", 1.0)]


def test_empty_text_is_a_missing_id(make):
    found = extract(make(pa.table({"user": ["a", "", "b"], "item": ["", "y", "x"]})))
    assert found.users.ids.values.tolist() == ["a", "b"]
    assert found.users.codes.tolist() == [0, int(MISSING), 1]
    assert found.items.codes.tolist() == [int(MISSING), 1, 0]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Paris"])
def test_timestamps_are_seconds(make, unit, zone):
    moments = [1577836800, -1, 1577836810]
    time = (
        pa.array(moments, pa.timestamp("s")).cast(pa.timestamp(unit)).cast(pa.timestamp(unit, zone))
    )
    found = extract(make(pa.table({"user": [1, 2, 3], "item": [1, 1, 1], "time": time})))
    assert found.time.dtype == np.int64
    assert found.time.tolist() == moments
    assert any("seconds" in note for note in found.source.notes)


def test_fractions_of_seconds_are_kept(make):
    time = pa.array([1_500_000, 2_000_000], pa.timestamp("us"))
    assert extract(make(pa.table({"user": [1, 2], "item": [1, 1], "ts": time}))).time.tolist() == [
        1.5,
        2.0,
    ]


def test_dates_and_iso_text_are_seconds(make):
    dates = [datetime.date(1970, 1, 2), datetime.date(2020, 1, 1)]
    for time in (pa.array(dates), pa.array(["1970-01-02", "2020-01-01T00:00:00Z"])):
        found = extract(make(pa.table({"user": [1, 2], "item": [1, 1], "date": time})))
        assert found.time.tolist() == [86400, 1577836800]
    with pytest.raises(DataError, match="neither a number nor an ISO date"):
        extract(make(pa.table({"user": [1, 2], "item": [1, 1], "date": ["x", "y"]})))


def test_integers_beyond_64_bits_are_text(make):
    table = pa.table({"user": pa.array([2**64 - 1, 5], pa.uint64()), "item": [1, 2]})
    assert extract(make(table)).users.ids.values.tolist() == [str(2**64 - 1), "5"]


def test_booleans_and_decimals_are_numbers(make):
    found = extract(
        make(
            pa.table(
                {
                    "user": [1, 2],
                    "item": [1, 1],
                    "rating": [True, False],
                    "weight": pa.array([decimal.Decimal("1.5"), decimal.Decimal("2")]),
                }
            )
        )
    )
    assert found.ratings.tolist() == [1.0, 0.0]
    assert found.weight.tolist() == [1.5, 2.0]


@pytest.mark.parametrize(
    ("columns", "argument"),
    [
        ({"user": [True, False], "item": [1, 2]}, "users"),
        ({"user": [1.5, 2.0], "item": [1, 2]}, "users"),
        ({"user": [1, 2], "item": [datetime.datetime(2020, 1, 1)] * 2}, "items"),
        ({"user": [1, 2], "item": [1, 2], "rating": ["4", "5"]}, "ratings"),
        ({"user": [1, 2], "item": [1, 2], "weight": [[1], [2]]}, "weight"),
    ],
)
def test_types_that_do_not_fit_are_named(make, columns, argument):
    with pytest.raises(DataError) as caught:
        extract(make(pa.table(columns)))
    assert caught.value.argument == argument
    assert "\n" not in str(caught.value)


def test_columns_by_name_and_position(make):
    table = pa.table({"a": [1, 2], "b": ["x", "y"], "c": [3.0, 4.0]})
    for options in ({"user": "b", "item": "a", "rating": "c"}, {"user": 1, "item": 0, "rating": 2}):
        assert cells(hs.Ratings.from_table(make(table), **options)) == [
            ("x", 1, 3.0),
            ("y", 2, 4.0),
        ]
    with pytest.raises(ReadError, match="user="):
        extract(make(table))
    with pytest.raises(ReadError, match="'a', 'b', 'c'"):
        extract(make(table), user="nope")


def test_the_same_column_is_not_two_things(make):
    with pytest.raises(ReadError, match="same column"):
        extract(make(pa.table({"a": [1]})), user="a", item="a")


def test_an_empty_table(make):
    table = pa.table({"user": pa.array([], pa.int64()), "item": pa.array([], pa.string())})
    with pytest.raises(DataError, match="no ratings"):
        hs.Ratings.from_table(make(table))


def test_frames_of_arrays_have_positions():
    rows = np.array([[7, 10, 4.5], [3, 10, 0.0]])
    for frame in (pd.DataFrame(rows), pl.DataFrame(rows, orient="row")):
        assert cells(hs.Ratings.from_table(frame)) == [(3, 10, 0.0), (7, 10, 4.5)]


def test_pandas_integers_that_became_floats():
    frame = pd.DataFrame({"user": [1.0, np.nan, 3.0], "item": [1, 2, 3]})
    found = extract(frame)
    assert found.users.ids.values.tolist() == [1, 3]
    assert found.users.codes.tolist() == [0, int(MISSING), 1]


def test_pandas_objects():
    frame = pd.DataFrame(
        {
            "user": pd.Series([1, None, 2**70], dtype=object),
            "item": pd.Series(["a", None, "b"], dtype=object),
            "rating": pd.Series([decimal.Decimal("4.5"), None, 3], dtype=object),
            "date": pd.Series([datetime.date(1970, 1, 2), None, "1970-01-03"], dtype=object),
        }
    )
    found = extract(frame)
    assert found.users.ids.values.tolist() == ["1", str(2**70)]
    assert found.items.codes.tolist() == [0, int(MISSING), 1]
    np.testing.assert_array_equal(found.ratings, [4.5, np.nan, 3.0])
    np.testing.assert_array_equal(found.time, [86400, np.nan, 172800])


@pytest.mark.parametrize("odd", [True, 1.5, 3])
def test_pandas_objects_of_several_types_are_refused(odd):
    frame = pd.DataFrame({"user": pd.Series([*["a"] * 500, odd], dtype=object), "item": range(501)})
    with pytest.raises(DataError, match="users"):
        extract(frame)


def test_pandas_index_and_order_do_not_matter():
    frame = pd.DataFrame({"user": ["b", "a"], "item": ["x", "y"], "rating": [1, 2]}, index=[5, 5])
    assert cells(hs.Ratings.from_table(frame)) == [("a", "y", 2.0), ("b", "x", 1.0)]
    assert extract(frame.iloc[::-1]).users.codes.tolist() == [0, 1]


def test_rows_keep_their_order(make):
    rng = np.random.default_rng(0)
    users = [f"u{k}" for k in rng.permutation(200_000)]
    table = pa.table({"user": users, "item": rng.integers(0, 99, len(users))})
    found = extract(make(table))
    assert found.users.ids.take(found.users.codes).tolist() == users


@pytest.mark.parametrize("table", [[1, 2], {"user": [1]}, np.zeros((3, 3)), "x.csv", None, 3])
def test_other_things_are_refused(table):
    with pytest.raises(DataError, match="from_arrays"):
        extract(table)


def test_a_lazy_frame_that_fails_is_refused():
    broken = pl.LazyFrame({"user": ["x"], "item": [1]}).with_columns(pl.col("user").cast(pl.Int64))
    with pytest.raises(DataError, match="cannot be collected"):
        extract(broken)


def test_an_arrow_stream_that_fails_is_refused():
    class Broken:
        def __arrow_c_stream__(self, requested_schema=None):
            raise RuntimeError("out of luck")

    with pytest.raises(DataError, match="Arrow"):
        extract(Broken())


def test_a_duckdb_relation_stays_usable():
    connection = duckdb.connect()
    connection.execute("CREATE TABLE r AS SELECT range AS user, 'i' AS item FROM range(10)")
    assert len(hs.Ratings.from_table(connection.table("r"))) == 10
    assert connection.execute("SELECT count(*) FROM r").fetchall() == [(10,)]


def test_neither_pyarrow_nor_pandas_is_needed():
    code = """
        import sys
        sys.modules["pyarrow"] = sys.modules["pandas"] = None
        import duckdb, polars as pl
        import halfstep as hs
        frame = pl.DataFrame({"user": ["b", None, "a"], "item": [1, 2, 3], "rating": [1, 2, 3]})
        class Capsule:
            def __arrow_c_stream__(self, requested_schema=None):
                return frame.__arrow_c_stream__(requested_schema)
        for table in (frame, frame.lazy(), Capsule(), duckdb.sql("SELECT 'a' AS user, 3 AS item")):
            print(len(hs.Ratings.from_table(table, invalid="drop")))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["2", "2", "2", "1"], done.stderr
