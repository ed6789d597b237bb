"""What the tests of reports are made of: titles that try to break out, times, a selection by hand."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

import halfstep as hs
from halfstep.objectives import Reg
from halfstep.selection import Selection, Trial

NASTY = (
    "<script>alert(1)</script>",
    '"><img src="http://evil.example/x.png" onerror="alert(1)">',
    "</style><style>@import url(http://evil.example/a.css);</style>",
    "{{ 7 * 7 }} & {% for %} 'quoted'",
    "bell\x07 and escape\x1b[31m and nul\x00",
    'id="clip0" url(#clip0) role="x"',
    "映画「七人の侍」 — émoi\N{RIGHT-TO-LEFT OVERRIDE}",
)


@dataclass(frozen=True)
class Made:
    """A report, the path it was written to, and what it was made of."""

    path: Path
    text: str
    report: object
    model: hs.ExplicitMF
    ratings: hs.Ratings
    titles: dict

    def tree(self) -> ElementTree.Element:
        """The page as XML: it is well-formed."""
        head = "<!DOCTYPE html>\n"
        assert self.text.startswith(head)
        return ElementTree.fromstring(self.text.removeprefix(head))


def with_time(ratings: hs.Ratings) -> hs.Ratings:
    """The same ratings with times: two years, most of them in June 2021."""
    users, items, values = ratings.to_arrays()
    rng = np.random.default_rng(5)
    days = rng.integers(0, 730, len(values))
    days[::3] = 517 + rng.integers(0, 20, len(days[::3]))
    return hs.Ratings.from_arrays(users, items, values, time=1_577_836_800 + days * 86_400)


def selection() -> Selection:
    """A selection by hand: two scalings, three ranks, a sample of the users first."""
    trials = [
        Trial(K, Reg(reg, reg, reg / 4), scaling, 9, rmse, 0.002, ratings, 0.1)
        for scaling, worse in (("count", 0.0), ("none", 0.01))
        for K in (4, 8, 16)
        for reg, ratings in ((0.02, 900), (0.05, 3000), (0.1, 3000), (0.2, 3000))
        for rmse in [0.9 + worse + 0.004 * abs(K - 9) / 7 + 0.05 * abs(np.log10(reg / 0.06))]
    ]
    chosen = min((t for t in trials if t.ratings == 3000), key=lambda trial: trial.rmse)
    given = {
        "trials": tuple(trials),
        "chosen": chosen,
        "reason": "The lowest held-out error",
        "stopped": "done",
        "seconds": 1.0,
        "folds": 1,
        "held_out": 400,
        "sweeps": 9,
    }
    return Selection(**{f.name: given[f.name] for f in fields(Selection)})


def decided() -> Selection:
    """The same, as `select` ends: two settings fitted again, with higher errors; one fit failed."""
    found = selection()
    near = sorted((t for t in found.trials if t.ratings == 3000), key=lambda trial: trial.rmse)
    finals = tuple(
        replace(trial, score=trial.rmse + more, sweeps=23, final=True)
        for trial, more in zip(near[:2], (0.004, 0.003), strict=True)
    )
    failed = replace(near[-1], rank=64, score=float("inf"))
    chosen = min(finals, key=lambda trial: trial.rmse)
    trials = (*found.trials, failed, *finals)
    return replace(found, trials=trials, chosen=chosen, folds=3)
