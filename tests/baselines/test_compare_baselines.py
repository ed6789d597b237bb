"""All baselines on one test part."""

import numpy as np
import pytest

import halfstep as hs
from halfstep.baselines import compare_baselines
from halfstep.errors import DataError, ParameterError


def test_every_baseline_is_measured(simulated):
    train, test = hs.split_random(simulated, test=0.2, seed=0)
    found = compare_baselines(train, test)
    assert list(found) == ["global mean", "biases only", "item-kNN"]
    models = (hs.GlobalMean(), hs.Biases(), hs.ItemKNN())
    for told, model in zip(found.values(), models, strict=True):
        model.fit(train)
        assert (told.rmse, told.mae) == (model.rmse(test), model.mae(test))
        assert told.seconds > 0
        assert told.left_out is None
    clipped = compare_baselines(train, test, clip=True)["biases only"]
    assert clipped.rmse == hs.Biases().fit(train).rmse(test, clip=True)


def test_neighbors_are_left_out_where_they_take_too_long(simulated):
    sizes = [len(simulated.rows_of([u]).indices) for u in range(120)]
    needed = sum(size**2 for size in sizes) + 80**2
    models = {"kNN": hs.ItemKNN(), "EASE": hs.EASE(values="centered")}
    enough = compare_baselines(simulated, simulated, models=models, most_operations=needed)
    assert enough["kNN"].rmse > 0
    told = compare_baselines(simulated, simulated, models=models, most_operations=needed - 1)
    assert told["kNN"].rmse is told["kNN"].mae is told["kNN"].seconds is None
    assert told["kNN"].left_out.startswith(f"{needed:,} operations")
    assert told["EASE"].rmse == enough["EASE"].rmse
    assert not hasattr(hs.ItemKNN(), "history_")


def test_bad_input(simulated):
    with pytest.raises(DataError, match=r"train=.* must be Ratings"):
        compare_baselines([(1, 2)], simulated)
    with pytest.raises(DataError, match=r"test=.* must be Ratings"):
        compare_baselines(simulated, [(1, 2)])
    with pytest.raises(DataError, match="at least one"):
        compare_baselines(simulated, simulated.select(np.zeros(len(simulated), dtype=bool)))
    with pytest.raises(ParameterError, match="most_operations"):
        compare_baselines(simulated, simulated, most_operations=-1)
    for wrong in ([hs.Biases()], {"mean": 3.5}, hs.Biases()):
        with pytest.raises(ParameterError, match="models="):
            compare_baselines(simulated, simulated, models=wrong)
