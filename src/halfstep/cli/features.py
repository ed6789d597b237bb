"""Options for what is known of users and items beside their ratings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from cyclopts import Group, Parameter

from halfstep.data.ratings import Ratings
from halfstep.errors import InputError, ParameterError
from halfstep.models.base import FactorModel
from halfstep.objectives import Side

if TYPE_CHECKING:
    from halfstep.features.features import Features

__all__ = ["FeatureFiles", "FeatureOptions", "facts"]

_FEATURES = Group("Features (what is known beside the ratings)", sort_key=7)


@Parameter(name="*", group=_FEATURES)
@dataclass(frozen=True, kw_only=True)
class FeatureFiles:
    """Tables of features."""

    user_features: Annotated[
        Path | None,
        Parameter(help="A table with a row for each user: CSV, Parquet, u.user, users.dat, …"),
    ] = None
    item_features: Annotated[
        Path | None,
        Parameter(help="A table with a row for each item: CSV, Parquet, u.item, movies.dat, …"),
    ] = None

    @property
    def paths(self) -> list[Path]:
        """Those that are given."""
        return [path for path in (self.user_features, self.item_features) if path is not None]

    def read(
        self, ratings: Ratings | None = None, *, model: FactorModel | None = None
    ) -> dict[str, Any]:
        """The arguments `user_features` and `item_features` of a fit, or of a fitted model's answers.

        With a fitted `model` the tables are encoded as those of its fit were. A table that knows none of
        the users or items of `ratings` is refused.
        """
        from halfstep.features import read_features

        found: dict[str, Any] = {}
        sides: tuple[tuple[Side, Path | None], ...] = (
            ("user", self.user_features),
            ("item", self.item_features),
        )
        for side, path in sides:
            if path is None:
                continue
            like = None if model is None else _encoding_of(model, side, path)
            try:
                features = read_features(path, like=like, side=side)
            except InputError as error:
                raise _of_file(side, path, error) from None
            if ratings is not None and not _matched(side, features, ratings):
                raise ParameterError(
                    f"{side}_features",
                    str(path),
                    f"has a row for none of the {side}s of the ratings",
                    f"pass the table of these {side}s, under the same ids",
                )
            found[f"{side}_features"] = features
        return found

    def told(self, model: FactorModel) -> FactorModel:
        """The fitted model, with the users and items of the tables."""
        if not self.paths:
            return model
        known = self.read(model=model)
        return model.with_features(**known)


@Parameter(name="*", group=_FEATURES)
@dataclass(frozen=True, kw_only=True)
class FeatureOptions(FeatureFiles):
    """Tables of features, and implicit features."""

    implicit_features: Annotated[
        bool,
        Parameter(
            negative="",
            show_default=False,
            help="Which items a user has rated says something of the user, whatever the ratings "
            "(and the same of items).",
        ),
    ] = False

    @property
    def given(self) -> bool:
        """Whether there are any."""
        return self.implicit_features or bool(self.paths)

    def words(self) -> list[str]:
        """The words of a command line that say the same."""
        found = ["--implicit-features"] if self.implicit_features else []
        for flag, path in (
            ("--user-features", self.user_features),
            ("--item-features", self.item_features),
        ):
            found += [] if path is None else [flag, str(path)]
        return found


def facts(known: dict[str, Any], ratings: Ratings) -> list[tuple[str, str]]:
    """Of every table its size, and how many users or items of the ratings it knows."""
    found = []
    sides: tuple[tuple[Side, int], ...] = (("user", ratings.shape[0]), ("item", ratings.shape[1]))
    for side, count in sides:
        table = known.get(f"{side}_features")
        if table is not None:
            rows, columns = table.shape
            found.append(
                (
                    f"{side} features",
                    f"{rows:,} rows, {columns:,} columns; of {_matched(side, table, ratings):,} of the "
                    f"{count:,} {side}s",
                )
            )
    return found


def _matched(side: Side, features: Features, ratings: Ratings) -> int:
    """How many users or items of the ratings have a row."""
    ids = ratings.users if side == "user" else ratings.items
    return int(np.count_nonzero(features.ids.lookup(ids.values) >= 0))


def _of_file(side: Side, path: Path, error: InputError) -> ParameterError:
    """The same error, with the flag and the file, and a remedy that a command line has."""
    inside = error.value is None or error.argument == "table"
    what = f"{error.argument} {error.value!r} " if error.value is not None and not inside else ""
    remedy = error.remedy
    if error.argument == "path":
        what = "" if str(error.value) == str(path) else f"{error.value} "
        remedy = remedy.replace("a table of ratings", "a table of features")
        remedy = remedy.replace("at least one rating", "at least one row")
        if "--sep" in remedy or "sep=" in remedy:
            remedy = f"pass a table of ids and at least one feature of the {side}s"
    elif error.argument == "features":
        what = f"lacks {error.value!r}: "
    elif "id=" in remedy:
        remedy = f"name that column id, or {side}"
    elif "kinds=" in remedy:
        remedy = "mend the value"
    return ParameterError(f"{side}_features", str(path), f"{what}{error.rule}", remedy)


def _encoding_of(model: FactorModel, side: Side, path: Path) -> Any:
    """How the features of that side were encoded in the fit."""
    design = model.features_.side(side)
    if design is None or design.encoding is None:
        raise ParameterError(
            f"{side}_features",
            str(path),
            f"has no effect: the model was fitted without features of {side}s",
            f"fit it with {side}_features=FILE, or drop them",
        )
    return design.encoding
