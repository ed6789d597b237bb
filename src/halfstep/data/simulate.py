"""Simulated ratings with everything planted: factors, biases, popularity, noise, drifting time.

    sim = simulate(1000, 500, seed=1)
    sim.ratings                      a Ratings, in memory
    sim.to_parquet("demo.parquet")   the same rows as a file, made and written piece by piece
    sim.planted.Z                    the truth to compare with

How the rows come out the same whichever way they are asked for:

1. Users are cut into blocks of at most 4096 users and about a million draws; where the cuts fall
   depends on the parameters and the seed alone.
2. Every block has a random generator of its own, keyed by (seed, block).
3. A chunk is one or more whole blocks, so its size changes memory, never rows.

The same seed gives the same rows wherever numpy's generators and rounding are the same.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from halfstep.errors import ParameterError

if TYPE_CHECKING:
    from halfstep.data.ratings import Ratings

__all__ = ["BENCHMARK_16M", "Planted", "Rows", "Simulation", "simulate", "simulate_parquet"]

Array = npt.NDArray[Any]
_T = TypeVar("_T")

BENCHMARK_16M: Final[dict[str, Any]] = {
    "n_users": 138_000,
    "n_items": 27_000,
    "rank": 16,
    "ratings_per_user": 68,
    "activity_sigma": 1.1,
    "min_per_user": 20,
    "popularity": 0.9,
    "n_draws": 20_000_000,
}
"""The instance of the speed benchmarks, `simulate(**BENCHMARK_16M)`: about 16 million ratings."""

_EPOCH = 1_420_070_400  # 2015-01-01, the first second of the simulated time
_YEAR = 31_556_952  # seconds
_SESSION = 3600  # seconds that a session lasts
_DRAWS_PER_SESSION = 50
_PERIODS = 16  # steps in which popularity moves
_BLOCK_USERS = 4096
_BLOCK_DRAWS = 1 << 20
_MAX_DRAWS = 1 << 22  # of one user
_MAX_ITEMS = 1 << 27
_DRAW_BITS = 23  # a block holds fewer than _BLOCK_DRAWS + _MAX_DRAWS draws
_PATCH = 1 << 14  # rows whose factors are multiplied at once, so that they stay in cache
_TOP_UPS = 16

_FACTORS, _BIASES, _POPULARITY, _ACTIVITY, _ROWS = range(5)  # streams of random numbers


class _kept(Generic[_T]):
    """`functools.cached_property` without the lock that it held before Python 3.12.

    That lock is one for all instances: a child forked while another thread holds it waits forever.
    """

    def __init__(self, make: Callable[[Any], _T]) -> None:
        self.make, self.__doc__ = make, make.__doc__

    def __get__(self, owner: Any, kind: Any = None) -> _T:
        if owner is None:
            return self  # type: ignore[return-value]
        name = self.make.__name__
        if name not in owner.__dict__:
            owner.__dict__[name] = self.make(owner)
        value: _T = owner.__dict__[name]
        return value


class Rows(NamedTuple):
    """Rows sorted by user and item; users and items are indices from 0, time is in Unix seconds."""

    users: Array
    items: Array
    ratings: Array
    time: Array


@dataclass(frozen=True, slots=True, eq=False)
class Planted:
    """The truth behind simulated ratings, in the letters of `Simulation`.

    Attributes
    ----------
    W : float32 array (m, K)
    Z : float32 array (n, K)
    user_bias, item_bias : float32 arrays (m,), (n,)
        b_u and b_i in the middle of the time span.
    user_drift, item_drift : float32 arrays (m,), (n,)
        d_u and d_i: half of what the bias moves by over the whole span.
    popularity : float64 array (n,)
        π_i, the probability that a draw picks item i, averaged over time; sums to 1.
    draws : int64 array (m,)
        N_u, how often each user draws an item, repeats included.
    mean, noise : float
        μ and σ_ε.
    time_start, time_span : float
        The first second and the length of the simulated time.
    """

    W: Array
    Z: Array
    user_bias: Array
    item_bias: Array
    user_drift: Array
    item_drift: Array
    popularity: Array
    draws: Array
    mean: float
    noise: float
    time_start: float
    time_span: float

    def expected(self, users: Array, items: Array, time: Array | None = None) -> Array:
        """μ + b_u + b_i + (2τ − 1)(d_u + d_i) + w_u·z_i, before noise, rounding and clipping.

        Without `time`, in the middle of the span (τ = ½).
        """
        out = np.empty(len(users), np.float32)
        for start in range(0, len(users), _PATCH):
            u, i = users[start : start + _PATCH], items[start : start + _PATCH]
            patch = np.einsum("rk,rk->r", self.W[u], self.Z[i])
            patch += np.float32(self.mean) + self.user_bias[u] + self.item_bias[i]
            if time is not None:
                tau = (time[start : start + _PATCH] - self.time_start) / self.time_span
                drift = self.user_drift[u] + self.item_drift[i]
                patch += (2 * tau - 1).astype(np.float32) * drift
            out[start : start + _PATCH] = patch
        return out


@dataclass(frozen=True)
class Simulation:
    """Ratings of m users and n items with planted factors; nothing is drawn before it is asked for.

    Each user u joins at a time and draws N_u items in sessions, from a popularity that moves; what
    is drawn twice counts once, in its first draw. A rating is the model plus noise, on the scale::

        N_u = max(min_per_user, round(ratings_per_user · exp(activity_sigma · N(0, 1))))
        joined_u ~ U(0, 1);  1 + ⌊N_u / 50⌋ sessions at τ = joined_u + (1 − joined_u) v²,
            v = 0 for the first session and U(0, 1) for the others; each draw is in one of them
        P(i | τ) ∝ rank_i^(−popularity) · exp(popularity_drift · cos 2π(τ − φ_i)),
            rank a random permutation of 1 … n, φ_i ~ U(0, 1), τ in 16 steps
        w_uk, z_ik ~ N(0, factor_std / √K)    so that w_u·z_i has variance factor_std²
        b_u ~ N(0, user_bias_std²), b_i ~ N(0, item_bias_std²), d_u, d_i ~ N(0, bias_drift²)
        r_ui = μ + b_u + b_i + (2τ − 1)(d_u + d_i) + w_u·z_i + ε,    ε ~ N(0, noise²)
        rating = r_ui rounded to a step of the scale and clipped to it
        time = 2015-01-01 + τ · years, plus U(0, 1 hour)

    A user left with fewer than `min_per_user` different items draws on until there are as many.

    Parameters
    ----------
    n_users, n_items : int
        m and n.
    rank : int
        K.
    ratings_per_user : float
        The median number of draws of a user.
    activity_sigma : float
        How unequal users are: the σ of the lognormal.
    min_per_user : int
        Different items that every user rates at the least (all items, where there are fewer).
    popularity : float
        The Zipf exponent; 0 makes all items equally popular.
    popularity_drift : float
        How much an item's popularity moves; 0 for none.
    factor_std, user_bias_std, item_bias_std, bias_drift, noise : float
        Standard deviations, in units of the rating.
    mean : float
        μ.
    scale : (low, high, step) or None
        The ratings that exist; None leaves real numbers.
    years : float
        The length of the time span.
    n_draws : int, optional
        Exactly Σ N_u: `ratings_per_user` is rescaled to give it.
    ids : {"int", "str"}
        0, 1, 2, … or "u000", "u001", …, "i00", "i01", …, which sort like the numbers.
    seed : int

    Examples
    --------
    >>> sim = simulate(30, 40, ratings_per_user=10, min_per_user=5, seed=1)
    >>> sim.planted.Z.shape
    (40, 8)
    >>> rows = next(sim.chunks())
    >>> float(rows.ratings.min()) >= 0.5
    True
    """

    n_users: int = 1000
    n_items: int = 500
    _: KW_ONLY
    rank: int = 8
    ratings_per_user: float = 68.0
    activity_sigma: float = 1.1
    min_per_user: int = 20
    popularity: float = 0.9
    popularity_drift: float = 0.5
    factor_std: float = 0.5
    user_bias_std: float = 0.4
    item_bias_std: float = 0.5
    bias_drift: float = 0.1
    noise: float = 0.75
    mean: float = 3.5
    scale: tuple[float, float, float] | None = (0.5, 5.0, 0.5)
    years: float = 5.0
    n_draws: int | None = None
    ids: str = "int"
    seed: int = 0

    def __post_init__(self) -> None:
        _integer("n_users", self.n_users, 1, 2**31 - 1, "try n_users=1000")
        _integer("n_items", self.n_items, 1, _MAX_ITEMS, "try n_items=500")
        _integer("rank", self.rank, 1, 4096, "try rank=8")
        _integer("min_per_user", self.min_per_user, 1, _MAX_DRAWS, "try min_per_user=20")
        _integer("seed", self.seed, 0, 2**128 - 1, "try seed=0")
        _number("ratings_per_user", self.ratings_per_user, 0.0, "try 68", above=True)
        _number("years", self.years, 0.0, "try years=5", above=True)
        for name in ("activity_sigma", "popularity", "popularity_drift"):
            _number(name, getattr(self, name), 0.0, f"try {name}=1", most=10.0)
        for name in ("factor_std", "user_bias_std", "item_bias_std", "bias_drift", "noise"):
            _number(name, getattr(self, name), 0.0, f"try {name}=0.5")
        _number("mean", self.mean, -math.inf, "try mean=3.5")
        if self.n_draws is not None:
            least, most = self.n_users * self._least, self.n_users * _MAX_DRAWS
            rule = "lower n_users or min_per_user, or raise it"
            _integer("n_draws", self.n_draws, least, most, rule)
        if self.scale is not None and not _is_scale(self.scale):
            raise ParameterError(
                "scale",
                self.scale,
                "must be (low, high, step), high − low being one or more whole steps",
                "try scale=(0.5, 5.0, 0.5), or None",
            )
        if self.ids not in ("int", "str"):
            raise ParameterError("ids", self.ids, 'must be "int" or "str"', 'try ids="int"')

    # ------------------------------------------------------------------ what there is to see

    @_kept
    def planted(self) -> Planted:
        """The truth: factors, biases, popularity, activity."""
        m, n, k = self.n_users, self.n_items, self.rank
        spread = np.float32(math.sqrt(self.factor_std / math.sqrt(k)))
        factors, biases = self._random(_FACTORS), self._random(_BIASES)
        permutation = self._random(_POPULARITY).permutation(n)
        popularity = (permutation + 1.0) ** -self.popularity
        return Planted(
            Z=factors.standard_normal((n, k), np.float32) * spread,
            W=factors.standard_normal((m, k), np.float32) * spread,
            item_bias=biases.standard_normal(n, np.float32) * np.float32(self.item_bias_std),
            item_drift=biases.standard_normal(n, np.float32) * np.float32(self.bias_drift),
            user_bias=biases.standard_normal(m, np.float32) * np.float32(self.user_bias_std),
            user_drift=biases.standard_normal(m, np.float32) * np.float32(self.bias_drift),
            popularity=popularity / popularity.sum(),
            draws=self._draws(),
            mean=float(self.mean),
            noise=float(self.noise),
            time_start=float(_EPOCH),
            time_span=float(self.years * _YEAR),
        )

    @_kept
    def ratings(self) -> Ratings:
        """All rows as `Ratings`, in memory."""
        from halfstep.data.ratings import Ratings

        rows = self.rows()
        user_ids, item_ids = self._ids()
        users = rows.users if user_ids is None else user_ids[rows.users]
        items = rows.items if item_ids is None else item_ids[rows.items]
        return Ratings.from_arrays(users, items, rows.ratings, time=rows.time)

    def rows(self) -> Rows:
        """All rows as arrays, in memory (20 bytes a row)."""
        return _joined(list(self._blocks()))

    def chunks(self, chunk_rows: int = 4_000_000) -> Iterator[Rows]:
        """The rows of `rows()`, in pieces of at least `chunk_rows` rows (the last may be smaller).

        A piece exceeds `chunk_rows` by less than one block, about a million rows.
        """
        _integer("chunk_rows", chunk_rows, 1, 2**62, "try chunk_rows=4_000_000")
        return self._chunks(chunk_rows)

    def to_parquet(self, path: str | os.PathLike[str], chunk_rows: int = 4_000_000) -> int:
        """Write one Parquet file with columns user, item, rating, timestamp; the number of rows.

        No more than a chunk is in memory at a time, and the rows are those of `rows()`, in the same
        order, for any `chunk_rows`. An existing file is replaced only once the new one is whole.
        """
        target = Path(path)
        pieces = self.chunks(chunk_rows)
        if not target.parent.is_dir():
            raise ParameterError("path", str(path), "its folder must exist", "create the folder")
        if target.is_dir():
            raise ParameterError("path", str(path), "must be a file", "give the name of a file")
        scratch = Path(tempfile.mkdtemp(prefix=f".{target.name[:80]}.", dir=target.parent))
        try:
            whole, count = self._write(pieces, scratch)
            with open(whole, "rb+") as file:
                os.fsync(file.fileno())
            os.replace(whole, target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return count

    # ------------------------------------------------------------------ how it is made

    def _random(self, stream: int, block: int = 0) -> np.random.Generator:
        sequence = np.random.SeedSequence(self.seed, spawn_key=(stream, block))
        return np.random.Generator(np.random.PCG64(sequence))

    @property
    def _least(self) -> int:
        """How many different items every user rates at the least."""
        return min(self.min_per_user, self.n_items)

    def _draws(self) -> Array:
        """N_u for every user."""
        spread = self._random(_ACTIVITY).standard_normal(self.n_users)
        relative = np.exp(self.activity_sigma * spread)

        def clipped(median: float) -> Array:
            return np.clip(relative * median, self._least, _MAX_DRAWS)

        if self.n_draws is None:
            return np.rint(clipped(self.ratings_per_user)).astype(np.int64)
        low, high = 0.0, float(_MAX_DRAWS) / float(relative.min())
        for _ in range(200):  # bisection to the last bit: Σ clipped(median) is nondecreasing
            middle = 0.5 * (low + high)
            if not low < middle < high:
                break
            low, high = (middle, high) if clipped(middle).sum() <= self.n_draws else (low, middle)
        real = clipped(low)
        draws = np.floor(real).astype(np.int64)
        rest = self.n_draws - int(draws.sum())  # handed out by largest remainder
        room = np.flatnonzero(draws < _MAX_DRAWS)
        largest = room[np.argsort(draws[room] - real[room], kind="stable")]
        draws[largest[:rest]] += 1
        return draws

    @_kept
    def _cuts(self) -> Array:
        """The first user of every block, and m."""
        draws = self.planted.draws
        before = np.cumsum(draws) - draws
        block = np.stack([np.arange(self.n_users) // _BLOCK_USERS, before // _BLOCK_DRAWS])
        starts = np.flatnonzero((np.diff(block) != 0).any(axis=0)) + 1
        return np.concatenate([[0], starts, [self.n_users]])

    @_kept
    def _cumulative(self) -> Array:
        """p + P(item ≤ i | period p) for all i, one period p after the other: ascending."""
        popularity = self.planted.popularity
        if self.popularity_drift == 0:
            weight = popularity[None, :]
        else:
            phase = self._random(_POPULARITY, 1).random(self.n_items)
            middle = (np.arange(_PERIODS) + 0.5) / _PERIODS
            wave = np.cos(2 * np.pi * (middle[:, None] - phase))
            weight = popularity * np.exp(self.popularity_drift * wave)
        total = np.cumsum(weight, axis=1)
        total /= total[:, -1:]  # the last of every period is exactly 1
        total += np.arange(len(total))[:, None]
        return total.ravel()

    def _pick(self, random: np.random.Generator, tau: Array) -> Array:
        """One item for each time."""
        n = self.n_items
        periods = len(self._cumulative) // n
        period = np.minimum((tau * periods).astype(np.int64), periods - 1)
        uniform = np.minimum(period + random.random(len(tau)), np.nextafter(period + 1.0, 0.0))
        found: Array = np.searchsorted(self._cumulative, uniform, side="right")
        found -= period * n
        return found

    def _block(self, block: int) -> Rows:
        """The rows of one block of users, sorted by user and item."""
        random = self._random(_ROWS, block)
        first, last = int(self._cuts[block]), int(self._cuts[block + 1])
        n_users, draws = last - first, self.planted.draws[first:last]

        joined = random.random(n_users)
        sessions = 1 + draws // _DRAWS_PER_SESSION
        starts = np.cumsum(sessions) - sessions
        later = random.random(int(sessions.sum())) ** 2
        later[starts] = 0
        joined = np.repeat(joined, sessions)
        tau = joined + (1 - joined) * later  # of every session

        # One integer for each draw: user, item, number of the draw. Sorted, the first of each run
        # of equal (user, item) is the draw that counts.
        item_bits = self.n_items.bit_length()
        keys = np.empty(0, np.int64)
        session = np.empty(0, np.int64)
        count = draws
        for _ in range(1 + _TOP_UPS):
            user = np.repeat(np.arange(n_users), count)
            number = np.arange(len(session), len(session) + len(user))
            chosen = (random.random(len(user)) * sessions[user]).astype(np.int64) + starts[user]
            item = self._pick(random, tau[chosen])
            session = np.concatenate([session, chosen])
            keys = np.concatenate([keys, (user << item_bits | item) << _DRAW_BITS | number])
            keys.sort(kind="stable" if len(keys) > len(user) else None)  # nearly sorted: merge
            pair = keys >> _DRAW_BITS
            fresh = np.ones(len(keys), np.bool_)
            np.not_equal(pair[1:], pair[:-1], out=fresh[1:])
            keys, pair = keys[fresh], pair[fresh]
            rated = np.bincount(pair >> item_bits, minlength=n_users)
            count = np.maximum(self._least - rated, 0)
            if not count.any():
                break
        user, item = pair >> item_bits, pair & ((1 << item_bits) - 1)
        at = tau[session[keys & ((1 << _DRAW_BITS) - 1)]]
        if count.any():
            user, item, at = self._fill(random, user, item, at, tau[starts], count)

        user += first
        time = _EPOCH + (at * (self.years * _YEAR) + random.random(len(at)) * _SESSION).astype(
            np.int64
        )
        ratings = self.planted.expected(user, item, _EPOCH + at * (self.years * _YEAR))
        ratings += random.standard_normal(len(at), np.float32) * np.float32(self.noise)
        if self.scale is not None:
            low, high, step = self.scale
            steps = np.rint((ratings - np.float32(low)) / np.float32(step))
            np.clip(steps, 0, round((high - low) / step), out=steps)
            ratings = (low + step * steps.astype(np.float64)).astype(np.float32)
        return Rows(user.astype(np.int32), item.astype(np.int32), ratings, time)

    def _fill(
        self,
        random: np.random.Generator,
        user: Array,
        item: Array,
        at: Array,
        joined: Array,
        missing: Array,
    ) -> tuple[Array, Array, Array]:
        """Add `missing[u]` new items for every user u, at the time of the first session.

        Where a user wants most of the items, waiting for a new one takes long. Popularity with
        Gumbel noise, sorted, has the distribution of drawing on without repeats.
        """
        added = [(user, item, at)]
        for u in np.flatnonzero(missing):
            score = np.log(self.planted.popularity) + random.gumbel(size=self.n_items)
            score[item[user == u]] = -np.inf
            best = np.argsort(-score, kind="stable")[: missing[u]]
            added.append((np.full(len(best), u), best, np.full(len(best), joined[u])))
        user, item, at = (np.concatenate(column) for column in zip(*added, strict=True))
        order = np.lexsort((item, user))
        return user[order], item[order], at[order]

    def _blocks(self) -> Iterator[Rows]:
        return (self._block(block) for block in range(len(self._cuts) - 1))

    def _chunks(self, chunk_rows: int) -> Iterator[Rows]:
        held: list[Rows] = []
        for rows in self._blocks():
            held.append(rows)
            if sum(len(part.users) for part in held) >= chunk_rows:
                yield _joined(held)
                held = []
        if held:
            yield _joined(held)

    def _ids(self) -> tuple[Array | None, Array | None]:
        """Names of users and items, None where they are their indices."""
        if self.ids == "int":
            return None, None
        return _names("u", self.n_users), _names("i", self.n_items)

    def _write(self, pieces: Iterator[Rows], scratch: Path) -> tuple[Path, int]:
        """One Parquet file in `scratch`, joined from one for each piece, and its number of rows."""
        import duckdb

        columns = "users AS user, items AS item"
        if self.ids == "str":
            digits = [len(str(size - 1)) for size in (self.n_users, self.n_items)]
            columns = (
                f"'u' || lpad(users::VARCHAR, {digits[0]}, '0') AS user, "
                f"'i' || lpad(items::VARCHAR, {digits[1]}, '0') AS item"
            )
        parts: list[Path] = []
        count = 0
        with duckdb.connect(":memory:") as connection:
            connection.execute("SET enable_progress_bar = false")
            connection.execute("SET temp_directory = ?", [str(scratch)])
            for rows in pieces:
                count += len(rows.users)
                parts.append(scratch / f"{len(parts)}.parquet")
                connection.register("piece", rows._asdict())
                query = f"SELECT {columns}, ratings AS rating, time AS timestamp FROM piece"
                connection.execute(_copy(query, parts[-1]))
                connection.unregister("piece")
            if len(parts) == 1:
                return parts[0], count
            listed = ", ".join(_quoted(part, pattern=True) for part in parts)
            connection.execute(
                _copy(f"SELECT * FROM read_parquet([{listed}])", scratch / "whole.parquet")
            )
        return scratch / "whole.parquet", count


simulate = Simulation  # reads better as a verb: simulate(1000, 500, seed=1).ratings


def simulate_parquet(
    path: str | os.PathLike[str],
    n_users: int = 1000,
    n_items: int = 500,
    *,
    chunk_rows: int = 4_000_000,
    **parameters: Any,
) -> Simulation:
    """Write simulated ratings to a Parquet file in bounded memory; the simulation behind it.

    `parameters` are those of `Simulation`; see `Simulation.to_parquet`.
    """
    simulation = Simulation(n_users, n_items, **parameters)
    simulation.to_parquet(path, chunk_rows)
    return simulation


# ---------------------------------------------------------------------- helpers


def _joined(parts: list[Rows]) -> Rows:
    return parts[0] if len(parts) == 1 else Rows(*map(np.concatenate, zip(*parts, strict=True)))


def _names(letter: str, size: int) -> Array:
    digits = len(str(size - 1))
    return np.array([f"{letter}{index:0{digits}d}" for index in range(size)])


def _quoted(path: Path, *, pattern: bool = False) -> str:
    """`path` as an SQL string; `pattern` where DuckDB reads a glob."""
    from halfstep.data.duck import file_literal, literal

    return (file_literal if pattern else literal)(str(path))


def _copy(query: str, path: Path) -> str:
    return f"COPY ({query}) TO {_quoted(path)} (FORMAT parquet, COMPRESSION zstd)"


def _integer(name: str, value: object, least: int, most: int, remedy: str) -> None:
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or not least <= int(value) <= most:  # type: ignore[call-overload]
        raise ParameterError(name, value, f"must be an integer from {least} to {most}", remedy)


def _number(
    name: str,
    value: object,
    least: float,
    remedy: str,
    *,
    most: float = math.inf,
    above: bool = False,
) -> None:
    real = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    real = real and abs(value) <= 1e30  # type: ignore[arg-type]
    if real and least <= value <= most and not (above and value == least):  # type: ignore[operator]
        return
    bound = "" if least == -math.inf else f" {'above' if above else 'of at least'} {least:g}"
    bound += "" if most == math.inf else f" and at most {most:g}"
    raise ParameterError(name, value, f"must be a finite number{bound}", remedy)


def _is_scale(scale: object) -> bool:
    try:
        low, high, step = (float(bound) for bound in scale)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        return False
    if not (math.isfinite(low) and math.isfinite(high) and low < high and 0 < step <= high - low):
        return False
    steps = (high - low) / step
    return steps <= 1 << 20 and math.isclose(steps, round(steps), rel_tol=1e-9)
