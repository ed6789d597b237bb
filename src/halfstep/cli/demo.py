"""`halfstep demo`: the main job, on simulated ratings, with the commands that would do it."""

from __future__ import annotations

import csv
import shlex
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter

from halfstep.backends.base import Array
from halfstep.cli.explain import show as show_explained
from halfstep.cli.fit import FitJob
from halfstep.cli.options import ReadingOptions
from halfstep.cli.output import Json, Output, duration
from halfstep.cli.recommend import show as show_recommended
from halfstep.cli.saved import Titles
from halfstep.data.simulate import Simulation, simulate
from halfstep.data.titles import read_titles
from halfstep.errors import HalfstepError
from halfstep.models.base import FactorModel
from halfstep.models.explicit import ExplicitMF
from halfstep.models.implicit import ImplicitMF
from halfstep.models.saving import load

__all__ = ["demo"]


def demo(
    *,
    folder: Annotated[
        Path | None,
        Parameter(help="Keep the files in this folder, to go on with them (made if needed)."),
    ] = None,
    seed: Annotated[int, Parameter(help="Of the simulated ratings.")] = 0,
    implicit: Annotated[
        bool,
        Parameter(
            negative="",
            show_default=False,
            help="With interactions in place of ratings: who has seen what, not how they liked it.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """See it work on simulated ratings: fit, error, recommendations.

    People with a taste are made up, and what they think of films that are made up
    too; then the main job is done on those ratings as on any others. Every step says
    what it does and which command does it. It takes a few seconds and leaves nothing
    behind (with --folder, the files).

    For example:
        halfstep demo
        halfstep demo --folder demo
        halfstep demo --implicit
    """
    out = Output(as_json)
    begun = perf_counter()
    with ExitStack() as stack:
        if folder is None:
            place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="halfstep-demo-")))
        else:
            place = folder
            place.mkdir(parents=True, exist_ok=True)
            taken = [name for name in _files(implicit) if (place / name).exists()]
            if taken:
                raise HalfstepError(f"--folder {place}: {taken[0]} is there already; name another")
        document = (_Interactions if implicit else _Demo)(out, place, seed).run()
    seconds = perf_counter() - begun
    out.say()
    out.say(f"All of this took {duration(seconds)}.")
    if folder is None:
        more = " --implicit" if implicit else ""
        out.say(f"To keep the files and go on with them:  halfstep demo --folder demo{more}")
    if implicit:
        out.say("With interactions of your own:  halfstep fit clicks.csv --implicit")
    else:
        out.say("With ratings of your own:  halfstep fit ratings.csv")
    out.document({"command": "demo", **document, "seconds": seconds})


def _files(implicit: bool) -> tuple[str, str, str]:
    return ("seen.csv" if implicit else "ratings.csv", "films.csv", "films.safetensors")


class _Demo:
    """The steps, one after the other; each returns its part of the document."""

    implicit = False
    world: Mapping[str, Any] = {"ratings_per_user": 40, "factor_std": 0.7, "item_bias_std": 0.3}
    so_far = "Rated highest so far"
    a_score = "(A score orders the films; it may lie above the highest rating.)"
    why = "Why the first of them? Each rating of the user has a share in it."

    def __init__(self, out: Output, place: Path, seed: int) -> None:
        self.out = out
        self.table, self.films, self.model = (place / name for name in _files(self.implicit))
        self.seed = seed
        self.steps = 0

    def run(self) -> dict[str, Any]:
        document = {"simulated": self._simulate(), "fit": self._fit()}
        titles = Titles(self.films)
        saved = load(self.model)
        user, likes = self._someone(saved, titles)
        command = (
            f"halfstep recommend {self.model.name} --user {user} --items {self.films.name} -n 5"
        )
        self._step(f"What should user {user} see?", command)
        self.out.say(f"{self.so_far}: {likes}")
        self.out.say()
        ranked = saved.recommend([user], 5)
        document["recommend"] = {
            "users": show_recommended(self.out, ranked, saved, titles),
        }
        first = ranked.found.tolist()[0]
        self.out.say()
        self.out.say(self.a_score)
        command = (
            f"halfstep explain {self.model.name} --user {user} --item {first} "
            f"--items {self.films.name}"
        )
        self._step(self.why, command)
        told = saved.explain(user, first)
        document["explain"] = show_explained(self.out, told, user, titles, 10, saved.learns)
        return document

    def _step(self, text: str, command: str | None) -> None:
        self.steps += 1
        self.out.say()
        self.out.heading(f"{self.steps}. {text}")
        if command is not None:
            self.out.command(command)
        self.out.say()

    def _simulate(self) -> dict[str, Any]:
        simulation = simulate(
            1500,
            400,
            rank=len(_GENRES) // 2,
            user_bias_std=0.3,
            **self.world,
            noise=0.5,
            mean=3.2,
            seed=self.seed,
        )
        rows = self._write(simulation)
        with open(self.films, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["item", "title"])
            writer.writerows(enumerate(film_titles(simulation)))
        what = "interactions" if self.implicit else "ratings"
        self._step(f"{rows:,} {what} are made up and written as a CSV file.", None)
        with open(self.table, encoding="utf-8") as file:
            self.out.lines("".join(f"    {next(file)}" for _ in range(4)))
        return {what: rows, "users": 1500, "items": 400, "seed": self.seed}

    def _write(self, simulation: Simulation) -> int:
        """The table; how many rows it has."""
        rows = simulation.rows()
        self._csv(["user", "item", "rating", "time"], rows)
        return len(rows.users)

    def _csv(self, header: list[str], columns: Iterable[Array]) -> None:
        with open(self.table, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(header)
            writer.writerows(zip(*(column.tolist() for column in columns), strict=True))

    def _fit(self) -> dict[str, Any]:
        command = f"halfstep fit {self.table.name} --fast -o {shlex.quote(self.model.name)}"
        self._step(
            "Rank and regularization are chosen, the error is measured, the model is saved.",
            command,
        )
        ratings = ReadingOptions().read(self.table)
        return FitJob(self.out, ExplicitMF("auto", reg="auto"), self.model).run(ratings)

    def _someone(self, model: FactorModel, titles: Titles) -> tuple[Any, str]:
        """The user whose favourites are most of one kind, and what they are."""
        history, ids = model.history_, model.factors_.item_ids
        assert history is not None
        most, row, favourites = -1, 0, ""
        for user in range(history.n_rows):
            cells = slice(int(history.indptr[user]), int(history.indptr[user + 1]))
            rated = history.values[cells]
            if not 20 <= len(rated) <= 60:
                continue
            best = np.argsort(-rated, kind="stable")[:5]
            liked = [titles.of(item) for item in ids.take(history.indices[cells][best]).tolist()]
            kinds = [title.partition("(")[2].partition(",")[0] for title in liked]
            same = max(kinds.count(kind) for kind in kinds)
            if same > most and float(rated[best].max()) == model.scale_[1]:
                most, row, favourites = same, user, "; ".join(liked[:3])
        return model.factors_.user_ids.id_at(row), favourites


class _Interactions(_Demo):
    """The same with what was liked, and no word of how much."""

    implicit = True
    world: Mapping[str, Any] = {"ratings_per_user": 100, "factor_std": 1.0, "item_bias_std": 0.1}
    so_far = "Seen, among others"
    a_score = "(A score orders the films: 1 is what was seen, and 0 what does not fit.)"
    why = "Why the first of them? Each film that the user has seen has a share in it."

    def _write(self, simulation: Simulation) -> int:
        rows = simulation.rows()
        liked = rows.ratings >= np.quantile(rows.ratings, _LIKED)
        self._csv(
            ["user", "item", "time"],
            [column[liked] for column in (rows.users, rows.items, rows.time)],
        )
        return int(np.count_nonzero(liked))

    def _fit(self) -> dict[str, Any]:
        from halfstep.cli.fit_implicit import ImplicitJob

        command = f"halfstep fit {self.table.name} --implicit --rank {_RANK} --alpha0 {_ALPHA0} "
        self._step(
            "A model is fitted, its lists are measured on what was held out, and it is saved.",
            f"{command}--reg {_REG} --items {self.films.name} -o {shlex.quote(self.model.name)}",
        )
        model = ImplicitMF(_RANK, alpha0=_ALPHA0, reg=_REG)
        ratings = ReadingOptions().read(self.table)
        job = ImplicitJob(self.out, model, self.model, titles=read_titles(self.films))
        return job.run(ratings)


_RANK, _ALPHA0, _REG = 8, 0.2, 0.05
_LIKED = 0.8
"""What is seen is what would be rated above this quantile."""


# ------------------------------------------------------------------- film titles

_GENRES = (
    ("space", "Comet Orbit Nebula Moon Signal Starship"),
    ("romance", "Letter Summer Kiss Wedding Garden Promise"),
    ("western", "Canyon Sheriff Stagecoach Prairie Saloon Outlaw"),
    ("horror", "Cellar Shadow Scream Grave Mirror Asylum"),
    ("comedy", "Neighbour Mix-up Holiday Landlord Parrot Accountant"),
    ("war", "Bridge Trench Convoy Siege Pilot Frontier"),
    ("heist", "Vault Alibi Diamond Getaway Forger Safe"),
    ("nature", "Glacier Reef Savanna Migration Volcano Rainforest"),
)
_ADJECTIVES = (
    *("Last", "Silent", "Red", "Hidden", "Long", "Broken"),
    *("Second", "Golden", "Distant", "Secret", "Lost", "Quiet"),
)


def film_titles(simulation: Simulation) -> list[str]:
    """A title for every item, in the genre of the planted factor that is largest in it."""
    Z: Array = simulation.planted.Z
    strongest = np.argmax(np.abs(Z), axis=1)
    genre = 2 * strongest + (Z[np.arange(len(Z)), strongest] < 0)
    made: dict[int, int] = {}
    titles = []
    for item, kind in enumerate(genre.tolist()):
        name, nouns = _GENRES[kind]
        number = made[kind] = made.get(kind, -1) + 1
        words = nouns.split()
        noun = words[number % len(words)]
        adjective = _ADJECTIVES[(number // len(words) + 5 * kind) % len(_ADJECTIVES)]
        titles.append(f"The {adjective} {noun} ({name}, {1950 + (item * 37) % 75})")
    return titles
