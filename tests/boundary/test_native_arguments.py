"""The native functions against arguments that no caller should pass: an exception, never a crash.

Every function is called with everything right and one thing wrong. `PanicException` derives from
`BaseException`, so that one would pass through every `pytest.raises` here and fail the test.
"""

import contextlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halfstep import _native
from halfstep.errors import HalfstepError, InternalError

REFUSED = (HalfstepError, TypeError, ValueError)
ROWS, COLUMNS, K = 4, 5, 3
INDPTR = np.array([0, 2, 2, 5, 6], dtype=np.int64)
INDICES = np.array([0, 3, 1, 2, 4, 0], dtype=np.uint32)


def call(name, arguments):
    """Call a native function; `exclude`, `candidates` and a `mean` of arrays are two arguments each."""
    given_arguments = dict(arguments)
    for pair in ("exclude", "candidates"):
        if f"{pair}_indptr" in given_arguments:
            indptr = given_arguments.pop(f"{pair}_indptr")
            indices = given_arguments.pop(f"{pair}_indices")
            whole = None if indptr is None and indices is None else (indptr, indices)
            given_arguments[pair] = whole
    if "mean_rows" in given_arguments:
        rows, bias = given_arguments.pop("mean_rows"), given_arguments.pop("mean_bias")
        given_arguments["mean"] = rows, bias
    return getattr(_native, name)(**given_arguments)


def valid(name, T):
    """Arguments of a call that works, with every optional one given."""
    generator = np.random.default_rng(0)

    def floats(*shape):
        return generator.standard_normal(shape).astype(T)

    cells = {
        "indptr": INDPTR.copy(),
        "indices": INDICES.copy(),
        "values": generator.standard_normal(6).astype(np.float32),
        "weights": generator.random(6).astype(np.float32) + np.float32(0.5),
    }
    model = {
        "users": floats(ROWS, K),
        "items": floats(COLUMNS, K),
        "user_bias": floats(ROWS),
        "item_bias": floats(COLUMNS),
        "mean": 3.0,
    }
    if name == "sort_pairs":
        return {
            "rows": np.array([3, 0, 2, 2, 0, 1], dtype=np.uint32),
            "columns": np.array([0, 4, 4, 1, 0, 2], dtype=np.uint32),
            "n_rows": ROWS,
            "n_columns": COLUMNS,
        }
    if name == "transpose":
        return {**cells, "n_columns": COLUMNS}
    if name == "take":
        return {"values": floats(COLUMNS), "order": INDICES.copy()}
    if name == "factorize":
        return {"values": np.array([7, -3, 7], dtype=np.int64 if T is np.float64 else np.int32)}
    if name == "gram":
        scale = np.abs(floats(ROWS))
        return {"factors": floats(ROWS, K), "scale": scale, "out": np.zeros((K, K), dtype=T)}
    if name == "solve_rows":
        return {
            **cells,
            "fixed": floats(COLUMNS, K),
            "offset": floats(COLUMNS),
            "terms": (1.0, 0.0, -3.0, 1.0),
            "prior": np.eye(K + 1, dtype=T),
            "linear": floats(ROWS, K + 1),
            "ridge": np.ones(K + 1, dtype=T),
            "scale": np.ones(ROWS, dtype=T),
            "out": np.zeros((ROWS, K), dtype=T),
            "out_bias": np.zeros(ROWS, dtype=T),
        }
    if name == "draw_rows":
        return {
            **cells,
            "fixed": floats(COLUMNS, K),
            "offset": floats(COLUMNS),
            "terms": (1.0, 0.0, -3.0, 1.0),
            "prior": np.eye(K + 1, dtype=T),
            "linear": floats(ROWS, K + 1),
            "noise": (7, 3),
            "out": np.zeros((ROWS, K), dtype=T),
            "out_bias": np.zeros(ROWS, dtype=T),
            "mean_rows": np.zeros((ROWS, K), dtype=T),
            "mean_bias": np.zeros(ROWS, dtype=T),
        }
    if name == "multiply":
        del cells["weights"]
        return {**cells, "fixed": floats(COLUMNS, K), "out": np.zeros((ROWS, K), dtype=T)}
    if name == "rotate":
        return {
            "factors": floats(ROWS, K),
            "basis": floats(K, K),
            "out": np.zeros((ROWS, K), dtype=T),
        }
    if name == "squared_error":
        return {**cells, **model, "by_row": np.zeros(ROWS)}
    if name == "gradient":
        return {
            **cells,
            "rows": floats(ROWS, K),
            "fixed": floats(COLUMNS, K),
            "bias": floats(ROWS),
            "offset": floats(COLUMNS),
            "mean": 3.0,
            "out": np.zeros((ROWS, K), dtype=T),
            "out_bias": np.zeros(ROWS, dtype=T),
        }
    if name == "predict":
        return {
            "user_index": np.array([0, 3, -1, 2], dtype=np.int64),
            "item_index": np.array([4, -1, 0, 2], dtype=np.int64),
            **model,
            "out": np.zeros(4, dtype=T),
        }
    assert name == "topk"
    return {
        "queries": floats(ROWS, K),
        "items": floats(COLUMNS, K),
        "item_bias": floats(COLUMNS),
        "exclude_indptr": INDPTR.copy(),
        "exclude_indices": INDICES.copy(),
        "candidates_indptr": np.array([0, 5, 7, 7, 8], dtype=np.int64),
        "candidates_indices": np.array([0, 1, 2, 3, 4, 1, 2, 4], dtype=np.uint32),
        "allow": np.array([True, True, False, True, True]),
        "out_index": np.zeros((ROWS, 2), dtype=np.int64),
        "out_score": np.zeros((ROWS, 2), dtype=T),
    }


FUNCTIONS = (
    *("factorize", "sort_pairs", "take", "transpose", "gram", "solve_rows", "squared_error"),
    *("gradient", "predict", "topk", "draw_rows", "multiply", "rotate"),
)
OUTPUTS = ("out", "out_bias", "out_index", "out_score", "mean_rows", "mean_bias", "by_row")
DTYPES = (np.float32, np.float64)


def arrays_of(name):
    return [key for key, value in valid(name, np.float64).items() if isinstance(value, np.ndarray)]


ARRAYS = [(name, argument) for name in FUNCTIONS for argument in arrays_of(name)]
WRITTEN = [pair for pair in ARRAYS if pair[1] in OUTPUTS]


def misaligned(array):
    """The same values one byte off."""
    raw = np.zeros(array.nbytes + 1, dtype=np.uint8)
    shifted = raw[1:].view(array.dtype).reshape(array.shape)
    shifted[...] = array
    assert array.itemsize == 1 or not shifted.flags.aligned
    return shifted


def strided(array):
    """The same values, every second element of a larger array."""
    doubled = np.repeat(array, 2, axis=array.ndim - 1)
    return doubled[..., ::2]


def reversed_view(array):
    return array[::-1].copy()[::-1]


class Pretender:
    """Says that it is an array."""

    __array_interface__ = np.zeros(3).__array_interface__
    dtype = np.dtype(np.float64)
    shape = (3,)


WRONG = {
    "another axis": lambda a: a[None],
    "last axis": lambda a: a[..., None],
    "no axis": lambda a: a.reshape(-1)[0:1].reshape(()),
    "flat or folded": lambda a: a.reshape(-1) if a.ndim > 1 else a.reshape(1, -1),
    "strided": strided,
    "reversed": reversed_view,
    "misaligned": misaligned,
    "longer": lambda a: np.concatenate([a, a[:1]]),
    "shorter": lambda a: a[:-1].copy(),
    "empty": lambda a: a[:0].copy(),
    "other byte order": lambda a: a.astype(a.dtype.newbyteorder()),
    "objects": lambda a: a.astype(object),
    "text": lambda a: a.astype("U8"),
    "complex": lambda a: a.astype(np.complex128),
    "half": lambda a: a.astype(np.float16),
    "long double": lambda a: a.astype(np.longdouble),
    "small integers": lambda a: a.astype(np.int8),
    "a list": lambda a: a.tolist(),
    "a number": lambda a: 3.0,
    "bytes": lambda a: a.tobytes(),
    "a dictionary": lambda a: {},
    "a pretender": lambda a: Pretender(),
    "a memoryview": lambda a: memoryview(a),
}


@pytest.mark.parametrize("T", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_valid_calls_work(name, T):
    call(name, valid(name, T))


@pytest.mark.parametrize("T", DTYPES)
@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize(("name", "argument"), ARRAYS)
def test_one_wrong_array(name, argument, wrong, T):
    arguments = valid(name, T)
    if argument == "allow" and wrong in ("other byte order", "misaligned"):
        return  # a byte has neither
    if name in ("take", "factorize") and wrong in ("longer", "shorter", "empty"):
        return  # any length is right
    if (name, argument, wrong) == ("multiply", "fixed", "longer"):
        return  # a column that has no cells
    arguments[argument] = WRONG[wrong](arguments[argument])
    with pytest.raises(REFUSED):
        call(name, arguments)


@pytest.mark.parametrize("T", DTYPES)
@pytest.mark.parametrize("name", ["solve_rows", "draw_rows"])
def test_a_prior_of_one_dimension_is_a_diagonal(name, T):
    whole, diagonal = valid(name, T), {**valid(name, T), "prior": np.ones(K + 1, dtype=T)}
    call(name, whole)
    call(name, diagonal)
    np.testing.assert_allclose(diagonal["out"], whole["out"], rtol=1e-5)
    right = diagonal["prior"]
    other = np.float32 if T is np.float64 else np.float64
    two = np.ones(2 * K + 2, dtype=T)[::2]
    for wrong in (right[:-1], np.append(right, right), right.astype(other), right[:0], two):
        with pytest.raises(REFUSED):
            call(name, {**diagonal, "prior": wrong})


@pytest.mark.parametrize("T", DTYPES)
@pytest.mark.parametrize(("name", "argument"), ARRAYS)
def test_fortran_order_and_longer_rows(name, argument, T):
    arguments = valid(name, T)
    array = arguments[argument]
    if array.ndim < 2:
        return
    for changed in (
        np.asfortranarray(array),
        np.concatenate([array, array[:, :1]], axis=1),
        array[:, :-1].copy(),
        array[:, :0].copy(),
        array[:, :-1],
    ):
        with pytest.raises(REFUSED):
            call(name, {**arguments, argument: changed})


@pytest.mark.parametrize(
    ("name", "argument"),
    [p for p in ARRAYS if p not in (("take", "values"), ("factorize", "values"))],
)
def test_floats_of_two_sizes(name, argument):
    arguments = valid(name, np.float64)
    array = arguments[argument]
    other = {"f": np.float32 if array.dtype == np.float64 else np.float64, "b": np.uint8}.get(
        array.dtype.kind, np.int32
    )
    with pytest.raises(REFUSED):
        call(name, {**arguments, argument: array.astype(other)})


@pytest.mark.parametrize("T", DTYPES)
@pytest.mark.parametrize(("name", "argument"), ARRAYS)
def test_none_where_it_is_not_optional(name, argument, T):
    arguments = valid(name, T)
    optional = ("weights", "scale", "offset", "prior", "linear", "user_bias", "item_bias")
    optional += ("allow", "by_row")
    if name == "draw_rows":
        optional = ("weights", "offset")
    arguments[argument] = None
    if argument in optional or (name == "gradient" and argument in ("bias", "out_bias")):
        call(name, arguments)
        return
    with pytest.raises(REFUSED):
        call(name, arguments)


@pytest.mark.parametrize("T", DTYPES)
@pytest.mark.parametrize(("name", "argument"), WRITTEN)
def test_read_only_output(name, argument, T):
    arguments = valid(name, T)
    before = arguments[argument].tobytes()
    arguments[argument].setflags(write=False)
    with pytest.raises(REFUSED):
        call(name, arguments)
    assert arguments[argument].tobytes() == before


def bits(answer):
    """An answer as values that compare: arrays as bytes."""
    if isinstance(answer, tuple):
        return [bits(part) for part in answer]
    return answer.tobytes() if isinstance(answer, np.ndarray) else answer


@pytest.mark.parametrize("T", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_read_only_inputs_are_fine(name, T, tmp_path):
    """What a mapped file gives: read-only arrays, and the same answer."""
    arguments, expected = valid(name, T), valid(name, T)
    for argument, value in arguments.items():
        if isinstance(value, np.ndarray) and argument not in OUTPUTS:
            path = tmp_path / argument
            path.write_bytes(value.tobytes())
            arguments[argument] = np.memmap(path, dtype=value.dtype, mode="r", shape=value.shape)
    one, two = call(name, arguments), call(name, expected)
    assert bits(one) == bits(two)
    for argument in OUTPUTS:
        if argument in arguments:
            assert arguments[argument].tobytes() == expected[argument].tobytes()


def overlapping(one, two):
    """Two arrays of these shapes whose memory overlaps."""
    size = max(one.size, two.size)
    shared = np.zeros(size, dtype=one.dtype)
    return shared[: one.size].reshape(one.shape), shared[size - two.size :].reshape(two.shape)


@pytest.mark.parametrize("T", DTYPES)
@pytest.mark.parametrize(("name", "output"), WRITTEN)
def test_an_output_that_is_an_input(name, output, T):
    reference = valid(name, T)
    written = reference[output]
    tried = 0
    for argument, value in reference.items():
        if argument == output or not isinstance(value, np.ndarray) or value.dtype != written.dtype:
            continue
        arguments = valid(name, T)
        arguments[output], arguments[argument] = overlapping(written, value)
        tried += 1
        with pytest.raises(REFUSED):
            call(name, arguments)
    assert tried or output in ("out_index", "by_row")


def test_an_output_that_is_an_input_of_another_type():
    """The same memory as float32 and float64."""
    arguments = valid("predict", np.float32)
    shared = np.zeros(4, dtype=np.int64)
    arguments["user_index"], arguments["out"] = shared, shared.view(np.float32)[:4]
    with pytest.raises(REFUSED):
        call("predict", arguments)


SCALARS = [
    ("sort_pairs", "n_rows"),
    ("sort_pairs", "n_columns"),
    ("transpose", "n_columns"),
]


@pytest.mark.parametrize("value", [-1, -(2**63), 2**64, 1.5, "3", None, 2, 0, float("nan")])
@pytest.mark.parametrize(("name", "argument"), SCALARS)
def test_wrong_counts(name, argument, value):
    arguments = {**valid(name, np.float32), argument: value}
    with pytest.raises((*REFUSED, OverflowError)):
        call(name, arguments)


@pytest.mark.parametrize(
    "terms", [None, 1.0, (1.0,), (1.0, 2.0, 3.0), (1.0,) * 5, ("a",) * 4, (None,) * 4, {}, [[]] * 4]
)
def test_wrong_terms(terms):
    with pytest.raises(REFUSED):
        call("solve_rows", {**valid("solve_rows", np.float32), "terms": terms})


@pytest.mark.parametrize("mean", [None, "3", [], 1 + 2j, np.zeros(2)])
@pytest.mark.parametrize("name", ["predict", "squared_error"])
def test_wrong_mean(name, mean):
    with pytest.raises(REFUSED):
        call(name, {**valid(name, np.float32), "mean": mean})


BAD_INDPTR = {
    "falling": [0, 2, 1, 5, 6],
    "starts late": [1, 2, 2, 5, 6],
    "starts before": [-1, 2, 2, 5, 6],
    "negative inside": [0, -1, 2, 5, 6],
    "ends late": [0, 2, 2, 5, 7],
    "ends early": [0, 2, 2, 5, 5],
    "far beyond": [0, 2**40, 2**41, 2**42, 6],
    "extreme": [0, 2**63 - 1, -(2**63), 5, 6],
    "all extreme": [-(2**63)] * 5,
    "wraps": [0, 2**62, 2**63 - 1, 2**63 - 1, 6],
}


@pytest.mark.parametrize("T", DTYPES)
@pytest.mark.parametrize("bad", BAD_INDPTR)
@pytest.mark.parametrize(
    ("name", "argument"), [pair for pair in ARRAYS if pair[1].endswith("indptr")]
)
def test_offsets_that_are_not_offsets(name, argument, bad, T):
    arguments = valid(name, T)
    arguments[argument] = np.array(BAD_INDPTR[bad], dtype=np.int64)
    with pytest.raises(REFUSED):
        call(name, arguments)


@pytest.mark.parametrize("T", DTYPES)
@pytest.mark.parametrize("place", [0, -1])
@pytest.mark.parametrize("value", [5, 6, 2**31, 2**32 - 1])
@pytest.mark.parametrize(
    ("name", "argument"),
    [p for p in ARRAYS if p[1].endswith("indices") or p[1] == "order" or p[0] == "sort_pairs"],
)
def test_indices_out_of_range(name, argument, value, place, T):
    arguments = valid(name, T)
    arguments[argument][place] = value
    with pytest.raises(REFUSED):
        call(name, arguments)


@pytest.mark.parametrize("T", DTYPES)
@pytest.mark.parametrize("value", [4, 5, -2, -(2**63), 2**63 - 1, 2**32])
@pytest.mark.parametrize("argument", ["user_index", "item_index"])
def test_predicted_indices_out_of_range(argument, value, T):
    arguments = valid("predict", T)
    if argument == "item_index" and value == 4:
        return
    arguments[argument][1] = value
    with pytest.raises(REFUSED):
        call("predict", arguments)


@pytest.mark.parametrize("argument", ["exclude_indices", "candidates_indices"])
def test_lists_of_items_must_ascend(argument):
    for first, second in ((3, 0), (3, 3)):
        arguments = valid("topk", np.float32)
        arguments[argument][:2] = first, second
        try:
            call("topk", arguments)
        except REFUSED:
            continue
        for row in arguments["out_index"]:  # or it gives an answer without repeats
            there = row[row >= 0]
            assert len(set(there.tolist())) == len(there)


# ------------------------------------------------------------------ nothing, and rank 0


def empty(name, rows, columns, rank, T):
    """A right call over no rows, no columns or no factors."""
    cells = {
        "indptr": np.zeros(rows + 1, dtype=np.int64),
        "indices": np.empty(0, dtype=np.uint32),
        "values": np.empty(0, dtype=np.float32),
        "weights": None,
    }
    model = {
        "users": np.zeros((rows, rank), dtype=T),
        "items": np.zeros((columns, rank), dtype=T),
        "user_bias": np.zeros(rows, dtype=T),
        "item_bias": np.zeros(columns, dtype=T),
        "mean": 2.0,
    }
    return {
        "sort_pairs": {
            "rows": np.empty(0, dtype=np.uint32),
            "columns": np.empty(0, dtype=np.uint32),
            "n_rows": rows,
            "n_columns": columns,
        },
        "transpose": {**cells, "n_columns": columns},
        "take": {"values": np.empty(0, dtype=T), "order": np.empty(0, dtype=np.uint32)},
        "factorize": {"values": np.empty(0, dtype=np.int64)},
        "gram": {
            "factors": model["users"],
            "scale": None,
            "out": np.full((rank, rank), np.nan, dtype=T),
        },
        "solve_rows": {
            **cells,
            "fixed": model["items"],
            "offset": model["item_bias"],
            "terms": (1.0, 0.0, 0.0, 1.0),
            "prior": None,
            "linear": None,
            "ridge": np.ones(rank + 1, dtype=T),
            "scale": None,
            "out": np.full((rows, rank), np.nan, dtype=T),
            "out_bias": np.full(rows, np.nan, dtype=T),
        },
        "draw_rows": {
            **cells,
            "fixed": model["items"],
            "offset": model["item_bias"],
            "terms": (1.0, 0.0, 0.0, 1.0),
            "prior": np.eye(rank + 1, dtype=T),
            "linear": np.ones((1, rank + 1), dtype=T),
            "noise": (0, 0),
            "out": np.full((rows, rank), np.nan, dtype=T),
            "out_bias": np.full(rows, np.nan, dtype=T),
            "mean_rows": np.full((rows, rank), np.nan, dtype=T),
            "mean_bias": np.full(rows, np.nan, dtype=T),
        },
        "multiply": {
            **{key: array for key, array in cells.items() if key != "weights"},
            "fixed": model["items"],
            "out": np.full((rows, rank), np.nan, dtype=T),
        },
        "rotate": {
            "factors": model["users"],
            "basis": np.eye(rank, dtype=T),
            "out": np.full((rows, rank), np.nan, dtype=T),
        },
        "squared_error": {**cells, **model, "by_row": np.full(rows, np.nan)},
        "gradient": {
            **cells,
            "rows": model["users"],
            "fixed": model["items"],
            "bias": model["user_bias"],
            "offset": model["item_bias"],
            "mean": 2.0,
            "out": np.full((rows, rank), np.nan, dtype=T),
            "out_bias": np.full(rows, np.nan, dtype=T),
        },
        "predict": {
            "user_index": np.full(3, -1, dtype=np.int64),
            "item_index": np.full(3, -1, dtype=np.int64),
            **model,
            "out": np.full(3, np.nan, dtype=T),
        },
        "topk": {
            "queries": model["users"],
            "items": model["items"],
            "item_bias": model["item_bias"],
            "exclude_indptr": None,
            "exclude_indices": None,
            "candidates_indptr": None,
            "candidates_indices": None,
            "allow": None,
            "out_index": np.full((rows, 2), -7, dtype=np.int64),
            "out_score": np.full((rows, 2), 0.5, dtype=T),
        },
    }[name]


@pytest.mark.parametrize("T", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(
    ("rows", "columns", "rank"),
    [(0, 0, 3), (0, 5, 3), (4, 0, 3), (4, 5, 0), (0, 0, 0), (4, 0, 0), (0, 5, 0), (1, 1, 1)],
)
def test_empty_calls(name, rows, columns, rank, T):
    """Refused, or the answer that nothing has; never garbage from a buffer."""
    arguments = empty(name, rows, columns, rank, T)
    try:
        found = call(name, arguments)
    except REFUSED:
        assert rank == 0  # only rank 0 is refused
        return
    if name == "sort_pairs":
        assert found[0].tolist() == [0] * (rows + 1)
        assert found[1:] == (None, 0)
    elif name == "transpose":
        indptr, indices, values, weights = found
        assert indptr.tolist() == [0] * (columns + 1)
        assert len(indices) == len(values) == 0
        assert weights is None
    elif name == "take":
        assert len(found) == 0
    elif name == "factorize":
        assert [len(part) for part in found] == [0, 0]
    elif name == "gram":
        assert not arguments["out"].any()
    elif name == "solve_rows":
        assert not arguments["out"].any()
        assert not arguments["out_bias"].any()
    elif name == "draw_rows":
        assert (arguments["mean_rows"] == 1).all()
        assert (arguments["mean_bias"] == 1).all()
        for drawn in (arguments["out"], arguments["out_bias"]):
            assert np.isfinite(drawn).all()
            assert (drawn != 1).all()
    elif name == "multiply":
        assert not arguments["out"].any()
    elif name == "rotate":
        np.testing.assert_array_equal(arguments["out"], arguments["factors"])
    elif name == "squared_error":
        assert found == 0.0
        assert not arguments["by_row"].any()
    elif name == "gradient":
        assert found == 0.0
        assert not arguments["out"].any()
        assert not arguments["out_bias"].any()
    elif name == "predict":
        assert (arguments["out"] == 2.0).all()
    else:
        answers = [i if i < columns else -1 for i in range(2)]
        assert arguments["out_index"].tolist() == [answers] * rows


def test_no_answers_asked_for():
    arguments = valid("topk", np.float32)
    arguments["out_index"] = np.empty((ROWS, 0), dtype=np.int64)
    arguments["out_score"] = np.empty((ROWS, 0), dtype=np.float32)
    with contextlib.suppress(REFUSED):
        call("topk", arguments)


# --------------------------------------------------------------- large work, on threads


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("place", [0, 123_456, -1])
def test_bad_indices_in_large_work(threads, place):
    before = _native.get_num_threads()
    rows, each, rank = 20_000, 10, 16
    generator = np.random.default_rng(0)
    indptr = np.arange(rows + 1, dtype=np.int64) * each
    indices = (
        np.sort(generator.integers(0, 1000, (rows, each)), axis=1).astype(np.uint32).reshape(-1)
    )
    indices[place] = 1000
    values = np.ones(rows * each, dtype=np.float32)
    users = np.ones((rows, rank), dtype=np.float32)
    items = np.ones((1000, rank), dtype=np.float32)
    out = np.empty((rows, rank), dtype=np.float32)
    terms, ridge = (1.0, 0.0, 0.0, 1.0), np.ones(rank, dtype=np.float32)
    try:
        _native.set_num_threads(threads)
        with pytest.raises(InternalError):
            _native.solve_rows(
                indptr,
                indices,
                values,
                None,
                items,
                None,
                terms,
                None,
                None,
                ridge,
                None,
                out,
                None,
            )
        with pytest.raises(InternalError):
            _native.squared_error(
                indptr, indices, values, None, users, items, None, None, 0.0, None
            )
        with pytest.raises(InternalError):
            _native.transpose(indptr, indices, values, None, 1000)
        with pytest.raises(InternalError):
            _native.predict(
                np.zeros(len(indices), dtype=np.int64),
                indices.astype(np.int64),
                users,
                items,
                None,
                None,
                0.0,
                np.empty(len(indices), dtype=np.float32),
            )
    finally:
        _native.set_num_threads(before)


@pytest.mark.parametrize("threads", [1, 3])
def test_a_singular_row_in_large_work_is_the_first_one(threads):
    before = _native.get_num_threads()
    rows, rank = 40_000, 8
    indptr = np.arange(rows + 1, dtype=np.int64) * 2
    indices = np.tile(np.array([0, 1], dtype=np.uint32), rows)
    items = np.eye(2, rank, dtype=np.float32)
    ridge = np.zeros(rank, dtype=np.float32)
    out = np.empty((rows, rank), dtype=np.float32)
    scale = np.ones(rows, dtype=np.float32)
    values = np.ones(2 * rows, dtype=np.float32)
    prior = np.eye(rank, dtype=np.float32)
    terms = (1.0, 1.0, 0.0, 1.0)
    values[2 * 17_001] = values[2 * 31_111] = -2.0  # a = 1 + v = -1: not positive definite
    try:
        _native.set_num_threads(threads)
        with pytest.raises(_native.SingularSystem) as caught:
            _native.solve_rows(
                indptr,
                indices,
                values,
                None,
                items,
                None,
                terms,
                prior,
                None,
                ridge,
                scale,
                out,
                None,
            )
    finally:
        _native.set_num_threads(before)
    assert caught.value.args[1] == 17_001


# ------------------------------------------------------- what might end the process


def in_a_process(code):
    """(exit status, error output); a crash has a negative status."""
    done = subprocess.run(
        [sys.executable, "-c", "import numpy as np\nfrom halfstep import _native as n\n" + code],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, done.stderr


NASTY = {
    "as many rows as there are bytes": """
try:
    n.sort_pairs(np.zeros(1, np.uint32), np.zeros(1, np.uint32), 2**64 - 1, 1)
except Exception as error:
    print(type(error).__name__)
""",
    "a table of offsets beyond the address space": """
try:
    n.sort_pairs(np.zeros(1, np.uint32), np.zeros(1, np.uint32), 2**60, 1)
except Exception as error:
    print(type(error).__name__)
""",
    "a table of offsets beyond the memory": """
try:
    n.sort_pairs(np.zeros(1, np.uint32), np.zeros(1, np.uint32), 2**46, 1)
except Exception as error:
    print(type(error).__name__)
""",
    "as many columns as there are bytes": """
try:
    n.transpose(np.array([0, 1]), np.zeros(1, np.uint32), np.ones(1, np.float32), None, 2**64 - 1)
except Exception as error:
    print(type(error).__name__)
""",
    "columns beyond the memory": """
try:
    n.transpose(np.array([0, 1]), np.zeros(1, np.uint32), np.ones(1, np.float32), None, 2**46)
except Exception as error:
    print(type(error).__name__)
""",
    "one number in place of a billion": """
small = np.lib.stride_tricks.as_strided(np.zeros(1, np.float32), (10**9, 8), (0, 0))
for out in (np.empty((8, 8), np.float32), np.empty((10**3, 8), np.float32)):
    try:
        n.gram(small, None, out)
    except Exception as error:
        print(type(error).__name__)
""",
    "offsets that wrap around": """
for bad in ([0, -2**63, 2**63 - 1, 1], [2**63 - 1] * 4, [0, 2**63 - 1, 2**63 - 1, 1]):
    for call in (
        lambda p: n.transpose(p, np.zeros(1, np.uint32), 1),
        lambda p: n.squared_error(p, np.zeros(1, np.uint32), np.zeros(1, np.float32), None,
                                  np.zeros((3, 2)), np.zeros((1, 2)), None, None, 0.0, None),
        lambda p: n.solve_rows(p, np.zeros(1, np.uint32), np.zeros(1, np.float32), None,
                               np.zeros((1, 2)), None, (1, 0, 0, 1), None, None, np.ones(2), None,
                               np.empty((3, 2)), None),
        lambda p: n.topk(np.zeros((3, 2)), np.zeros((1, 2)), None, (p, np.zeros(1, np.uint32)),
                         None, None, np.empty((3, 1), np.int64), np.empty((3, 1))),
        lambda p: n.topk(np.zeros((3, 2)), np.zeros((1, 2)), None, None,
                         (p, np.zeros(1, np.uint32)), None, np.empty((3, 1), np.int64),
                         np.empty((3, 1))),
    ):
        try:
            call(np.array(bad, np.int64))
        except Exception as error:
            print(type(error).__name__)
        else:
            raise SystemExit("accepted")
""",
    "the same memory twice behind numpy's back": """
raw = bytearray(8 * 100)
one, two = np.frombuffer(raw, np.float64).reshape(10, 10), np.frombuffer(raw, np.float64)
try:
    n.gram(one, None, two.reshape(10, 10))
except Exception as error:
    print(type(error).__name__)
""",
    "numbers that are none": """
for bad in (np.nan, np.inf, -np.inf, 1e308, 5e-324):
    for T in (np.float32, np.float64):
        with np.errstate(all="ignore"):
            a = np.full((5, 9), bad).astype(T)
        index, score = np.empty((5, 3), np.int64), np.empty((5, 3), T)
        n.topk(a, a, a[:, 0].copy(), None, None, None, index, score)
        assert ((index >= -1) & (index < 5)).all(), index
        n.predict(np.arange(5), np.arange(5), a, a, None, None, bad, np.empty(5, T))
        n.gram(a, None, np.empty((9, 9), T))
        try:
            n.solve_rows(np.arange(6), np.arange(5, dtype=np.uint32),
                         a[:, 0].astype(np.float32) if abs(bad) < 1e30 or bad != bad
                         else np.full(5, np.inf, np.float32),
                         None, a, None, (1, 0, 0, 1), None, None, np.ones(9, T), None,
                         np.empty((5, 9), T), None)
        except ArithmeticError as error:
            print(error)
""",
    "bad settings, many times": """
for bad in (0, 4097, 2**63):
    try:
        n.set_num_threads(bad)
    except (ValueError, OverflowError) as error:
        print(error)
    else:
        raise SystemExit("accepted")
""",
    "more threads than rows": """
n.set_num_threads(4096)
rows = 3
out = np.empty((rows, 200))
n.solve_rows(np.array([0, 1, 1, 2]), np.zeros(2, np.uint32), np.ones(2, np.float32), None,
             np.ones((1, 200)), None, (1, 0, 0, 1), None, None, np.ones(200), None, out, None)
assert not out[1].any()
""",
}


@pytest.mark.parametrize("name", NASTY)
def test_the_process_survives(name):
    status, errors = in_a_process(NASTY[name])
    assert status == 0, errors
    assert "panicked" not in errors
    assert "PanicException" not in errors


# --------------------------------------------------------------------------------- fuzz

LENGTHS = st.one_of(st.just(None), st.integers(-3, 3))
FLOATS = st.sampled_from([0.0, 1.0, -1.0, 0.5, 1e30, 1e-30, np.nan, np.inf, -np.inf, 3e38])


METHODS = [
    *(None, ("cg", 0, 0.0), ("cg", 3, 0.0), ("cg", 50, 0.5), ("cg", 2, np.nan)),
    *(("subspace", 0, 0.0), ("subspace", 1, 0.0), ("subspace", 3, 0.0), ("subspace", 2**60, 0.0)),
    *(("subspace", 1, 0.5), ("lu", 1, 0.0)),
    *(("nonnegative", 0, 0.0), ("nonnegative", 1, 0.0), ("nonnegative", 0, 0.5)),
]


@st.composite
def solve_arguments(draw):
    """Arguments of `solve_rows` that are right, or a little or very wrong."""
    T = draw(st.sampled_from(DTYPES))
    rows, columns = draw(st.integers(0, 6)), draw(st.integers(0, 6))
    rank, bias = draw(st.integers(0, 19)), draw(st.booleans())
    generator = np.random.default_rng(draw(st.integers(0, 2**16)))
    sizes = generator.integers(0, columns + 1, rows)
    indptr = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    chosen = [np.sort(generator.permutation(columns)[:size]) for size in sizes]
    indices = np.concatenate([np.empty(0), *chosen]).astype(np.uint32)
    size = rank + bias

    def floats(*shape, dtype=T):
        return generator.standard_normal(shape).astype(dtype)

    prior = floats(size, size)
    arguments = {
        "indptr": indptr,
        "indices": indices,
        "values": floats(len(indices), dtype=np.float32),
        "weights": draw(st.sampled_from([None, np.ones(len(indices), dtype=np.float32)])),
        "fixed": floats(columns, rank),
        "offset": draw(st.sampled_from([None, floats(columns)])),
        "terms": draw(st.tuples(FLOATS, FLOATS, FLOATS, FLOATS)),
        "prior": draw(st.sampled_from([None, prior, prior @ prior.T])),
        "linear": draw(st.sampled_from([None, floats(1, size), floats(rows, size)])),
        "ridge": draw(st.sampled_from([np.ones(size, dtype=T), np.zeros(size, dtype=T)])),
        "scale": draw(st.sampled_from([None, np.ones(rows, dtype=T)])),
        "out": floats(rows, rank),
        "out_bias": floats(rows) if bias else None,
        "method": draw(st.sampled_from(METHODS)),
    }
    for _ in range(draw(st.integers(0, 3))):
        name = draw(st.sampled_from([k for k, v in arguments.items() if isinstance(v, np.ndarray)]))
        array = arguments[name]
        change = draw(st.sampled_from(["value", "resize", "swap", "type"]))
        if change == "value" and array.size:
            place = draw(st.integers(0, array.size - 1))
            special = draw(
                st.sampled_from([0, 1, -1, 7, 2**31, 2**32 - 1, -(2**63), 2**63 - 1])
                if array.dtype.kind in "iu"
                else FLOATS
            )
            with np.errstate(all="ignore"):
                array.reshape(-1)[place] = special % 2**32 if array.dtype == np.uint32 else special
        elif change == "resize":
            axis = draw(st.integers(0, array.ndim - 1))
            shape = list(array.shape)
            shape[axis] = max(0, shape[axis] + draw(st.integers(-2, 2)))
            arguments[name] = np.resize(array, shape)
        elif change == "swap":
            other = draw(st.sampled_from(list(arguments)))
            arguments[name], arguments[other] = arguments[other], arguments[name]
        else:
            with np.errstate(all="ignore"):
                arguments[name] = array.astype(
                    draw(st.sampled_from([np.float32, np.float64, np.int64]))
                )
        if arguments["terms"] is None or not isinstance(arguments["terms"], tuple):
            break
    return arguments


@settings(max_examples=1500)
@given(solve_arguments())
def test_fuzz_solve_rows(arguments):
    try:
        call("solve_rows", arguments)
    except (*REFUSED, _native.SingularSystem):
        return
    assert np.isfinite(arguments["out"]).all()
    if arguments["out_bias"] is not None:
        assert np.isfinite(arguments["out_bias"]).all()
