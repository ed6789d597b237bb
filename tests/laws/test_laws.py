"""Every law over the whole product of objectives, solvers, backends and dtypes."""

import pytest

import halfstep as hs
from halfstep import testing


@pytest.mark.parametrize("dtype", testing.DTYPES)
@pytest.mark.parametrize("backend", testing.BACKENDS)
@pytest.mark.parametrize(
    "objective", testing.OBJECTIVES, ids=lambda o: "-".join(map(str, o.values()))
)
@pytest.mark.parametrize("solver", testing.SOLVERS, ids=repr)
@pytest.mark.parametrize("law", testing.LAWS, ids=lambda law: law.__name__)
def test_law(law, solver, objective, backend, dtype):
    if not testing.combines(solver, objective):
        pytest.skip("the solver refuses the objective, and says why")
    law(testing.Case(backend=backend, solver=solver, objective=objective, dtype=dtype))


def test_als_alone_keeps_factors_nonnegative_by_itself_and_learns_from_features():
    """What is skipped above is this and no more."""
    pairs = [(s, o) for s in testing.SOLVERS for o in testing.OBJECTIVES]
    refused = [pair for pair in pairs if not testing.combines(*pair)]
    assert refused == [
        (s, o)
        for s, o in pairs
        if (isinstance(s, hs.ALS) and s.linear != "auto" and o.get("nonnegative"))
        or (not isinstance(s, hs.ALS) and (o.get("implicit_features") or "loss" in o))
    ]
    assert refused
