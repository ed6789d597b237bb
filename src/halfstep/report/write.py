"""`write_report`: a page to look at, about the ratings, the fit, its error, and what was learned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from halfstep.data.pairs import require_ratings
from halfstep.data.ratings import Ratings
from halfstep.errors import DataError, ParameterError
from halfstep.files import replace_file
from halfstep.implicit import ImplicitSquaredError
from halfstep.models.base import FactorModel
from halfstep.models.bayesian import BayesianMF
from halfstep.pairwise import RankingObjective
from halfstep.report.parts import Figure, Section
from halfstep.report.picture import check_drawing
from halfstep.report.theme import unchecked
from halfstep.wording import counted, error_text, metric_title, percent

if TYPE_CHECKING:
    from halfstep.report.sections.rankings import Rankings

__all__ = ["Report", "check_report", "drawings", "write_report"]

_ENDINGS = (".html", ".png", ".pdf")


@dataclass(frozen=True, slots=True)
class Report:
    """What a report says.

    Attributes
    ----------
    title, told : str
        The heading, and the model's facts in a sentence.
    facts : tuple of (label, value)
        The figures to see first.
    sections : tuple of Section
        See `halfstep.report.parts`.
    errors : dict or None
        (RMSE, MAE) of the model and of the baselines on the held-out ratings, by name.
    rankings : dict or None
        Of a model of interactions: the metrics of the model and of the baselines on the held-out part.
    """

    title: str
    told: str
    facts: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]
    errors: dict[str, tuple[float, float | None]] | None
    rankings: dict[str, dict[str, float]] | None = None

    def as_dict(self) -> dict[str, Any]:
        """What is said, as plain values."""
        errors = None
        if self.errors is not None:
            errors = {name: {"rmse": pair[0], "mae": pair[1]} for name, pair in self.errors.items()}
        return {
            "title": self.title,
            "told": self.told,
            "facts": dict(self.facts),
            "errors": errors,
            "rankings": self.rankings,
            "sections": [
                {
                    "id": section.id,
                    "title": section.title,
                    "parts": [
                        {
                            "id": part.id,
                            "kind": type(part).__name__.lower(),
                            "title": part.title,
                            "sentence": getattr(part, "sentence", None)
                            or getattr(part, "why", None),
                        }
                        for part in section.parts
                    ],
                }
                for section in self.sections
            ],
        }


def check_report(path: Path) -> None:
    """Raise `InputError` where no report of that name could be written here."""
    check_drawing(path, _ENDINGS, {"jinja2": "jinja2"})


def write_report(
    model: FactorModel,
    ratings: Ratings,
    path: str | Path,
    *,
    titles: Mapping[Any, str] | None = None,
    test: Ratings | None = None,
    measured: FactorModel | None = None,
    user_features: Any = None,
    item_features: Any = None,
    seed: int = 0,
) -> Report:
    """Write a report of a fitted model: figures and tables, each with a sentence that says what to see.

    It shows the ratings, the training, the choice of rank and λ (where the fit has chosen), the error on
    held-out ratings against baselines, predicted against observed ratings, how sure it is, the axes of
    the factors, and examples. The ending of the name decides: `.html` is one page that needs no network
    and no script, for light and dark screens and for paper; `.png` and `.pdf` are its figures on one
    sheet.

    A model that was fitted to all ratings cannot be measured on them. Without `test`, a tenth of the
    ratings is held out at random, and a copy of the model (its rank, its λ, as many sweeps as it kept)
    is fitted to the rest and measured.

    Parameters
    ----------
    model : fitted model
        Its factors, neighbours and recommendations are shown.
    ratings : Ratings
        What the report is about: the ratings that the model was fitted to, held-out parts included.
    path : path
        Ends in .html, .png or .pdf. Replaced as a whole or not at all.
    titles : mapping of item ids to titles, optional
        Such as `read_titles` returns.
    test : Ratings, optional
        Held-out ratings to measure on.
    measured : fitted model, optional
        The one to measure on `test`, where `model` was fitted again to everything. Default: `model`.
    user_features, item_features : Features, a table, or a pair (matrix, ids), optional
        Those that the model was fitted with, for the copy that is measured: only where it was saved
        without its history, which has them.
    seed : int
        Of the held-out tenth and of the halves that calibrate and test intervals.

    Returns
    -------
    Report
        What was written, as text.

    Raises
    ------
    InputError
        Another ending, no such folder, or the extra `halfstep[report]` is not installed.
    NotFittedError
    DataError
        The model that is measured was fitted to some of `test`.
    UnknownIdError
        The model was saved without its history, and does not know some of the ratings.

    Examples
    --------
    >>> import halfstep as hs
    >>> from halfstep.report import write_report
    >>> ratings = hs.simulate(200, 100, rank=3, seed=0).ratings
    >>> model = hs.ExplicitMF(rank=3, reg=0.05).fit(ratings)
    >>> report = write_report(model, ratings, "report.html")  # doctest: +SKIP
    """
    path = Path(path)
    check_report(path)
    with unchecked():
        known = {"user_features": user_features, "item_features": item_features}
        known = {name: value for name, value in known.items() if value is not None}
        report = _composed(model, ratings, titles, test, measured, known, seed)
        content = _page(report) if path.suffix.lower() == ".html" else _sheet(report, path)
    replace_file(path, lambda temporary: Path(temporary).write_bytes(content))
    return report


# ------------------------------------------------------------------------------ what is said


def _composed(
    model: FactorModel,
    ratings: Ratings,
    titles: Mapping[Any, str] | None,
    test: Ratings | None,
    measured: FactorModel | None,
    known: dict[str, Any],
    seed: int,
) -> Report:
    from halfstep.checks import check_integer
    from halfstep.report.names import Names
    from halfstep.report.sections.axes import axes_section
    from halfstep.report.sections.catalogue import catalogue_section
    from halfstep.report.sections.certainty import certainty_section
    from halfstep.report.sections.choice import choice_section, selection_of
    from halfstep.report.sections.error import error_section, errors_of
    from halfstep.report.sections.examples import examples_section
    from halfstep.report.sections.features import features_section, has_features
    from halfstep.report.sections.predictions import predictions_section
    from halfstep.report.sections.rankings import rankings_of, rankings_section
    from halfstep.report.sections.ratings import ratings_section
    from halfstep.report.sections.training import training_section
    from halfstep.report.subject import Held, Subject, held_out

    if not isinstance(model, FactorModel):
        raise ParameterError(
            "model", model, "must be a fitted model with factors", "fit one, or load one"
        )
    for fitted in (model, measured):
        if fitted is not None:
            fitted._check_fitted()
    require_ratings(ratings)
    if not len(ratings):
        raise DataError("ratings", ratings, "holds no ratings", "pass at least one")
    check_integer("seed", seed, 0)
    if test is not None:
        require_ratings(test, "test")
        if not len(test):
            raise DataError("test", test, "holds no ratings", "pass at least one, or no test=")
    model = _with_history(model, ratings)
    names = Names(titles)
    held = held_out(model, ratings, test, measured, known, seed)
    subject = Subject(model, ratings, names, held, seed)
    if model.learns == "interactions":
        lists = rankings_of(held) if isinstance(held, Held) else None
        return Report(
            f"{type(model).__name__} of rank {model.rank_}",
            _model_facts(model),
            _ranking_facts(ratings, lists),
            (
                ratings_section(subject),
                training_section(subject),
                rankings_section(subject, lists),
                catalogue_section(subject),
                axes_section(subject),
                examples_section(subject),
            ),
            None,
            None if lists is None else lists.values(),
        )
    errors, left_out = errors_of(held) if isinstance(held, Held) else (None, [])
    sections = [ratings_section(subject), training_section(subject)]
    selection = selection_of(subject)
    if selection is not None:
        sections.append(choice_section(selection))
    sections += [
        error_section(subject, errors, left_out),
        predictions_section(subject),
    ]
    if isinstance(held, Held):
        sections.append(certainty_section(held, seed))
    if has_features(model):
        sections.append(features_section(model))
    sections += [axes_section(subject), examples_section(subject)]
    return Report(
        f"{type(model).__name__} of rank {model.rank_}",
        _model_facts(model),
        _facts(ratings, errors),
        tuple(sections),
        errors,
    )


def _with_history(model: FactorModel, ratings: Ratings) -> FactorModel:
    """The model; one that was saved without its history with these ratings in its place."""
    if model.history_ is not None:
        return model
    whole = model._with(model.factors_)
    whole.history_ = model._as_history(ratings)
    return whole


def _model_facts(model: FactorModel) -> str:
    f = model.factors_
    fitted = model.data_summary_.get("ratings")
    noun = model.learns.removesuffix("s")
    to = f" to {counted(fitted, noun)}" if isinstance(fitted, int) else ""
    return (
        f"{_settings(model)}; fitted{to} of {counted(len(f.user_ids), 'user')} and "
        f"{counted(len(f.item_ids), 'item')} in {counted(model.best_iter_, 'sweep')}, "
        f"seed {model._fitted_params.get('seed', 0)}."
    )


def _settings(model: FactorModel) -> str:
    """λ; or how much was drawn, where λ is learned."""
    if isinstance(model, BayesianMF):
        fitted = model._fitted_params
        chains, samples = int(fitted["chains"]), int(fitted["samples"])
        told = f"{counted(samples, 'draw')} after {counted(int(fitted['burn_in']), 'sweep')} of burn-in"
        if chains > 1:
            told += f" in each of {chains} chains"
        return f"{told}, {len(model.draws_)} of them kept; λ is learned"
    objective: Any = model.objective_
    reg = objective.reg
    told = f"λ = {reg.user:.3g} for users, {reg.item:.3g} for items"
    if model.factors_.user_bias is not None:
        told += f", {reg.bias:.3g} for biases"
    if isinstance(objective, RankingObjective):
        return f"{told}, in every step"
    scaled = {
        "frequency": "times the number of interactions and α₀ times that of the other side",
        "count": f"times the number of {model.learns}",
        "sqrt": "times the root of the number of ratings",
        "none": "not scaled",
    }[objective.reg_scaling]
    told = f"{told} ({scaled})"
    if isinstance(objective, ImplicitSquaredError):
        told += f", α = {objective.confidence.alpha:.3g}, α₀ = {objective.alpha0:.3g}"
    return told


def _facts(
    ratings: Ratings, errors: dict[str, tuple[float, float | None]] | None
) -> tuple[tuple[str, str], ...]:
    from halfstep.report.sections.error import MODEL

    facts = _sizes(ratings, "ratings")
    if errors is not None:
        rmse, mae = errors[MODEL]
        facts.append(("held-out RMSE", error_text(rmse)))
        if mae is not None:
            facts.append(("held-out MAE", error_text(mae)))
    return tuple(facts)


def _sizes(ratings: Ratings, what: str) -> list[tuple[str, str]]:
    m, n = ratings.shape
    return [
        (what, f"{len(ratings):,}"),
        ("users", f"{m:,}"),
        ("items", f"{n:,}"),
        ("of all pairs", percent(ratings.density)),
    ]


def _ranking_facts(ratings: Ratings, lists: Rankings | None) -> tuple[tuple[str, str], ...]:
    facts = _sizes(ratings, "interactions")
    if lists is not None:
        facts += [
            (f"held-out {metric_title(f.name)}", f"{f.value:.4f}") for f in lists.mine.values()
        ]
    return tuple(facts)


# -------------------------------------------------------------------------------- how it looks


def drawings(report: Report) -> dict[str, str]:
    """The SVG element of every figure, and of its form for narrow screens."""
    from halfstep.report.drawing import svg_of

    drawn = {}
    for section in report.sections:
        for part in section.parts:
            if not isinstance(part, Figure):
                continue
            told = f"{part.title}. {part.shown} {part.sentence}"
            for name, chart in ((part.id, part.chart), (f"{part.id}-narrow", part.narrow)):
                if chart is not None:
                    drawn[name] = svg_of(chart, name, told)
    return drawn


def _page(report: Report) -> bytes:
    from importlib.resources import files

    from jinja2 import Environment
    from markupsafe import Markup

    from halfstep import __version__
    from halfstep.report.theme import ROLES

    folder = files("halfstep.report")
    text = Environment(autoescape=False).from_string(folder.joinpath("page.css").read_text("utf-8"))
    page = Environment(autoescape=True).from_string(folder.joinpath("page.html").read_text("utf-8"))
    whole: str = page.render(
        report=report,
        version=__version__,
        style=Markup(text.render(roles=ROLES)),
        lone=_lone(report),
        drawn={name: Markup(svg) for name, svg in drawings(report).items()},
    )
    return whole.encode("utf-8")


def _lone(report: Report) -> set[str]:
    """The figures that stand alone in their row of two: their words go beside them."""
    lone: set[str] = set()
    for section in report.sections:
        open_row = ""
        for part in section.parts:
            if not isinstance(part, Figure) or part.narrow is not None:
                lone |= {open_row}
                open_row = ""
            else:
                open_row = "" if open_row else part.id
        lone |= {open_row}
    return lone - {""}


def _sheet(report: Report, path: Path) -> bytes:
    import vl_convert

    from halfstep.report.sheet import sheet_of

    svg = sheet_of(report, drawings(report))
    if path.suffix.lower() == ".pdf":
        return bytes(vl_convert.svg_to_pdf(svg))
    return bytes(vl_convert.svg_to_png(svg, scale=1.5))
