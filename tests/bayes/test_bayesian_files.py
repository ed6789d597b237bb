"""What the file of a Bayesian model keeps, and what is refused on load."""

import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import halfstep as hs
from halfstep import testing
from halfstep.errors import ModelFileError

PAIRS = np.array([100, 103, 106, 999, 100]), np.array(["é0001", "é0004", "none", "é0001", "none"])


@pytest.fixture(scope="module", params=["user", "shared", "no biases", "features"])
def model(request):
    options = {
        "user": {},
        "shared": {"noise": "shared"},
        "no biases": {"biases": False, "dtype": "float64"},
        "features": {"implicit_features": True},
    }[request.param]
    ratings = testing.random_ratings(30, 20, 0.5, weighted=True)
    return hs.BayesianMF(rank=3, samples=12, burn_in=4, keep=6, **options).fit(ratings)


@pytest.fixture
def saved(model, tmp_path):
    return model.save(tmp_path / "m.safetensors")


def rewrite(path, arrays=lambda tensors: None, document=lambda told: None):
    """The same file with other contents."""
    tensors = load_file(path)
    with safe_open(path, "numpy") as file:
        told = json.loads(file.metadata()["halfstep"])
    arrays(tensors)
    document(told)
    save_file(tensors, path, metadata={"halfstep": json.dumps(told)})


def answers(model):
    """Everything that depends on the draws, as bytes."""
    users = model.factors_.user_ids.take(np.arange(5))
    found = [model.predict(*PAIRS), *model.predict(*PAIRS, std=True)]
    found += model.predict(*PAIRS, interval=0.9)
    for strategy in ("mean", "ucb", "thompson"):
        ranked = model.recommend(users, 4, strategy=strategy, exclude_seen=False)
        found += [np.array(ranked.found.tolist()), ranked.scores]
    ratings = testing.random_ratings(4, 20, 0.5, seed=5)
    items = ratings.items.take(np.arange(len(ratings.items)))
    folded = model.fold_in(ratings, unknown="ignore")
    found += [folded.factors, *(draw[0] for draw in folded.draws), np.array(items.tolist())]
    return [array.tobytes() for array in found]


@pytest.mark.parametrize("mmap", [False, True])
def test_there_and_back(model, saved, mmap):
    found = hs.load(saved, mmap=mmap)
    assert answers(found) == answers(model)
    assert found.get_params() == model.get_params()
    for name in ("sigma", "objective", "predictions"):
        assert getattr(found.record_, name).tobytes() == getattr(model.record_, name).tobytes()
    assert found.stopped_ == "samples"
    assert found.rank_ == 3
    again = hs.load(found.save(saved.with_name("again.safetensors")))
    assert answers(again) == answers(model)
    assert (saved.read_bytes() == saved.with_name("again.safetensors").read_bytes()) or mmap


def test_a_model_with_new_rows_there_and_back(model, tmp_path):
    ratings = testing.random_ratings(4, 20, 0.5, seed=5)
    users, items, r = ratings.to_arrays()
    new = hs.Ratings.from_arrays(users + 5000, items, r)
    fresh = model.with_rows(model.fold_in(new, unknown="ignore"))
    found = hs.load(fresh.save(tmp_path / "new.safetensors"))
    assert answers(found) == answers(fresh)
    pairs = np.unique(users + 5000), np.full(4, "é0001")
    for one, two in zip(
        fresh.predict(*pairs, interval=0.5), found.predict(*pairs, interval=0.5), strict=True
    ):
        assert one.tobytes() == two.tobytes()


def put(name, place, value):
    def arrays(tensors):
        array = tensors[name].copy()
        array[place] = value
        tensors[name] = array

    return arrays


def changed(name, change):
    def arrays(tensors):
        tensors[name] = np.ascontiguousarray(change(tensors[name]))

    return arrays


REQUIRED = (
    "draws.user_factors",
    "draws.item_factors",
    "draws.alpha",
    "draws.center",
    "draws.user_mean",
    "draws.user_precision",
    "draws.item_typical",
    "noise.quantiles",
    "record.sigma",
    "record.objective",
    "record.predictions",
    "record.users",
)


@pytest.mark.parametrize("name", REQUIRED)
@pytest.mark.parametrize(
    "change",
    [
        lambda a: a[:-1],
        lambda a: a[None],
        lambda a: a.astype(np.float16),
        lambda a: np.concatenate([a, a[:1]]),
        lambda a: a[:0],
    ],
    ids=["shorter", "another axis", "half", "longer", "empty"],
)
def test_arrays_of_another_shape_or_type(saved, name, change):
    if name == "noise.quantiles" and len(change(np.zeros(5))) in (4, 6):
        pytest.skip("any number of them will do")
    rewrite(saved, changed(name, change))
    with pytest.raises(ModelFileError):
        hs.load(saved)


@pytest.mark.parametrize("name", REQUIRED)
def test_arrays_that_are_missing(saved, name):
    rewrite(saved, lambda tensors: tensors.pop(name))
    with pytest.raises(ModelFileError):
        hs.load(saved)


@pytest.mark.parametrize(
    "arrays",
    [
        *(put(name, ..., np.nan) for name in REQUIRED if name != "record.users"),
        put("draws.user_factors", (2, -1, 0), np.inf),
        put("draws.alpha", 3, 0.0),
        put("draws.alpha", 3, -1.0),
        put("draws.freedom", 0, 0.0),
        put("draws.freedom", 0, np.nan),
        put("noise.quantiles", 5, 1e6),
        put("record.users", 0, -1),
        put("record.items", 0, -1),
        put("record.users", 0, 10**6),
        put("record.items", 0, 10**6),
    ],
)
def test_values_that_make_no_sense(saved, arrays):
    rewrite(saved, arrays)
    with pytest.raises(ModelFileError):
        hs.load(saved)


def test_a_precision_that_is_none(saved):
    rewrite(saved, put("draws.user_precision", (0, 0, 0), -1.0))
    with pytest.raises(ModelFileError):
        hs.load(saved)


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan])
def test_a_steadiness_that_is_none(model, saved, value):
    if model.noise == "shared":
        pytest.skip("all users are as steady")
    rewrite(saved, put("draws.steadiness", (1, 2), value))
    with pytest.raises(ModelFileError):
        hs.load(saved)


@pytest.mark.parametrize(
    "params",
    [
        {"rank": 4},
        {"rank": "auto"},
        {"biases": "maybe"},
        {"dtype": "float16"},
        {"noise": "loud"},
        {"what": 1},
    ],
    ids=str,
)
def test_parameters_that_do_not_fit(saved, params):
    rewrite(saved, document=lambda told: told["params"].update(params))
    with pytest.raises(ModelFileError):
        hs.load(saved)


def test_a_file_cut_short(saved):
    whole = saved.read_bytes()
    for size in (0, 7, 100, len(whole) // 2, len(whole) - 1):
        saved.write_bytes(whole[:size])
        with pytest.raises(ModelFileError):
            hs.load(saved)
