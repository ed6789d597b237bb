"""Figures on real ratings, by protocols that others have published."""

import numpy as np
import pytest

import halfstep as hs


@pytest.mark.parametrize(
    ("model", "rmse"),
    [
        (hs.GlobalMean(), 1.1257),
        (hs.Biases(), 0.9405),  # BaselineOnly of Surprise: 0.944, with another λ
        (hs.ItemKNN(), 0.9075),
        (hs.ItemKNN(similarity="pearson"), 0.9141),  # KNNBaseline of Surprise by users: 0.931
        (hs.ItemKNN(similarity="cosine", shrink=0.0), 0.9133),
    ],
    ids=repr,
)
def test_five_folds_of_movielens_100k(data_folder, model, rmse):
    ratings = hs.read_ratings(data_folder / "ml-100k" / "u.data", keep_order=True)
    folds = hs.kfold(ratings, 5, order="file", seed=0)
    errors = [model.fit(train).rmse(test) for train, test in folds]
    assert np.mean(errors) == pytest.approx(rmse, abs=5e-4)


@pytest.mark.parametrize(
    ("model", "hits", "ndcg"),
    [
        (hs.MostPopular(), 0.4535, 0.2542),
        (hs.ItemKNN(100, similarity="cosine", shrink=0.0), 0.6623, 0.3904),
        (hs.EASE(500.0), 0.7096, 0.4495),
    ],
    ids=repr,
)
def test_the_latest_interaction_among_a_hundred(data_folder, model, hits, ndcg):
    """HR@10 and NDCG@10 of MovieLens 1M with its published 99 negatives (He et al. 2017)."""
    folder = data_folder / "ml-1m-ncf"
    train = hs.read_ratings(folder / "train.parquet")
    interactions = hs.Ratings.from_arrays(*train.to_arrays()[:2])
    right = np.loadtxt(folder / "ml-1m.test.rating", dtype=np.int64, usecols=(0, 1))
    lines = (folder / "ml-1m.test.negative").read_text().splitlines()
    others = np.array([line.split("\t")[1:] for line in lines], dtype=np.int64)
    users, wanted = right.T
    lists = dict(zip(users.tolist(), np.column_stack([wanted, others]).tolist(), strict=True))
    found = model.fit(interactions).recommend(users, 10, exclude_seen=False, candidates=lists)
    sizes = np.diff(found.offsets)
    place = np.arange(len(found.found)) - np.repeat(found.offsets[:-1], sizes)
    place = place[found.found == np.repeat(wanted, sizes)]
    assert len(place) / len(users) == pytest.approx(hits, abs=2e-3)
    assert np.sum(1 / np.log2(place + 2)) / len(users) == pytest.approx(ndcg, abs=2e-3)
