"""Figures: one measured value each, the table that shows them, the files that keep them."""

from __future__ import annotations

import csv
import json
import os
import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

from rich.table import Table


@dataclass(frozen=True)
class Figure:
    """The median of `count` values, with the smallest and the largest of them.

    `part` and `case` say what was measured on what, `measure` and `unit` in which quantity.
    """

    part: str
    case: str
    engine: str
    version: str
    K: int | None
    threads: int
    measure: str
    value: float
    unit: str
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Iterable[float], *, measure: str, unit: str, **what: Any) -> Figure:
        """The figure of these values."""
        listed = [float(value) for value in values]
        return cls(
            measure=measure,
            unit=unit,
            value=median(listed),
            low=min(listed),
            high=max(listed),
            count=len(listed),
            **{"K": None, "case": "", **what},
        )

    @property
    def question(self) -> tuple[Any, ...]:
        """What figures of different engines must share to be compared."""
        return (self.part, self.case, self.K, self.threads, self.measure)

    @classmethod
    def from_row(cls, row: dict[str, str]) -> Figure:
        """From a line of figures.csv."""
        numbers = {name: float(row[name]) for name in ("value", "low", "high")}
        whole = {name: int(row[name]) for name in ("threads", "count")}
        text = {
            name: row[name] for name in ("part", "case", "engine", "version", "measure", "unit")
        }
        return cls(**text, **numbers, **whole, K=int(row["K"]) if row["K"] else None)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def ratios(figures: Sequence[Figure]) -> list[float | None]:
    """Every value ÷ halfstep's answer to the same question; the first halfstep engine is the base."""
    base: dict[tuple[Any, ...], float] = {}
    for figure in figures:
        if figure.engine.startswith("halfstep"):
            base.setdefault(figure.question, figure.value)
    return [
        figure.value / base[figure.question] if base.get(figure.question) else None
        for figure in figures
    ]


def together(figures: Sequence[Figure]) -> list[Figure]:
    """Answers to the same question side by side, questions in the order in which they are asked."""
    place: dict[tuple[Any, ...], int] = {}
    for figure in figures:
        place.setdefault(figure.question, len(place))
    return sorted(figures, key=lambda figure: place[figure.question])


def number(value: float) -> str:
    """Four significant digits, whole from a thousand on."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def table(figures: Sequence[Figure], title: str, caption: str = "") -> Table:
    """One line per figure: what, by whom, median, spread, ÷ ours."""
    made = Table(title=title, caption=caption, expand=False)
    made.add_column("what", overflow="fold", ratio=3)
    made.add_column("engine", overflow="fold", ratio=3)
    for name in ("K", "threads", "median", "lowest – highest"):
        made.add_column(name, justify="right", no_wrap=name == "median")
    made.add_column("unit")
    made.add_column("÷ ours", justify="right", no_wrap=True)
    figures, before = together(figures), None
    lines = zip(figures, ratios(figures), strict=True)
    for figure, ratio in lines:
        if before is not None and figure.question != before:
            made.add_section()
        what = " · ".join(word for word in (figure.case, figure.measure) if word)
        made.add_row(
            what if figure.question != before else "",
            f"{figure.engine} [dim]{figure.version}[/dim]",
            "" if figure.K is None else str(figure.K),
            str(figure.threads),
            number(figure.value),
            f"{number(figure.low)} – {number(figure.high)}" if figure.count > 1 else "",
            figure.unit,
            "" if ratio is None else f"{ratio:.2f}",
        )
        before = figure.question
    return made


def machine(threads: int) -> dict[str, Any]:
    """Where the figures are taken, and how busy it is."""
    name, flags = platform.processor() or platform.machine(), ""
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [line.partition(":") for line in info.read_text().splitlines()]
        facts = {key.strip(): value.strip() for key, _, value in reversed(lines)}
        name, flags = facts.get("model name", name), facts.get("flags", "")
    widest = next((isa for isa in ("avx512f", "avx2") if isa in flags.split()), "")
    if pinned := os.environ.get("HALFSTEP_ISA"):
        widest = f"HALFSTEP_ISA={pinned}"
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    memory = None
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    summary = ", ".join(
        word
        for word in (
            name,
            widest,
            f"{threads} of {count} cores",
            f"{memory:.0f} GiB" if memory else "",
            f"load {load:.1f} at the start" if load is not None else "",
        )
        if word
    )
    return {
        "processor": name,
        "instructions": widest,
        "cores": count,
        "threads": threads,
        "memory_gib": memory,
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_at_start": load,
        "date": date.today().isoformat(),
        "summary": summary,
    }


COLUMNS = [*(field.name for field in fields(Figure)), "ratio_to_ours", "machine", "date"]


def rows_of(figures: Sequence[Figure], where: dict[str, Any]) -> list[dict[str, Any]]:
    """The lines of figures.csv."""
    return [
        {
            **figure.to_dict(),
            "ratio_to_ours": None if ratio is None else round(ratio, 4),
            "machine": where["summary"],
            "date": where["date"],
        }
        for figure, ratio in zip(figures, ratios(figures), strict=True)
    ]


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The lines of an earlier figures.csv, none where there is no such file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [{name: line.get(name, "") for name in COLUMNS} for line in csv.DictReader(file)]


def replace(path: Path, write: Callable[[Any], object]) -> None:
    """Write a file beside `path` with `write(open file)`, then take its place."""
    scratch = path.with_name(f".{path.name}.part")
    with scratch.open("w", newline="") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)


def merge(folder: Path, figures: Sequence[Figure], where: dict[str, Any]) -> None:
    """Put the figures into figures.csv in place of the earlier ones of the same parts."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "figures.csv"
    parts = {figure.part for figure in figures}
    kept = [row for row in read_rows(path) if row["part"] not in parts]

    def write(file: Any) -> None:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(kept + rows_of(figures, where))

    replace(path, write)
    replace(folder / "machine.json", lambda file: json.dump(where, file, indent=2))
