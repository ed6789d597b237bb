"""From ratings to a model, its honest error, and a page to look at.

    python examples/choose_and_report.py [ratings.csv [titles.csv]]

Without a table it simulates one. Writes model.safetensors and, with `halfstep[report]`, report.html.
"""

import sys
from importlib.util import find_spec

import halfstep as hs

ratings = hs.read_ratings(sys.argv[1]) if sys.argv[1:] else hs.simulate(500, 300, rank=4).ratings
train, test = hs.split_random(ratings, test=0.1, seed=0)

model = hs.ExplicitMF(rank="auto", reg="auto").fit(train)
print(model.selection_)
print(f"RMSE {model.rmse(test):.4f}")
for name, error in hs.baseline_rmse(train, test).items():
    print(f"     {error:.4f} {name}")

final = hs.ExplicitMF(rank="auto", reg="auto").fit(ratings, selection=model.selection_)
print(final.save("model.safetensors"))
if all(find_spec(name) for name in ("altair", "jinja2", "vl_convert")):
    from halfstep.report import write_report

    titles = hs.read_titles(sys.argv[2]) if sys.argv[2:] else None
    write_report(final, ratings, "report.html", titles=titles, test=test, measured=model)
    print("report.html")
