"""The kept draws of a Bayesian model as the arrays of its file, and back.

`draws.user_factors` (S, m + 1, K), `draws.item_factors`, `draws.user_bias` (S, m + 1),
`draws.item_bias`: the last row of each is a row that nothing is known of. `draws.alpha` (S),
`draws.steadiness` (S, m + 1): γ, `draws.freedom` (S): ν, `draws.center` (S, float64): μ;
`draws.user_mean` (S, D), `draws.user_precision` (S, D, D), `draws.user_typical`, `.user_lift` (S,
D) and the same of the items: the priors; `draws.user_effects` (S, F, D) where there are features.
`noise.quantiles`, or of ordered ratings `draws.levels` (L) and `draws.cutpoints` (S, L − 1);
`record.sigma`, `record.objective` (chains, samples), `record.predictions` (chains, samples, pairs),
`record.users`, `record.items`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from halfstep.backends.base import Array
from halfstep.bayes.levels import Levels
from halfstep.bayes.posterior import Draw
from halfstep.bayes.predictive import NoiseShape
from halfstep.bayes.priors import RowPrior
from halfstep.bayes.sampling import Record
from halfstep.factors import Factors
from halfstep.models.forms import ModelFile, wrong
from halfstep.objectives import SIDES, Side

if TYPE_CHECKING:
    from halfstep.models.bayesian import BayesianMF

__all__ = ["restore", "to_arrays"]


def to_arrays(model: BayesianMF) -> dict[str, Array]:
    """All of them, by name."""
    draws, record = model.draws_, model.record_
    arrays = {
        "draws.user_factors": np.stack([draw.factors.user_factors for draw in draws]),
        "draws.item_factors": np.stack([draw.factors.item_factors for draw in draws]),
        "draws.alpha": np.array([draw.alpha for draw in draws]),
        "draws.freedom": np.array([draw.freedom for draw in draws]),
        "draws.center": np.array([draw.factors.mean for draw in draws]),
        "record.sigma": record.sigma,
        "record.objective": record.objective,
        "record.predictions": record.predictions,
        "record.users": record.users,
        "record.items": record.items,
    }
    steadiness = [draw.steadiness for draw in draws if draw.steadiness is not None]
    if steadiness:
        arrays["draws.steadiness"] = np.stack(steadiness)
    if model.noise_shape_ is not None:
        arrays["noise.quantiles"] = model.noise_shape_.quantiles
    levels = [draw.levels for draw in draws if draw.levels is not None]
    if levels:
        arrays["draws.levels"] = levels[0].values
        arrays["draws.cutpoints"] = np.stack([one.cutpoints for one in levels])
    for side in SIDES:
        biases = [getattr(draw.factors, f"{side}_bias") for draw in draws]
        if biases[0] is not None:
            arrays[f"draws.{side}_bias"] = np.stack(biases)
        priors = [draw.users if side == "user" else draw.items for draw in draws]
        for name in ("mean", "precision", "typical", "lift", "effects"):
            if getattr(priors[0], name) is not None:
                parts = [getattr(prior, name) for prior in priors]
                arrays[f"draws.{side}_{name}"] = np.stack(parts)
    return arrays


def restore(model: BayesianMF, file: ModelFile) -> None:
    """The draws and all else that is the Bayesian model's own.

    Raises `ModelFileError`.
    """
    f = model.factors_
    m, n = len(f.user_ids), len(f.item_ids)
    K, dtype, biased = int(model.rank), str(model.dtype), bool(model.biases)
    D, S = K + biased, len(file.arrays["draws.alpha"])
    if S < 1:
        raise wrong(file.path, "has no draws")
    users = file.array("draws.user_factors", (S, m + 1, K), dtype)
    items = file.array("draws.item_factors", (S, n + 1, K), dtype)
    biases = None
    if biased:
        biases = (
            file.array("draws.user_bias", (S, m + 1), dtype),
            file.array("draws.item_bias", (S, n + 1), dtype),
        )
    tiny = float(np.finfo(np.float64).tiny)
    alpha = file.array("draws.alpha", (S,), "float64", least=tiny)
    means = file.array("draws.center", (S,), "float64")
    freedom = file.array("draws.freedom", (S,), "float64", least=1.0, finite=False)
    steadiness = None
    if "draws.steadiness" in file.arrays:
        steadiness = file.array("draws.steadiness", (S, m + 1), "float64", least=tiny)
    levels = _levels(file, S) if model.likelihood == "ordinal" else [None] * S
    shapes = {"mean": (S, D), "precision": (S, D, D), "typical": (S, D), "lift": (S, D)}
    priors = {
        (side, name): file.array(f"draws.{side}_{name}", shape, "float64")
        for side in SIDES
        for name, shape in shapes.items()
    }
    for side in SIDES if file.check_values else ():
        if (np.linalg.eigvalsh(priors[side, "precision"]) <= 0).any():
            raise wrong(file.path, f"has draws.{side}_precision that are not positive definite")
    maps = {
        side: file.array(f"draws.{side}_effects", (S, design.width, D), dtype)
        for side in SIDES
        if (design := model.features_.side(side)) is not None
    }

    def prior(side: Side, s: int) -> RowPrior:
        own = {name: priors[side, name][s] for name in shapes}
        effects = maps.get(side)
        return RowPrior(**own, effects=None if effects is None else effects[s])

    model.draws_ = tuple(
        Draw(
            Factors(
                users[s],
                items[s],
                None if biases is None else biases[0][s],
                None if biases is None else biases[1][s],
                float(means[s]),
                f.user_ids,
                f.item_ids,
            ),
            prior("user", s),
            prior("item", s),
            float(alpha[s]),
            float(freedom[s]),
            None if steadiness is None else steadiness[s],
            levels[s],
        )
        for s in range(S)
    )
    model.noise_shape_ = None if model.likelihood == "ordinal" else _noise_shape(file)
    chains, samples = file.arrays["record.sigma"].shape
    pairs = len(file.arrays["record.users"])
    model.record_ = Record(
        file.array("record.sigma", (chains, samples), "float64"),
        file.array("record.objective", (chains, samples), "float64"),
        file.array("record.predictions", (chains, samples, pairs), "float64"),
        file.array("record.users", (pairs,), "int64", least=0),
        file.array("record.items", (pairs,), "int64", least=0),
    )
    record = model.record_
    if file.check_values and ((record.users >= m).any() or (record.items >= n).any()):
        raise wrong(file.path, "has a record of users or items that are not there")
    model.objective_ = model.draws_[-1].density()


def _noise_shape(file: ModelFile) -> NoiseShape:
    quantiles = file.array("noise.quantiles", file.arrays["noise.quantiles"].shape, "float64")
    if quantiles.ndim != 1 or not len(quantiles) or (np.diff(quantiles) < 0).any():
        raise wrong(file.path, "has quantiles of the noise that do not ascend")
    return NoiseShape(quantiles)


def _levels(file: ModelFile, draws: int) -> list[Levels | None]:
    count = len(file.arrays["draws.levels"])
    values = file.array("draws.levels", (count,), "float64")
    cutpoints = file.array("draws.cutpoints", (draws, count - 1), "float64")
    if count < 2 or (np.diff(values) <= 0).any() or (np.diff(cutpoints, axis=1) < 0).any():
        raise wrong(file.path, "has levels or cutpoints that do not ascend")
    return [Levels(values, own) for own in cutpoints]
