"""Splits that papers have published, as their authors' own files have them.

    read_ncf        He et al. 2017: one held-out item a user, among listed negatives → LeaveOneOut
    read_lightgcn   He et al. 2020: train and test of the same users → FullRanking
    read_liang      Liang et al. 2018: held-out users, known by a part of theirs → StrongGeneralization

Every pair is an interaction of value 1 (repeats are added), whatever rating the file has.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from halfstep.backends.base import Array
from halfstep.data.id_lines import read_lines
from halfstep.data.ids import IdMap
from halfstep.data.ratings import Ratings
from halfstep.data.read import read_ratings
from halfstep.errors import DataError, ReadError
from halfstep.evaluation.protocols import FullRanking, LeaveOneOut, StrongGeneralization
from halfstep.evaluation.splits import UserSplit

__all__ = ["read_liang", "read_lightgcn", "read_ncf"]

_NCF = "get it from github.com/hexiangnan/neural_collaborative_filtering (folder Data)"
_LIGHTGCN = "get it from github.com/kuandeng/LightGCN (a folder of Data)"
_LIANG = "make it with the notebook of github.com/dawenl/vae_cf"


def read_ncf(folder: str | os.PathLike[str]) -> LeaveOneOut:
    """A leave-one-out split in the format of He et al. 2017 (NCF).

    Parameters
    ----------
    folder : path
        Of `NAME.train.rating` (or `train.rating`, `train.parquet` with the columns user and item),
        `NAME.test.rating` (user, item, …: one line for each user, by tabs) and `NAME.test.negative`
        (the same pairs as `(user,item)`, and the negatives behind them, by tabs).

    Returns
    -------
    LeaveOneOut

    Raises
    ------
    ReadError
        A file is missing; a line is malformed (file, line); a line of negatives is of another pair
        than the test part has there.
    LeakError
        A test pair is in the training part.

    References
    ----------
    He, Liao, Zhang, Nie, Hu, Chua, Neural Collaborative Filtering, WWW 2017, section 4.1.
    """
    root = _folder(folder, _NCF)
    names = sorted(path.name for path in root.glob("*.test.rating"))
    if len(names) != 1:
        what = (
            f"holds {', '.join(names)}: more than one split" if names else "holds no *.test.rating"
        )
        raise ReadError(
            "folder", str(root), what, "name the folder of one split" if names else _NCF
        )
    name = names[0].removesuffix(".test.rating")
    choices = (f"{name}.train.rating", "train.rating", "train.parquet")
    train = _pairs(_existing(root, choices, _NCF), "user", "item")
    test = _pairs(root / names[0], "user", "item", keep_order=True)
    path = _existing(root, (f"{name}.test.negative",), _NCF)
    lines = read_lines(path, "(user,item)\tnegative\tnegative…")
    _check_pairs(path, lines.heads, test)
    users = union_of([train.users, test.users])
    items = union_of([train.items, test.items, IdMap(np.unique(lines.ids))])
    rows = users.lookup(lines.heads[:, 0])
    order = np.argsort(rows, kind="stable")
    listed = lines.take(order)
    sizes = np.zeros(len(users), dtype=np.int64)
    sizes[rows[order]] = np.diff(listed.indptr)
    negatives = (np.concatenate([[0], np.cumsum(sizes)]), items.lookup(listed.ids))
    return LeaveOneOut(train.with_ids(users, items), test.with_ids(users, items), negatives)


def read_lightgcn(folder: str | os.PathLike[str]) -> FullRanking:
    """A split in the format of He et al. 2020 (LightGCN), and of Wang et al. 2019 (NGCF) before.

    Parameters
    ----------
    folder : path
        Of `train.txt` and `test.txt`, each line a user and the user's items (`user item item …`); or of
        `train.parquet` and `test.parquet` with the columns user and item.

    Returns
    -------
    FullRanking

    Raises
    ------
    ReadError
        A file is missing; a line is malformed (file, line).
    LeakError
        A test pair is in the training part.

    References
    ----------
    He, Deng, Wang, Li, Zhang, Wang, LightGCN, SIGIR 2020, section 4.1.
    """
    root = _folder(folder, _LIGHTGCN)
    parts = []
    for part in ("train", "test"):
        path = _existing(root, (f"{part}.txt", f"{part}.parquet"), _LIGHTGCN)
        if path.suffix == ".parquet":
            parts.append(_pairs(path, "user", "item"))
            continue
        lines = read_lines(path, "user item item …")
        users = np.repeat(lines.heads[:, 0], np.diff(lines.indptr))
        if not len(users):
            raise ReadError("path", str(path), "holds no items", _LIGHTGCN)
        parts.append(Ratings.from_arrays(users, lines.ids))
    return FullRanking(*_over_the_same_ids(parts))


def read_liang(folder: str | os.PathLike[str]) -> StrongGeneralization:
    """A split in the format of Liang et al. 2018 (Mult-VAE).

    Parameters
    ----------
    folder : path
        Of `train.csv`, `validation_tr.csv`, `validation_te.csv`, `test_tr.csv` and `test_te.csv` with
        the columns uid and sid, and of `unique_sid.txt`: line k + 1 is the published id of item k.

    Returns
    -------
    StrongGeneralization

    Raises
    ------
    ReadError
        A file is missing; a line is malformed (file, line); a sid is none of `unique_sid.txt`.
    LeakError
        A held-out user is in the training part, or in both held-out groups.
    DataError
        A held-out user has test items and nothing to be known by.

    References
    ----------
    Liang, Krishnan, Hoffman, Jebara, Variational Autoencoders for Collaborative Filtering, WWW 2018,
    section 4.1 and 4.2.
    """
    root = _folder(folder, _LIANG)
    listed = _existing(root, ("unique_sid.txt",), _LIANG).read_bytes().rstrip()
    count = listed.count(b"\n") + bool(listed)
    if not count:
        raise ReadError("path", str(root / "unique_sid.txt"), "names no items", _LIANG)
    items, parts = IdMap.of_range(count), []
    for name in ("train", "validation_tr", "validation_te", "test_tr", "test_te"):
        path = _existing(root, (f"{name}.csv",), _LIANG)
        part = _pairs(path, "uid", "sid")
        unknown = items.lookup(part.items.values) < 0
        if unknown.any():
            wrong = part.items.id_at(int(np.argmax(unknown)))
            raise ReadError(
                "path",
                str(path),
                f"has the sid {wrong}, and unique_sid.txt has the items 0 to {count - 1:,}",
                "take all files from one run of the notebook",
            )
        parts.append(part.with_ids(items=items))
    train, valid_given, valid_test, given, test = _over_the_same_ids(parts)
    return StrongGeneralization(
        train, UserSplit(train, valid_given, valid_test), UserSplit(train, given, test)
    )


def union_of(maps: list[IdMap]) -> IdMap:
    """All ids of some maps, sorted."""
    from halfstep.data.ids import union

    found = maps[0]
    for more in maps[1:]:
        found = union(found, more, "ids")[0]
    return found


def _over_the_same_ids(parts: list[Ratings]) -> list[Ratings]:
    users = union_of([part.users for part in parts])
    items = union_of([part.items for part in parts])
    return [part.with_ids(users, items) for part in parts]


def _folder(folder: Any, source: str) -> Path:
    if not isinstance(folder, (str, os.PathLike)):
        raise ReadError("path", folder, "must be the path of a folder", 'pass folder="…"')
    root = Path(folder)
    if not root.is_dir():
        raise ReadError("path", str(root), "is no folder", source)
    return root


def _existing(root: Path, names: tuple[str, ...], source: str) -> Path:
    """The first of these files that is there."""
    for name in names:
        if (root / name).is_file():
            return root / name
    raise ReadError("path", str(root), f"holds no {' and no '.join(names)}", source)


def _pairs(path: Path, user: str, item: str, keep_order: bool = False) -> Ratings:
    """The pairs of a table; of text without a header (`*.rating`) the first two columns, by tabs."""
    how: dict[str, Any] = {"user": user, "item": item}
    if path.suffix == ".rating":
        how = {"user": 0, "item": 1, "sep": "tab", "header": False, "keep_order": keep_order}
    how |= {"rating": False, "time": False, "weight": False, "duplicates": "sum"}
    try:
        return read_ratings(path, **how)
    except DataError as error:  # what is wrong is the file, not the argument that read it
        if error.argument == "path":
            raise
        rule = f"{error.argument}={error.value!r} {error.rule}"
        raise ReadError("path", str(path), rule, "take the file as it was published") from None


def _check_pairs(path: Path, heads: Array, test: Ratings) -> None:
    """The negatives are of the test pairs, line by line."""
    assert test.file_rank is not None
    users, items, _ = test.to_arrays()
    order = np.argsort(test.file_rank)
    pairs = np.column_stack([users[order], items[order]])
    fewer = min(len(pairs), len(heads))
    differ = (pairs[:fewer] != heads[:fewer]).any(axis=1)
    if not differ.any() and len(pairs) == len(heads):
        return
    line = int(np.argmax(differ)) if differ.any() else fewer
    here = f"is of ({heads[line, 0]},{heads[line, 1]})" if line < len(heads) else "is missing"
    there = f"has ({pairs[line][0]},{pairs[line][1]})" if line < len(pairs) else "ends before"
    raise ReadError(
        "path",
        str(path),
        f"line {line + 1} {here}, where the test part {there}",
        "take both files from one split",
    )
