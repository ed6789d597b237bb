"""The same formulas, one cell at a time."""

import numpy as np

import halfstep as hs


def table(seed=0, users=30, items=12, weighted=False, ties=False):
    """Ratings as a dense table (NaN: none), some users and items without any, and their weights."""
    rng = np.random.default_rng(seed)
    r = rng.integers(1, 6, (users, items)).astype(float)
    if not ties:
        r += rng.random(r.shape).round(2)
    r[rng.random(r.shape) < 0.5] = np.nan
    r[3], r[:, 4] = np.nan, np.nan
    r[5] = np.nan
    r[5, 2] = 4.0  # one rating
    r = r.astype(np.float32).astype(float)
    c = np.where(np.isnan(r), 0.0, 1.0)
    if weighted:
        c *= rng.integers(1, 4, r.shape)
    return r, c


def as_ratings(r, c):
    """Over all users and items, in the order of `by_user`."""
    rows, columns = np.nonzero(~np.isnan(r))
    from scipy.sparse import coo_array

    ratings = hs.Ratings.from_scipy(coo_array((r[rows, columns], (rows, columns)), shape=r.shape))
    weights = c[rows, columns]
    return ratings if (weights == 1).all() else ratings.with_weights(weights)


def mean(r, c):
    return float(np.sum(c * np.nan_to_num(r)) / np.sum(c))


def biases(r, c, reg, scaled=False):
    """(μ, b_u, b_i) by the normal equations, dense."""
    m, n = r.shape
    mu = mean(r, c)
    lam = np.repeat(np.asarray(reg, dtype=float), [m, n])
    counts = np.concatenate([c.sum(1), c.sum(0)])
    A = np.block([[np.diag(c.sum(1)), c], [c.T, np.diag(c.sum(0))]])
    A += np.diag(lam * counts if scaled else lam)
    y = c * (np.nan_to_num(r) - mu)
    h = np.concatenate([y.sum(1), y.sum(0)])
    b = np.linalg.lstsq(A, h, rcond=None)[0]
    return mu, b[:m], b[m:]


def similarity(x, c, kind, shrink, i, j):
    """s_ij of two columns of a table of what is compared."""
    both = (c[:, i] > 0) & (c[:, j] > 0)
    g = np.sqrt(c[:, i] * c[:, j])
    count = above = left = right = 0.0
    for u in np.flatnonzero(both):
        count += g[u]
        above += g[u] * x[u, i] * x[u, j]
        left += g[u] * x[u, i] ** 2
        right += g[u] * x[u, j] ** 2
    if kind != "pearson":
        left, right = (c[:, i] * x[:, i] ** 2).sum(), (c[:, j] * x[:, j] ** 2).sum()
    if left * right <= 0 or i == j:
        return 0.0
    return max(0.0, count / (count + shrink) * above / np.sqrt(left * right))


def nearest(x, c, kind, shrink, i):
    """[(item, s)] with s > 0, the most similar first, equal ones by number."""
    all_of_them = [(j, similarity(x, c, kind, shrink, i, j)) for j in range(x.shape[1])]
    return sorted(
        [(j, s) for j, s in all_of_them if s > 1e-12], key=lambda found: (-found[1], found[0])
    )
