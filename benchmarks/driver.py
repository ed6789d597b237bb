"""What the parts share: engines as processes of their own, options, the end of a run."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from record import Figure, machine, table
from rich.console import Console

HERE = Path(__file__).resolve().parent
HOURS = 3600.0
# What the engines' thread pools listen to.
THREADS = [
    *(f"{name}_NUM_THREADS" for name in ("HALFSTEP", "OMP", "OPENBLAS", "MKL", "LK", "RAYON")),
    "POLARS_MAX_THREADS",
]


class Failed(Exception):
    """An engine that gave no figures, or a wrong answer."""


@dataclass(frozen=True)
class Engine:
    """One program to measure: its script, its options, and the peers' environment it runs in.

    `peer` is None for halfstep's own environment, else the name of one that setup_peers.sh makes;
    `needs` is the package it must hold. `isa` pins halfstep's instruction set.
    """

    name: str
    script: str
    peer: str | None = None
    needs: str | None = None
    options: Mapping[str, Any] | None = None
    isa: str | None = None
    hours: float = 3.0

    @property
    def python(self) -> Path:
        """The interpreter that it runs in."""
        if self.peer is None:
            return Path(sys.executable)
        suffix = "" if self.peer == "peers" else f"-{self.peer}"
        return HERE / f".venv-peers{suffix}" / "bin" / "python"

    def missing(self) -> str | None:
        """Why it cannot run here, or None."""
        if self.peer is None:
            return None
        remedy = f"run benchmarks/setup_peers.sh {self.peer}"
        if not self.python.exists():
            return f"{self.name}: {self.needs} is not installed; {remedy}"
        probe = f"import importlib.metadata as m; m.version({self.needs!r})"
        if subprocess.run([self.python, "-c", probe], capture_output=True).returncode:
            return f"{self.name}: {self.needs} could not be installed; {remedy}"
        return None

    def run(self, folder: Path, threads: int, **options: Any) -> dict[str, Any]:
        """Its figures on the instance in `folder`; raises `Failed`."""
        command = [
            str(self.python),
            str(HERE / "engines" / self.script),
            str(folder),
            f"--threads={threads}",
            f"--options={json.dumps({**options, **(self.options or {})})}",
        ]
        environment = os.environ | {name: str(threads) for name in THREADS}
        if self.isa:
            environment["HALFSTEP_ISA"] = self.isa
        begun = perf_counter()
        try:
            done = subprocess.run(
                command,
                env=environment,
                stdout=subprocess.PIPE,
                text=True,
                timeout=self.hours * HOURS,
            )
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.name}: no answer within {self.hours} hours") from None
        if done.returncode:
            raise Failed(f"{self.name}: exit status {done.returncode}")
        lines = done.stdout.splitlines()
        if not lines:
            raise Failed(f"{self.name}: no answer")
        figures: dict[str, Any] = json.loads(lines[-1])
        return {**figures, "process_seconds": perf_counter() - begun}


def available(engines: list[Engine], only: str | None = None) -> list[Engine]:
    """Those that can run and whose name contains `only`; the missing ones are named on stderr."""
    found = []
    for engine in engines:
        if only and only not in engine.name:
            continue
        if reason := engine.missing():
            print(reason, file=sys.stderr)
        else:
            found.append(engine)
    return found


def rounds(
    engines: list[Engine],
    repeat: int,
    run: Callable[[Engine], dict[str, Any]],
) -> dict[str, list[dict[str, Any]]]:
    """What `run(engine)` gave in each round, by name. The engines take turns.

    A peer that fails is named on stderr and left out; where halfstep fails there is nothing to say.
    """
    results: dict[str, list[dict[str, Any]]] = {engine.name: [] for engine in engines}
    for _ in range(repeat):
        for engine in engines:
            if engine.name not in results:
                continue
            try:
                results[engine.name].append(run(engine))
            except Failed as failure:
                if engine.peer is None:
                    raise
                print(failure, file=sys.stderr)
                del results[engine.name]
    return results


def cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def check(holds: bool, what: str) -> None:
    """An engine whose answer is wrong has no figures."""
    if not holds:
        raise Failed(f"wrong answer: {what}")


def room_for(folder: Path, needed: float) -> None:
    """Refuse an instance that the disk has no room for."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise Failed(
            f"{folder}: {free / 1e9:.0f} GB free, {needed / 1e9:.0f} GB needed; set TMPDIR"
        )


def parser(doc: str | None, *, repeat: int = 1) -> argparse.ArgumentParser:
    """The options that every part has."""
    made = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--threads", type=int, default=cores(), help="default: all cores")
    made.add_argument("--repeat", type=int, default=repeat, help=f"rounds (default {repeat})")
    made.add_argument("--only", help="only engines whose name contains this")
    made.add_argument("--json", action="store_true", help="print JSON instead of a table")
    made.add_argument("--test", action="store_true", help="a tiny instance: checks answers only")
    return made


def main(
    made: argparse.ArgumentParser,
    measure: Callable[[argparse.Namespace], list[Figure]],
    title: str,
) -> None:
    """Run a part: its table, or its JSON line, or the reason for exit status 1."""
    given = made.parse_args()
    where = machine(given.threads)
    try:
        figures = measure(given)
    except Failed as failure:
        raise SystemExit(str(failure)) from None
    if not figures:
        raise SystemExit("no engine could run")
    if given.json:
        print(json.dumps({"machine": where, "figures": [f.to_dict() for f in figures]}))
    else:
        console = Console(width=None if Console().is_terminal else 120)
        console.print(table(figures, title, where["summary"]))
