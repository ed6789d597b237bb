"""Loaders of published splits: the files as their authors write them, and files that are broken."""

import gzip

import numpy as np
import pandas as pd
import pytest

import halfstep as hs
from halfstep.data.id_lines import read_lines
from halfstep.errors import DataError, LeakError, ReadError

NCF = {
    "toy.train.rating": "0\t1\t5\t978824268\n0\t3\t1\t978824268\n7\t1\t4\t1\n7\t1\t4\t2\n",
    "toy.test.rating": "7\t0\t4\t9\n0\t2\t3\t8\n",
    "toy.test.negative": "(7,0)\t5\t3\t0\n(0,2)\t4\t1\n",
}
LIANG = {
    "unique_sid.txt": "1193\n661\n914\n3408\n",
    "train.csv": "uid,sid\n0,0\n0,1\n1,1\n1,2\n1,3\n",
    "validation_tr.csv": "uid,sid\n2,0\n",
    "validation_te.csv": "uid,sid\n2,1\n2,3\n",
    "test_tr.csv": "uid,sid\n4,3\n3,1\n",
    "test_te.csv": "uid,sid\n3,0\n4,0\n",
}
LIGHTGCN = {"train.txt": "0 5 2 9\n2 5\n\n11 2 9", "test.txt": "0 3\r\n2 9 2 \n11\n4 5\n"}


@pytest.fixture
def write(tmp_path):
    def written(files, **changed):
        folder = tmp_path / "a folder, «ж»"
        folder.mkdir(exist_ok=True)
        for name, text in {**files, **changed}.items():
            (folder / name).unlink(missing_ok=True)
            if text is not None:
                (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return folder

    return written


def pairs(ratings):
    return list(zip(*(column.tolist() for column in ratings.to_arrays()), strict=True))


def test_ncf(write):
    split = hs.read_ncf(write(NCF))
    assert pairs(split.train) == [(0, 1, 1.0), (0, 3, 1.0), (7, 1, 2.0)]  # repeats are added
    assert pairs(split.test) == [(0, 2, 1.0), (7, 0, 1.0)]
    assert split.train.items.values.tolist() == [0, 1, 2, 3, 4, 5]  # negatives are items too
    assert split.train.items == split.test.items
    indptr, items = split.negatives
    assert indptr.tolist() == [0, 2, 5]
    assert items.tolist() == [4, 1, 5, 3, 0]


@pytest.mark.parametrize("name", ["train.rating", "train.parquet"])
def test_other_names_of_the_training_part(write, name):
    folder = write(NCF, **{"toy.train.rating": None})
    if name.endswith("parquet"):
        table = pd.DataFrame({"user": [0, 0, 7, 7], "item": [1, 3, 1, 1], "rating": [5, 1, 4, 4]})
        table.to_parquet(folder / name)
    else:
        (folder / name).write_text(NCF["toy.train.rating"])
    assert pairs(hs.read_ncf(folder).train) == [(0, 1, 1.0), (0, 3, 1.0), (7, 1, 2.0)]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"toy.test.negative": None}, ["holds no toy.test.negative", "neural_collaborative"]),
        ({"toy.train.rating": None}, ["holds no toy.train.rating and no train.rating"]),
        ({"toy.test.rating": None}, [r"holds no \*\.test\.rating"]),
        ({"two.test.rating": "1\t2\n"}, ["toy.test.rating, two.test.rating: more than one"]),
        ({"toy.test.negative": "(7,0)\t5\n(0,2)\t4\tx\n"}, ["line 2 ", "toy.test.negative"]),
        ({"toy.test.negative": "(7,0)\t5\n0,2\t4\n"}, ["line 2 ", "mend that line"]),
        ({"toy.test.negative": "(7,0)\t-5\n(0,2)\t4\n"}, ["line 1 "]),
        ({"toy.test.negative": "(7,0)\t5\n(1,2)\t4\n"}, ["line 2", r"\(1,2\)", r"\(0,2\)"]),
        ({"toy.test.negative": "(7,0)\t5\n"}, ["line 2 is missing", r"\(0,2\)"]),
        ({"toy.test.negative": NCF["toy.test.negative"] + "(8,1)\t2\n"}, ["line 3", "ends"]),
        ({"toy.test.negative": ""}, ["holds no lines"]),
        ({"toy.test.negative": "(7,0)\t5\n(0,2)\n"}, ["negatives=0: is a user without any"]),
        (
            {"toy.test.rating": NCF["toy.test.rating"] + "0\t5\t1\t1\n"},
            ["line 3 is missing", r"\(0,5\)"],
        ),
        ({"toy.train.rating": "0\t1\t5\t9\n" * 9 + "0\n"}, ["line 10", "toy.train.rating"]),
        ({"toy.test.rating": "7\ta\t1\t1\n0\t2\t1\t1\n"}, ["line 1", r"\(7,a\)"]),
    ],
    ids=str,
)
def test_ncf_files_that_are_broken(write, changed, words):
    folder = write(NCF, **changed)
    with pytest.raises((ReadError, DataError)) as told:
        hs.read_ncf(folder)
    assert "\n" not in str(told.value)
    for word in words:
        told.match(word)


def test_lightgcn(write):
    split = hs.read_lightgcn(write(LIGHTGCN))
    assert pairs(split.train) == [
        (0, 2, 1),
        (0, 5, 1),
        (0, 9, 1),
        (2, 5, 1),
        (11, 2, 1),
        (11, 9, 1),
    ]
    assert pairs(split.test) == [(0, 3, 1), (2, 2, 1), (2, 9, 1), (4, 5, 1)]
    assert split.train.users.values.tolist() == [0, 2, 4, 11]
    assert split.train.users == split.test.users
    assert split.train.items == split.test.items


def test_lightgcn_in_parquet(write):
    folder = write({})
    for name, rows in (("train", [(0, 5), (1, 2)]), ("test", [(0, 3)])):
        pd.DataFrame(rows, columns=["user", "item"]).to_parquet(folder / f"{name}.parquet")
    split = hs.read_lightgcn(folder)
    assert (pairs(split.train), pairs(split.test)) == ([(0, 5, 1), (1, 2, 1)], [(0, 3, 1)])


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"test.txt": None}, ["holds no test.txt and no test.parquet", "LightGCN"]),
        ({"train.txt": "0 1 2\n1 2,3\n"}, ["train.txt", "line 2 ('1 2,3')"]),
        ({"train.txt": "0 1 2\n\n1 2 3.0\n"}, ["line 3"]),
        ({"train.txt": "0 1\n1 " + "9" * 19}, ["line 2", "at most 18 digits"]),
        ({"train.txt": "user item\n0 1\n"}, ["line 1"]),
        ({"train.txt": gzip.compress(b"0 1\n", mtime=0)}, ["line 1"]),
        ({"train.txt": ""}, ["holds no lines"]),
        ({"test.txt": "0\n2\n"}, ["test.txt", "holds no items"]),
    ],
    ids=str,
)
def test_lightgcn_files_that_are_broken(write, changed, words):
    folder = write(LIGHTGCN, **changed)
    with pytest.raises(ReadError) as told:
        hs.read_lightgcn(folder)
    for word in words:
        assert word in str(told.value)


def test_a_test_pair_in_training_is_a_leak(write):
    with pytest.raises(LeakError, match=r"\(0, 5\)"):
        hs.read_lightgcn(write(LIGHTGCN, **{"test.txt": "0 5\n"}))


def test_one_user_of_a_million_items(tmp_path):
    path = tmp_path / "train.txt"
    path.write_text("3 " + " ".join(map(str, range(1_000_000))) + "\n4 1\n")
    lines = read_lines(path, "user item item …")
    assert lines.heads.tolist() == [[3], [4]]
    assert lines.indptr.tolist() == [0, 1_000_000, 1_000_001]
    np.testing.assert_array_equal(lines.ids[:-1], np.arange(1_000_000))
    path.write_text("3 " + " ".join(map(str, range(1_000_000))) + " x\n4 1\n")
    with pytest.raises(ReadError, match="line 1"):
        read_lines(path, "user item item …")


def test_liang(write):
    split = hs.read_liang(write(LIANG))
    assert pairs(split.train) == [(0, 0, 1), (0, 1, 1), (1, 1, 1), (1, 2, 1), (1, 3, 1)]
    assert split.validation.train is split.train
    assert pairs(split.validation.given) == [(2, 0, 1)]
    assert pairs(split.validation.test) == [(2, 1, 1), (2, 3, 1)]
    assert pairs(split.test.given) == [(3, 1, 1), (4, 3, 1)]
    assert pairs(split.test.test) == [(3, 0, 1), (4, 0, 1)]
    assert split.train.shape == (5, 4)


@pytest.mark.parametrize(
    ("changed", "error", "words"),
    [
        ({"test_te.csv": None}, ReadError, ["holds no test_te.csv", "vae_cf"]),
        ({"unique_sid.txt": ""}, ReadError, ["names no items"]),
        ({"test_te.csv": "uid,sid\n3,4\n"}, ReadError, ["test_te.csv", "the sid 4", "0 to 3"]),
        ({"test_te.csv": "uid,sid\n3,0\n4\n"}, ReadError, ["test_te.csv", "line 3"]),
        ({"train.csv": "a,b\n1,2\n"}, ReadError, ["train.csv", "uid"]),
        ({"test_te.csv": "uid,sid\n2,2\n"}, DataError, ["(2, 2)", "folded in"]),
        ({"test_tr.csv": "uid,sid\n0,2\n3,1\n4,1\n"}, LeakError, ["(0, 2)"]),  # in training
        ({"test_te.csv": "uid,sid\n3,\n4,0\n"}, ReadError, ["test_te.csv", "missing id"]),
        (
            {"validation_tr.csv": "uid,sid\n3,2\n", "validation_te.csv": "uid,sid\n3,3\n"},
            LeakError,
            ["validation=3: is a user of the test part too"],
        ),
    ],
    ids=str,
)
def test_liang_files_that_are_broken(write, changed, error, words):
    with pytest.raises(error) as told:
        hs.read_liang(write(LIANG, **changed))
    for word in words:
        assert word in str(told.value)


def test_empty_lines_behind_the_list_name_no_items(write):
    listed = LIANG["unique_sid.txt"].replace("\n", "\r\n") + "\r\n\n"
    assert hs.read_liang(write(LIANG, **{"unique_sid.txt": listed})).train.shape == (5, 4)


@pytest.mark.parametrize("read", [hs.read_ncf, hs.read_lightgcn, hs.read_liang])
def test_no_folder(read, tmp_path):
    with pytest.raises(ReadError, match=r"is no folder; .*github\.com"):
        read(tmp_path / "nowhere")
    with pytest.raises(ReadError, match="must be the path of a folder"):
        read(7)
