"""Every example in a docstring runs."""

import doctest
import importlib
import pkgutil

import pytest

import halfstep

MODULES = sorted(
    name
    for _, name, _ in pkgutil.walk_packages(halfstep.__path__, "halfstep.")
    if not name.endswith(("_native", "__main__"))
)


@pytest.mark.parametrize("name", ["halfstep", *MODULES])
def test_doctests(name):
    found = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert found.failed == 0
