"""What a calibrated model's file keeps, and what is refused on load."""

import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import halfstep as hs
from halfstep.errors import ModelFileError, NotCalibratedError


@pytest.fixture(scope="module", params=[1, 2], ids=["one list of scores", "two"])
def model(request):
    """Calibrated; with many items of few ratings they have scores of their own."""
    items = 100 if request.param == 1 else 1000
    draws = 12_000 if request.param == 1 else 5_000
    simulated = hs.simulate(
        200, items, n_draws=draws, rank=2, min_per_user=10, popularity=0.8, seed=1
    )
    train, part = hs.split_random(simulated.ratings, test=0.3, seed=0)
    made = hs.ExplicitMF(rank=2, max_iter=10).fit(train).calibrate(part)
    assert len(made.calibration_.counts) == request.param
    return made


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


@pytest.mark.parametrize("mmap", [False, True])
def test_there_and_back(model, saved, mmap):
    found = hs.load(saved, mmap=mmap)
    pairs = np.indices((200, 30)).reshape(2, -1)
    for level in (0.5, 0.9):
        one = model.predict(*pairs, interval=level)
        two = found.predict(*pairs, interval=level)
        assert [a.tobytes() for a in one] == [b.tobytes() for b in two]
    again = hs.load(found.save(saved.with_name("again.safetensors")))
    assert again.calibration_.counts == model.calibration_.counts


def test_an_uncalibrated_file_says_so(model, saved):
    bare = hs.ExplicitMF(rank=2, max_iter=2).fit([(1, 1), (2, 2), (1, 2)], [3.0, 4.0, 5.0])
    found = hs.load(bare.save(saved))
    assert found.calibration_ is None
    with pytest.raises(NotCalibratedError):
        found.predict(1, 1, interval=0.9)


def changed(name, change):
    def arrays(tensors):
        array = tensors[name].copy()
        tensors[name] = change(array)

    return arrays


def put(place, value):
    def change(array):
        array[place] = value
        return array

    return change


@pytest.mark.parametrize(
    "arrays",
    [
        changed("calibration.scale", put((0, 0), np.nan)),
        changed("calibration.scale", put((2, 1), 0.0)),
        changed("calibration.scale", put((3, 1), 1e9)),
        changed("calibration.scale", lambda a: a[:4]),
        changed("calibration.scores.0", lambda a: a[:-1]),
        changed("calibration.scores.0", lambda a: a[::-1].copy()),
        changed("calibration.scores.0", lambda a: a.astype(np.float32)),
        changed("calibration.scores.0", lambda a: -a),
        changed("calibration.scores.0", put(-1, np.inf)),
        lambda tensors: tensors.pop("calibration.scores.0"),
        lambda tensors: tensors.pop("calibration.scale"),
    ],
)
def test_tampered_arrays(saved, arrays):
    hs.load(saved)
    rewrite(saved, arrays)
    with pytest.raises(ModelFileError):
        hs.load(saved)


@pytest.mark.parametrize(
    "counts", [[], [0], [1, 2, 3], ["many"], [True], None, [10**9], [-5], {"n": 1}, [1.5]], ids=str
)
def test_tampered_counts(saved, counts):
    rewrite(saved, document=lambda told: told.update(calibration=counts))
    with pytest.raises(ModelFileError):
        hs.load(saved)
