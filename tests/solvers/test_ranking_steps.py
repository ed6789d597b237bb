"""Steps of ranking losses: the gradient of what they say, the negatives that they say, the same bits."""

import numpy as np
import pytest

import halfstep as hs
from halfstep import _native, testing
from halfstep.backends import get_backend
from halfstep.backends.base import CSR, Negatives, Parts, RankingRows, RankingTerms
from halfstep.backends.pairwise import drawn
from halfstep.errors import InternalError
from halfstep.solvers.ranking import Drawing, _alike, _ranks, _schedule

NUMPY, NATIVE = get_backend("numpy"), get_backend("native")
LOSSES = ("bpr", "warp", "logistic", "softmax")
T = ("float32", "float64")


def cells_of(users, items, share, seed=0, *, weighted=True):
    generator = np.random.default_rng(seed)
    taken = generator.random((users, items)) < share
    taken[3] = False  # a user without positives
    taken[4] = True  # one with all
    indices = np.nonzero(taken)[1].astype(np.uint32)
    indptr = np.concatenate([[0], np.cumsum(taken.sum(axis=1))]).astype(np.int64)
    weights = generator.uniform(0.5, 2, len(indices)).astype(np.float32) if weighted else None
    return CSR(indptr, indices, np.ones(len(indices), dtype=np.float32), weights)


def parts_of(rows, parts, generator):
    cuts = np.linspace(0, rows, parts + 1).astype(np.int64)
    return Parts(generator.permutation(rows).astype(np.uint32), cuts)


def terms(loss, items, **changes):
    given = {
        "loss": loss,
        "rate": 0.1,
        "reg": (0.3, 0.2, 0.1),
        "growth": 2.0,
        "hard": False,
        "margin": 0.5,
        "ranks": _ranks(items, 5) if loss == "warp" else np.empty(0),
        "items_fixed": False,
        **changes,
    }
    return RankingTerms(**given)


def epochs(backend, rank, dtype, loss, *, count=1, power=0.0, adaptive=True, bias=True, **changes):
    """Two epochs from a random start; how many steps there were, and the arrays after them."""
    generator = np.random.default_rng(rank)
    cells = cells_of(31, 22, 0.3, weighted=rank % 2 > 0)
    users, items = parts_of(31, 3, generator), _alike(np.bincount(cells.indices), 6, generator)
    grid = backend.sgd_grid(cells, users, items)
    ends, own = Drawing(count, power).ends(np.bincount(cells.indices), items)
    sides = [
        RankingRows(
            generator.standard_normal((rows, rank)).astype(dtype),
            generator.standard_normal(rows).astype(dtype) if bias and rows == 22 else None,
            np.ones(rows, dtype=dtype) if adaptive else None,
        )
        for rows in (31, 22)
    ]
    taken = 0
    for epoch in (1, 2):
        schedule = _schedule(3, 6, np.random.default_rng(epoch))
        negatives = Negatives(
            (cells.indptr, cells.indices), ends, own, count, 1 << 40, epoch, False
        )
        step = terms(loss, 22, **changes)
        taken += backend.ranking_epoch(grid, schedule, negatives, step, *sides)
    arrays = [(side.factors, side.bias, side.sums) for side in sides]
    return taken, [array for side in arrays for array in side if array is not None]


@pytest.mark.parametrize("dtype", T)
@pytest.mark.parametrize("rank", [1, 7, 16, 33, 64])
@pytest.mark.parametrize("loss", LOSSES)
def test_native_takes_the_steps_of_the_oracle(loss, rank, dtype):
    count = 1 if loss == "warp" else 1 + rank % 3
    given = {"count": count, "power": rank % 2 * 0.75, "adaptive": rank != 16, "bias": rank != 33}
    taken, expected = epochs(NUMPY, rank, "float64", loss, **given)
    found_taken, found = epochs(NATIVE, rank, dtype, loss, **given)
    assert taken == found_taken > 100
    for array, other in zip(found, expected, strict=True):
        assert np.abs(array - other).max() <= testing.TOLERANCE[dtype] * np.abs(other).max()


@pytest.mark.parametrize("loss", ["bpr", "logistic"])
def test_the_hardest_negative(loss):
    taken, expected = epochs(NUMPY, 7, "float64", loss, count=5, hard=True)
    found_taken, found = epochs(NATIVE, 7, "float64", loss, count=5, hard=True)
    assert taken == found_taken
    for array, other in zip(found, expected, strict=True):
        assert np.abs(array - other).max() <= 1e-10 * np.abs(other).max()
    one = epochs(NUMPY, 7, "float64", loss, count=1)[1]
    assert not np.allclose(one[0], expected[0])


def loss_of(loss, c, w, z, b, margin, weight):
    """The loss of one cell with its penalties: rows of z and b are i and then the negatives."""
    x = z @ w + b
    own, others = x[0], x[1:]
    λ_w, λ_z, λ_b = 0.3, 0.2, 0.1
    N = len(others)
    e = 1.0 if loss == "logistic" else c / N
    if loss == "bpr":
        value = c / N * np.sum(np.log1p(np.exp(others - own)))
    elif loss == "warp":
        value = c * weight * max(0.0, margin + others[0] - own)
    elif loss == "logistic":
        value = c * np.log1p(np.exp(-own)) + np.sum(np.log1p(np.exp(others)))
    else:
        value = -c * (own - np.log(np.sum(np.exp(x))))
    shares = np.array([c] + [e] * N)
    penalty = c * λ_w * w @ w + np.sum(shares * (λ_z * np.sum(z**2, axis=1) + λ_b * b**2))
    return value + penalty / 2


@pytest.mark.parametrize("backend", [NUMPY, NATIVE])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_step_goes_down_the_gradient(loss, backend):
    n, K, N, η = 9, 4, 1 if loss == "warp" else 3, 1e-6
    generator = np.random.default_rng(5)
    W, Z, b = (0.5 * generator.standard_normal(shape) for shape in ((1, K), (n, K), n))
    one = np.array([2.5], dtype=np.float32)
    cells = CSR(np.array([0, 1]), np.array([4], dtype=np.uint32), one, one)
    everyone, items = (Parts(np.arange(k, dtype=np.uint32), np.array([0, k])) for k in (1, n))
    negatives = Negatives(
        (cells.indptr, cells.indices), None, np.zeros(1, dtype=np.uint32), N, 9, 1, False
    )
    step = terms(loss, n, rate=η, margin=100.0)
    others = list(drawn(items, negatives, 0, 4, (0, 0), 40))[:N]
    assert len(set(others)) == N  # another seed, else
    rows = [4, *others]
    flat = np.concatenate([W[0], Z[rows].ravel(), b[rows]])

    def value(x):
        z = x[K : K + K * len(rows)].reshape(-1, K)
        return loss_of(loss, 2.5, x[:K], z, x[K + z.size :], 100.0, step.ranks[:1].sum())

    h = 1e-6
    slopes = [(value(flat + h * e) - value(flat - h * e)) / (2 * h) for e in np.eye(len(flat))]
    taken = backend.ranking_epoch(
        backend.sgd_grid(cells, everyone, items),
        np.zeros((1, 1, 2), dtype=np.int64),
        negatives,
        step,
        RankingRows(W, None, None),
        RankingRows(Z, b, None),
    )
    assert taken == 1
    moved = np.concatenate([W[0], Z[rows].ravel(), b[rows]]) - flat
    np.testing.assert_allclose(moved / -η, slopes, rtol=1e-4, atol=1e-6)


def draws_of_epochs(power, count=300, users=200, items=30):
    """All negatives of some epochs, with the positives of one user in twenty items left out."""
    generator = np.random.default_rng(2)
    cells = cells_of(users, items, 0.1, seed=2, weighted=False)
    counts = np.bincount(cells.indices, minlength=items)
    dealt = _alike(counts, 8, generator)
    ends, own = Drawing(1, power).ends(counts, dealt)
    part = np.empty(items, dtype=np.int64)
    for q in range(8):
        part[dealt.order[dealt.cuts[q] : dealt.cuts[q + 1]]] = q
    rows = np.repeat(np.arange(users), np.diff(cells.indptr))
    found = np.zeros((users, items))
    picked = generator.choice(len(rows), count, replace=False)
    for epoch in range(1, 13):
        partner = {}
        for pairs in _schedule(4, 8, np.random.default_rng([3, epoch])):
            partner |= {(p, g): h for p, (g, h) in enumerate(pairs.tolist())}
        negatives = Negatives((cells.indptr, cells.indices), ends, own, 1, 7, epoch, False)
        for cell in picked:
            u, i = int(rows[cell]), int(cells.indices[cell])
            g = int(part[i])
            parts = g, partner[u % 4, g]
            for j in list(drawn(dealt, negatives, u, i, parts, 1))[:1]:
                found[u, j] += 1
    return cells, counts, found


@pytest.mark.parametrize("power", [0.0, 0.75])
def test_negatives_are_drawn_as_they_should(power):
    from scipy.stats import chi2

    cells, counts, found = draws_of_epochs(power)
    rows = np.repeat(np.arange(len(found)), np.diff(cells.indptr))
    assert found.sum() > 3000
    assert not found[rows, cells.indices].any()  # never a positive
    chance = np.tile(np.maximum(counts, 1).astype(float) ** power, (len(found), 1))
    chance[rows, cells.indices] = 0
    total = chance.sum(axis=1, keepdims=True)
    chance = np.divide(chance, total, out=np.zeros_like(chance), where=total > 0)
    expected = (chance * found.sum(axis=1, keepdims=True)).sum(axis=0)
    statistic = np.sum((found.sum(axis=0) - expected) ** 2 / expected)
    # parts are of about the same mass, not of the very same: a little above what chance alone gives
    assert statistic < chi2.ppf(0.999, len(counts) - 1) * 1.3


def test_a_schedule_visits_every_block_once_and_shares_nothing():
    for B in (1, 2, 5, 8):
        seen, met = set(), set()
        for epoch in range(12):
            schedule = _schedule(B, 2 * B, np.random.default_rng(epoch))
            assert schedule.shape == (2 * B, B, 2)
            for pairs in schedule:
                assert len(set(pairs.ravel().tolist())) == 2 * B
                met |= {tuple(pair) for pair in pairs.tolist()}
            visited = {(p, g) for pairs in schedule for p, (g, _) in enumerate(pairs.tolist())}
            assert len(visited) == 2 * B * B
            seen |= visited
        assert len(seen) == 2 * B * B
        if B == 2:  # all parts meet
            assert met == {(g, h) for g in range(4) for h in range(4) if g != h}


def test_parts_are_alike():
    counts = np.sort(np.random.default_rng(0).zipf(1.6, 103))[::-1].copy()
    parts = _alike(counts, 8, np.random.default_rng(1))
    assert sorted(parts.order.tolist()) == list(range(103))
    sizes = np.diff(parts.cuts)
    assert sizes.min() >= 12
    assert sizes.max() <= 13
    for q in range(8):  # one of the eight most popular each
        own = parts.order[parts.cuts[q] : parts.cuts[q + 1]]
        assert np.count_nonzero(own < 8) == 1


def test_the_ranks_of_warp():
    ranks = _ranks(10, 12)
    H = np.cumsum(1 / np.arange(1, 10))
    assert ranks[0] == 1
    np.testing.assert_allclose(ranks[1], H[3] / H[8])  # ⌊9 / 2⌋ = 4
    np.testing.assert_allclose(ranks[9:], 1 / H[8])
    assert _ranks(1, 3).tolist() == [1, 1, 1]


@pytest.mark.parametrize("loss", LOSSES)
def test_threads_and_the_order_of_rows_do_not_matter(loss):
    ratings = hs.simulate(400, 150, rank=3, ratings_per_user=60, seed=1).ratings
    users = ratings.users.take(ratings.user_index())
    items = ratings.items.take(ratings.by_user.indices)
    values = ratings.by_user.values
    shuffled = np.random.default_rng(0).permutation(len(ratings))
    other = hs.Ratings.from_arrays(users[shuffled], items[shuffled], values[shuffled])
    model = hs.RankingMF(rank=9, loss=loss, max_iter=3, sampling=0.5)
    first = None
    before = hs.get_num_threads()
    try:
        for threads, table in ((1, ratings), (2, other), (3, ratings), (8, other)):
            hs.set_num_threads(threads)
            f = model.fit(table).factors_
            bits = [x.tobytes() for x in (f.user_factors, f.item_factors, f.item_bias)]
            first = first or bits
            assert bits == first
    finally:
        hs.set_num_threads(before)


@pytest.mark.parametrize("isa", ["portable", "avx2"])
def test_instruction_sets_agree(isa, run_code):
    if isa not in _native.available_isas():
        pytest.skip(f"this machine has no {isa}")
    code = (
        "import halfstep as hs\n"
        "ratings = hs.simulate(60, 40, rank=3, seed=0).ratings\n"
        "f = hs.RankingMF(rank=5, max_iter=2, dtype='float64').fit(ratings).factors_\n"
        "print(*f.item_factors[3].tolist())"
    )
    found, expected = (
        np.array(run_code(code, HALFSTEP_ISA=chosen).stdout.split(), dtype=float)
        for chosen in (isa, "")
    )
    assert len(found) == 5
    np.testing.assert_allclose(found, expected, rtol=1e-8)


def test_broken_arguments_are_refused():
    cells = cells_of(31, 22, 0.3)
    generator = np.random.default_rng(0)
    grid = NATIVE.sgd_grid(cells, parts_of(31, 3, generator), parts_of(22, 6, generator))
    ends, own = None, np.zeros(6, dtype=np.uint32)
    negatives = Negatives((cells.indptr, cells.indices), ends, own, 1, 0, 0, False)
    schedule = _schedule(3, 6, generator)

    def go(schedule=schedule, users=31, **changes):
        sides = [RankingRows(np.zeros((rows, 2)), None, None) for rows in (users, 22)]
        step = terms(changes.pop("loss", "bpr"), 22, **changes)
        return NATIVE.ranking_epoch(grid, schedule, negatives, step, *sides)

    assert go() > 0
    for given in (
        {"loss": "other"},
        {"schedule": schedule[:, :2]},
        {"schedule": -schedule - 1},
        {"schedule": np.zeros_like(schedule)},
        {"users": 30},
    ):
        with pytest.raises(InternalError):
            go(**given)
