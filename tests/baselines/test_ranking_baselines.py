"""Baselines of rankings: preferences, and what is left out."""

from __future__ import annotations

import numpy as np
import pytest

import halfstep as hs
from halfstep.baselines import fit_ranking_baselines, preferences
from halfstep.errors import DataError, ParameterError


@pytest.fixture(scope="module")
def counts():
    rng = np.random.default_rng(0)
    pairs = [(u, i) for u in range(40) for i in range(30) if (u * i) % 3]
    users, items = zip(*pairs, strict=True)
    return hs.Ratings.from_arrays(
        users, items, rng.choice([-1, 0, 1, 4], len(pairs)), weight=rng.choice([1, 2], len(pairs))
    )


def test_preferences_are_what_is_above_0(counts):
    liked = preferences(counts)
    assert (liked.users, liked.items) == (counts.users, counts.items)
    assert len(liked) == np.count_nonzero(counts.by_user.values > 0)
    assert set(liked.by_user.values.tolist()) == {1.0}
    assert liked.by_user.weights is None
    kept = counts.by_user.values > 0
    assert np.array_equal(liked.by_user.indices, counts.by_user.indices[kept])
    with pytest.raises(DataError, match="no count above 0"):
        preferences(hs.Ratings.from_arrays([1], [1], [-1.0]))
    with pytest.raises(DataError, match="must be Ratings"):
        preferences([1])


def test_they_are_those_of_preferences(counts):
    found = fit_ranking_baselines(counts)
    assert list(found.models) == ["most popular", "item-kNN", "EASE"]
    assert not found.left_out
    liked = preferences(counts)
    for name, one in (
        ("most popular", hs.MostPopular()),
        ("item-kNN", hs.ItemKNN(similarity="cosine")),
        ("EASE", hs.EASE()),
    ):
        expected = one.fit(liked).recommend([4], 5)[4]
        assert found.models[name].recommend([4], 5)[4] == expected


def test_what_takes_too_long_is_left_out(counts):
    n, sizes = counts.shape[1], np.diff(preferences(counts).by_user.indptr)
    pairs = int((sizes**2).sum()) + n**2
    found = fit_ranking_baselines(counts, most_operations=pairs)
    assert list(found.models) == ["most popular", "item-kNN"]
    assert list(found.left_out) == ["EASE"]
    found = fit_ranking_baselines(counts, most_operations=pairs - 1)
    assert list(found.models) == ["most popular"]
    assert f"{pairs:,} operations" in found.left_out["item-kNN"]
    with pytest.raises(ParameterError, match="most_operations"):
        fit_ranking_baselines(counts, most_operations=-1)
