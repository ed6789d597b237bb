"""The sampler draws from the posterior of its own model: the joint-distribution test.

Everything is drawn from the model (noise, Λ, m, effects of features, rows, ratings), then the
sampler does a few sweeps on these ratings from this very state. Where every step is right, the
state has then the same joint distribution with the ratings as before, and each of the pivots below
the distribution that the model gives it. Every repetition is independent, none needs a chain that
has mixed, and the heavy tails of the priors do no harm. Sources: Geweke (2004), «Getting it
right»; Gandy and Scott (2020), «Unit testing for MCMC and other Monte Carlo methods».
"""

from dataclasses import replace

import numpy as np
import pytest
from gibbs_steps import State, sweeps
from scipy import stats

from halfstep.bayes.noise import _FREEDOMS
from halfstep.bayes.priors import RowPrior, smallest_scatter
from halfstep.data.ratings import Ratings
from halfstep.features.design import Tables
from halfstep.objectives import SIDES

COUNT = {"user": 12, "item": 10}
EMPTY = {"user": 3, "item": 4}  # rows without ratings
K, SPREAD, MEAN = 2, 1.7, 3.0
SWEEPS, REPETITIONS = 5, 500


def pattern():
    """Which cells are observed."""
    random = np.random.default_rng(0)
    there = random.random((COUNT["user"], COUNT["item"])) < 0.6
    there[EMPTY["user"]] = there[:, EMPTY["item"]] = False
    return there


def ratings_of(there, values):
    """Ratings of the observed cells; the empty rows keep their ids."""
    users, items = np.indices(there.shape).reshape(2, -1)
    whole = Ratings.from_arrays(users, items, values.ravel())
    return whole.select(there.ravel())


def features():
    """Of every user three numbers, and for both sides who has rated what."""
    table = np.random.default_rng(1).standard_normal((COUNT["user"], 3))
    ratings = ratings_of(pattern(), np.ones((COUNT["user"], COUNT["item"])))
    return Tables.of((table, np.arange(COUNT["user"])), None, implicit=True).designs(ratings)


def dense(designs, side):
    """X of a side; of the row without ratings, its implicit part is the typical one."""
    cells, design = designs.rows(side), designs.side(side)
    found = np.zeros((cells.n_rows, design.width))
    rows = np.repeat(np.arange(cells.n_rows), np.diff(cells.indptr))
    found[rows, cells.indices] = cells.values
    found[EMPTY[side]] += design.typical
    return found


def drawn_state(random, biases, noise, designs, precision_of):
    """Everything but the ratings, from the priors."""
    D = K + biases
    rows, priors, strengths = {}, {}, {}
    for side in SIDES:
        precision = precision_of[side]
        root = np.linalg.cholesky(precision)

        def normal(count, root=root):
            return np.linalg.solve(root.T, random.standard_normal((D, count))).T

        m = normal(1)[0]
        shift = effects = None
        if designs is not None:
            design = designs.side(side)
            strengths[side] = random.gamma(0.5, 2.0, len(design.groups))
            per_column = np.repeat(strengths[side], [len(group) for group in design.groups])
            effects = np.ascontiguousarray(normal(design.width) / np.sqrt(per_column)[:, None])
            shift = dense(designs, side) @ effects
        priors[side] = RowPrior(m, precision, m, shift, effects)
        rows[side] = priors[side].means(np.arange(COUNT[side])) + normal(COUNT[side])
    alpha = random.gamma(0.5) / (0.5 * SPREAD**2)
    if noise == "shared":
        return State(rows, priors, strengths, alpha)
    freedom = random.choice(_FREEDOMS)
    steadiness = random.gamma(freedom / 2, 2 / freedom, COUNT["user"])
    return State(rows, priors, strengths, alpha, steadiness, freedom)


def fitted(state, biases):
    users, items = (state.rows[side] for side in SIDES)
    found = MEAN + users[:, :K] @ items[:, :K].T
    return found + users[:, K, None] + items[:, K] if biases else found


def precisions(state):
    """α γ_u, the weights being 1: others stand for so many equal ratings, which no model gives."""
    gamma = np.ones(COUNT["user"]) if state.steadiness is None else state.steadiness
    return state.alpha * gamma[:, None]


def pivots(state, r, there, biases, designs, random):
    """(value, degrees of freedom of its χ²) by name, where the state and the ratings are the model's."""
    D = K + biases
    residuals, products = r - fitted(state, biases), fitted(state, False) - MEAN
    squares = (precisions(state) * residuals**2)[there]
    along, size = ((precisions(state) * x * products)[there].sum() for x in (residuals, products))
    found = {
        "α": (state.alpha * SPREAD**2, 1),
        "residuals": (squares.sum(), len(squares)),
        "a residual": (squares[0], 1),
        "residuals along w·z": (along**2 / size, 1),
    }
    if state.steadiness is not None:
        ν, known = state.freedom, np.arange(COUNT["user"]) != EMPTY["user"]
        place = np.argmin(np.abs(_FREEDOMS - ν))
        found["ν"] = stats.chi2.ppf((place + random.random()) / len(_FREEDOMS), 1), 1
        found["γ"] = state.steadiness[0] * ν, ν
        # residuals in units of their noise do not depend on it
        weights = np.where(there, state.steadiness[:, None], 0.0)[there]
        weights = weights > np.median(weights)
        found["residuals of steady users"] = squares[weights].sum(), weights.sum()
        found["Σ γ"] = state.steadiness[known].sum() * ν, ν * known.sum()
    smallest = smallest_scatter(K, biases, SPREAD)
    for side in SIDES:
        prior, rows = state.priors[side], state.rows[side]
        gaps = rows - replace(prior, lift=None).means(np.arange(len(rows)))  # all rows of the prior
        norms = np.einsum("ud,de,ue->u", gaps, prior.precision, gaps)
        m = prior.mean
        own = {
            "rows": (norms.sum(), D * len(rows)),
            "first row": (norms[0], D),
            "empty row": (norms[EMPTY[side]], D),
            "m": (m @ prior.precision @ m, D),
            "m_b": (m[-1] ** 2 / np.linalg.inv(prior.precision)[-1, -1], 1),
        }
        own |= {f"Λ_{d}{d}": (prior.precision[d, d] * smallest[d], D) for d in range(D)}
        if designs is not None:
            said = prior.shift @ prior.precision
            along = np.sum(said * gaps) ** 2 / np.sum(said * prior.shift)
            own["rows along what features say"] = along, 1
            norms = np.einsum("fd,de,fe->f", prior.effects, prior.precision, prior.effects)
            for g, group in enumerate(designs.side(side).groups):
                strength = state.strengths[side][g]
                own[f"λ of {group.name}"] = strength, 1
                own[f"A of {group.name}"] = (
                    strength * norms[group.slice].sum(),
                    D * len(group),
                )
                own[f"A of a {group.name}"] = strength * norms[group.start], D
        found |= {f"{name}, {side}": pivot for name, pivot in own.items()}
    return found


def collected(biases, noise, with_features, count):
    """The pivots after `count` sweeps, one for each repetition, by name."""
    random = np.random.default_rng(7)
    there = pattern()
    designs = features() if with_features else None
    scale = np.diag(1 / smallest_scatter(K, biases, SPREAD))
    D = K + biases
    precisions_of = {
        side: stats.wishart(D, scale).rvs(REPETITIONS, random).reshape(-1, D, D) for side in SIDES
    }
    found: dict = {}
    for repetition in range(REPETITIONS):
        own = {side: precisions_of[side][repetition] for side in SIDES}
        state = drawn_state(random, biases, noise, designs, own)
        errors = random.standard_normal(there.shape) / np.sqrt(precisions(state))
        ratings = ratings_of(there, fitted(state, biases) + errors)
        r = np.zeros(there.shape)
        r[there] = ratings.by_user.values
        options = {"mean": MEAN, "biases": biases, "spread": SPREAD, "designs": designs}
        for now, _ in sweeps(ratings, state, count, repetition, **options):
            state = now
        for name, value in pivots(state, r, there, biases, designs, random).items():
            found.setdefault(name, []).append(value)
    return found


def assert_uniform(found):
    for name, pairs in found.items():
        values, freedoms = np.array(pairs).T
        p = stats.kstest(stats.chi2.cdf(values, freedoms), "uniform").pvalue
        assert p > 1e-3 / len(found), (name, p)


@pytest.mark.parametrize(
    ("biases", "noise", "with_features"),
    [
        (False, "shared", False),
        (True, "shared", False),
        (True, "user", False),
        (True, "user", True),
    ],
)
def test_a_few_sweeps_leave_the_joint_distribution_as_it_is(biases, noise, with_features):
    found = collected(biases, noise, with_features, SWEEPS)
    assert len(found) > 12
    assert_uniform(found)


def test_the_pivots_are_uniform_before_any_sweep():
    assert_uniform(collected(True, "user", True, 0))
