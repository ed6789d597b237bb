"""One model of simulated ratings, with titles that try to break out, and its page."""

import numpy as np
import pytest
from samples import NASTY, Made, decided, with_time

import halfstep as hs


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    for needed in ("altair", "vl_convert", "jinja2"):
        pytest.importorskip(needed)
    from halfstep.report import write_report

    ratings = with_time(hs.simulate(150, 90, rank=3, ratings_per_user=30, seed=2).ratings)
    titles = {item: f"Film {item}" for item in ratings.items.values.tolist()}
    known = np.argsort(-np.diff(ratings.by_item.indptr), kind="stable")
    for text, item in zip(NASTY, ratings.items.values[known].tolist(), strict=False):
        titles[item] = text
    chosen = decided()
    model = hs.ExplicitMF(**chosen.parameters, seed=1).fit(ratings)
    model.selection_ = chosen
    path = tmp_path_factory.mktemp("report") / "report.html"
    report = write_report(model, ratings, path, titles=titles)
    return Made(path, path.read_text(encoding="utf-8"), report, model, ratings, titles)
