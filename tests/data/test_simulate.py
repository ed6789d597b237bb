"""Simulated ratings: the planted truth can be read back, and the rows depend on nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import halfstep.data.simulate as module
from halfstep.data.simulate import (
    BENCHMARK_16M,
    Rows,
    Simulation,
    simulate,
    simulate_parquet,
)
from halfstep.errors import ParameterError

SEEDS = [0, 1, 2]
REAL = {"scale": None}  # neither rounded nor clipped


def same(left: Rows, right: Rows) -> bool:
    return all(
        a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(left, right, strict=True)
    )


def joined(parts: list[Rows]) -> Rows:
    return Rows(*map(np.concatenate, zip(*parts, strict=True)))


def read(path: Path) -> dict[str, Any]:
    import duckdb

    with duckdb.connect() as connection:
        return connection.execute("SELECT * FROM read_parquet(?)", [str(path)]).fetchnumpy()


def many_blocks(**changes: Any) -> Simulation:
    """Small enough for a test, more than two blocks."""
    return simulate(9000, 300, ratings_per_user=12, min_per_user=5, **changes)


# ---------------------------------------------------------------------- the planted truth


@pytest.mark.parametrize("seed", SEEDS)
def test_residuals_are_the_noise(seed: int) -> None:
    sim = simulate(3000, 400, noise=0.7, seed=seed, **REAL)
    users, items, ratings, time = sim.rows()
    residual = ratings - sim.planted.expected(users, items, time)
    error = 5 / np.sqrt(len(residual))
    assert abs(residual.std() / 0.7 - 1) < error
    assert abs(residual.mean()) < 0.7 * error
    # time alone decides the drift: without it, drift is left in the residual
    without = ratings - sim.planted.expected(users, items)
    assert without.std() > residual.std()


@pytest.mark.parametrize("seed", SEEDS)
def test_parts_have_the_stated_spread(seed: int) -> None:
    sim = simulate(
        20_000, 2000, rank=5, factor_std=0.6, user_bias_std=0.3, item_bias_std=0.2, seed=seed
    )
    truth = sim.planted
    assert abs(truth.user_bias.std() / 0.3 - 1) < 0.05
    assert abs(truth.item_bias.std() / 0.2 - 1) < 0.1
    pairs = np.random.default_rng(seed).integers(0, [20_000, 2000], (100_000, 2)).T
    signal = np.einsum("rk,rk->r", truth.W[pairs[0]], truth.Z[pairs[1]])
    assert abs(signal.std() / 0.6 - 1) < 0.1


@pytest.mark.parametrize("seed", SEEDS)
def test_least_squares_finds_the_user_factors(seed: int) -> None:
    sim = simulate(300, 400, rank=3, noise=0.1, bias_drift=0.0, seed=seed, **REAL)
    users, items, ratings, _ = sim.rows()
    truth = sim.planted
    target = ratings - truth.mean - truth.item_bias[items]
    design = np.column_stack([truth.Z, np.ones(len(truth.Z), np.float32)])
    busiest = int(np.bincount(users).argmax())
    mine = users == busiest
    found = np.linalg.lstsq(design[items[mine]], target[mine], rcond=None)[0]
    planted = np.append(truth.W[busiest], truth.user_bias[busiest])
    np.testing.assert_allclose(found, planted, atol=0.15)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("exponent", [0.0, 0.9])
def test_popularity_is_zipf_over_permuted_items(seed: int, exponent: float) -> None:
    # few draws of many items, so that hardly a draw repeats
    sim = simulate(
        40_000,
        5000,
        ratings_per_user=3,
        activity_sigma=0.2,
        min_per_user=1,
        popularity=exponent,
        popularity_drift=0.3,
        seed=seed,
    )
    counts = np.sort(np.bincount(sim.rows().items, minlength=5000))[::-1]
    rank = np.arange(1, 5001)
    ranks = slice(20, 500)  # the head repeats, the tail is rare
    slope = np.polyfit(np.log(rank[ranks]), np.log(counts[ranks]), 1)[0]
    assert abs(-slope - exponent) < 0.15
    order = np.argsort(-sim.planted.popularity, kind="stable")
    if exponent:
        expected = rank**-exponent / np.sum(rank**-exponent)
        np.testing.assert_allclose(sim.planted.popularity[order], expected, rtol=1e-12)
        assert abs(np.corrcoef(order, rank)[0, 1]) < 0.1  # which items are popular is permuted


def test_popularity_moves_and_its_drift_can_be_switched_off() -> None:
    def early_and_late(drift: float) -> float:
        sim = simulate(20_000, 20, min_per_user=1, ratings_per_user=3, popularity_drift=drift)
        _, items, _, time = sim.rows()
        early = time < np.median(time)
        shares = [np.bincount(items[mask], minlength=20) / mask.sum() for mask in (early, ~early)]
        return float(np.abs(shares[0] - shares[1]).sum())

    assert early_and_late(0.0) < 0.05
    assert early_and_late(1.0) > 0.15


@pytest.mark.parametrize("seed", SEEDS)
def test_activity_is_lognormal(seed: int) -> None:
    sim = simulate(20_000, 50, ratings_per_user=200, activity_sigma=0.8, seed=seed)
    draws = sim.planted.draws
    assert abs(np.median(draws) / 200 - 1) < 0.05
    assert abs(np.log(draws).std() / 0.8 - 1) < 0.05


def test_time_stays_in_its_span_and_comes_in_sessions() -> None:
    sim = simulate(500, 300, years=2.0)
    users, _, _, time = sim.rows()
    truth = sim.planted
    assert time.min() >= truth.time_start
    assert time.max() <= truth.time_start + truth.time_span + 3600
    for user in range(20):
        mine = np.sort(time[users == user])
        sessions = 1 + np.count_nonzero(np.diff(mine) > 3600)
        assert sessions <= 1 + truth.draws[user] // 50


# ---------------------------------------------------------------------- rules of the rows


@pytest.mark.parametrize("seed", SEEDS)
def test_pairs_are_distinct_and_sorted_and_every_user_has_enough(seed: int) -> None:
    sim = many_blocks(seed=seed)
    assert len(sim._cuts) > 3
    users, items, ratings, _ = sim.rows()
    pair = users.astype(np.int64) * sim.n_items + items
    assert (np.diff(pair) > 0).all()
    counts = np.bincount(users, minlength=sim.n_users)
    assert len(counts) == sim.n_users
    assert counts.min() >= 5
    assert (counts <= np.maximum(sim.planted.draws, 5)).all()
    assert items.min() >= 0
    assert items.max() < sim.n_items
    assert set(np.unique(ratings * 2)) == set(range(1, 11))


def test_every_user_can_be_made_to_rate_every_item() -> None:
    for n_items in (1, 40):
        sim = simulate(30, n_items, min_per_user=40, ratings_per_user=1, popularity=3.0)
        users, items, ratings, time = sim.rows()
        assert np.array_equal(users, np.repeat(np.arange(30), n_items))
        assert np.array_equal(items, np.tile(np.arange(n_items), 30))
        assert len(ratings) == len(time) == 30 * n_items


@pytest.mark.parametrize("n_draws", [20 * 400, 20 * 400 + 1, 54_321, 400_001])
def test_the_number_of_draws_is_exact(n_draws: int) -> None:
    sim = simulate(400, 1000, n_draws=n_draws)
    assert sim.planted.draws.sum() == n_draws
    assert sim.planted.draws.min() >= 20


def test_other_scales() -> None:
    stars = simulate(50, 60, scale=(1, 5, 1)).rows().ratings
    assert set(np.unique(stars)) == {1, 2, 3, 4, 5}
    tenths = simulate(50, 60, scale=(0, 1, 0.1), mean=0.5, noise=0.2).rows().ratings
    assert np.array_equal(tenths, (np.rint(tenths.astype(np.float64) * 10) / 10).astype(np.float32))
    real = simulate(50, 60, mean=100.0, **REAL).rows().ratings
    assert abs(real.mean() - 100) < 1
    assert len(np.unique(real)) > 0.9 * len(real)


def test_no_noise_and_no_spread_is_the_mean() -> None:
    nothing = dict.fromkeys(
        ("noise", "factor_std", "user_bias_std", "item_bias_std", "bias_drift"), 0.0
    )
    assert (simulate(20, 30, mean=2.5, **REAL, **nothing).rows().ratings == 2.5).all()


# ---------------------------------------------------------------------- one seed, one answer


def test_the_seed_decides_the_rows() -> None:
    assert same(simulate(200, 100, seed=7).rows(), simulate(200, 100, seed=7).rows())
    assert not same(simulate(200, 100, seed=7).rows(), simulate(200, 100, seed=8).rows())


def test_the_noise_leaves_everything_else_alone() -> None:
    quiet, loud = simulate(200, 100, noise=0.0).rows(), simulate(200, 100, noise=2.0).rows()
    assert same(quiet._replace(ratings=loud.ratings), loud)


@settings(max_examples=10, deadline=None)
@given(chunk_rows=st.integers(1, 250_000), seed=st.integers(0, 2**128 - 1))
def test_the_chunk_size_does_not_matter(chunk_rows: int, seed: int) -> None:
    sim = many_blocks(seed=seed)
    chunks = list(sim.chunks(chunk_rows))
    assert all(len(chunk.users) >= chunk_rows for chunk in chunks[:-1])
    assert same(joined(chunks), sim.rows())


def test_blocks_are_bounded_by_draws_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK_DRAWS", 10_000)
    sim = many_blocks()
    draws = sim.planted.draws
    for first, last in zip(sim._cuts[:-1], sim._cuts[1:], strict=True):
        assert first < last
        assert draws[first : last - 1].sum() < 10_000
    assert sim._cuts[-1] == sim.n_users


# ---------------------------------------------------------------------- outlets


@pytest.mark.parametrize("ids", ["int", "str"])
@pytest.mark.parametrize("chunk_rows", [1, 4_000_000])
def test_parquet_equals_the_arrays(tmp_path: Path, ids: str, chunk_rows: int) -> None:
    sim = many_blocks(ids=ids)
    path = tmp_path / "it's [a] *file?.parquet"
    path.write_bytes(b"an older file")
    count = sim.to_parquet(path, chunk_rows)
    table, rows = read(path), sim.rows()
    assert list(table) == ["user", "item", "rating", "timestamp"]
    assert count == len(rows.users)
    users, items = table["user"], table["item"]
    if ids == "str":
        assert users[0] == "u0000"
        assert items[0] == f"i{rows.items[0]:03d}"
        users, items = (np.array([int(name[1:]) for name in names]) for names in (users, items))
    assert np.array_equal(users, rows.users)
    assert np.array_equal(items, rows.items)
    assert np.array_equal(table["rating"], rows.ratings)
    assert np.array_equal(table["timestamp"], rows.time)
    assert os.listdir(tmp_path) == [path.name]  # nothing else is left


def test_simulate_parquet_is_the_same_in_one_call(tmp_path: Path) -> None:
    path = tmp_path / "ratings.parquet"
    sim = simulate_parquet(path, 60, 40, noise=0.5, seed=3, chunk_rows=100)
    assert sim == simulate(60, 40, noise=0.5, seed=3)
    assert np.array_equal(read(path)["rating"], sim.rows().ratings)


@pytest.mark.parametrize("ids", ["int", "str"])
def test_ratings_hold_the_rows(ids: str) -> None:
    sim = simulate(60, 40, ids=ids, min_per_user=15)
    ratings, rows = sim.ratings, sim.rows()
    assert len(ratings) == len(rows.users)
    assert ratings is sim.ratings
    cells = ratings.by_user
    assert np.array_equal(np.diff(cells.indptr), np.bincount(rows.users, minlength=60))
    names = ratings.items.take(cells.indices)
    assert np.array_equal(names, rows.items if ids == "int" else [f"i{i:02d}" for i in rows.items])
    assert np.array_equal(cells.values, rows.ratings)
    assert np.array_equal(ratings.time, rows.time)


def test_an_interrupted_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sim = many_blocks()
    path = tmp_path / "ratings.parquet"
    path.write_bytes(b"the old file")

    def stop(simulation: Simulation, block: int) -> Rows:
        if block == 1:
            raise KeyboardInterrupt
        return original(simulation, block)

    original = Simulation._block
    monkeypatch.setattr(Simulation, "_block", stop)
    with pytest.raises(KeyboardInterrupt):
        sim.to_parquet(path, chunk_rows=1)
    assert path.read_bytes() == b"the old file"
    assert os.listdir(tmp_path) == [path.name]


def test_nothing_heavy_is_imported_and_nothing_is_drawn_at_once(tmp_path: Path) -> None:
    code = (
        "import sys; from halfstep.data.simulate import BENCHMARK_16M, simulate\n"
        "simulate(10**9, 10**8); sim = simulate(50, 60)\n"
        "assert not {'duckdb', 'scipy', 'pandas', 'pyarrow'} & set(sys.modules)\n"
        f"sim.to_parquet({str(tmp_path / 'a.parquet')!r})\n"
        "assert not {'scipy', 'pandas', 'pyarrow', 'polars'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_benchmark_instance_is_as_described() -> None:
    truth = simulate(**BENCHMARK_16M).planted
    assert truth.W.shape == (138_000, 16)
    assert truth.Z.shape == (27_000, 16)
    assert truth.draws.sum() == 20_000_000
    assert truth.draws.min() == 20


# ---------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("n_users", 0),
        ("n_users", 10.0),
        ("n_users", True),
        ("n_items", 2**27 + 1),
        ("rank", 0),
        ("ratings_per_user", 0),
        ("ratings_per_user", float("inf")),
        ("ratings_per_user", "68"),
        ("activity_sigma", -0.1),
        ("activity_sigma", 11),
        ("min_per_user", 0),
        ("min_per_user", 2**22 + 1),
        ("popularity", float("nan")),
        ("popularity_drift", -1.0),
        ("factor_std", -1.0),
        ("user_bias_std", None),
        ("item_bias_std", -1.0),
        ("bias_drift", -1.0),
        ("noise", -1.0),
        ("mean", float("nan")),
        ("scale", (5.0, 0.5, 0.5)),
        ("scale", (0.0, 1.0, 0.3)),
        ("scale", (0.5, 5.0)),
        ("scale", 5.0),
        ("scale", ("a", "b", "c")),
        ("scale", (0.0, float("inf"), 1.0)),
        ("years", 0.0),
        ("n_draws", 1000 * 20 - 1),
        ("n_draws", 1.0),
        ("ids", "titles"),
        ("seed", -1),
        ("seed", None),
    ],
)
def test_bad_parameters_are_named(argument: str, value: Any) -> None:
    with pytest.raises(ParameterError) as caught:
        simulate(**{argument: value})
    assert caught.value.argument == argument
    assert str(caught.value).startswith(f"{argument}=")


def test_bad_outlets_are_named_before_any_work(tmp_path: Path) -> None:
    sim = simulate(10**9, 10**8)  # drawing this would take long
    for chunk_rows in (0, 1.5):
        with pytest.raises(ParameterError, match=r"^chunk_rows="):
            sim.chunks(chunk_rows)  # type: ignore[arg-type]
        with pytest.raises(ParameterError, match=r"^chunk_rows="):
            sim.to_parquet(tmp_path / "a.parquet", chunk_rows)  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match=r"^path=.*folder must exist"):
        sim.to_parquet(tmp_path / "nowhere" / "a.parquet")
    with pytest.raises(ParameterError, match=r"^path=.*must be a file"):
        sim.to_parquet(tmp_path)
    assert os.listdir(tmp_path) == []
