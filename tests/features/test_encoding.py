"""What is learned of a table, against scikit-learn's encoders, and its document."""

import copy
import datetime
import decimal
import json

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import halfstep as hs
from halfstep import errors
from halfstep.features import Encoding, Features

TABLE = {
    "user": [3, 1, 2, 4],
    "age": [20.0, np.nan, 40.0, 60.0],
    "city": ["Ōsaka", None, "New York", "Ōsaka"],
    "genres": ["Drama|War", " War ", None, "Sci-Fi|Drama|Drama"],
    "member": [True, False, None, True],
    "tags": [["x", "y"], [], ["y"], None],
    "same": [7, 7, 7, 7],
    "nothing": [None, None, None, None],
}


def dense(features: Features) -> np.ndarray:
    return features.to_scipy().toarray()


def block(features: Features, name: str) -> np.ndarray:
    return dense(features)[:, next(g.slice for g in features.groups if g.name == name)]


class TestNumeric:
    @given(st.lists(st.floats(-1e6, 1e6) | st.integers(-(10**6), 10**6), min_size=2, max_size=30))
    def test_is_scikit_learns_standard_scaler(self, values):
        x = np.array(values, dtype=np.float64)
        table = {"user": np.arange(len(x)), "x": x, "sex": ["f", *["m"] * (len(x) - 1)]}
        found = Features.from_table(table)
        if x.min() == x.max():
            assert "x" in found.encoding.dropped
        elif x.std() > 1e-6 * np.abs(x).max():  # scikit-learn takes less for a constant
            expected = StandardScaler().fit_transform(x[:, None])
            np.testing.assert_allclose(block(found, "x"), expected, atol=1e-4)

    def test_missing_is_the_mean_and_has_an_indicator(self):
        found = Features.from_table(TABLE)
        scaled = StandardScaler().fit_transform(np.array([np.nan, 40, 20, 60])[:, None])
        expected = np.column_stack([np.nan_to_num(scaled), [1, 0, 0, 0]])
        np.testing.assert_allclose(block(found, "age"), expected, rtol=1e-6)
        assert found.column_names()[:2] == ["age", "age is missing"]

    def test_missing_only_later_has_no_entry(self):
        encoding = Encoding.learn({"user": [1, 2], "age": [20, 40]})
        assert dense(encoding.encode({"user": [5], "age": [np.nan]})).tolist() == [[0.0]]

    def test_a_constant_with_missing_values_keeps_the_indicator(self):
        found = Features.from_table({"user": [1, 2, 3], "age": [9, None, 9]})
        assert found.column_names() == ["age is missing"]
        assert dense(found).tolist() == [[0.0], [1.0], [0.0]]

    def test_tiny_and_huge_values(self):
        for x in ([1e-200, 3e-200], [-3e38, 3e38], [2**53 - 2, 2**53]):
            found = Features.from_table({"user": [1, 2], "x": np.array(x, dtype=np.float64)})
            np.testing.assert_allclose(dense(found)[:, 0], [-1, 1], rtol=1e-6)

    def test_dates_are_numbers(self):
        days = np.array(["2020-01-01", "2020-01-03", "NaT"], dtype="datetime64[D]")
        found = Features.from_table({"user": [1, 2, 3], "born": days})
        np.testing.assert_allclose(dense(found), [[-1, 0], [1, 0], [0, 1]], rtol=1e-6)
        listed = [
            datetime.date(2020, 1, 1),
            datetime.datetime(2020, 1, 3, tzinfo=datetime.UTC),
            None,
        ]
        again = Features.from_table({"user": [1, 2, 3], "born": listed})
        assert again.encoding == found.encoding
        np.testing.assert_array_equal(dense(again), dense(found))

    def test_text_that_spells_numbers_when_asked(self):
        found = Features.from_table(
            {"user": [1, 2, 3], "x": ["1", "3.0", "nan"]}, kinds={"x": "numeric"}
        )
        np.testing.assert_allclose(dense(found), [[-1, 0], [1, 0], [0, 1]], rtol=1e-6)


class TestCategorical:
    @given(
        st.lists(st.text("aβ c", min_size=1, max_size=3), min_size=2, max_size=30),
        st.lists(st.text("aβ cd", min_size=1, max_size=3), min_size=1, max_size=10),
    )
    def test_is_scikit_learns_one_hot(self, values, later):
        table = {"user": np.arange(len(values)), "x": values, "age": np.arange(len(values))}
        found = Features.from_table(table)
        if len(set(values)) == 1:
            assert found.encoding.dropped == {"x": "all values are the same"}
            return
        oracle = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
        expected = oracle.fit_transform(np.array(values, dtype=object)[:, None])
        np.testing.assert_array_equal(block(found, "x"), expected)
        assert found.column_names()[:-1] == [f"x={level}" for level in oracle.categories_[0]]
        others = {"user": np.arange(len(later)), "x": later, "age": np.zeros(len(later))}
        np.testing.assert_array_equal(
            block(found.encoding.encode(others), "x"),
            oracle.transform(np.array(later, dtype=object)[:, None]),
        )

    def test_missing_has_a_level_of_its_own(self):
        found = Features.from_table(TABLE)
        assert found.column_names()[2:5] == ["city=New York", "city=Ōsaka", "city is missing"]
        expected = [[0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 1, 0]]
        np.testing.assert_array_equal(block(found, "city"), expected)

    def test_integers_are_levels_when_asked_and_keep_their_order(self):
        found = Features.from_table(
            {"user": [1, 2, 3], "zip": [10, 9, 2**60 + 1]}, kinds={"zip": "categorical"}
        )
        assert found.column_names() == ["zip=9", "zip=10", f"zip={2**60 + 1}"]
        later = found.encoding.encode({"user": [1, 2], "zip": ["10", "009"]})
        np.testing.assert_array_equal(dense(later), [[0, 1, 0], [0, 0, 0]])

    def test_whole_floats_are_the_levels_of_integers(self):
        found = Features.from_table(
            pd.DataFrame({"user": [1, 2, 3], "code": [7, None, 2.5]}), kinds={"code": "categorical"}
        )
        assert found.column_names() == ["code=2.5", "code=7", "code is missing"]

    def test_text_that_names_every_row_is_skipped(self):
        titles = [f"film {k}" for k in range(100)]
        table = {"item": np.arange(100), "title": titles, "year": np.arange(100)}
        found = Features.from_table(table)
        assert found.encoding.dropped == {"title": "nearly every row has a value of its own"}
        assert Features.from_table(table, kinds={"title": "categorical"}).shape == (100, 101)
        few = {key: list(column)[:99] for key, column in table.items()}
        assert Features.from_table(few).shape == (99, 100)


class TestMulti:
    def test_values_share_the_row(self):
        found = Features.from_table(TABLE)
        half = np.sqrt(0.5)
        # users 1, 2, 3, 4; Drama, Sci-Fi, War
        expected = [[0, 0, 1], [0, 0, 0], [half, 0, half], [half, half, 0]]
        np.testing.assert_allclose(block(found, "genres"), expected, rtol=1e-6)
        np.testing.assert_allclose(
            block(found, "tags"), [[0, 0], [0, 1], [half, half], [0, 0]], rtol=1e-6
        )

    def test_an_unknown_value_counts_but_has_no_entry(self):
        encoding = Features.from_table(TABLE).encoding
        later = {**TABLE, "genres": ["War|Western|Anime|Drama", "Anime", "", "War"]}
        found = block(encoding.encode(later), "genres")
        np.testing.assert_allclose(found[2], [0.5, 0, 0.5])
        assert not found[0].any()

    def test_lists_of_integers_and_single_text_when_asked(self):
        table = {"item": [1, 2], "tags": [[1, 10], {9}], "kind": ["a", "b"]}
        found = Features.from_table(table, kinds={"kind": "multi"})
        assert found.column_names() == ["tags=1", "tags=9", "tags=10", "kind=a", "kind=b"]
        assert [encoder["kind"] for encoder in found.encoding.to_document()["columns"]] == [
            "multi"
        ] * 2

    @given(st.lists(st.lists(st.sampled_from("abcde")), min_size=2, max_size=20))
    def test_rows_are_those_of_their_sets(self, rows):
        found = Features.from_table(
            {"user": np.arange(len(rows)), "x": rows, "n": np.arange(len(rows))}
        )
        if "x" in found.encoding.dropped:
            assert len(set(map(frozenset, rows))) == 1
            return
        names = [name.removeprefix("x=") for name in found.column_names()[:-1]]
        expected = [[(a in row) / max(1, len(set(row))) ** 0.5 for a in names] for row in rows]
        np.testing.assert_allclose(block(found, "x"), expected, rtol=1e-6)


class TestTables:
    @pytest.mark.parametrize("kind", ["pandas", "polars", "lazy", "arrow", "duckdb", "index"])
    def test_every_kind_of_table_gives_the_same(self, kind):
        expected = Features.from_table(TABLE)
        frame = pl.DataFrame(TABLE, strict=False)
        table = {
            "pandas": lambda: pd.DataFrame(TABLE),
            "polars": lambda: frame,
            "lazy": lambda: frame.lazy(),
            "arrow": lambda: frame.to_arrow(),
            "duckdb": lambda: duckdb.from_arrow(frame.to_arrow()),
            "index": lambda: pd.DataFrame(TABLE).set_index("user"),
        }[kind]()
        found = Features.from_table(table)
        assert found.encoding == expected.encoding
        assert found.ids == expected.ids
        np.testing.assert_array_equal(dense(found), dense(expected))

    def test_types_of_pandas(self):
        frame = pd.DataFrame(
            {
                "user": pd.array([1, 2, 3], dtype="Int64"),
                "flag": pd.array([True, None, False], dtype="boolean"),
                "whole": pd.array([1, None, 3], dtype="Int64"),
                "code": pd.Categorical([3, 1, 3]),
                "text": pd.array(["a", None, "b"], dtype="string"),
                "moment": pd.to_datetime(["2020-01-01", "2021-01-01", None], utc=True),
                "exact": [decimal.Decimal(1), None, decimal.Decimal("2.5")],
                "large": np.array([2**64 - 1, 1, 5], dtype=np.uint64),
            }
        )
        expected = [
            *("flag=False", "flag=True", "flag is missing", "whole", "whole is missing"),
            *("code=1", "code=3", "text=a", "text=b", "text is missing"),
            *("moment", "moment is missing", "exact", "exact is missing", "large"),
        ]
        found = Features.from_table(frame)
        assert found.column_names() == expected
        other = Features.from_table(frame.convert_dtypes(dtype_backend="pyarrow"))
        assert other.encoding == found.encoding
        np.testing.assert_array_equal(dense(other), dense(found))
        assert dense(found)[1].nonzero()[0].tolist() == [2, 4, 5, 9, 10, 13, 14]

    def test_masked_arrays(self):
        table = {
            "user": np.array([1, 2, 3]),
            "x": np.ma.array([1, 2, 3], mask=[0, 0, 1]),
            "y": np.ma.array(["a", "b", "c"], mask=[0, 1, 0]),
        }
        np.testing.assert_allclose(
            dense(Features.from_table(table)),
            [[-1, 0, 1, 0, 0], [1, 0, 0, 0, 1], [0, 1, 0, 1, 0]],
        )

    def test_an_index_that_is_a_column_too(self):
        frame = pd.DataFrame({"user": [5, 6], "x": [1, 2]}, index=pd.Index(["a", "b"], name="user"))
        assert Features.from_table(frame).ids.values.tolist() == [5, 6]

    def test_any_arrow_stream(self):
        class Stream:
            def __init__(self, table):
                self.table = table

            def __arrow_c_stream__(self, requested_schema=None):
                return self.table.__arrow_c_stream__(requested_schema)

        frame = pl.DataFrame(TABLE, strict=False).drop("nothing")
        assert Features.from_table(Stream(frame)).encoding == Features.from_table(frame).encoding

    def test_the_order_of_the_rows_does_not_matter(self):
        rng = np.random.default_rng(0)
        table = {
            "user": rng.permutation(500),
            "x": rng.normal(size=500),
            "c": rng.choice(list("abc"), 500),
        }
        order = rng.permutation(500)
        one, other = (
            Features.from_table(table),
            Features.from_table({k: v[order] for k, v in table.items()}),
        )
        assert one.encoding == other.encoding
        for name in ("indptr", "indices", "values"):
            assert getattr(one.cells, name).tobytes() == getattr(other.cells, name).tobytes()

    def test_ids_are_found_by_name_or_given(self):
        table = {"age": [1, 2], "Movie ID": ["a", "b"], "key": [8, 9]}
        assert Features.from_table(table).encoding.id == "Movie ID"
        assert Features.from_table(table, id="key").ids.values.tolist() == [8, 9]
        assert Features.from_table(table, id=2).ids.values.tolist() == [8, 9]
        assert Features.from_table({"x": [1, 2], "ID": [3, 4]}).encoding.id == "ID"

    def test_later_tables_use_the_same_id_and_only_the_learned_columns(self):
        encoding = Encoding.learn({"key": [1, 2], "age": [20, 40]}, id="key")
        later = encoding.encode({"user": ["x"], "what": [{}], "age": [40], "key": [7]})
        assert later.ids.values.tolist() == [7]
        assert dense(later).tolist() == [[1.0]]
        assert encoding.encode({"user": ["x"], "age": [40]}).ids.values.tolist() == ["x"]

    def test_the_report_names_what_was_dropped(self):
        encoding = Features.from_table(TABLE, kinds={"tags": "skip"}).encoding
        assert encoding.dropped == {
            "tags": "skipped",
            "same": "all values are the same",
            "nothing": "all values are missing",
        }
        assert encoding.summary().splitlines()[:2] == [
            "age: numeric, 2 columns",
            "city: categorical, 3 columns",
        ]
        assert "nothing: dropped (all values are missing)" in encoding.summary()

    def test_a_skipped_column_may_hold_anything(self):
        table = {"user": [1, 2], "age": [1, 2], "odd": [{}, object()]}
        assert Features.from_table(table, kinds={"odd": "skip"}).shape == (2, 1)

    def test_many_levels(self):
        n = 200_000
        rng = np.random.default_rng(0)
        city = rng.integers(0, 50_000, n)
        found = Features.from_table(
            {"user": np.arange(n), "city": city}, kinds={"city": "categorical"}
        )
        levels = np.unique(city)
        np.testing.assert_array_equal(found.cells.indices, np.searchsorted(levels, city))
        assert found.shape == (n, len(levels))


class TestErrors:
    @pytest.mark.parametrize(
        ("table", "error", "message"),
        [
            ({}, errors.ReadError, "has no columns"),
            (
                {"age": [1, 2]},
                errors.ReadError,
                "no column of the dict is known to name its rows: 'age'",
            ),
            ({"user": [1, 2], "item": [1, 2]}, errors.ReadError, "could both name the rows"),
            ({"user": [], "age": []}, errors.DataError, "holds no features"),
            ({"user": [1, 2]}, errors.DataError, "there is none beside the ids"),
            ({"user": [1], "age": [3]}, errors.DataError, "no column tells the rows apart"),
            (
                {"user": [4, 5, 4], "a": [1, 2, 3]},
                errors.DuplicatesError,
                "id=4: stands in rows 1 and 3",
            ),
            ({"user": [1, None], "a": [1, 2]}, errors.DataError, "missing id in row 2"),
            ({"user": [1, 2], "a": [1, np.inf]}, errors.DataError, "a=inf: is infinite"),
            ({"user": [1, 2], "a": [1, 1e39]}, errors.DataError, "a=1e[+]39: is beyond float32"),
            (
                {"user": [1, 2], "a": [1]},
                errors.DataError,
                "a='1 values': must have as many values",
            ),
            ({"user": [1, 2], "a": ["x", 1]}, errors.DataError, "mixes or holds other types"),
            ({"user": [1, 2], "a": [[[1]], [[2]]]}, errors.DataError, "is in a list"),
            ({"user": [1, 2], "a": "xy"}, errors.DataError, "must be a column"),
            (
                {"user": [1, 2], "a": np.ones((2, 2))},
                errors.DataError,
                "one value or one list a row",
            ),
            (
                {"user": [1, 2], "a": np.ones(2, complex)},
                errors.DataError,
                "not a type of features",
            ),
            (
                pl.DataFrame({"user": [1], "a": [{"b": 1}]}),
                errors.DataError,
                "type of columns that cannot",
            ),
            ([1, 2], errors.DataError, "is not a DataFrame"),
            ({"user": [1.5, 2], "a": [1, 2]}, errors.DataError, "id=1.5: is not a whole number"),
            (pl.LazyFrame({"user": [1]}).select("no"), errors.DataError, "cannot be collected"),
        ],
    )
    def test_of_tables(self, table, error, message):
        with pytest.raises(error, match=message):
            Features.from_table(table)

    @pytest.mark.parametrize(
        ("id", "message"),
        [(True, "the name or the position"), (4, "not a position"), ("x", "not a column")],
    )
    def test_of_ids(self, id, message):
        with pytest.raises(errors.ReadError, match=message):
            Features.from_table({"user": [1, 2], "age": [1, 2]}, id=id)

    @pytest.mark.parametrize(
        ("kinds", "error", "message"),
        [
            ({"age": "number"}, errors.ParameterError, r"kinds\['age'\]='number': is not a choice"),
            ({"zip": "skip"}, errors.ParameterError, "is not a column of features"),
            ({"user": "skip"}, errors.ParameterError, "is not a column of features"),
            ("age", errors.ParameterError, "must say the kind by column"),
            ({"city": "numeric"}, errors.DataError, "is not a number, and the column is numeric"),
            ({"tags": "numeric"}, errors.DataError, "a column of lists cannot be numeric"),
            ({"tags": "categorical"}, errors.DataError, "a column of lists cannot be categorical"),
        ],
    )
    def test_of_kinds(self, kinds, error, message):
        with pytest.raises(error, match=message):
            Features.from_table(TABLE, kinds=kinds)

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            ({"user": [1]}, "'age'.*is not in the table: 'user'"),
            ({"user": [1], "age": ["old"]}, "is not a number"),
            ({"user": [1], "age": [-np.inf]}, "is infinite"),
            ((np.ones((1, 1)), [1]), "must be a table, as at the fit"),
            (Features.from_arrays([1], [[1.0]]), "were encoded in another way"),
        ],
    )
    def test_of_later_tables(self, value, message):
        with pytest.raises(errors.DataError, match=message):
            Encoding.learn({"user": [1, 2], "age": [20, 40]}).encode(value)

    def test_a_value_far_away(self):
        encoding = Encoding.learn({"user": [1, 2], "x": [0.0, 1e-30]})
        with pytest.raises(errors.DataError, match="too far from the mean"):
            encoding.encode({"user": [1], "x": [1e20]})

    def test_a_repeated_name(self):
        arrow = pl.DataFrame({"user": [1, 2], "a": [1, 2], "b": [1, 2]}).to_arrow()
        pandas = pd.DataFrame([[1, 2, 3], [4, 5, 6]], columns=["user", "a", "a"])
        for table in (
            arrow.rename_columns(["user", "a", "a"]),
            pandas,
            {"user": [1, 2], 1: [1, 2], "1": [3, 4]},
        ):
            with pytest.raises(errors.DataError, match=r"'(a|1)': is the name of several columns"):
                Features.from_table(table)


class TestDocument:
    def test_it_comes_back_through_json(self):
        for found in (
            Features.from_table(TABLE),
            Features.from_arrays([1, 2], [[1, 2], [3, 4]], name="Länge"),
            Features.from_arrays([1, 2], [[1, 2], [3, 4]], columns=["x", "ψ"]),
        ):
            again = Encoding.from_document(json.loads(json.dumps(found.encoding.to_document())))
            assert again == found.encoding
            assert again.column_names() == found.column_names()

    def test_a_loaded_encoding_encodes_the_same(self):
        found = Features.from_table(TABLE)
        again = Encoding.from_document(json.loads(json.dumps(found.encoding.to_document())))
        np.testing.assert_array_equal(dense(again.encode(TABLE)), dense(found))

    @pytest.mark.parametrize(
        "path",
        [
            ("version",),
            ("id",),
            ("columns",),
            ("dropped",),
            *[
                ("columns", k, key)
                for k, key in [(0, "mean"), (0, "scale"), (0, "missing"), (0, "name")]
            ],
            *[
                ("columns", k, key)
                for k, key in [(1, "levels"), (1, "missing"), (2, "levels"), (2, "kind")]
            ],
        ],
    )
    @pytest.mark.parametrize(
        "value", [3.5, [1], {"a": 1}, "numeric ", float("nan"), None, [], ["a", "a"]]
    )
    def test_damage_is_named(self, path, value):
        document = Features.from_table(TABLE).encoding.to_document()
        *way, last = path
        place = document = copy.deepcopy(document)
        for step in way:
            place = place[step]
        if last in ("mean", "scale") and value == 3.5:
            value = -value if last == "scale" else float("inf")
        if (last == "id" and (value is None or isinstance(value, str))) or (
            last == "name" and value == "numeric "
        ):
            value = 0
        place[last] = value
        with pytest.raises(errors.ModelFileError, match="save the model again"):
            Encoding.from_document(document)

    @pytest.mark.parametrize("document", [None, [], "x", {}, {"version": 2}])
    def test_other_things(self, document):
        with pytest.raises(errors.ModelFileError):
            Encoding.from_document(document)

    def test_repeats_and_empty_columns(self):
        document = Features.from_table(TABLE).encoding.to_document()
        document["columns"].append(document["columns"][0])
        with pytest.raises(errors.ModelFileError, match="names a column twice"):
            Encoding.from_document(document)
        matrix = Features.from_arrays([1], [[1.0]]).encoding.to_document()
        matrix["columns"][0]["columns"] = 0
        with pytest.raises(errors.ModelFileError, match="has no columns"):
            Encoding.from_document(matrix)


def test_the_names_are_public():
    assert hs.Features is Features
