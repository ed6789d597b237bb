"""Every law over the whole product of objectives, solvers, backends and dtypes."""

import pytest

from halfstep import testing


@pytest.mark.parametrize("dtype", testing.DTYPES)
@pytest.mark.parametrize("backend", testing.BACKENDS)
@pytest.mark.parametrize(
    "objective", testing.OBJECTIVES, ids=lambda o: "-".join(map(str, o.values()))
)
@pytest.mark.parametrize("solver", testing.SOLVERS, ids=repr)
@pytest.mark.parametrize("law", testing.LAWS, ids=lambda law: law.__name__)
def test_law(law, solver, objective, backend, dtype):
    law(testing.Case(backend=backend, solver=solver, objective=objective, dtype=dtype))
