"""The same model under three questions: missing ratings, tomorrow's ratings, new people.

python examples/time_and_new_users.py [ratings-with-time.csv]
"""

import sys

import numpy as np

import halfstep as hs


def with_times() -> hs.Ratings:
    """Simulated ratings; every person is there for a while."""
    users, items, values = hs.simulate(400, 200, rank=4, seed=0).ratings.to_arrays()
    rng = np.random.default_rng(0)
    arrived = rng.uniform(0, 100, users.max() + 1)
    return hs.Ratings.from_arrays(
        users, items, values, time=arrived[users] + rng.exponential(10, len(users))
    )


ratings = hs.read_ratings(sys.argv[1]) if sys.argv[1:] else with_times()
model = hs.ExplicitMF(rank=8, reg="auto")
for question, split in {
    "missing ratings": hs.split_random(ratings, test=0.1, seed=0),
    "tomorrow's ratings": hs.split_by_time(ratings, test=0.1),
    "new people, a fifth to predict": hs.split_users(ratings, test=0.1, seed=0),
}.items():
    found = hs.cross_validate(model, ratings, [split])
    print(f"{question}: {found}")
