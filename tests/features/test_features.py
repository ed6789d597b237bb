"""Matrices of features, the rows of other ids, and blocks side by side."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

import halfstep as hs
from halfstep import errors
from halfstep.backends.base import CSR
from halfstep.data.ids import IdMap
from halfstep.features import Features, Group, as_features, hstack, implicit_features


def as_scipy(cells: CSR, width: int) -> sp.csr_array:
    return sp.csr_array((cells.values, cells.indices, cells.indptr), shape=(cells.n_rows, width))


def dense(cells: CSR, width: int) -> np.ndarray:
    return as_scipy(cells, width).toarray()


class TestMatrices:
    def test_of_scipy_and_of_arrays(self):
        X = np.array([[0, 1.5], [2, 0], [0, 0]])
        ids = ["c", "a", "b"]
        one = Features.from_scipy(sp.coo_array(X), ids)
        two = Features.from_arrays(ids, X)
        for found in (one, two, as_features((sp.csc_array(X), ids)), as_features((X, ids))):
            assert found.ids.values.tolist() == ["a", "b", "c"]
            np.testing.assert_array_equal(found.to_scipy().toarray(), X[[1, 2, 0]])
            assert found.cells.nnz == 2
            dtypes = [
                array.dtype
                for array in (found.cells.indptr, found.cells.indices, found.cells.values)
            ]
            assert dtypes == [np.int64, np.uint32, np.float32]
            assert found.groups == (Group("features", 0, 2),)
            assert found.column_names() == ["features 0", "features 1"]
        assert repr(one) == "Features(3 rows, 2 columns: features 2)"
        assert len(one) == 3

    def test_cells_that_stand_twice_are_added_and_zeros_dropped(self):
        twice = sp.coo_array(([1.0, 2.0, 0.0, 4.0], ([0, 0, 1, 1], [1, 1, 0, 0])), shape=(2, 2))
        found = Features.from_scipy(twice)
        assert found.to_scipy().toarray().tolist() == [[0, 3], [4, 0]]
        stored = sp.csr_array(([0.0, 5.0], [0, 1], [0, 2, 2]), shape=(2, 2))
        assert Features.from_scipy(stored).cells.nnz == 1

    def test_the_callers_matrix_is_left_alone(self):
        matrix = sp.csr_array(([1.0, 2.0], [1, 0], [0, 2]), shape=(1, 2))
        Features.from_scipy(matrix)
        assert matrix.indices.tolist() == [1, 0]
        matrix.data[0] = 3.0

    def test_the_arrays_of_features_are_read_only(self):
        found = Features.from_arrays([1, 2], [[1.0], [2.0]])
        with pytest.raises(ValueError):
            found.cells.values[0] = 3

    def test_an_encoding_of_a_matrix(self):
        encoding = Features.from_arrays(
            [1, 2], [[1, 0], [3, 4]], columns=["height", "weight"]
        ).encoding
        assert encoding.column_names() == ["height", "weight"]
        found = encoding.encode((np.array([[5, 6]]), ["new"]))
        assert found.to_scipy().toarray().tolist() == [[5, 6]]
        assert found.encoding is encoding
        with pytest.raises(errors.DataError, match="'3 columns': must have the 2 columns"):
            encoding.encode((np.ones((1, 3)), [1]))
        with pytest.raises(errors.DataError, match="must be a matrix, as at the fit"):
            encoding.encode({"user": [1], "height": [2]})

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: Features.from_arrays([1, 2], [[np.nan], [1]]), "matrix=nan: must be finite"),
            (lambda: Features.from_arrays([1, 2], [[1e39], [1]]), "must be finite in float32"),
            (lambda: Features.from_scipy(sp.csr_array([[np.inf]])), "must be finite"),
            (lambda: Features.from_arrays([1, 2], [1, 2]), "must be two-dimensional"),
            (lambda: Features.from_arrays([1, 2], [[1], [1, 2]]), "must hold numbers"),
            (lambda: Features.from_arrays([1, 2], [["a"], ["b"]]), "must hold numbers"),
            (lambda: Features.from_arrays([1], [[1.0], [2.0]]), "must be one for each of 2 rows"),
            (lambda: Features.from_arrays([1, 1], [[1.0], [2.0]]), "id=1: stands in rows 1 and 2"),
            (lambda: Features.from_arrays([], np.empty((0, 3))), "holds no features"),
            (lambda: Features.from_scipy(sp.csr_array((3, 0))), "holds no features"),
            (lambda: Features.from_scipy(sp.coo_array([1.0, 2.0])), "must be two-dimensional"),
            (lambda: Features.from_scipy(sp.coo_array((1, 2**33))), "has 2³² columns or more"),
            (lambda: Features.from_scipy(np.ones((2, 2))), "must be a scipy sparse array"),
            (lambda: Features.from_arrays([1], [[1, 2]], columns=["a"]), "2 distinct names"),
            (lambda: Features.from_arrays([1], [[1, 2]], columns=["a", "a"]), "2 distinct names"),
            (lambda: as_features(7), "features='int': must be Features, a table"),
            (lambda: as_features(({"user": [1]}, [1]), name="user_features"), "^user_features="),
        ],
    )
    def test_errors(self, make, message):
        with pytest.raises(errors.DataError, match=message):
            make()

    def test_what_as_features_takes(self):
        table = {"user": [1, 2], "item": [3, 4], "age": [20, 40]}
        with pytest.raises(errors.ReadError, match="could both name the rows"):
            as_features(table)
        assert as_features(table, side="item").ids.values.tolist() == [3, 4]
        with pytest.raises(errors.ParameterError, match="side='both'"):
            as_features(table, side="both")
        found = as_features(table, side="user")
        assert as_features(found) is found


class TestAligned:
    @given(
        st.lists(st.integers(-50, 50), min_size=1, unique=True),
        st.lists(st.integers(-50, 50), unique=True),
        st.booleans(),
        st.booleans(),
    )
    def test_rows_are_those_of_the_ids(self, have, want, text, other_text):
        rng = np.random.default_rng(len(have))
        X = rng.integers(0, 3, (len(have), 4))
        found = Features.from_arrays([str(v) for v in have] if text else have, X)
        wanted = sorted(map(str, want)) if other_text else sorted(want)
        ids = IdMap(np.array(wanted, dtype=np.dtypes.StringDType() if other_text else np.int64))
        row = {int(value): X[k] for k, value in enumerate(have)}
        expected = np.array([row.get(int(value), np.zeros(4)) for value in wanted]).reshape(-1, 4)
        np.testing.assert_array_equal(dense(found.aligned(ids), 4), expected)

    def test_the_same_ids_cost_nothing(self):
        found = Features.from_arrays([1, 2], [[1.0], [2.0]])
        assert found.aligned(IdMap(np.array([1, 2]))) is found.cells


class TestBlocks:
    def test_side_by_side(self):
        rng = np.random.default_rng(0)
        parts = [
            sp.random_array((20, w), density=0.3, format="csr", rng=rng, dtype=np.float32)
            for w in (3, 1, 7)
        ]
        features = [Features.from_scipy(part, name=f"part {k}") for k, part in enumerate(parts)]
        cells, groups = hstack([(f.cells, f.groups) for f in features])
        np.testing.assert_array_equal(dense(cells, 11), sp.hstack(parts).toarray())
        assert groups == (Group("part 0", 0, 3), Group("part 1", 3, 4), Group("part 2", 4, 11))
        assert all(
            (np.diff(cells.indices[a:b].astype(int)) > 0).all()
            for a, b in zip(cells.indptr, cells.indptr[1:], strict=False)
        )
        assert (cells.indptr.dtype, cells.indices.dtype, cells.values.dtype) == (
            np.int64,
            np.uint32,
            np.float32,
        )

    def test_errors(self):
        one, two = Features.from_arrays([1], [[1.0]]), Features.from_arrays([1, 2], [[1.0], [2.0]])
        with pytest.raises(errors.DataError, match="must have the same number of rows"):
            hstack([(one.cells, one.groups), (two.cells, two.groups)])
        with pytest.raises(errors.DataError, match="at least one block"):
            hstack([])

    @pytest.mark.parametrize("side", ["user", "item"])
    def test_implicit_features(self, simulated, side):
        observed = simulated.to_scipy().astype(bool).toarray()
        observed = observed if side == "user" else observed.T
        cells = implicit_features(simulated, side)
        expected = observed / np.sqrt(np.maximum(observed.sum(axis=1, keepdims=True), 1))
        np.testing.assert_allclose(dense(cells, observed.shape[1]), expected, rtol=1e-6)

    def test_implicit_features_count_a_rating_of_0_but_no_weight_of_0(self):
        ratings = hs.Ratings.from_arrays(
            ["a", "a", "a", "b"], [1, 2, 3, 1], [0.0, 5.0, 1.0, 2.0], weight=[1.0, 9.0, 0.0, 0.5]
        )
        cells = implicit_features(ratings, "user")
        np.testing.assert_allclose(
            dense(cells, len(ratings.items))[:, :2], [[0.5**0.5, 0.5**0.5], [1, 0]], rtol=1e-6
        )
        assert cells.nnz == 3
        assert cells.weights is None

    def test_a_user_without_ratings_has_an_empty_row(self):
        ratings = hs.Ratings.from_scipy(sp.csr_array(np.array([[1.0, 2.0], [0.0, 0.0]])))
        assert implicit_features(ratings, "user").indptr.tolist() == [0, 2, 2]

    def test_another_side(self, simulated):
        with pytest.raises(errors.ParameterError, match="side='both'"):
            implicit_features(simulated, "both")
