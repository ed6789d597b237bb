"""Options for what is known of users and items beside their ratings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter

from halfstep.errors import ParameterError
from halfstep.models.base import FactorModel
from halfstep.objectives import Side

__all__ = ["FeatureFiles", "FeatureOptions"]

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

    def read(self, model: FactorModel | None = None) -> dict[str, Any]:
        """The arguments `user_features` and `item_features` of a fit, or of a fitted model's answers.

        With a fitted `model` the tables are encoded as those of its fit were.
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
            found[f"{side}_features"] = read_features(path, like=like, side=side)
        return found

    def told(self, model: FactorModel) -> FactorModel:
        """The fitted model, with the users and items of the tables."""
        if not self.paths:
            return model
        known = self.read(model)
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
