"""`BayesianMF.chain_summary`: the quantities that a fit follows, of a model and of its file."""

from __future__ import annotations

import numpy as np
import pytest

import halfstep as hs
from halfstep.diagnostics import ChainSummary
from halfstep.errors import NotFittedError


@pytest.fixture(scope="module")
def sampled():
    table = hs.simulate(60, 40, rank=2, seed=0).ratings
    users, items, ratings = table.to_arrays()
    ratings = hs.Ratings.from_arrays([f"né {u}" for u in users], items, ratings)
    return hs.BayesianMF(2, samples=12, burn_in=3, chains=2).fit(ratings)


def test_the_summary_is_that_of_the_draws(sampled):
    found = sampled.chain_summary()
    assert (found.chains, found.draws, len(found)) == (2, 12, 22)
    assert found.names[:2] == ("σ", "J")
    record = sampled.record_
    assert found.mean[0] == pytest.approx(np.mean(record.sigma))
    assert found.mean[1] == pytest.approx(np.mean(record.objective))
    user = sampled.factors_.user_ids.id_at(int(record.users[0]))
    item = sampled.factors_.item_ids.id_at(int(record.items[0]))
    assert found.names[2] == f"r̂ of {user}, {item}"
    alone = ChainSummary.of(record.predictions[:, :, 0], ["one"])
    assert (found.rhat[2], found.ess_bulk[2]) == (alone.rhat[0], alone.ess_bulk[0])


def test_the_summary_of_a_file(sampled, tmp_path):
    loaded = hs.load(sampled.save(tmp_path / "m.safetensors"))
    assert str(loaded.chain_summary()) == str(sampled.chain_summary())


def test_settled_is_the_same_model_unfitted(sampled):
    again = sampled.settled()
    assert again.get_params() == sampled.get_params()
    assert not hasattr(again, "factors_")


def test_no_summary_before_the_fit():
    with pytest.raises(NotFittedError):
        hs.BayesianMF().chain_summary()
