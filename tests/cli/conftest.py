"""A table of simulated ratings, titles, and a model fitted from the command line."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import halfstep as hs
from halfstep.cli import main


@dataclass(frozen=True)
class Files:
    folder: Path
    ratings: Path
    titles: Path
    model: Path


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory, simulated: hs.Ratings) -> Files:
    folder = tmp_path_factory.mktemp("cli")
    made = Files(
        folder, folder / "ratings.csv", folder / "titles.csv", folder / "model.safetensors"
    )
    with open(made.ratings, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["user", "item", "rating"])
        users, items, values = (column.tolist() for column in simulated.to_arrays())
        writer.writerows(zip(users, items, values, strict=True))
    with open(made.titles, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["item", "title"])
        for item in simulated.items.values.tolist():
            name = f"[bold]A film with a title that is far too long for any terminal, no. {item}"
            writer.writerow([item, "Café :star: (1950)" if item == 3 else name])
    assert main(["fit", str(made.ratings), "-o", str(made.model), "--rank", "4", "--json"]) == 0
    return made


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Answer]:
    """Run the command line in this process."""
    monkeypatch.setenv("COLUMNS", "80")

    def ran(*arguments: object) -> Answer:
        capsys.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as exit_:
            code = int(exit_.code or 0)
        told = capsys.readouterr()
        return Answer(code, told.out, told.err)

    return ran
