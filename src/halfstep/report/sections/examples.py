"""Examples to check by eye: what is alike, and what some users are recommended, and why."""

from __future__ import annotations

from typing import Any

import numpy as np

from halfstep.errors import SingularSystemError
from halfstep.models.ranking import RankingMF
from halfstep.report.parts import Missing, Part, Section, Table
from halfstep.report.subject import Subject
from halfstep.wording import counted

__all__ = ["examples_section"]

_ITEMS, _NEIGHBOURS, _ASKED = 6, 5, 200
_RECOMMENDED, _REASONS = 5, 2
_USERS = (("an active user", 0.9), ("a typical user", 0.5), ("a user of few {}s", 0.1))


def examples_section(subject: Subject) -> Section:
    """Neighbours of the most rated items; recommendations of three users with their reasons."""
    least = max(subject.well_known, 1)
    lead = (
        f"Only items of at least {counted(least, subject.noun)} are shown, the upper half: "
        "of the others little is known."
    )
    parts: list[Part] = [_alike(subject, least), *_recommended(subject, least)]
    return Section("examples", "Examples to check by eye", parts, lead)


def _alike(subject: Subject, least: int) -> Part:
    where = ("similar", "Items that are alike")
    ids, counts = subject.model.factors_.item_ids, subject.item_counts
    known = np.argsort(-counts, kind="stable")[:_ITEMS]
    known = known[counts[known] > 0]
    answers = subject.model.similar_items([ids.id_at(int(k)) for k in known], n=_ASKED)
    rows: list[list[str | list[str]]] = []
    closest = ("", "", -np.inf)
    for k in known.tolist():
        near = [
            (subject.names.item(item), cosine)
            for item, cosine in answers[ids.id_at(k)]
            if counts[ids.lookup([item])[0]] >= least
        ][:_NEIGHBOURS]
        if near:
            name = subject.names.item(ids.id_at(k))
            rows.append([name, [f"{cosine:.2f} {other}" for other, cosine in near]])
            closest = max(closest, (name, *near[0]), key=lambda found: found[2])
    if not rows:
        return Missing(*where, "No item has neighbours.")
    return Table(
        *where,
        f"The closest of these pairs is «{closest[0]}» and «{closest[1]}» (cosine {closest[2]:.2f} of "
        "their factors).",
        (
            f"one of the most {'rated' if subject.noun == 'rating' else 'popular'}",
            "cosine, and items that are most like it",
        ),
        rows,
    )


def _recommended(subject: Subject, least: int) -> list[Part]:
    history = subject.model._whole_history("report")
    sizes = np.diff(history.indptr)
    order = np.argsort(sizes, kind="stable")
    order = order[sizes[order] > 0]
    parts: list[Part] = []
    chosen: dict[int, str] = {}
    for kind, quantile in _USERS if len(order) else ():
        row = int(order[round(quantile * (len(order) - 1))])
        chosen.setdefault(row, kind.format(subject.noun))
    for number, (row, kind) in enumerate(chosen.items()):
        parts.append(_for_user(subject, row, kind, int(sizes[row]), least, number))
    return parts


def _for_user(subject: Subject, row: int, kind: str, rated: int, least: int, number: int) -> Part:
    model, names = subject.model, subject.names
    rates = subject.noun == "rating"
    had = "been rated" if rates else "been had"
    user = model.factors_.user_ids.id_at(row)
    title = f"{kind.capitalize()}: {names.user(user)}"
    where = (f"recommended-{number + 1}", title)
    told = model.recommend([user], n=_RECOMMENDED, min_ratings=least)[user]
    if not told:
        return Missing(*where, f"Every item that may be shown has {had} already.")
    rows: list[list[str | list[str]]] = []
    top: Any = None
    try:
        for item, score in told:
            if isinstance(model, RankingMF):  # whose scores are no sums over a history
                rows.append([names.item(item), f"{score:.3g}", ["–"]])
                top = top or (names.item(item), score, "")
                continue
            why = model.explain(user, item)
            first = (
                part[:_REASONS].tolist() for part in (why.items, why.ratings, why.contributions)
            )
            shares = list(zip(*first, strict=True))
            reasons = [
                f"{share:+.2f} {names.item(other)}{_valued(rates, rating)}"
                for other, rating, share in shares
                if share > 0
            ]
            rows.append(
                [
                    names.item(item),
                    f"{score:.3g}",
                    reasons or ["what everybody thinks of it" if rates else "–"],
                ]
            )
            if top is None:
                value = f"a rating of {shares[0][1]:g} for " if rates else ""
                most = f"{value}«{names.item(shares[0][0])}»" if shares else ""
                top = (names.item(item), score, most if reasons else "")
    except SingularSystemError:
        return Missing(*where, "The user's system has no unique solution (reg is 0).")
    because = f"; what speaks for it most is {top[2]}" if top[2] else ""
    return Table(
        *where,
        f"From {counted(rated, subject.noun)} the first recommendation is «{top[0]}», "
        f"{'predicted' if rates else 'score'} {top[1]:.3g}{because}.",
        (
            "recommended",
            "predicted" if rates else "score",
            f"share in it, and the {subject.noun} that it comes from",
        ),
        rows,
        frozenset({1}),
    )


def _valued(rates: bool, value: float) -> str:
    """The rating, or how often where it was more than once."""
    if rates:
        return f", rated {value:g}"
    return "" if value == 1 else f", count {value:g}"
