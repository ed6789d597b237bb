"""The rows of the tables: our models, the peers beside them, and what papers report.

A new model is a line in `OURS`, with the parameters that `choose.py` has found and the grid that it
looked through.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from driver import Engine

import halfstep as hs


@dataclass(frozen=True)
class Ours:
    """A model, and the values of its parameters among which `choose.py` looks.

    `damping` ν weighs the interactions of an item by n_i^−ν (their mean is 1). Figures are means over
    the first `seeds` seeds.
    """

    name: str
    model: Any
    grid: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    damping: float = 0.0
    seeds: int = 1


@dataclass(frozen=True)
class Published:
    """What a paper reports; `chosen_on` says on which part its parameters were chosen, if it tells."""

    name: str
    values: tuple[float, float]
    source: str
    chosen_on: str


POPULAR = Ours("halfstep, MostPopular", hs.MostPopular())
RANKS = {"rank": [30, 60, 120, 240]}
FILTERS = {"rank": [64, 128, 256, 512], "low_pass": [0.1, 0.3, 1.0]}
IALS = {"alpha0": [0.1, 0.3, 1.0], "reg": [0.003, 0.007, 0.02]}

OURS: dict[str, list[Ours]] = {
    "ncf": [
        POPULAR,
        Ours(
            "halfstep, ItemKNN",
            hs.ItemKNN(100, similarity="cosine", shrink=0.0),
            {"k": [50, 100, 200, 400], "shrink": [0.0, 100.0]},
        ),
        Ours("halfstep, PureSVD", hs.PureSVD(60), RANKS),
        Ours("halfstep, GraphFilter", hs.GraphFilter(), FILTERS),
        Ours("halfstep, EASE", hs.EASE(500.0), {"reg": [100.0, 200.0, 500.0, 1000.0, 2000.0]}),
        Ours(
            "halfstep, ImplicitMF",
            hs.ImplicitMF(rank=64, alpha=1.0, alpha0=0.3, reg=0.007, max_iter=12, tol=0.0),
            IALS,
            seeds=5,
        ),
    ],
    "gowalla": [
        POPULAR,
        Ours(
            "halfstep, ItemKNN",
            hs.ItemKNN(200, similarity="cosine", shrink=0.0),
            {"k": [50, 100, 200, 400], "shrink": [0.0, 10.0]},
        ),
        Ours("halfstep, PureSVD", hs.PureSVD(256), {"rank": [128, 256, 512]}),
        Ours("halfstep, GraphFilter", hs.GraphFilter(), FILTERS),
        Ours(
            "halfstep, GraphFilter, sharpened",
            hs.GraphFilter(448, low_pass=0.2, sharpening=2.5),
        ),
        Ours("halfstep, EASE", hs.EASE(80.0, dtype="float32", memory_limit=8.0)),
        Ours(
            "halfstep, ImplicitMF",
            hs.ImplicitMF(rank=512, alpha0=0.03, reg=0.0003, max_iter=3, tol=0.0),
            {"rank": [128, 256, 512], "max_iter": [2, 3, 4, 6, 12]},
        ),
        Ours(
            "halfstep, ImplicitMF, c = n_i^-½",
            hs.ImplicitMF(rank=512, alpha0=0.03, reg=0.0003, max_iter=3, tol=0.0),
            {"rank": [128, 256, 512], "max_iter": [2, 3, 4]},
            damping=0.5,
        ),
        Ours(
            "halfstep, CosineMF",
            hs.CosineMF(rank=128, negatives=4096, max_iter=50),
            {"rank": [64, 128]},
        ),
    ],
    "simulated": [
        POPULAR,
        Ours("halfstep, PureSVD", hs.PureSVD(4), {"rank": [2, 4]}),
        Ours("halfstep, ImplicitMF", hs.ImplicitMF(rank=4), {"rank": [2, 4]}, damping=0.5),
    ],
}

_IALS = {
    "nu": 1.0,
    "solver_type": "CHOLESKY",
    "train_epochs": 12,
    "init_std": 0.1,
    "random_seed": 0,
}


def _irspack(**options: Any) -> Engine:
    script, options = "irspack_factors.py", {**_IALS, **options}
    name = f"irspack, iALS K={options['n_components']}"
    return Engine(name, script, "peers", "irspack", options=options)


def _implicit(name: str, **options: Any) -> Engine:
    return Engine(name, "implicit_factors.py", "peers", "implicit", options=options)


PEERS: dict[str, list[Engine]] = {
    "ncf": [
        _irspack(n_components=64, alpha0=0.3, reg=0.007),
        _implicit("implicit, ALS K=64", model="als", factors=64, alpha=3.0, regularization=1.0),
        _implicit("implicit, BPR K=64", model="bpr", factors=63, iterations=100),
    ],
    "gowalla": [
        _irspack(n_components=128, alpha0=0.03, reg=0.0003),
        _implicit("implicit, ALS K=128", model="als", factors=128, alpha=30.0),
        _implicit("implicit, BPR K=128", model="bpr", factors=127, iterations=100),
    ],
    "simulated": [_irspack(n_components=4, alpha0=0.1, reg=0.003)],
}

_SIMPLEX = "Mao et al. 2021 (SimpleX)"
PUBLISHED: dict[str, list[Published]] = {
    "ncf": [
        Published(
            "most popular", (0.4531, 0.2542), "evaluations of this split", "nothing to choose"
        ),
        Published("PureSVD, K=60", (0.6896, 0.4294), "evaluations of this split", "not told"),
        Published("iALS, K=64", (0.722, 0.445), "Rendle et al. 2022", "not told"),
    ],
    "gowalla": [
        Published("BPR-MF", (0.1627, 0.1378), _SIMPLEX, "the test part"),
        Published("SLIM", (0.1699, 0.1382), _SIMPLEX, "the test part"),
        Published("EASE, λ=80", (0.1765, 0.1467), _SIMPLEX, "the test part"),
        Published("LightGCN", (0.1820, 0.1547), _SIMPLEX, "the test part"),
        Published("MF-CCL", (0.1837, 0.1493), _SIMPLEX, "the test part"),
        Published("GF-CF, K=256, α=0.3", (0.1849, 0.1518), "Shen et al. 2021", "not told"),
    ],
    "simulated": [],
}
