"""Is one model better than another, or lucky? Several models on one test part, with paired tests.

python examples/compare_models.py [ratings.csv]
"""

import sys

import halfstep as hs

ratings = hs.read_ratings(sys.argv[1]) if sys.argv[1:] else hs.simulate(500, 200, rank=4).ratings
train, test = hs.split_random(ratings, test=0.2, seed=0)

models = {
    "biases": hs.Biases().fit(train),
    "item-kNN": hs.ItemKNN().fit(train),
    "factors": hs.ExplicitMF(rank="auto", reg="auto").fit(train),
}
for name, model in models.items():
    print(name)
    print(hs.evaluate(model, test, ["rmse", "mae", "user_rmse"]))
    print()
print(hs.compare(models, test, ["rmse", "mae"]))
