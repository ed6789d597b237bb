"""`read_ratings`: every format, what is detected, what is refused, and the traps of guessing."""

import gzip
import json
import os
import sqlite3
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import halfstep as hs
from halfstep.data.read import opened
from halfstep.errors import DataError, DuplicatesError, ParameterError, ReadError

ROWS = [(7, 10, 4.5, 100), (3, 10, 0.0, 200), (7, 20, 1.0, 300)]


def cells(ratings):
    """(user, item, rating) of each cell, sorted."""
    return list(zip(*(a.tolist() for a in ratings.to_arrays()), strict=True))


def notes(ratings):
    return ratings.report.source.notes


EXPECTED = sorted((u, i, r) for u, i, r, _ in ROWS)


@pytest.fixture
def write(tmp_path):
    def write(data, name="ratings.csv"):
        path = tmp_path / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return path

    return write


def table(sep=",", header="userId,movieId,rating,timestamp", end="\n", rows=ROWS):
    lines = [header.replace(",", sep)] if header else []
    lines += [sep.join(map(str, row)) for row in rows]
    return end.join(lines) + end


def refused(path, error=ReadError, **options):
    with pytest.raises(error) as caught:
        hs.read_ratings(path, **options)
    text = str(caught.value)
    assert "\n" not in text
    assert "Traceback" not in text
    return text


# -------------------------------------------------------------- separators and headers


@pytest.mark.parametrize("sep", [",", "\t", ";", "|", "::", " ", "   "])
@pytest.mark.parametrize("header", ["userId,movieId,rating,timestamp", None])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_separators_headers_and_line_ends(write, sep, header, end):
    ratings = hs.read_ratings(write(table(sep, header, end)))
    assert cells(ratings) == EXPECTED
    assert ratings.users.kind == ratings.items.kind == "int"
    assert ratings.time.tolist() == [200, 100, 300]
    assert ("header" if header else "no header") in notes(ratings)
    assert any("separator" in note for note in notes(ratings))


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"])
def test_last_line_may_lack_its_end_and_blank_lines_may_follow(write, end):
    text = table(end=end)
    assert cells(hs.read_ratings(write(text.rstrip()))) == EXPECTED
    assert cells(hs.read_ratings(write(text + end * 3))) == EXPECTED


def test_mixed_line_ends(write):
    assert (
        cells(
            hs.read_ratings(
                write(
                    "u,i,r\r\n".replace("u", "user", 1)
                    .replace("i", "item", 1)
                    .replace("r\r", "rating\r")
                    + "7,10,4.5\n3,10,0\r\n7,20,1\n"
                )
            )
        )
        == EXPECTED
    )


def test_mixed_line_ends_beyond_the_sample(write):
    body = "".join(f"{k},1,3\n" for k in range(20_000))
    ratings = hs.read_ratings(write(body + "20000,1,3\r\n20001,1,3\n"))
    assert len(ratings) == 20_002
    assert ratings.items.values.tolist() == [1]


def test_runs_of_blanks(write):
    text = "  7   10\t4.5 \n3 10 0\n\t7\t20   1\n"
    assert cells(hs.read_ratings(write(text))) == EXPECTED
    assert cells(hs.read_ratings(write(text), sep="blanks")) == EXPECTED
    assert cells(hs.read_ratings(write(text), sep=r"\s+")) == EXPECTED


def test_runs_of_blanks_beyond_the_sample(write):
    text = "".join(f"{k} 1 3\n" for k in range(20_000)) + "20000   1  3\n"
    assert len(hs.read_ratings(write(text))) == 20_001


def test_quoted_fields_hold_separators_and_line_ends(write):
    text = 'user,item,rating\n"Smith, ""J""","Heat\n(1995)",4\n"b","c",5\n'
    assert cells(hs.read_ratings(write(text))) == [
        ('Smith, "J"', "Heat\n(1995)", 4.0),
        ("b", "c", 5.0),
    ]


def test_quotes_in_tab_separated_text_are_characters(write):
    text = '1\t"abc\t5\n2\tx"\t4\n'  # with quoting this would be one row
    assert cells(hs.read_ratings(write(text))) == [(1, '"abc', 5.0), (2, 'x"', 4.0)]


def test_quoted_fields_in_tab_separated_text(write):
    text = '"1"\t"a\tb"\t5\n"2"\t"c"\t4\n'
    assert cells(hs.read_ratings(write(text))) == [(1, "a\tb", 5.0), (2, "c", 4.0)]


@pytest.mark.parametrize(
    ("name", "sep"), [("tab", "\t"), ("\\t", "\t"), ("pipe", "|"), ("::", "::")]
)
def test_separator_by_argument(write, name, sep):
    path = write(table(sep))
    assert cells(hs.read_ratings(path, sep=name)) == EXPECTED


def test_a_wrong_separator_is_named(write):
    assert "sep=';'" in refused(write(table()), sep=";")
    for sep in ("", '"', "\n", "toolong", 3):
        refused(write(table()), ParameterError, sep=sep)


def test_comma_wins_over_what_stands_inside_the_fields(write):
    text = "1,2,5,2020-01-01 10:00:00\n1,3,4,2020-01-02 10:00:00\n"
    assert cells(hs.read_ratings(write(text))) == [(1, 2, 5.0), (1, 3, 4.0)]


@pytest.mark.parametrize("sep", [", ", "; ", "| "])
def test_a_blank_after_every_separator_belongs_to_it(write, sep):
    assert cells(hs.read_ratings(write(table(sep)))) == EXPECTED
    quoted = 'user, item, rating\n1, "a, b", 3\n2, "c", 4\n'.replace(", ", sep)
    assert cells(hs.read_ratings(write(quoted))) == [(1, f"a{sep}b", 3.0), (2, "c", 4.0)]
    # with the separator given, nothing is guessed
    assert hs.read_ratings(write(table(sep)), sep=sep.strip()).items.values.tolist() == [
        " 10",
        " 20",
    ]


def test_comments_at_the_top_are_skipped_and_noted(write):
    ratings = hs.read_ratings(write("# made by hand\n% bip weighted\n" + table(header=None)))
    assert cells(ratings) == EXPECTED
    assert "2 comment lines skipped" in notes(ratings)


@pytest.mark.parametrize("comment", ['#,"best', '# "a" b', '#"', "# it's"])
def test_a_quote_above_the_rows_opens_no_field(write, comment):
    text = comment + "\n" + table()
    assert cells(hs.read_ratings(write(text))) == EXPECTED
    ragged = refused(write(text + "1,2\n"))
    assert "line 6 " in ragged  # the user's line, in spite of the rewriting


def test_rows_that_the_reader_loses_are_noticed(write, monkeypatch):
    import re

    import halfstep.data.sniff as sniff

    monkeypatch.setattr(sniff, "_CLEAN_LINE", re.compile(".*"))  # no precaution above the rows
    assert "0 rows were found" in refused(write('#,"best\n' + table()))


def test_a_header_over_several_lines(write):
    assert cells(
        hs.read_ratings(write('user,item,"rating\n(1-5)"\n7,10,4.5\n3,10,0\n'), rating=2)
    ) == [
        (3, 10, 0.0),
        (7, 10, 4.5),
    ]


def test_a_header_behind_a_comment_sign(write):
    assert (
        cells(hs.read_ratings(write("# user,item,rating\n7,10,4.5\n3,10,0\n7,20,1\n"))) == EXPECTED
    )


def test_ids_that_begin_like_comments_are_rows(write):
    assert cells(hs.read_ratings(write("#a,x,1\n#b,x,2\n"))) == [("#a", "x", 1.0), ("#b", "x", 2.0)]
    assert cells(hs.read_ratings(write("#a,x,1\nb,x,2\n"))) == [("#a", "x", 1.0), ("b", "x", 2.0)]


def test_blank_lines_before_the_header(write):
    assert cells(hs.read_ratings(write("\n\n" + table()))) == EXPECTED


def test_header_by_argument(write):
    path = write("who,what\nann,x\nbob,y\n")
    ratings = hs.read_ratings(path, header=True, user="who", item="what")
    assert cells(ratings) == [("ann", "x", 1.0), ("bob", "y", 1.0)]
    assert len(hs.read_ratings(path, header=False)) == 3
    refused(path, ParameterError, header="yes")


def test_a_bad_first_row_is_not_taken_for_a_header(write):
    text = refused(write("1,2,abc\n1,3,4\n2,3,5\n"), DataError)
    assert "'abc'" in text
    assert "row 1" in text


def test_a_missing_rating_in_the_first_row_is_not_a_header(write):
    assert "row 1 " in refused(write("ann,x,NA\nbob,y,3\nbob,x,4\n"), DataError)


# ------------------------------------------------------------------------------- ids


def long_column(last, rows=50_000):
    return "user,item,rating\n" + "".join(f"{k},5,3\n" for k in range(1, rows)) + f"{last},5,3\n"


@pytest.mark.parametrize(
    "odd",
    ["007", " 12", "12 ", "1e3", "+5", "-0", "1_000", "9223372036854775808", "x", "1.0", "1 3 4"],
)
def test_one_odd_id_beyond_any_sample_makes_the_column_text(write, odd):
    ratings = hs.read_ratings(write(long_column(odd)))
    assert ratings.users.kind == "str"
    assert len(ratings.users) == 50_000
    assert ratings.users.lookup([odd, "49999"]).min() >= 0
    assert ratings.users.values.tolist() == sorted(ratings.users.values.tolist())
    assert ratings.items.kind == "int"


def test_007_is_not_7(write):
    ratings = hs.read_ratings(write("user,item,rating\n7,1,1\n007,1,2\n"))
    assert cells(ratings) == [("007", 1, 2.0), ("7", 1, 1.0)]


def test_1_3_4_is_three_columns_or_text_but_no_timestamp(write):
    assert cells(hs.read_ratings(write("1 3 4\n1 2 5\n"))) == [(1, 2, 5.0), (1, 3, 4.0)]
    ratings = hs.read_ratings(write("user,item,rating\n1 3 4,2,5\n1 3 5,2,4\n"))
    assert ratings.users.values.tolist() == ["1 3 4", "1 3 5"]


def test_the_whole_range_of_64_bits_is_integer(write):
    low, high = -(2**63), 2**63 - 1
    ratings = hs.read_ratings(write(f"user,item,rating\n{low},{high},1\n{high},{low},2\n"))
    assert cells(ratings) == [(low, high, 1.0), (high, low, 2.0)]


def test_missing_ids_are_invalid_rows(write):
    path = write("user,item,rating\n1,2,3\n,2,3\n1,,3\n")
    text = refused(path, DataError)
    assert "users=''" in text
    assert "row 2 " in text
    assert cells(hs.read_ratings(path, invalid="drop")) == [(1, 2, 3.0)]
    text_ids = write('user,item,rating\na,b,3\n"",b,3\na,"",3\n')
    assert cells(hs.read_ratings(text_ids, invalid="drop")) == [("a", "b", 3.0)]


def test_text_ids_sort_by_code_point(write):
    users = ["é", "z", "Z", "a", "𐍈", "ﬀ", "10", "9"]
    ratings = hs.read_ratings(
        write("user,item,rating\n" + "".join(f"{u},1,{k}\n" for k, u in enumerate(users)))
    )
    assert ratings.users.values.tolist() == sorted(users)
    assert cells(ratings) == sorted((u, 1, float(k)) for k, u in enumerate(users))


TEXT_ID = st.text(
    st.one_of(st.characters(exclude_categories=["Cs", "Cc"]), st.sampled_from('\n\t",;|#% 0')),
    min_size=1,
    max_size=8,
)


@given(
    rows=st.lists(
        st.tuples(TEXT_ID, st.one_of(TEXT_ID, st.integers().map(str)), st.floats(-9, 9, width=32)),
        min_size=1,
        max_size=30,
        unique_by=lambda row: row[:2],
    )
)
def test_what_is_written_is_read(tmp_path_factory, rows):
    import csv

    path = tmp_path_factory.mktemp("csv") / "x.csv"
    with open(path, "w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerows([("user", "item", "rating"), *rows])
    ratings = hs.read_ratings(path)
    again = sorted((str(u), str(i), r) for u, i, r in cells(ratings))
    assert again == sorted(rows)


# --------------------------------------------------------------------------- ratings


def test_a_stored_0_is_kept(write):
    assert (3, 10, 0.0) in cells(hs.read_ratings(write(table())))


def test_without_ratings_every_row_counts_1_and_repeats_add(write):
    ratings = hs.read_ratings(write("user,item\n1,2\n1,2\n3,2\n"))
    assert cells(ratings) == [(1, 2, 2.0), (3, 2, 1.0)]


def test_without_ratings_or_header(write):
    assert cells(hs.read_ratings(write("1,2\n3,2\n"))) == [(1, 2, 1.0), (3, 2, 1.0)]


@pytest.mark.parametrize("odd", ["abc", "", "NaN", "inf", "1_000", "4,5", "1 3"])
def test_a_bad_rating_deep_in_the_file_is_named(write, odd):
    rows = [f"{k};1;3.5" for k in range(30_000)]
    rows[25_000] = f"25000;1;{odd}"
    path = write("user;item;rating\n" + "\n".join(rows))
    text = refused(path, DataError)
    assert f"ratings={odd!r}" in text
    assert "row 25001 " in text
    assert len(hs.read_ratings(path, invalid="drop")) == 29_999


def test_decimal_commas(write):
    ratings = hs.read_ratings(write("user;item;rating\n1;2;4,5\n1;3;4\n2;2;-0,5\n"))
    assert cells(ratings) == [(1, 2, 4.5), (1, 3, 4.0), (2, 2, -0.5)]
    assert "ratings with a decimal comma" in notes(ratings)


def test_decimal_commas_only_where_all_ratings_use_them(write):
    assert "'4,5'" in refused(write("user;item;rating\n1;2;4,5\n1;3;4.5\n"), DataError)
    # what may be thousands, and what is quoted in a comma-separated file, is not guessed at
    assert "'1,000'" in refused(write("user;item;rating\n1;2;1,000\n1;3;2,000\n"), DataError)
    assert "'4,5'" in refused(write('user,item,rating\n1,2,"4,5"\n1,3,"3,5"\n'), DataError)


def test_a_column_without_any_number_is_named(write):
    text = refused(write("user,item,rating\n1,2,good\n1,3,bad\n"), DataError)
    assert "'rating'" in text
    assert "rating=False" in text


def test_weights(write):
    ratings = hs.read_ratings(write("user,item,rating,weight\n1,2,3,0.5\n1,3,4,2\n"))
    assert ratings.by_user.weights.tolist() == [0.5, 2.0]


def test_duplicates_follow_the_policy(write):
    path = write("1,2,3\n1,2,5\n")
    with pytest.raises(DuplicatesError):
        hs.read_ratings(path)
    assert cells(hs.read_ratings(path, duplicates="mean")) == [(1, 2, 4.0)]
    assert cells(hs.read_ratings(path, duplicates="last")) == [(1, 2, 5.0)]


# ------------------------------------------------------------------------------ time


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2020-01-01", 1577836800),
        ("2020-01-01 00:00:10", 1577836810),
        ("2020-01-01T00:00:00Z", 1577836800),
        ("2020-01-01T02:00:00+02:00", 1577836800),
        ("1969-12-31 23:59:59", -1),
        ("2020-01-01 00:00:00.5", 1577836800.5),
    ],
)
def test_iso_times_are_seconds(write, text, seconds):
    ratings = hs.read_ratings(write(f"user,item,rating,date\n1,2,3,{text}\n1,3,3,1970-01-02\n"))
    assert ratings.time.tolist() == [seconds, 86400]
    assert any("ISO" in note for note in notes(ratings))


def test_integral_times_are_exact(write):
    stamp = 1_600_000_000_123_456_789
    ratings = hs.read_ratings(write(f"1,2,3,{stamp}\n1,3,3,{stamp + 1}\n"))
    assert ratings.time.dtype == np.int64
    assert ratings.time.tolist() == [stamp, stamp + 1]


def test_fractional_times_stay(write):
    assert hs.read_ratings(write("1,2,3,0.5\n1,3,3,2\n")).time.tolist() == [0.5, 2.0]


def test_a_time_that_cannot_be_read_is_named(write):
    path = write("user,item,rating,time\n1,2,3,01/02/2020\n1,3,3,02/02/2020\n")
    text = refused(path, DataError)
    assert "01/02/2020" in text
    assert "time=False" in text
    assert hs.read_ratings(path, time=False).time is None


def test_an_empty_column_of_times_is_no_column(write):
    assert hs.read_ratings(write("1,2,3,\n1,3,3,\n")).time is None
    assert "row 2 " in refused(write("1,2,3,4\n1,3,3,\n"), DataError)


def test_one_bad_time_is_named_or_dropped(write):
    path = write("user,item,rating,time\n1,2,3,2020-01-01\n1,3,3,soon\n1,4,3,2020-01-02\n")
    assert "time='soon'" in refused(path, DataError)
    assert len(hs.read_ratings(path, invalid="drop")) == 2


# --------------------------------------------------------------------------- columns


@pytest.mark.parametrize(
    "header",
    [
        "userId,movieId,rating,timestamp",
        "USER_ID,Item_ID,Stars,ts",
        "uid,iid,score,date",
        "reviewerID,asin,overall,unixReviewTime",
        "customer,product,value,time",
    ],
)
def test_columns_by_their_usual_names_in_any_order(write, header):
    names = header.split(",")
    order = [2, 3, 1, 0]
    rows = [[row[k] for k in order] for row in ROWS]
    path = write(table(header=",".join(names[k] for k in order), rows=rows))
    assert cells(hs.read_ratings(path)) == EXPECTED
    assert hs.read_ratings(path).time.tolist() == [200, 100, 300]


def test_columns_by_name_and_position(write):
    path = write("a,b,c,d\n9,10,7,4.5\n9,10,3,0\n9,20,7,1\n")
    assert cells(hs.read_ratings(path, user="c", item="B", rating=3)) == EXPECTED
    headerless = write("9,10,7,4.5\n9,10,3,0\n9,20,7,1\n")
    assert cells(hs.read_ratings(headerless, user=2, item=1, rating=3, time=False)) == EXPECTED


def test_a_rating_by_the_end_of_its_name(write):
    path = write(
        '"User-ID";"ISBN";"Book-Rating"\n"276725";"034545104X";"0"\n"8";"0155061224";"5"\n'
    )
    assert cells(hs.read_ratings(path)) == [(8, "0155061224", 5.0), (276725, "034545104X", 0.0)]


def test_a_table_without_ratings_says_so(write):
    assert any("counts 1" in note for note in notes(hs.read_ratings(write("user,item\n1,2\n"))))


def test_the_rating_is_left_out_with_false(write):
    assert cells(hs.read_ratings(write(table()), rating=False)) == [
        (u, i, 1.0) for u, i, _ in EXPECTED
    ]


@pytest.mark.parametrize(
    ("header", "options", "says"),
    [
        ("a,b,c,d", {}, "user="),
        ("user,b,c,d", {}, "item="),
        ("user,item,c,d", {"rating": "stars"}, "rating='stars'"),
        ("user,item,c,d", {"rating": 4}, "0 to 3"),
        ("user,item,c,d", {"rating": -1}, "0 to 3"),
        ("user,item,c,d", {"rating": "user", "user": "user"}, "same column"),
        ("user,item,c,d", {"user": False}, "user=False"),
        ("user,item,c,d", {"user": True}, "user=True"),
        ("user,item,c,d", {"user": 1.5}, "user=1.5"),
        ("user,movie,book,d", {}, "'movie' and 'book'"),
        ("user,item,x,x", {"rating": "x"}, "2, 3"),
        ("user,item,rating,Rating", {}, "'rating' and 'Rating'"),
    ],
)
def test_columns_that_cannot_be_told_are_an_error(write, header, options, says):
    text = refused(write(table(header=header)), **options)
    assert says in text


def test_names_of_a_table_without_header(write):
    assert "header=True" in refused(write(table(header=None)), user="userId")


def test_many_columns_without_header_are_not_guessed_at(write):
    path = write("1,2,3,4,5\n1,3,3,4,5\n")
    assert "5 columns and no header" in refused(path)
    assert cells(hs.read_ratings(path, user=0, item=1, rating=2)) == [(1, 2, 3.0), (1, 3, 3.0)]


def test_a_third_column_of_times_is_not_taken_for_ratings(write):
    path = write("1,2,978300760\n1,3,978300761\n")
    assert "time=2" in refused(path)
    ratings = hs.read_ratings(path, time=2)
    assert ratings.time.tolist() == [978300760, 978300761]
    assert cells(ratings) == [(1, 2, 1.0), (1, 3, 1.0)]


# ------------------------------------------------------------------------- encodings


MOVIES = "user,item,rating\nzoë,Amélie,5\nann,Léon,4\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_encodings_are_found(write, encoding):
    ratings = hs.read_ratings(write(MOVIES.encode(encoding)))
    assert cells(ratings) == [("ann", "Léon", 4.0), ("zoë", "Amélie", 5.0)]
    assert any("encoding" in note for note in notes(ratings)) == (encoding != "utf-8")


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16-le", "shift_jis"])
def test_encodings_by_argument(write, encoding):
    name = "€" if encoding == "cp1252" else "日本"
    path = write(f"user,item,rating\n{name},1,5\nb,1,4\n".encode(encoding))
    if encoding == "utf-16-le":
        assert "utf-16" in refused(path)  # without a mark it looks like no text at all
        ratings = hs.read_ratings(path, encoding=encoding, format="text")
    else:
        ratings = hs.read_ratings(path, encoding=encoding)
    assert ratings.users.lookup([name]).tolist() == [1]


@pytest.mark.parametrize("encoding", [None, "utf-8", "utf-8-sig"])
@pytest.mark.parametrize("sep", [",", "  "])
def test_a_byte_order_mark_is_no_character(write, encoding, sep):
    path = write((sep.strip(",") + table(sep, header=None)).encode("utf-8-sig"))
    ratings = hs.read_ratings(path, encoding=encoding)
    assert cells(ratings) == EXPECTED
    assert ratings.users.kind == "int"


def test_latin_1_deep_in_the_file(write):
    text = "user,item,rating\n" + "".join(f"u{k},1,3\n" for k in range(20_000))
    data = text.encode() + "zoë,1,4\n".encode("latin-1")
    ratings = hs.read_ratings(write(data))
    assert len(ratings) == 20_001
    assert ratings.users.lookup(["zoë"]).min() >= 0
    offset = len(text) + 2
    assert f"encoding latin-1 (detected: byte 0xeb at offset {offset} is not UTF-8)" in notes(
        ratings
    )


def test_latin_1_text_in_a_column_that_is_not_read(write):
    data = b"user,item,rating,title\n1,2,3,x\n" + "1,3,4,Amélie\n".encode("latin-1")
    assert cells(hs.read_ratings(write(data))) == [(1, 2, 3.0), (1, 3, 4.0)]


def test_a_wrong_encoding_is_named(write):
    path = write(MOVIES.encode("latin-1"))
    assert "encoding='utf-8'" in refused(path, encoding="utf-8")
    assert "encoding='klingon'" in refused(path, ParameterError, encoding="klingon")
    late = "user,item,rating\n" + "".join(f"u{k},1,3\n" for k in range(20_000))
    data = late.encode() + "zoë,1,4\n".encode("latin-1")
    assert "UTF-8" in refused(write(data), encoding="utf-8").upper()


def test_wide_rewriting_keeps_every_character(write, monkeypatch):
    import halfstep.data.text as text

    monkeypatch.setattr(text, "_CHUNK", 7)  # cut characters and line ends in the middle
    rows = [(f"ü{k}", f"€{k % 7}", k % 5) for k in range(200)]
    body = "\r\n".join(f"{u},{i},{r}" for u, i, r in rows)
    ratings = hs.read_ratings(write(("user,item,rating\r\n" + body).encode("utf-16")))
    assert cells(ratings) == sorted((u, i, float(r)) for u, i, r in rows)


# ----------------------------------------------------------------------- compression


def test_gzip_by_content_not_by_name(write):
    data = gzip.compress(table().encode())
    assert cells(hs.read_ratings(write(data, "x.csv.gz"))) == EXPECTED
    assert cells(hs.read_ratings(write(data, "x.csv"))) == EXPECTED
    assert cells(hs.read_ratings(write(table(), "plain.csv.gz"))) == EXPECTED
    assert cells(hs.read_ratings(write(gzip.compress(MOVIES.encode("latin-1")), "m.gz")))[0] == (
        "ann",
        "Léon",
        4.0,
    )


def test_several_members_of_gzip(write):
    first, rest = table().split("\n", 2)[:2], table().split("\n", 2)[2]
    data = gzip.compress(("\n".join(first) + "\n").encode()) + gzip.compress(rest.encode())
    assert cells(hs.read_ratings(write(data))) == EXPECTED


@pytest.mark.parametrize("rows", [100, 200_000])
def test_truncated_gzip(write, rows):
    rng = np.random.default_rng(0)
    text = "".join(f"{k},{rng.integers(10**9)},3\n" for k in range(rows))
    data = gzip.compress(text.encode())
    assert "truncated" in refused(write(data[: len(data) // 2], "x.csv.gz"))


def test_zstd(tmp_path):
    import duckdb

    with duckdb.connect() as connection:
        connection.execute(
            f"COPY (SELECT unnest([7, 3, 7]) AS userId, unnest([10, 10, 20]) AS movieId, "
            f"unnest([4.5, 0, 1]) AS rating) TO '{tmp_path}/x.csv.zst' "
            "(FORMAT csv, HEADER true, COMPRESSION zstd)"
        )
    os.rename(tmp_path / "x.csv.zst", tmp_path / "anything")
    assert cells(hs.read_ratings(tmp_path / "anything")) == EXPECTED
    data = (tmp_path / "anything").read_bytes()
    (tmp_path / "cut").write_bytes(data[: len(data) - 8])
    refused(tmp_path / "cut")


# ------------------------------------------------------------------------ many files


def test_patterns_and_lists(write, tmp_path):
    one, two = write(table(rows=ROWS[:1]), "p1.csv"), write(table(rows=ROWS[1:]), "p2.csv")
    for path in (tmp_path / "p*.csv", str(tmp_path / "p?.csv"), [one, two], [str(two), one]):
        ratings = hs.read_ratings(path)
        assert cells(ratings) == EXPECTED
        assert "2 files" in ratings.report.source.description


def test_the_order_of_files_is_the_order_of_rows(write):
    one, two = write("1,2,3\n", "b.csv"), write("1,2,4\n", "a.csv")
    assert cells(hs.read_ratings([one, two], duplicates="last")) == [(1, 2, 4.0)]
    assert cells(hs.read_ratings([two, one], duplicates="last")) == [(1, 2, 3.0)]


def test_files_of_one_table_may_be_written_differently(write):
    files = [
        write(table(), "a.csv"),
        write(gzip.compress(b"8;10;1;400\r\n"), "b.gz"),
        write("9 10 2 500\n".encode("utf-16"), "c.txt"),
    ]
    ratings = hs.read_ratings(files, keep_order=True)
    assert cells(ratings) == sorted([*EXPECTED, (8, 10, 1.0), (9, 10, 2.0)])
    assert ratings.file_rank.tolist() == [1, 0, 2, 3, 4]


def test_files_with_other_columns_are_refused(write, tmp_path):
    write(table(), "a.csv")
    write("1,2,3\n", "b.csv")
    assert "3 columns" in refused(tmp_path / "*.csv")
    write(table(header="movieId,userId,rating,timestamp"), "b.csv")
    assert "movieId" in refused(tmp_path / "*.csv")


def test_names_with_special_characters(write):
    write("1,2,3\n", "a1.csv")  # what the names below match if they are taken for patterns
    write("1,2,3\n", "axbx.csv")
    for name in ("a'b.csv", "a[1].csv", "a*b?.csv", "a b;c.csv"):
        assert cells(hs.read_ratings(write(table(), name))) == EXPECTED


def test_rows_keep_the_order_of_the_file(write):
    rng = np.random.default_rng(1)
    users, items = rng.permutation(400_000), rng.integers(0, 1000, 400_000)
    path = write(
        "user,item,rating\n"
        + "".join(f"{u},{i},3\n" for u, i in zip(users.tolist(), items.tolist(), strict=True))
    )
    for options in ({}, {"text": True}):
        if options:
            data = path.read_text().replace("user,item,rating\n0,", "user,item,rating\n0,")
            path = write(data + "x,0,3\n")
        with opened(path, {}) as found:
            ids = found.users.ids.values[found.users.codes[:400_000]]
            assert ids.astype(np.int64).tolist() == users.tolist()


# --------------------------------------------------------------------- other formats


def test_parquet(tmp_path):
    import duckdb

    path = tmp_path / "x.parquet"
    with duckdb.connect() as connection:
        connection.execute(
            "COPY (SELECT * FROM (VALUES (7, 'a', 4.5, TIMESTAMP '2020-01-01'), "
            "(3, '007', 0.0, TIMESTAMP '2020-01-02')) t(\"user\", item, rating, time)) "
            f"TO '{path}' (FORMAT parquet)"
        )
        connection.execute(
            "COPY (SELECT '7' AS \"user\", 18446744073709551615::UBIGINT AS item, true AS rating) "
            f"TO '{tmp_path}/y.parquet' (FORMAT parquet)"
        )
    ratings = hs.read_ratings(path)
    assert cells(ratings) == [(3, "007", 0.0), (7, "a", 4.5)]
    assert ratings.time.tolist() == [1577923200, 1577836800]
    # a declared type is kept: text stays text; an integer that does not fit becomes text
    ratings = hs.read_ratings(tmp_path / "y.parquet")
    assert cells(ratings) == [("7", str(2**64 - 1), 1.0)]
    assert "has columns" in refused([path, tmp_path / "y.parquet"])
    assert "BOOLEAN" in refused(tmp_path / "y.parquet", DataError, user="rating", rating=False)


def test_damaged_parquet(write):
    refused(write(b"PAR1" + b"x" * 100, "x.parquet"))


def test_json_lines(write):
    rows = [
        {"user": u, "item": i, "rating": r, "time": t, "more": {"x": [1]}} for u, i, r, t in ROWS
    ]
    text = "\n".join(map(json.dumps, rows))
    for data in (text, json.dumps(rows), gzip.compress(text.encode())):
        ratings = hs.read_ratings(write(data, "x.jsonl"))
        assert cells(ratings) == EXPECTED
        assert ratings.time.tolist() == [200, 100, 300]


def test_json_strings_are_text_and_missing_keys_are_missing(write):
    path = write('{"user":"7","item":1,"rating":2}\n{"user":7,"item":2,"rating":"3.5"}\n')
    assert cells(hs.read_ratings(path)) == [("7", 1, 2.0), ("7", 2, 3.5)]
    path = write('{"user":1,"item":1,"rating":2}\n{"user":2,"item":2}\n{"item":2,"rating":1}\n')
    assert "row 3 " in refused(path, DataError)
    assert cells(hs.read_ratings(path, invalid="drop")) == [(1, 1, 2.0)]


def test_malformed_json(write):
    good = '{"user":1,"item":1}\n'
    assert "line 3" in refused(write(good + '{"user":2,"item":1}\n{"user":3,"item\n' + good))
    refused(write("{'user': 1, 'item': 2}\n"))


def test_format_by_argument(write):
    assert cells(hs.read_ratings(write(table()), format="csv")) == EXPECTED
    assert "format='xls'" in refused(write(table()), ParameterError, format="xls")
    refused(write(table()), format="parquet")


# --------------------------------------------------------------------------- queries


def test_duckdb_database(tmp_path):
    import duckdb

    path = tmp_path / "it's.db"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE r AS SELECT 'u' || range AS a, range AS b FROM range(3)")
        assert "open for writing" in refused(path, query="SELECT * FROM r")
    before = path.read_bytes()
    ratings = hs.read_ratings(path, query="SELECT a AS user, b AS item, b / 2 AS rating FROM r;")
    assert cells(ratings) == [("u0", 0, 0.0), ("u1", 1, 0.5), ("u2", 2, 1.0)]
    assert "tables r" in refused(path)
    assert "nope" in refused(path, query="SELECT * FROM nope")
    assert "query=" in refused(path, query="SELEC")
    assert path.read_bytes() == before


def test_sqlite_database(tmp_path):
    path = tmp_path / "x.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE r (user, item, rating REAL, time)")
    connection.executemany(
        "INSERT INTO r VALUES (?, ?, ?, ?)",
        [(k, f"i{k % 3}", k / 2, "2020-01-01") for k in range(100_000)],
    )
    connection.commit()
    ratings = hs.read_ratings(path, query="SELECT * FROM r")
    assert len(ratings) == 100_000
    assert ratings.users.kind == "int"
    assert ratings.items.values.tolist() == ["i0", "i1", "i2"]
    assert ratings.time[0] == 1577836800
    assert "tables r" in refused(path)
    assert "nope" in refused(path, query="SELECT * FROM nope")
    refused(path, query="DELETE FROM r")
    assert "readonly" in refused(path, query="DELETE FROM r RETURNING *")
    connection.execute("INSERT INTO r VALUES ('007', 'i1', 3, '2020-01-01')")
    connection.execute("INSERT INTO r VALUES (NULL, 'i1', 3, '2020-01-01')")
    connection.commit()
    ratings = hs.read_ratings(path, query="SELECT * FROM r", invalid="drop")
    assert ratings.users.kind == "str"
    assert ratings.users.lookup(["007", "99999"]).min() >= 0
    assert ratings.report.dropped == {"users: missing id": 1}
    connection.execute("INSERT INTO r VALUES (1, 'i9', 'good', '2020-01-01')")
    connection.commit()
    assert "'good'" in refused(path, DataError, query="SELECT * FROM r")
    connection.close()


def test_query_over_files(write):
    path = write(table())
    query = f"SELECT userId, movieId, rating FROM '{path}' WHERE rating > 0"
    assert cells(hs.read_ratings(query=query)) == [c for c in EXPECTED if c[2] > 0]
    ratings = hs.read_ratings(path, query="SELECT * FROM data WHERE userId = '7'")
    assert cells(ratings) == [c for c in EXPECTED if c[0] == 7]
    assert "nope" in refused(path, query="SELECT * FROM nope")
    refused(None)
    refused(None, ParameterError, query="  ")
    assert "nothing.csv" in refused(None, query="SELECT * FROM 'nothing.csv'")


# ---------------------------------------------------------------------------- errors


def test_files_that_are_not_there(tmp_path):
    assert "no such file" in refused(tmp_path / "x.csv")
    assert "no file matches" in refused(tmp_path / "*.csv")
    assert "folder" in refused(tmp_path)
    assert "empty list" in refused([])
    os.mkfifo(tmp_path / "pipe")
    assert "regular file" in refused(tmp_path / "pipe")
    assert "download" in refused("https://example.com/x.csv")
    refused(3)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty"),
        (b"\n\n  \n", "holds no rows"),
        (b"userId,movieId,rating\n", "no ratings"),
        (b"\x00\x01\x02\x03" * 100, "is not text"),
        (b"PK\x03\x04" + b"\x00" * 50, "zip"),
        (b"%%MatrixMarket matrix coordinate real general\n2 2 1\n1 1 3\n", "from_scipy"),
        (b'\xef\xbb\xbf{"user":1,"item":2}', "byte-order mark"),
        (b"\x89HDF\r\n\x1a\n" + b"\x00" * 50, "HDF5"),
        (b"just\nsome\nwords\n", "no separator"),
    ],
)
def test_files_without_a_table(write, data, says):
    assert says in refused(write(data), DataError)


def test_no_permission(write):
    path = write(table())
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    assert "permission" in refused(path)


@pytest.mark.parametrize("line", ["1,2", "1,2,3,4", "1"])
@pytest.mark.parametrize("at", [3, 30_000])
def test_a_ragged_line_is_named(write, line, at):
    lines = ["user,item,rating", *(f"{k},1,3" for k in range(40_000))]
    lines.insert(at - 1, line)
    text = refused(write("\n".join(lines)))
    assert f"line {at} " in text
    assert repr(line) in text


def test_a_ragged_header_is_named(write):
    assert "header" in refused(write("user,item\n1,2,3\n1,3,3\n2,2,3\n"))


def test_an_open_quote_is_named(write):
    assert "quote" in refused(write('user,item,rating\n1,2,3\n1,"3,3\n2,2,3\n'))


def test_a_ragged_line_in_a_rewritten_file_names_the_users_file(write):
    text = "".join(f"ü{k} 1 3\n" for k in range(10_000)) + "x 1\n"
    said = refused(write(text.encode("latin-1"), "mine.txt"))
    assert "mine.txt" in said
    assert "line 10001 " in said


# --------------------------------------------------------------------------- traits


def test_importing_halfstep_stays_light():
    code = (
        "import sys, halfstep; halfstep.read_ratings; "
        "print([m for m in ('duckdb', 'narwhals', 'scipy', 'pandas', 'pyarrow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_nothing_is_left_behind(write, tmp_path, monkeypatch):
    import tempfile

    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    hs.read_ratings(write(MOVIES.encode("latin-1")))
    refused(write(b"u,i,r\n1,2,3\n1,2\n"), DataError)
    assert list(folder.iterdir()) == []


# ------------------------------------------------------------------------- real data


def test_movielens_100k(data_folder):
    ratings = hs.read_ratings(data_folder / "ml-100k" / "u.data")
    assert ratings.shape == (943, 1682)
    assert len(ratings) == 100_000
    assert ratings.mean() == pytest.approx(3.52986)
    assert len(hs.read_ratings(data_folder / "ml-100k" / "u?.base", duplicates="mean")) == 100_000


def test_movielens_1m_and_gowalla(data_folder):
    ratings = hs.read_ratings(data_folder / "ml-1m" / "ratings.parquet")
    assert ratings.shape == (6040, 3706)
    assert len(ratings) == 1_000_209
    ratings = hs.read_ratings(data_folder / "gowalla" / "train.parquet")
    assert ratings.shape == (29_858, 40_981)
    assert len(ratings) == 810_128


def test_titles_of_movielens(data_folder):
    titles = hs.read_titles(data_folder / "ml-1m" / "movies.dat")
    assert len(titles) == 3883
    assert titles[73] == titles["73"] == "Misérables, Les (1995)"
    titles = hs.read_titles(data_folder / "ml-100k" / "u.item")
    assert len(titles) == 1682
    assert titles[1] == "Toy Story (1995)"


# ---------------------------------------------------------------------------- titles


def test_titles(write):
    text = 'movieId,title,genres\n1,"Heat, The (1995)",A|B\n2,Léon,C\n3,,C\n'
    for data in (text, text.encode("latin-1"), text.replace("\n", "\r\n")):
        titles = hs.read_titles(write(data))
        assert dict(titles) == {1: "Heat, The (1995)", 2: "Léon"}
        assert titles["2"] == titles[np.int64(2)] == "Léon"
        assert titles.get(3) is None
    assert dict(hs.read_titles(write("007::A::x\n8::B::y\n"))) == {"007": "A", "8": "B"}
    assert dict(hs.read_titles(write('{"item": 1, "title": "x"}\n'))) == {1: "x"}
    path = write("a,b\n1,x\n2,y\n")
    assert dict(hs.read_titles(path, item="a", title="b", header=True)) == {1: "x", 2: "y"}
    with pytest.raises(ReadError, match="title="):
        hs.read_titles(write("movieId,genres\n1,x\n2,y\n"))
    with pytest.raises(ReadError, match="no such file"):
        hs.read_titles("nowhere.csv")


# ------------------------------------------------------------- beyond what the first rows tell


@pytest.mark.parametrize("late", ["3000000000", "-9223372036854775808"])
@pytest.mark.parametrize("column", ["user", "item", "timestamp"])
def test_integers_wider_than_the_first_ones(write, column, late):
    names = ["user", "item", "rating", "timestamp"]
    rows = [[k, k % 7, 3, k] for k in range(3000)]
    rows[2500][names.index(column)] = late
    text = "\n".join(",".join(map(str, row)) for row in [names, *rows]) + "\n"
    found = hs.read_ratings(write(text))
    held = {"user": found.users.values, "item": found.items.values, "timestamp": found.time}[column]
    assert int(late) in held.tolist()
    assert held.dtype == np.int64
    again = hs.read_ratings(write(text.replace(f"{late}", "007")))
    if column == "timestamp":
        assert 7 in again.time.tolist()
    else:
        assert "007" in getattr(again, f"{column}s").values.tolist()


def test_times_that_turn_out_to_be_fractions(write):
    text = "user,item,rating,timestamp\n" + "".join(f"{k},1,3,{k}\n" for k in range(3000))
    found = hs.read_ratings(write(text + "3000,1,3,12.5\n"))
    assert found.time.dtype == np.float64
    assert found.time[-1] == 12.5


def test_a_late_rating_beyond_float32_is_named_as_it_stands(write):
    text = "user,item,rating\n" + "".join(f"{k},1,3\n" for k in range(3000)) + "3000,1,1e39\n"
    said = refused(write(text), DataError)
    assert "'1e39': beyond float32 in row 3001" in said


def test_typed_integers_wider_than_the_first_ones(tmp_path):
    import duckdb

    path = tmp_path / "wide.parquet"
    duckdb.sql(
        "SELECT CASE WHEN k = 2500 THEN 3000000000 ELSE k END AS user_id, k % 7 AS item_id, "
        "1e0 AS rating FROM range(3000) t(k)"
    ).write_parquet(str(path))
    found = hs.read_ratings(path)
    assert found.users.values[-1] == 3_000_000_000
    assert len(found) == 3000
