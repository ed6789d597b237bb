"""Shared fixtures. Real ratings are found through HALFSTEP_DATA; tests that need them are skipped
where it is not set."""

import os
from pathlib import Path

import hypothesis
import pytest

import halfstep as hs

hypothesis.settings.register_profile(
    "halfstep",
    deadline=None,  # timings belong to benchmarks/
    max_examples=30,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("halfstep")


@pytest.fixture(scope="session")
def data_folder() -> Path:
    folder = os.environ.get("HALFSTEP_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("HALFSTEP_DATA does not name a folder with real ratings")
    return Path(folder)


@pytest.fixture(scope="session")
def simulated() -> hs.Ratings:
    return hs.simulate(120, 80, rank=3, ratings_per_user=25, min_per_user=5, seed=3).ratings


@pytest.fixture(scope="session")
def fitted(simulated: hs.Ratings) -> hs.ExplicitMF:
    return hs.ExplicitMF(rank=4, reg=0.05, seed=1).fit(simulated)
