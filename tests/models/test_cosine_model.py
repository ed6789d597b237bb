"""`CosineMF`: what it finds, what it keeps, what it refuses."""

import numpy as np
import pytest

import halfstep as hs
from halfstep.errors import ParameterError
from halfstep.solvers.cosine import CosineSGD

CHEAP = {"rank": 8, "weight": 3.0, "margin": 0.5, "max_iter": 8}


@pytest.fixture(scope="module")
def groups():
    """Users who take the items of their own group: 4 groups of 40 users and 30 items."""
    generator = np.random.default_rng(0)
    users, items = np.nonzero(generator.random((160, 120)) < 0.3)
    kept = users // 40 == items // 30
    return hs.Ratings.from_arrays(
        [f"u {u}" for u in users[kept]], [f"é{i}" for i in items[kept]], np.ones(kept.sum())
    )


def test_lists_hold_items_of_the_own_group(groups):
    model = hs.CosineMF(**CHEAP).fit(groups)
    right = total = 0
    for u in range(0, 160, 7):
        for item, _ in model.recommend(f"u {u}", n=5)[f"u {u}"]:
            right += int(item[1:]) // 30 == u // 40
            total += 1
    assert right > 0.95 * total


def test_factors_are_of_unit_length_and_scores_cosines(groups):
    model = hs.CosineMF(**CHEAP).fit(groups)
    for rows in (model.factors_.user_factors, model.factors_.item_factors):
        np.testing.assert_allclose(np.sum(rows * rows, axis=1), 1, rtol=1e-5)
    assert model.factors_.item_bias is None
    assert model.trace_[-1].objective < 0.5 * model.trace_[0].objective


def test_same_bits_for_any_number_of_threads(groups):
    before = hs.get_num_threads()
    try:
        found = set()
        for threads in (1, 2, 3, 8):
            hs.set_num_threads(threads)
            f = hs.CosineMF(**CHEAP).fit(groups).factors_
            found.add((f.user_factors.tobytes(), f.item_factors.tobytes()))
    finally:
        hs.set_num_threads(before)
    assert len(found) == 1


def test_backends_agree(groups):
    native, oracle = (
        hs.CosineMF(**CHEAP, dtype="float64").fit(groups, backend=name).factors_
        for name in ("native", "numpy")
    )
    np.testing.assert_allclose(native.item_factors, oracle.item_factors, rtol=1e-6, atol=1e-8)


def test_validation_keeps_the_best_epoch(groups):
    train, test = hs.split_random(groups, test=0.2, seed=0)
    model = hs.CosineMF(metric="auc", **CHEAP).fit(train, validation=test)
    scores = [row.validation_score for row in model.trace_]
    assert model.best_iter_ == int(np.argmax(scores)) + 1
    assert max(scores) == model.score(test) > 0.9


def test_folded_users_do_not_depend_on_others(groups):
    model = hs.CosineMF(**CHEAP).fit(groups)
    mine = [(f"é{i}", 1.0) for i in (1, 4, 9, 16, 25)]
    one = hs.Ratings.from_arrays(["new"] * 5, [i for i, _ in mine], np.ones(5))
    both = hs.Ratings.from_arrays(
        ["new"] * 5 + ["other"] * 2, [i for i, _ in mine] + ["é40", "é50"], np.ones(7)
    )
    alone, beside = model.fold_in(one), model.fold_in(both)
    np.testing.assert_array_equal(alone.factors[0], beside.factors[0])
    own = model.factors_.item_factors @ alone.factors[0]
    names = [int(name[1:]) for name in model.factors_.item_ids.values]
    inside = np.array([number < 30 for number in names])
    assert own[inside].min() > own[~inside].max()


def test_a_file_holds_the_model(groups, tmp_path):
    model = hs.CosineMF(**CHEAP).fit(groups)
    back = hs.load(model.save(tmp_path / "m.safetensors"))
    assert type(back) is hs.CosineMF
    assert back.get_params() == model.get_params()
    np.testing.assert_array_equal(back.factors_.user_factors, model.factors_.user_factors)


@pytest.mark.parametrize(
    "given",
    [
        {"margin": 1.5},
        {"margin": None},
        {"weight": -1.0},
        {"rates": 0.1},
        {"rates": (1.0, 0.0)},
        {"negatives": 0},
        {"max_iter": 0},
        {"rank": 0},
    ],
)
def test_bad_parameters_are_refused(groups, given):
    with pytest.raises(ParameterError) as error:
        hs.CosineMF(**given).fit(groups)
    assert next(iter(given)) in str(error.value)


def test_rates_fall_to_zero():
    solver = CosineSGD(0.9, 150.0, 10, (2.0, 1.0), 4, 0)
    assert [solver.terms(t, 4).rates for t in (1, 2, 3, 4)] == [
        (1.75, 0.875),
        (1.25, 0.625),
        (0.75, 0.375),
        (0.25, 0.125),
    ]
    drawn = solver.drawn(30, np.random.default_rng(0))
    assert len(set(drawn.tolist())) == 10
    np.testing.assert_array_equal(solver.drawn(10, np.random.default_rng(0)), np.arange(10))
