"""Model files: there and back, tampered with, and written whole or not at all."""

import contextlib
import json
import os
import pickle
import random
import resource
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import halfstep as hs
from halfstep import testing
from halfstep.errors import (
    HalfstepError,
    HistoryRequiredError,
    InputError,
    ModelFileError,
    NotFittedError,
    ReadError,
)
from halfstep.files import read_tensors, write_tensors

TEXT_USERS = ["Ann Lee", "zoë", " leading", "naïve café", "日本", "🙂", "a\tb", "a\nb", "ß", "007"]


def table(users, items, *, weighted=False, seed=0):
    """Ratings with these ids, about half of the cells."""
    generator = np.random.default_rng(seed)
    seen = generator.random((len(users), len(items))) < 0.5
    seen[np.arange(len(users)), np.arange(len(users)) % len(items)] = True
    seen[np.arange(len(items)) % len(users), np.arange(len(items))] = True
    u, i = np.nonzero(seen)
    return hs.Ratings.from_arrays(
        [users[k] for k in u],
        [items[k] for k in i],
        generator.integers(0, 11, len(u)) / 2,
        weight=generator.choice([0.5, 1.0, 3.0], len(u)) if weighted else None,
    )


IDS = {
    "integers": ([-(2**63), -5, 0, 7, 9, 10, 11, 12, 2**53 + 1, 2**63 - 1], list(range(100, 115))),
    "text": (TEXT_USERS, [f"Film № {k} (19{k:02d})" for k in range(15)]),
    "mixed": (TEXT_USERS, list(range(15))),
}
VARIANTS = {
    "plain": {"biases": True, "reg": 0.1},
    "no biases": {"biases": False, "reg": 0.1, "center": False},
    "three regs": {"reg": (0.1, 0.2, 0.05), "reg_scaling": "none"},
    "numpy reg": {"reg": np.array([0.1, 0.2, 0.3]), "rank": np.int64(3), "tol": np.float64(1e-3)},
    "solver object": {"solver": hs.ALS(), "seed": 5},
    "nested solver": {"solver": hs.ALS(linear=hs.CG(steps=np.int64(2), tol=0.1))},
}


def answers(model, ratings, unseen=None):
    """Every answer of a model, as bytes and plain values."""
    users = ratings.users.take(np.arange(len(ratings.users)))
    items = ratings.items.take(np.arange(len(ratings.items)))
    pairs_u, pairs_i = np.repeat(users, len(items)), np.tile(items, len(users))
    ranked = model.recommend(n=5, ratings=unseen)
    free = model.recommend(n=50, exclude_seen=False)
    told = model.explain(users[1], items[2], ratings=unseen)
    folded = [model.fold_in(ratings), model.fold_in(ratings, side="item")]
    near = [model.similar_items(items, 4), model.similar_users(users, 4)]
    return {
        "predict": model.predict(pairs_u, pairs_i).tobytes(),
        "recommend": [
            (r.asked.tolist(), r.found.tolist(), r.scores.tobytes()) for r in (ranked, free)
        ],
        "similar": [(r.asked.tolist(), r.found.tolist(), r.scores.tobytes()) for r in near],
        "explain": (told.score, told.baseline, list(told)),
        "fold_in": [
            (f.factors.tobytes(), None if f.bias is None else f.bias.tobytes()) for f in folded
        ],
        "rmse": model.rmse(ratings, clip=True),
        "scale": model.scale_,
    }


# ----------------------------------------------------------------------- there and back


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("dtype", testing.DTYPES)
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("ids", IDS)
@pytest.mark.parametrize("weighted", [False, True])
def test_every_answer_survives(tmp_path, ids, variant, dtype, weighted, mmap):
    ratings = table(*IDS[ids], weighted=weighted)
    model = hs.ExplicitMF(**{"rank": 3, "max_iter": 4, "dtype": dtype, **VARIANTS[variant]})
    model.fit(ratings)
    path = model.save(tmp_path / "m.safetensors")
    back = hs.load(path, mmap=mmap)
    assert answers(back, ratings) == answers(model, ratings)
    for name, value in model.get_params().items():
        assert np.array_equal(getattr(back, name), value), name
        assert type(getattr(back, name)) in (type(value), int, float, tuple)
    assert back.trace_ == model.trace_
    assert (back.n_iter_, back.best_iter_, back.stopped_) == (
        model.n_iter_,
        model.best_iter_,
        model.stopped_,
    )
    assert back.objective_ == model.objective_
    assert json.dumps(back.data_summary_) == json.dumps(model.data_summary_)
    if weighted:
        assert back.history_.weights.tobytes() == model.history_.weights.tobytes()


@pytest.mark.parametrize("mmap", [False, True])
def test_a_loaded_model_can_be_saved_again(tmp_path, mmap):
    ratings = table(*IDS["text"])
    model = hs.ExplicitMF(rank=3, max_iter=3).fit(ratings)
    first = model.save(tmp_path / "a.safetensors")
    back = hs.load(first, mmap=mmap)
    assert back.save(tmp_path / "b.safetensors").read_bytes() == first.read_bytes()
    back.save(first)  # over the very file that is mapped
    assert answers(hs.load(first), ratings) == answers(back, ratings)
    back.fit(ratings)
    assert answers(back, ratings) == answers(model, ratings)


def test_two_saves_are_the_same_bytes(tmp_path):
    ratings = table(*IDS["text"], weighted=True)
    model = hs.ExplicitMF(rank=3, max_iter=3).fit(ratings)
    one = model.save(tmp_path / "a").read_bytes()
    assert model.save(tmp_path / "b").read_bytes() == one


@pytest.mark.parametrize("ids", IDS)
def test_any_safetensors_reader_opens_the_file(tmp_path, ids):
    ratings = table(*IDS[ids], weighted=True)
    model = hs.ExplicitMF(rank=3, max_iter=2).fit(ratings)
    path = model.save(tmp_path / "m.safetensors")
    with safe_open(path, "numpy") as opened:
        names = set(opened.keys())
        assert {"user_factors", "item_factors", "user_bias", "item_bias"} <= names
        assert {"history.indptr", "history.items", "history.ratings", "history.weights"} <= names
        assert (opened.get_tensor("user_factors") == model.factors_.user_factors).all()
        assert set(opened.metadata()) == {"halfstep"}
        document = json.loads(opened.metadata()["halfstep"])
    assert document["class"] == "ExplicitMF"
    assert document["params"]["rank"] == 3
    assert b"cnumpy" not in path.read_bytes()


def test_history_is_left_out_on_request(tmp_path):
    ratings = table(*IDS["text"])
    model = hs.ExplicitMF(rank=3, max_iter=2).fit(ratings)
    path = model.save(tmp_path / "m.safetensors", history=False)
    with safe_open(path, "numpy") as opened:
        assert not [name for name in opened.keys() if name.startswith("history")]  # noqa: SIM118
    back = hs.load(path)
    user, item = TEXT_USERS[1], ratings.items.id_at(2)
    with pytest.raises(HistoryRequiredError, match=r"ratings=None: .*exclude_seen"):
        back.recommend(user)
    with pytest.raises(HistoryRequiredError, match=r"explain needs them; pass ratings="):
        back.explain(user, item)
    back.recommend(user, exclude_seen=False)
    told, expected = back.explain(user, item, ratings=ratings), model.explain(user, item)
    assert (told.score, list(told)) == (expected.score, list(expected))
    assert list(back.recommend(ratings=ratings)) == list(model.recommend())
    again = hs.load(back.save(tmp_path / "n.safetensors"))
    assert again.history_ is None


def test_any_layout_is_saved_in_c_order(tmp_path):
    ratings = table(*IDS["integers"])
    model = hs.ExplicitMF(rank=3, max_iter=2).fit(ratings)
    expected = model.save(tmp_path / "a").read_bytes()
    f = model.factors_
    doubled = np.repeat(f.item_factors, 2, axis=0)
    model.factors_ = hs.Factors(
        np.asfortranarray(f.user_factors),
        doubled[::2],
        np.repeat(f.user_bias, 3)[::3],
        f.item_bias[::-1].copy()[::-1],
        f.mean,
        f.user_ids,
        f.item_ids,
    )
    assert not model.factors_.user_factors.flags.c_contiguous
    assert model.save(tmp_path / "b").read_bytes() == expected


def test_a_long_trace_is_capped(tmp_path):
    ratings = table(*IDS["integers"])
    model = hs.ExplicitMF(rank=1, max_iter=1500, tol=0.0, dtype="float64", reg=1e-3).fit(ratings)
    model.trace_ = type(model.trace_)([model.trace_[0]] * 3000 + [model.trace_[-1]])
    back = hs.load(model.save(tmp_path / "m"))
    assert len(back.trace_) <= 1000
    assert back.trace_[-1] == model.trace_[-1]


def test_a_validated_and_a_folded_model_survive(tmp_path):
    ratings = table(*IDS["integers"])
    train, valid = hs.split_random(ratings, test=0.3)
    model = hs.ExplicitMF(rank=3).fit(train, validation=valid)
    back = hs.load(model.save(tmp_path / "m"))
    assert back.trace_ == model.trace_
    more = model.with_rows(model.fold_in([(1234, 100), (1234, 103)], [5.0, 1.0]))
    back = hs.load(more.save(tmp_path / "n"))
    assert list(back.recommend(1234)) == list(more.recommend(1234))


def test_parameters_changed_after_the_fit_do_not_spoil_the_file(tmp_path):
    ratings = table(*IDS["integers"])
    model = hs.ExplicitMF(rank=3, max_iter=2).fit(ratings)
    before = answers(model, ratings)
    model.set_params(rank=8, dtype="float64", biases=False)
    path = tmp_path / "m.safetensors"
    try:
        model.save(path)
    except HalfstepError:
        return  # a clear refusal is as good
    assert answers(hs.load(path), ratings) == before


def test_an_unfitted_model_is_not_saved(tmp_path):
    with pytest.raises(NotFittedError, match="fit"):
        hs.ExplicitMF().save(tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------- tampered with


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A small model file with everything in it."""
    model = hs.ExplicitMF(rank=2, max_iter=2).fit(table(*IDS["text"], weighted=True))
    return model.save(tmp_path_factory.mktemp("whole") / "m.safetensors").read_bytes()


@pytest.fixture(scope="module")
def whole_integers(tmp_path_factory):
    model = hs.ExplicitMF(rank=2, max_iter=2).fit(table(*IDS["integers"], weighted=True))
    return model.save(tmp_path_factory.mktemp("whole") / "m.safetensors").read_bytes()


def parts(content):
    """(header as a dict, bytes of the arrays)."""
    length = struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def joined(header, data):
    """The file of a header (a dict, or its raw bytes) and the arrays."""
    raw = header if isinstance(header, bytes) else json.dumps(header, ensure_ascii=False).encode()
    if not isinstance(header, bytes):
        raw += b" " * (-len(raw) % 8)
    return struct.pack("<Q", len(raw)) + raw + data


def with_document(content, change):
    header, data = parts(content)
    document = json.loads(header["__metadata__"]["halfstep"])
    changed = change(document)
    document = document if changed is None else changed
    text = document if isinstance(document, str) else json.dumps(document)
    header["__metadata__"]["halfstep"] = text
    return joined(header, data)


def with_entry(content, name, **changes):
    header, data = parts(content)
    header[name] |= changes
    return joined(header, data)


def with_tensors(content, folder, change):
    """Arrays changed, written by the format's own writer."""
    source, target = folder / "source", folder / "changed"
    source.write_bytes(content)
    tensors = load_file(source)
    change(tensors)
    header, _ = parts(content)
    save_file(tensors, target, metadata=header["__metadata__"])
    return target.read_bytes()


def check_refused(path, content, error=ModelFileError, mmap=(False, True)):
    """Both ways of loading raise a one-line error that names the path and a remedy."""
    path.write_bytes(content)
    for mapped in mmap:
        with pytest.raises(error) as caught:
            hs.load(path, mmap=mapped)
        text = str(caught.value)
        assert "\n" not in text
        assert text.startswith("path=")
        assert path.name in text
        assert "; " in text


def check_refused_or_fine(path, content):
    """The file is refused by `ModelFileError`, or the model answers without a crash."""
    path.write_bytes(content)
    for mapped in (False, True):
        try:
            model = hs.load(path, mmap=mapped)
        except ModelFileError as error:
            assert "\n" not in str(error)  # noqa: PT017
        else:
            ask_everything(model)


def ask_everything(model):
    """Only halfstep's own errors may come out."""
    f = model.factors_
    users = f.user_ids.take(np.arange(len(f.user_ids)))
    items = f.item_ids.take(np.arange(len(f.item_ids)))
    with np.errstate(all="ignore"):
        for question in (
            lambda: model.predict(np.repeat(users, 2), np.tile(items[:2], len(users))),
            lambda: model.recommend(n=3),
            lambda: model.similar_items(items),
            *(lambda user=user: model.explain(user, items[0]) for user in users),
        ):
            with contextlib.suppress(HalfstepError):
                question()


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 9, 100, "header less one", "header", "half", -1])
def test_truncated(tmp_path, whole, kept):
    header = 8 + struct.unpack("<Q", whole[:8])[0]
    length = {"header": header, "header less one": header - 1, "half": len(whole) // 2}.get(
        kept, kept
    )
    check_refused(tmp_path / "m.safetensors", whole[:length])


def test_truncated_at_any_length(tmp_path, whole):
    path = tmp_path / "m.safetensors"
    for length in range(0, len(whole), 37):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelFileError):
            hs.load(path)


@pytest.mark.parametrize("tail", [b"\0", b"\0" * 8, b"more bytes than there should be"])
def test_bytes_after_the_end(tmp_path, whole, tail):
    check_refused(tmp_path / "m.safetensors", whole + tail)


HEADERS = {
    "empty": b"",
    "not JSON": b"{",
    "not UTF-8": b"\xff\xfe\xfd",
    "a number": b"1",
    "null": b"null",
    "a list": b"[1, 2]",
    "text": b'"text"',
    "no arrays": b"{}",
    "metadata is a list": b'{"__metadata__": []}',
    "metadata is null": b'{"__metadata__": null}',
    "metadata of numbers": b'{"__metadata__": {"halfstep": 1}}',
    "entry is null": b'{"a": null}',
    "entry is a list": b'{"a": []}',
    "entry is empty": b'{"a": {}}',
    "dtype is a list": b'{"a": {"dtype": [], "shape": [], "data_offsets": [0, 4]}}',
    "unknown dtype": b'{"a": {"dtype": "F1", "shape": [1], "data_offsets": [0, 4]}}',
    "object dtype": b'{"a": {"dtype": "O", "shape": [1], "data_offsets": [0, 8]}}',
    "shape is a number": b'{"a": {"dtype": "F32", "shape": 1, "data_offsets": [0, 4]}}',
    "shape is text": b'{"a": {"dtype": "F32", "shape": "ab", "data_offsets": [0, 4]}}',
    "shape of nulls": b'{"a": {"dtype": "F32", "shape": [null], "data_offsets": [0, 4]}}',
    "shape of lists": b'{"a": {"dtype": "F32", "shape": [[1], [2]], "data_offsets": [0, 4]}}',
    "shape of objects": b'{"a": {"dtype": "F32", "shape": [{}], "data_offsets": [0, 4]}}',
    "shape of fractions": b'{"a": {"dtype": "F32", "shape": [1.0], "data_offsets": [0, 4]}}',
    "shape of truth": b'{"a": {"dtype": "F32", "shape": [true], "data_offsets": [0, 4]}}',
    "negative shape": b'{"a": {"dtype": "F32", "shape": [-1, -1], "data_offsets": [0, 4]}}',
    "huge empty shape": b'{"a": {"dtype": "F32", "shape": [0, %d], "data_offsets": [0, 0]}}'
    % 10**30,
    "large empty shape": b'{"a": {"dtype": "F32", "shape": [0, %d, %d], "data_offsets": [0, 0]}}'
    % (2**62, 2**62),
    "a hundred axes": b'{"a": {"dtype": "U8", "shape": %s, "data_offsets": [0, 1]}}'
    % str([1] * 100).encode(),
    "offsets of text": b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": ["a", "b"]}}',
    "offsets of null": b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [null, null]}}',
    "three offsets": b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4, 8]}}',
    "negative offsets": b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}}',
    "offsets not a number": b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [NaN, 4]}}',
    "infinite offsets": b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, Infinity]}}',
    "offsets swapped": b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}',
    "many digits": b'{"a": {"dtype": "F32", "shape": [1%s], "data_offsets": [0, 4]}}'
    % (b"0" * 6000),
    "deep": b"[" * 200_000,
    "deep shape": b'{"a": {"dtype": "F32", "shape": %s, "data_offsets": [0, 4]}}'
    % (b"[" * 900 + b"]" * 900),
}


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("data", [b"", b"\0" * 4], ids=["no data", "four bytes"])
def test_header(tmp_path, header, data):
    check_refused(tmp_path / "m.safetensors", joined(HEADERS[header], data))


@pytest.mark.parametrize("length", [2**64 - 1, 2**63, 2**40, 100_000_001, 10**6, 0])
def test_header_length(tmp_path, whole, length):
    check_refused(tmp_path / "m.safetensors", struct.pack("<Q", length) + whole[8:])


ENTRIES = {
    "dtype of the same size": ("user_factors", {"dtype": "U32"}),
    "smaller dtype": ("user_factors", {"dtype": "U8"}),
    "transposed": ("user_factors", {"shape": [2, 10]}),
    "flat": ("user_factors", {"shape": [20]}),
    "third axis": ("user_factors", {"shape": [10, 2, 1]}),
    "larger": ("user_factors", {"shape": [11, 2]}),
    "bias in two axes": ("user_bias", {"shape": [10, 1]}),
    "bias as integers": ("user_bias", {"dtype": "U32"}),
    "ids in two axes": ("user_ids.bytes", {"shape": [1, 1]}),
    "offsets as numbers": ("user_ids.offsets", {"dtype": "F64"}),
    "offsets in two axes": ("user_ids.offsets", {"shape": [1, 11]}),
    "history offsets as numbers": ("history.indptr", {"dtype": "F64"}),
    "history items as numbers": ("history.items", {"dtype": "F32"}),
    "history ratings as integers": ("history.ratings", {"dtype": "U32"}),
    "history weights as integers": ("history.weights", {"dtype": "U32"}),
    "history in two axes": ("history.indptr", {"shape": [1, 11]}),
}


@pytest.mark.parametrize("entry", ENTRIES)
def test_entry(tmp_path, whole, entry):
    name, changes = ENTRIES[entry]
    check_refused(tmp_path / "m.safetensors", with_entry(whole, name, **changes))


def test_overlapping_and_gaps(tmp_path, whole):
    header, data = parts(whole)
    users, items = header["user_bias"]["data_offsets"], header["item_bias"]["data_offsets"]
    for change in ([users[0] + 4, users[1] + 4], [items[0], items[0] + 40], [0, 40]):
        moved = json.loads(json.dumps(header))
        moved["user_bias"]["data_offsets"] = change
        check_refused(tmp_path / "m.safetensors", joined(moved, data))
    gap = json.loads(json.dumps(header))
    del gap["user_bias"]
    check_refused(tmp_path / "m.safetensors", joined(gap, data))


@pytest.mark.parametrize(
    "name",
    [
        "user_factors",
        "item_factors",
        "user_bias",
        "item_bias",
        "user_ids.bytes",
        "user_ids.offsets",
        "item_ids.offsets",
        "history.items",
        "history.ratings",
    ],
)
def test_missing_array(tmp_path, whole, name):
    content = with_tensors(whole, tmp_path, lambda tensors: tensors.pop(name))
    check_refused(tmp_path / "m.safetensors", content)


def put(name, place, value):
    def change(tensors):
        tensors[name] = tensors[name].copy()
        tensors[name][place] = value

    return change


def retyped(name, dtype):
    def change(tensors):
        tensors[name] = tensors[name].astype(dtype)

    return change


def both_sides(*names):
    def change(tensors):
        for name in names:
            tensors[name] = tensors[name].astype(np.float64)

    return change


# (change, whether mapping the file finds it too)
ARRAYS = {
    "NaN in W": (put("user_factors", (3, 1), np.nan), False),
    "infinity in Z": (put("item_factors", (3, 1), np.inf), False),
    "NaN in b_u": (put("user_bias", 0, np.nan), False),
    "infinity in b_i": (put("item_bias", -1, -np.inf), False),
    "NaN in the ratings": (put("history.ratings", 0, np.nan), False),
    "NaN in the weights": (put("history.weights", 0, np.nan), False),
    "infinite weight": (put("history.weights", 0, np.inf), False),
    "negative weight": (put("history.weights", 0, -1.0), False),
    "item out of range": (put("history.items", -1, 15), False),
    "item far out of range": (put("history.items", 0, 2**32 - 1), False),
    "items not ascending": (put("history.items", slice(0, 2), [5, 5]), False),
    "offsets of the history fall": (put("history.indptr", 3, 10**6), True),
    "offsets of the history start late": (put("history.indptr", 0, 1), True),
    "negative offset of the history": (put("history.indptr", 1, -1), True),
    "offsets of the history end early": (put("history.indptr", -1, 3), True),
    "offsets of the history end late": (put("history.indptr", -1, 2**62), True),
    "offsets of the text fall": (put("user_ids.offsets", 1, 10**6), True),
    "negative offset of the text": (put("user_ids.offsets", 1, -1), True),
    "offsets of the text end late": (put("user_ids.offsets", -1, 2**62), True),
    "text not UTF-8": (put("user_ids.bytes", 0, 255), True),
    "text not sorted": (put("item_ids.bytes", 0, ord("z")), True),
    "history of small items": (retyped("history.items", np.uint8), True),
    "history of wide ratings": (retyped("history.ratings", np.float64), True),
    "history of integer weights": (retyped("history.weights", np.int64), True),
    "factors of another type": (both_sides("user_factors", "item_factors"), True),
    "biases of another type": (both_sides("user_bias", "item_bias"), True),
}


@pytest.mark.parametrize("change", ARRAYS)
def test_array(tmp_path, whole, change):
    content = with_tensors(whole, tmp_path, ARRAYS[change][0])
    mapped = (False, True) if ARRAYS[change][1] else (False,)
    check_refused(tmp_path / "m.safetensors", content, mmap=mapped)
    check_refused_or_fine(tmp_path / "m.safetensors", content)


@pytest.mark.parametrize(
    "change",
    [
        put("user_ids", slice(0, 2), [5, 5]),
        put("user_ids", 0, 2**62),
        put("item_ids", -1, -(2**63)),
        retyped("user_ids", np.uint8),
        retyped("user_ids", np.float64),
        lambda t: t.update(user_ids=t["user_ids"].reshape(2, 5)),
        lambda t: t.update(user_ids=t["user_ids"][:-1]),
    ],
)
def test_integer_ids(tmp_path, whole_integers, change):
    content = with_tensors(whole_integers, tmp_path, change)
    check_refused(tmp_path / "m.safetensors", content)


def setting(*path, value):
    def change(document):
        place = document
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = value

    return change


def without(name):
    return lambda document: {k: v for k, v in document.items() if k != name}


DOCUMENTS = {
    "not JSON": lambda d: "{",
    "empty": lambda d: "",
    "a list": lambda d: [],
    "a number": lambda d: 1,
    "null": lambda d: "null",
    "deep": lambda d: "[" * 200_000,
    "many digits": lambda d: '{"format": 1' + "0" * 6000 + "}",
    "future format": setting("format", value=2),
    "format as text": setting("format", value="1"),
    "format as a list": setting("format", value=[]),
    "other class": setting("class", value="Path"),
    "class as a list": setting("class", value=[]),
    "class as null": setting("class", value=None),
    "class as an object": setting("class", value={}),
    "class of a dunder": setting("class", value="__import__"),
    "params as a list": setting("params", value=[1, 2]),
    "params as a number": setting("params", value=3),
    "params as null": setting("params", value=None),
    "params as text": setting("params", value="rank"),
    "no params": setting("params", value={}),
    "unknown param": setting("params", "zzz", value=1),
    "self as a param": setting("params", "self", value=1),
    "rank as text": setting("params", "rank", value="2"),
    "rank as a fraction": setting("params", "rank", value=2.0),
    "other rank": setting("params", "rank", value=3),
    "huge rank": setting("params", "rank", value=10**30),
    "reg as text": setting("params", "reg", value="x"),
    "reg as an object": setting("params", "reg", value={}),
    "reg of two": setting("params", "reg", value=[1, 2]),
    "reg nested": setting("params", "reg", value=[[1], [2], [3]]),
    "reg NaN": setting("params", "reg", value=float("nan")),
    "reg as null": setting("params", "reg", value=None),
    "biases as text": setting("params", "biases", value="yes"),
    "dtype as text": setting("params", "dtype", value="object"),
    "dtype as a list": setting("params", "dtype", value=[]),
    "seed as text": setting("params", "seed", value="x"),
    "tol infinite": setting("params", "tol", value=float("inf")),
    "solver unknown": setting("params", "solver", value="sgd!"),
    "solver as a list": setting("params", "solver", value=[1]),
    "solver as a number": setting("params", "solver", value=1),
    "solver without a name": setting("params", "solver", value={}),
    "solver of an unknown name": setting("params", "solver", value={"name": "x\ny"}),
    "solver with a list as its name": setting("params", "solver", value={"name": []}),
    "linear solver of an unknown name": setting(
        "params", "solver", value={"name": "als", "linear": {"name": "lu"}}
    ),
    "linear solver with a wrong option": setting(
        "params", "solver", value={"name": "als", "linear": {"name": "cg", "steps": 0}}
    ),
    "linear solver as a number": setting("params", "solver", value={"name": "als", "linear": 3}),
    "solver with unknown options": setting("params", "solver", value={"name": "als", "x": 1}),
    "no mean": without("mean"),
    "mean NaN": setting("mean", value=float("nan")),
    "mean as text": setting("mean", value="x"),
    "mean as null": setting("mean", value=None),
    "mean of many digits": setting("mean", value=10**400),
    "scale of one": setting("scale", value=[1]),
    "scale infinite": setting("scale", value=[0, float("inf")]),
    "scale as null": setting("scale", value=None),
    "scale upside down": setting("scale", value=[5, 1]),
    "n_iter infinite": setting("n_iter", value=float("inf")),
    "n_iter NaN": setting("n_iter", value=float("nan")),
    "n_iter as text": setting("n_iter", value="x"),
    "best_iter as null": setting("best_iter", value=None),
    "trace as a list": setting("trace", value=[1]),
    "trace as a number": setting("trace", value=1),
    "trace of numbers": setting("trace", value={"sweep": 1}),
    "trace with short columns": setting("trace", "objective", value=[1.0]),
    "trace without a column": setting("trace", value={"sweep": [1]}),
    "data as a number": setting("data", value=1),
    "data as null": setting("data", value=None),
}


@pytest.mark.parametrize("change", DOCUMENTS)
def test_document(tmp_path, whole, change):
    check_refused(tmp_path / "m.safetensors", with_document(whole, DOCUMENTS[change]))


def test_a_future_format_is_told_apart_from_damage(tmp_path, whole):
    path = tmp_path / "m.safetensors"
    path.write_bytes(with_document(whole, setting("format", value=99)))
    with pytest.raises(ModelFileError, match=r"format 99, .*reads format 1; update halfstep"):
        hs.load(path)


def test_byte_flips_in_the_header(tmp_path, whole):
    path = tmp_path / "m.safetensors"
    generator = random.Random(0)
    end = 8 + struct.unpack("<Q", whole[:8])[0]
    for position in range(end):
        content = bytearray(whole)
        content[position] ^= generator.randrange(1, 256)
        path.write_bytes(content)
        try:
            hs.load(path, mmap=position % 2 == 0)
        except ModelFileError as error:
            assert "\n" not in str(error)  # noqa: PT017


def test_bytes_cut_out_of_or_put_into_the_header(tmp_path, whole):
    path = tmp_path / "m.safetensors"
    header, data = whole[8:][: struct.unpack("<Q", whole[:8])[0]], parts(whole)[1]
    generator = random.Random(1)
    for _ in range(1500):
        start = generator.randrange(len(header))
        stop = start + generator.choice([0, 1, 2, 5, 20])
        filler = generator.choice([b"", b"9", b"-", b"null", b"[]", b"1e999", b'"', b",", b"{}"])
        path.write_bytes(joined(header[:start] + filler + header[stop:], data))
        try:
            model = hs.load(path)
        except ModelFileError as error:
            assert "\n" not in str(error)  # noqa: PT017
        else:
            ask_everything(model)


def test_byte_flips_in_the_arrays_never_crash(tmp_path, whole):
    generator = random.Random(2)
    start = 8 + struct.unpack("<Q", whole[:8])[0]
    for _ in range(400):
        content = bytearray(whole)
        content[generator.randrange(start, len(whole))] ^= generator.randrange(1, 256)
        check_refused_or_fine(tmp_path / "m.safetensors", bytes(content))


@pytest.mark.parametrize("padding", range(1, 8))
@pytest.mark.parametrize("mmap", [False, True])
def test_arrays_at_odd_places(tmp_path, whole, padding, mmap):
    """Another writer need not align its arrays: the file is refused, or answers as it should."""
    header, data = parts(whole)
    raw = json.dumps(header, ensure_ascii=False).encode()
    raw += b" " * (-len(raw) % 8)
    path = tmp_path / "m.safetensors"
    path.write_bytes(joined(raw, data))
    expected = hs.load(path).predict(TEXT_USERS, ["Film № 3 (1903)"] * 10)
    path.write_bytes(joined(raw + b" " * padding, data))
    try:
        model = hs.load(path, mmap=mmap)
    except ModelFileError:
        return
    found = model.predict(TEXT_USERS, ["Film № 3 (1903)"] * 10)
    assert found.tobytes() == expected.tobytes()
    assert len(model.recommend(n=3)) == 10


def test_other_files(tmp_path, whole):
    path = tmp_path / "m.safetensors"
    for content in (
        pickle.dumps({"user_factors": np.zeros((2, 2))}),
        b"userId,movieId,rating\n" * 100,
        b"PK\x03\x04" + b"\0" * 100,
        os.urandom(10_000),
        b"\0" * 10_000,
    ):
        check_refused(path, content)
    save_file({"a": np.zeros(3)}, path)  # not a model
    check_refused(path, path.read_bytes())
    save_file({"a": np.zeros(3)}, path, metadata={"format": "pt"})
    check_refused(path, path.read_bytes())


@pytest.mark.parametrize("mmap", [False, True])
def test_what_is_no_file(tmp_path, whole, mmap):
    (tmp_path / "file").write_bytes(whole)
    for path, rule in (
        (tmp_path / "absent", "does not exist"),
        (tmp_path / "absent" / "m", "does not exist"),
        (tmp_path, "is a folder"),
        (tmp_path / "file" / "m", "path="),
        (tmp_path / ("x" * 300), "path="),
    ):
        with pytest.raises((ReadError, ModelFileError), match=rule) as caught:
            hs.load(path, mmap=mmap)
        assert "\n" not in str(caught.value)


def test_an_error_names_the_whole_path(tmp_path):
    folder = tmp_path / "a folder with a rather long name" / "and another one of the same kind"
    folder.mkdir(parents=True)
    path = folder / "movies-of-last-night.safetensors"
    path.write_bytes(b"nothing")
    with pytest.raises(ModelFileError) as caught:
        hs.load(path)
    assert str(path) in str(caught.value)


# ------------------------------------------------------------ written whole or not at all


@pytest.fixture
def two_models():
    ratings = table(*IDS["text"])
    return [hs.ExplicitMF(rank=3, max_iter=2, seed=seed).fit(ratings) for seed in (1, 2)]


def test_saving_where_there_is_no_place(tmp_path, two_models):
    (tmp_path / "file").write_text("x")
    for path in (
        tmp_path / "absent" / "m",
        tmp_path,
        tmp_path / "file" / "m",
        tmp_path / ("x" * 300),
    ):
        with pytest.raises(InputError) as caught:
            two_models[0].save(path)
        assert str(caught.value).startswith("path=")
        assert "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_saving_into_a_read_only_folder(tmp_path, two_models):
    two_models[0].save(tmp_path / "m")
    before = (tmp_path / "m").read_bytes()
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(InputError, match="cannot be written"):
            two_models[1].save(tmp_path / "m")
    finally:
        tmp_path.chmod(0o700)
    assert (tmp_path / "m").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


def test_a_failure_at_any_step_leaves_the_old_file(tmp_path, two_models, monkeypatch):
    path = two_models[0].save(tmp_path / "m")
    before = path.read_bytes()
    for name in ("fsync", "replace", "chmod"):
        for error in (OSError(28, "No space left on device"), KeyboardInterrupt(), MemoryError()):

            def fail(*args, error=error, **kwargs):
                raise error

            with monkeypatch.context() as patched:
                patched.setattr(os, name, fail)
                with pytest.raises(InputError if isinstance(error, OSError) else type(error)):
                    two_models[1].save(path)
            assert path.read_bytes() == before
            assert [p.name for p in tmp_path.iterdir()] == ["m"]
    two_models[1].save(path)
    assert path.read_bytes() != before


FULL_DISK = """
import resource, signal, sys
import halfstep as hs
from halfstep.errors import InputError
source, path, limit = sys.argv[1], sys.argv[2], int(sys.argv[3])
model = hs.load(source)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    model.save(path)
except InputError as error:
    print(error)
    sys.exit(7)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="no limit on the size of files")
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_full_disk_leaves_the_old_file(tmp_path, two_models, share):
    other = two_models[1].save(tmp_path / "other")
    path = two_models[0].save(tmp_path / "m")
    before = path.read_bytes()
    limit = str(int((tmp_path / "other").stat().st_size * share))  # of the file to be written
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, other, path, limit],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 7, done.stderr
    assert "cannot be written" in done.stdout
    assert done.stdout.count("\n") == 1
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m", "other"]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != int(limit)


def test_others_may_read_the_file(tmp_path, two_models):
    before = os.umask(0o022)
    try:
        path = two_models[0].save(tmp_path / "m")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o644


SAVE_LOOP = """
import sys
import halfstep as hs
one, two, path = sys.argv[1:]
models = [hs.load(one), hs.load(two)]
for model in models:
    model.save(path)
print("ready", flush=True)
while True:
    for model in models:
        model.save(path)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL")
def test_a_kill_at_any_moment_leaves_one_of_the_two(tmp_path, two_models):
    sources = [m.save(tmp_path / f"source{k}") for k, m in enumerate(two_models)]
    whole = {source.read_bytes() for source in sources}
    assert len(whole) == 2
    folder = tmp_path / "kept"
    folder.mkdir()
    path = folder / "m.safetensors"
    generator = random.Random(3)
    deadline = time.monotonic() + 60
    kills = 0
    batch = 4  # the start of an interpreter takes longest
    while kills < 24 and time.monotonic() < deadline:
        children = [
            subprocess.Popen(
                [sys.executable, "-c", SAVE_LOOP, *map(str, sources), str(path)],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            for _ in range(batch)
        ]
        try:
            for child in children:
                assert child.stdout.readline() == b"ready\n"
            for child in children:
                time.sleep(generator.random() * 0.03)
                child.kill()
                assert child.wait(timeout=30) == -signal.SIGKILL
                kills += 1
                assert Path(path).read_bytes() in whole
        finally:
            for child in children:
                child.kill()
                child.wait()
                child.stdout.close()
        assert hs.load(path).rank == 3
    assert kills >= 20
    two_models[0].save(path)  # temporary files that a kill left behind are in nobody's way
    assert path.read_bytes() == sources[0].read_bytes()


def test_a_solver_from_elsewhere_is_named_and_replaced(tmp_path):
    class Mine:
        name = "mine"
        ends_with_users = True
        descends = True

        def begin(self, problem, start, backend):
            return hs.ALS(linear=hs.Cholesky()).begin(problem, start, backend)

    ratings = hs.simulate(30, 20, rank=2, seed=0).ratings
    model = hs.ExplicitMF(rank=2, solver=Mine()).fit(ratings)
    path = model.save(tmp_path / "m.safetensors")
    with pytest.warns(UserWarning, match="'mine'"):
        loaded = hs.load(path)
    assert loaded.solver == "als"
    user = ratings.users.id_at(0)
    assert loaded.explain(user, ratings.items.id_at(0)).exact


def test_replaced_items_leave_users_inexact_in_the_file_too(tmp_path):
    ratings = hs.simulate(30, 20, rank=2, seed=0).ratings
    model = hs.ExplicitMF(rank=2).fit(ratings)
    users, items, r = ratings.to_arrays()
    item = items[0]
    folded = model.fold_in(
        hs.Ratings.from_arrays(users[items == item], items[items == item], 6 - r[items == item]),
        side="item",
    )
    changed = model.with_rows(folded)
    user, other = users[items == item][0], items[items != item][0]
    assert model.explain(user, other).exact
    assert not changed.explain(user, other).exact
    assert not hs.load(changed.save(tmp_path / "m.safetensors")).explain(user, other).exact


@pytest.mark.parametrize(
    ("params", "changes"),
    [
        ({"rank": "grow"}, {"user_factors": (0, None), "item_factors": (0, None)}),
        ({"nonnegative": True}, {"item_factors": (2, -1.0)}),
    ],
)
def test_factors_that_no_fit_gives(tmp_path, params, changes):
    """A grown model has a factor, a non-negative one has none below 0."""
    ratings = hs.simulate(30, 20, rank=2, seed=0).ratings
    model = hs.ExplicitMF(**({"rank": 2, "reg": 0.3, "max_iter": 20} | params)).fit(ratings)
    tensors, metadata = read_tensors(model.save(tmp_path / "m.safetensors"), mmap=False)
    hs.load(tmp_path / "m.safetensors")
    for name, (columns, value) in changes.items():
        array = tensors[name][:, :columns].copy()
        if value is not None:
            array[0, 0] = value
        tensors = {**tensors, name: array}
    write_tensors(tmp_path / "m.safetensors", tensors, metadata)
    with pytest.raises(ModelFileError, match="factors"):
        hs.load(tmp_path / "m.safetensors")
