"""`read_features`: files of users and items."""

import datetime
import json

import numpy as np
import pandas as pd
import polars as pl
import pytest

import halfstep as hs
from halfstep import errors
from halfstep.features import Features

FRAME = pd.DataFrame(
    {
        "userId": [30, 10, 20, 40],
        "age": [25.5, None, 40, 31],
        "city": ["Köln", "Paris, France", None, "Köln"],
        "zip": ["00501", "10115", "75001", "75001"],
        "likes": ["a|b", "b", None, "c|a"],
    }
)


def dense(features: Features) -> np.ndarray:
    return features.to_scipy().toarray()


class TestFormats:
    @pytest.mark.parametrize("suffix", ["csv", "tsv", "csv.gz", "parquet", "jsonl", "json"])
    def test_every_format_gives_the_table(self, tmp_path, suffix):
        path = tmp_path / f"ä users.{suffix}"
        if suffix.startswith(("csv", "tsv")):
            FRAME.to_csv(path, index=False, sep="\t" if suffix == "tsv" else ",")
        elif suffix == "parquet":
            FRAME.to_parquet(path)
        else:
            FRAME.to_json(path, orient="records", lines=suffix == "jsonl", force_ascii=False)
        expected = Features.from_table(FRAME)
        found = hs.read_features(path)
        assert found.encoding == expected.encoding
        np.testing.assert_array_equal(dense(found), dense(expected))
        assert found.ids.values.tolist() == [10, 20, 30, 40]

    def test_types_of_parquet_and_json(self, tmp_path):
        table = pd.DataFrame(
            {
                "item": ["a", "b", "c"],
                "ok": [True, False, None],
                "tags": [["x", "y"], [], None],
                "when": pd.to_datetime(["2020-01-01", None, "2020-01-03"]),
                "big": [2**60, 1, 2],
            }
        )
        expected = Features.from_table(table)
        table.to_parquet(tmp_path / "items.parquet")
        found = hs.read_features(tmp_path / "items.parquet")
        assert found.encoding == expected.encoding
        np.testing.assert_array_equal(dense(found), dense(expected))
        lines = [
            {"item": "a", "ok": True, "tags": ["x", "y"], "n": 1, "code": "1"},
            {"item": "b", "ok": False, "tags": [], "n": 2.5, "code": "2"},
            {"item": "c", "ok": None, "n": None},
        ]
        (tmp_path / "items.jsonl").write_text("\n".join(map(json.dumps, lines)))
        found = hs.read_features(tmp_path / "items.jsonl")
        assert found.column_names() == [
            *("ok=False", "ok=True", "ok is missing", "tags=x", "tags=y", "n", "n is missing"),
            *("code=1", "code=2", "code is missing"),
        ]

    def test_a_column_of_text_is_numeric_if_every_value_is(self, tmp_path):
        path = tmp_path / "users.csv"
        path.write_text("user,a,b,c,d\n1,1,01,1,1_0\n2,NA,2,x,2\n3,2.5e1,3,3,3\n4,?,4,,4\n")
        found = hs.read_features(path)
        kinds = [encoder["kind"] for encoder in found.encoding.to_document()["columns"]]
        assert kinds == ["numeric", "categorical", "categorical", "categorical"]
        assert found.column_names()[:2] == ["a", "a is missing"]
        assert "b=01" in found.column_names()

    def test_a_header_over_text_is_known_by_the_ids(self, tmp_path):
        path = tmp_path / "users.csv"
        path.write_text("user,city\nann,Rome\nbob,Oslo\n")
        found = hs.read_features(path)
        assert found.ids.values.tolist() == ["ann", "bob"]
        assert found.column_names() == ["city=Oslo", "city=Rome"]
        assert hs.read_features(path, header=False).ids.values.tolist() == ["ann", "bob", "user"]

    def test_without_a_header_the_first_column_names_the_rows(self, tmp_path):
        path = tmp_path / "users.csv"
        path.write_text("7,x,1\n5,y,2\n")
        found = hs.read_features(path)
        assert found.ids.values.tolist() == [5, 7]
        assert found.column_names() == ["column 1=x", "column 1=y", "column 2"]
        other = hs.read_features(path, id=1, kinds={"column 2": "skip"})
        assert other.ids.values.tolist() == ["x", "y"]
        assert other.encoding.dropped == {"column 2": "skipped"}
        assert hs.read_features(path, like=other.encoding).ids.values.tolist() == ["x", "y"]

    def test_like_an_encoding_learned_before(self, tmp_path):
        learned = Features.from_table(FRAME).encoding
        path = tmp_path / "new.csv"
        path.write_text("age,userId,city,likes,zip,more\n40,7,Köln,c,00501,x\n,8,Rome,z,9,x\n")
        found = hs.read_features(path, like=learned)
        assert found.encoding is learned
        expected = learned.encode(
            {
                "userId": [7, 8],
                "age": [40, np.nan],
                "city": ["Köln", "Rome"],
                "likes": ["c", "z"],
                "zip": ["00501", "9"],
            }
        )
        np.testing.assert_array_equal(dense(found), dense(expected))
        with pytest.raises(errors.ParameterError, match="cannot be given with `like`"):
            hs.read_features(path, like=learned, kinds={})

    def test_levels_of_a_file_stay_as_they_are_written(self, tmp_path):
        path = tmp_path / "users.csv"
        path.write_text("user,code\n1,1.0\n2,1\n3,1e0\n4,NA\n5,\n")
        found = hs.read_features(path, kinds={"code": "categorical"})
        assert found.column_names() == [
            *("code=1", "code=1.0", "code=1e0", "code=NA", "code is missing")
        ]
        path.write_text("user,code\n7,1.0\n")
        later = hs.read_features(path, like=found.encoding)
        assert dense(later).tolist() == [[0, 1, 0, 0, 0]]

    def test_decimal_commas_and_dates(self, tmp_path):
        path = tmp_path / "users.csv"
        path.write_text(
            "user;a;b;when\n1;2,5;1,000;2020-01-01\n2;3;2,000;\n3;3,5;3,000;2020-01-03 00:00:00\n"
        )
        found = hs.read_features(path)
        assert found.column_names() == [
            *("a", "b=1,000", "b=2,000", "b=3,000", "when", "when is missing")
        ]
        np.testing.assert_allclose(dense(found)[:, 0], np.array([-0.5, 0, 0.5]) * 6**0.5, rtol=1e-6)
        np.testing.assert_allclose(dense(found)[:, 4:], [[-1, 0], [0, 1], [1, 0]], rtol=1e-6)

    def test_parts_of_a_table(self, tmp_path):
        for k, rows in enumerate(["1,x\n2,y\n", "3,x\n4,z\n"]):
            (tmp_path / f"part {k}.csv").write_text("user,a\n" + rows)
        found = hs.read_features(tmp_path / "part*.csv")
        assert found.ids.values.tolist() == [1, 2, 3, 4]
        assert found.column_names() == ["a=x", "a=y", "a=z"]

    def test_a_byte_far_down_that_is_not_utf_8(self, tmp_path):
        path = tmp_path / "users.dat"
        rows = "".join(f"{k}::M::25::{k % 20}::{k % 100:05d}\n" for k in range(1, 5000))
        path.write_bytes(rows.encode() + "9999::F::1::3::Köl\n".encode("latin-1"))
        assert hs.read_features(path).column_names()[-1] == "zip=Köl"

    def test_other_encodings(self, tmp_path):
        path = tmp_path / "users.csv"
        path.write_bytes("user;city;n\n1;Köln;2\n2;Rom;3\n".encode("latin-1"))
        assert "city=Köln" in hs.read_features(path).column_names()


class TestErrors:
    @pytest.mark.parametrize(
        ("text", "error", "message"),
        [
            ("", errors.ReadError, "is empty"),
            ("user,age\n", errors.DataError, "holds no features"),
            ("user,age\n1,20\n2,30,4\n3,40\n", errors.ReadError, "has 3 fields, the others have 2"),
            ("user,age\n1,20\n1,30\n", errors.DuplicatesError, "id=1: stands in rows 1 and 2"),
            ("user,age\n1,20\n,30\n", errors.DataError, "missing id in row 2"),
            ("user,age\n1,20\n2,inf\n", errors.DataError, "age=inf: is infinite"),
            (
                "name,age\nx,20\ny,30\n",
                errors.ReadError,
                "no column of .* is known to name its rows",
            ),
            ('{"user": 1, "a": 2}\n{"user": ', errors.ReadError, "line 2 .* is not a JSON object"),
            ("user,item,age\n1,2,3\n2,2,4\n", errors.ReadError, "could both name the rows"),
            ("user\n1\n2\n", errors.ReadError, "no separator"),
            ("PAR1 nonsense", errors.ReadError, "check that the file is whole"),
            ('{"user": 1, "a": {"b": 1}}\n', errors.DataError, "a='OBJECT': is a type of columns"),
            (
                '{"user": 1, "a": true}\n{"user": 2, "a": 1}',
                errors.DataError,
                "a='BOOLEAN and UBIGINT'",
            ),
        ],
    )
    def test_of_files(self, tmp_path, text, error, message):
        path = tmp_path / "users"
        path.write_text(text)
        with pytest.raises(error, match=message):
            hs.read_features(path)

    def test_of_types(self, tmp_path):
        path = tmp_path / "users.parquet"
        times = [datetime.time(1), datetime.time(2)]
        pl.DataFrame({"user": [1.0, 2.0], "at": times, "b": [1, 2]}).write_parquet(path)
        with pytest.raises(
            errors.DataError, match=r"at='TIME.*': is a type of columns that cannot"
        ):
            hs.read_features(path)
        found = hs.read_features(path, kinds={"at": "skip"})
        assert found.ids.values.tolist() == [1, 2]
        assert found.column_names() == ["b"]

    def test_of_arguments(self, tmp_path):
        with pytest.raises(errors.ReadError, match="no such file"):
            hs.read_features(tmp_path / "nothing.csv")
        path = tmp_path / "users.csv"
        path.write_text("user,age\n1,20\n2,30\n")
        with pytest.raises(errors.ReadError, match="id='key': is not a column"):
            hs.read_features(path, id="key")
        with pytest.raises(errors.ParameterError, match="is not a column of features"):
            hs.read_features(path, kinds={"zip": "skip"})
        with pytest.raises(errors.ParameterError, match="must say the kind by column"):
            hs.read_features(tmp_path / "nothing.csv", kinds="numeric")

    def test_a_database(self, tmp_path):
        import sqlite3

        with sqlite3.connect(tmp_path / "x.db") as opened:
            opened.execute("CREATE TABLE users (id, age)")
        opened.close()
        with pytest.raises(errors.ReadError, match="must be text, Parquet or JSON lines"):
            hs.read_features(tmp_path / "x.db")


class TestMovieLens:
    """The files' own facts are in the README files beside them."""

    def test_users_of_100k(self, data_folder):
        found = hs.read_features(data_folder / "ml-100k" / "u.user")
        assert {group.name: len(group) for group in found.groups} == {
            "age": 1,
            "gender": 2,
            "occupation": 21,
            "zip": 795,
        }
        assert found.ids.values.tolist() == list(range(1, 944))
        values = found.to_scipy()
        names = found.column_names()
        assert values[:, names.index("gender=M")].sum() == 670
        assert values[0, names.index("zip=85711")] == 1
        ages = values[:, [0]].toarray()
        assert abs(ages.mean()) < 1e-6
        assert abs(ages.std() - 1) < 1e-6

    def test_films_of_100k(self, data_folder):
        found = hs.read_features(data_folder / "ml-100k" / "u.item")
        assert found.shape == (1682, 21)
        names = found.column_names()
        toy_story = found.to_scipy()[[0], :].toarray()[0]
        genres = {names[k] for k in np.flatnonzero(toy_story) if names[k].startswith("genres")}
        assert genres == {"genres=Animation", "genres=Children's", "genres=Comedy"}
        assert found.encoding.dropped == {"title": "skipped"}
        drama = found.to_scipy()[:, [names.index("genres=Drama")]]
        assert drama.nnz == 725

    def test_users_and_films_of_1m(self, data_folder):
        users = hs.read_features(data_folder / "ml-1m" / "users.dat", kinds={"zip": "skip"})
        assert users.shape == (6040, 2 + 7 + 21)
        assert set(users.cells.values.tolist()) == {1.0}
        films = hs.read_features(data_folder / "ml-1m" / "movies.dat")
        assert films.shape == (3883, 1 + 18)
        document = films.encoding.to_document()["columns"][0]
        assert 1980 < document["mean"] < 1990

    def test_they_are_known_by_shape_too(self, tmp_path):
        path = tmp_path / "users.dat"
        path.write_text("1::a\n2::b\n")
        assert hs.read_features(path).column_names() == ["column 1=a", "column 1=b"]
        path.write_text("1::F::1::10::48067\n2::M::56::16::70072\n")
        assert [group.name for group in hs.read_features(path).groups] == [
            *("gender", "age", "occupation", "zip")
        ]

    def test_the_genres_come_from_the_flags(self, tmp_path):
        path = tmp_path / "u.item"
        flags = ["0"] * 19
        one, other = list(flags), list(flags)
        one[0], other[18] = "1", "1"
        rows = [
            ["1", "Heat (1995)", "01-Jan-1995", "", "http://x", *one],
            ["2", "M (1931) (V)", "01-Jan-1931", "", "http://x", *other],
            ["3", "untitled", "", "", "", *flags],
        ]
        path.write_text("\n".join(map("|".join, rows)) + "\n")
        found = hs.read_features(path)
        assert found.column_names() == [
            *("year", "year is missing", "genres=Western", "genres=unknown")
        ]
        np.testing.assert_allclose(
            dense(found), [[1, 0, 0, 1], [-1, 0, 1, 0], [0, 1, 0, 0]], rtol=1e-6
        )
