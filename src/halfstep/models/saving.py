"""A model as one `.safetensors` file, and back.

Arrays: `user_factors`, `item_factors`, `user_bias`, `item_bias`; `user_ids`, `item_ids` (int64, or
`….bytes` with `….offsets` for UTF-8 text); `history.indptr`, `.items`, `.ratings`, `.weights`. Of a
calibrated model `calibration.scale` (5 × 7, float64: θ, shift, spread, low, high of the features),
the ascending scores `calibration.scores.0` and, where items of few ratings have their own, `.1`.
The metadata entry `halfstep` is a JSON document: format version, class, parameters, μ, scale, what
λ and its scaling are, the trace (capped), a summary of the data, how many held-out ratings each list of
scores stands for, the trials of a selection. What a model with features has more is in
`feature_arrays.py`. No pickle anywhere.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from halfstep.backends.base import CSR, Array
from halfstep.data.id_arrays import ids_from_arrays, ids_to_arrays
from halfstep.errors import ModelFileError, shown
from halfstep.files import read_tensors, write_tensors
from halfstep.models import calibration
from halfstep.models.forms import (
    BayesianForm,
    ExplicitForm,
    Form,
    ImplicitForm,
    ModelFile,
    RankingForm,
    wrong,
)
from halfstep.selection.result import Selection
from halfstep.training import Trace, TraceRow

if TYPE_CHECKING:
    from halfstep.models.base import FactorModel

__all__ = ["load", "save_model"]

FORMAT = 1
_FORMS: dict[str, Form] = {
    "BayesianMF": BayesianForm(),
    "ExplicitMF": ExplicitForm(),
    "ImplicitMF": ImplicitForm(),
    "RankingMF": RankingForm(),
    "CosineMF": RankingForm(cosine=True),
}
_DAMAGE = (  # what reading a document of the wrong form can raise
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
_MOST_TRACE_ROWS = 1000


def save_model(model: FactorModel, path: str | Path, *, history: bool) -> Path:
    """Write a fitted model; see `FactorModel.save`."""
    f = model.factors_
    tensors: dict[str, Array] = {
        "user_factors": f.user_factors,
        "item_factors": f.item_factors,
        **ids_to_arrays("user_ids", f.user_ids),
        **ids_to_arrays("item_ids", f.item_ids),
    }
    if f.user_bias is not None and f.item_bias is not None:
        tensors |= {"user_bias": f.user_bias, "item_bias": f.item_bias}
    if history and model.history_ is not None:
        cells = model.history_
        tensors |= {
            "history.indptr": cells.indptr,
            "history.items": cells.indices,
            "history.ratings": cells.values,
        }
        if cells.weights is not None:
            tensors["history.weights"] = cells.weights
    if model.calibration_ is not None:
        tensors |= calibration.to_arrays(model.calibration_)
    rows = model.trace_
    if len(rows) > _MOST_TRACE_ROWS:  # evenly thinned, the last one kept
        picked = np.unique(np.linspace(0, len(rows) - 1, _MOST_TRACE_ROWS).astype(int))
        rows = Trace(rows[i] for i in picked)
    document = {
        "format": FORMAT,
        "class": type(model).__name__,
        "mean": f.mean,
        "scale": list(model.scale_),
        "n_iter": model.n_iter_,
        "best_iter": model.best_iter_,
        "stopped": model.stopped_,
        "exact_users": model._exact_users,
        "trace": rows.to_dict(),
        "data": model.data_summary_,
    }
    own, arrays = _FORMS[type(model).__name__].parts(model, history)
    document |= own
    tensors |= arrays
    if model.selection_ is not None:
        document["selection"] = model.selection_.as_dict()
    if model.calibration_ is not None:
        document["calibration"] = list(model.calibration_.counts)
    return write_tensors(path, tensors, {"halfstep": json.dumps(document, ensure_ascii=False)})


def load(path: str | Path, *, mmap: bool = False) -> FactorModel:
    """The model that `save` wrote.

    Parameters
    ----------
    path : str or Path
    mmap : bool
        Map the file instead of reading it: the factors stay on the disk until they are used, and are
        shared between processes. Skips only the checks that would read the whole file: that all
        values are finite, and that the items of the history exist (checked when they are used).

    Raises
    ------
    ReadError
        There is no such file.
    ModelFileError
        The file is truncated, tampered with, of another version, or not a model.
    """
    arrays, metadata = read_tensors(path, mmap=mmap)
    try:
        document = json.loads(metadata["halfstep"])
        version, kind = document["format"], document["class"]
    except (KeyError, TypeError, ValueError, RecursionError):
        raise wrong(path, "is a safetensors file, but not a halfstep model") from None
    if version != FORMAT:
        raise ModelFileError(
            "path",
            str(path),
            f"has format {shown(version)}, and this halfstep reads format {FORMAT}",
            "update halfstep, or save the model again with this version",
        )
    form = _FORMS.get(kind) if isinstance(kind, str) else None
    if form is None:
        raise wrong(path, f"holds a model of the unknown class {shown(kind)}")
    try:
        return _restore(form, document, arrays, path, check_values=not mmap)
    except ModelFileError:
        raise
    except _DAMAGE as error:
        raise wrong(path, f"is damaged ({type(error).__name__}: {error})") from None


def _restore(
    form: Form,
    document: dict[str, Any],
    arrays: dict[str, Array],
    path: str | Path,
    check_values: bool,
) -> FactorModel:
    mean = float(document["mean"])
    low, high = (float(v) for v in document["scale"])
    if not all(math.isfinite(v) for v in (mean, low, high)) or low > high:
        raise wrong(path, "has a mean or scale that makes no sense")
    file = ModelFile(path, document, arrays, check_values)
    try:
        ids = ids_from_arrays("user_ids", arrays), ids_from_arrays("item_ids", arrays)
    except ValueError as error:
        raise wrong(path, str(error)) from None
    model = form.restored(file, mean, *ids)
    model._fitted_params = model.get_params()
    model.history_ = _history(arrays, len(ids[0]), len(ids[1]), path, check_values)
    model.trace_ = _trace(document["trace"])
    model.n_iter_, model.best_iter_ = int(document["n_iter"]), int(document["best_iter"])
    model.stopped_ = str(document["stopped"])
    model.scale_ = (low, high)
    model.data_summary_ = dict(document["data"])
    model.selection_ = None
    if "selection" in document:
        model.selection_ = Selection.from_dict(document["selection"])
    model.calibration_ = None
    if "calibration" in document:
        model.calibration_ = calibration.from_arrays(arrays, document["calibration"])
    model.n_features_in_ = 2
    return model


def _history(
    arrays: dict[str, Array], m: int, n: int, path: str | Path, check_values: bool
) -> CSR | None:
    if "history.indptr" not in arrays:
        return None
    cells = CSR(
        arrays["history.indptr"],
        arrays["history.items"],
        arrays["history.ratings"],
        arrays.get("history.weights"),
    )
    expected = {"indptr": np.int64, "indices": np.uint32, "values": np.float32}
    if cells.weights is not None:
        expected["weights"] = np.float32
    indptr = cells.indptr
    if (
        any(getattr(cells, name).dtype != dtype for name, dtype in expected.items())
        or indptr.shape != (m + 1,)
        or indptr[0] != 0
        or (np.diff(indptr) < 0).any()
        or any(getattr(cells, name).shape != (indptr[-1],) for name in expected if name != "indptr")
    ):
        raise wrong(path, "has a history that does not fit its users")
    if check_values and len(cells.indices):
        inside_row = np.ones(len(cells.indices), dtype=bool)
        inside_row[indptr[:-1][np.diff(indptr) > 0]] = False
        steps = np.diff(cells.indices.astype(np.int64), prepend=-1)
        if int(cells.indices.max()) >= n or (steps[inside_row] <= 0).any():
            raise wrong(path, "has a history with items out of range or out of order")
        weights = cells.weights
        if not np.isfinite(cells.values).all() or (
            weights is not None and not (np.isfinite(weights) & (weights > 0)).all()
        ):
            raise wrong(path, "has ratings or weights in its history that make no sense")
    return cells


def _trace(columns: dict[str, list[Any]]) -> Trace:
    names = [name for name in columns if name.startswith("seconds_")]
    rows = []
    scores = columns.get("validation_score")
    for i in range(len(columns.get("sweep", []))):
        seconds = {name.removeprefix("seconds_"): columns[name][i] for name in names}
        rows.append(
            TraceRow(
                columns["sweep"][i],
                columns["objective"][i],
                columns["train_rmse"][i],
                columns["validation_rmse"][i],
                seconds,
                None if scores is None else scores[i],
            )
        )
    return Trace(rows)
