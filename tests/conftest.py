"""Shared fixtures. Real ratings are found through HALFSTEP_DATA; tests that need them are skipped
where it is not set."""

import os
import subprocess
import sys
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
def run_code():
    """`run_code(code, *arguments, **environment)` in a Python process of its own: an instruction set or
    a number of threads is chosen once in a process."""

    def run(code, *arguments, **environment):
        return subprocess.run(
            [sys.executable, "-c", code, *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env={**os.environ, **environment},
        )

    return run


@pytest.fixture(scope="session")
def simulated() -> hs.Ratings:
    return hs.simulate(120, 80, rank=3, ratings_per_user=25, min_per_user=5, seed=3).ratings


@pytest.fixture(scope="session")
def fitted(simulated: hs.Ratings) -> hs.ExplicitMF:
    return hs.ExplicitMF(rank=4, reg=0.05, seed=1).fit(simulated)
