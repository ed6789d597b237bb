"""What the machine can do: float32 multiply-adds and memory bandwidth, on one core and on all.

    python benchmarks/peak.py                      builds and runs crates/kernels/examples/peak.rs
    python benchmarks/peak.py --test               milliseconds; means nothing

These are the roof over the useful operations of every sweep. Needs cargo.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
from pathlib import Path

from driver import HERE, Failed, check, main, parser
from record import Figure


def measure(given: argparse.Namespace) -> list[Figure]:
    """The part's figures: the best of the repetitions, and of the rounds."""
    if not shutil.which("cargo"):
        raise Failed("cargo is not installed: the machine's peak is not measured")
    command = ["cargo", "run", "--release", "--quiet", "--package", "halfstep-kernels"]
    command += ["--example", "peak", "--", *(["--quick"] if given.test else [])]
    best: dict[tuple[int, str], float] = {}
    for _ in range(given.repeat):
        done = subprocess.run(command, cwd=Path(HERE).parent, stdout=subprocess.PIPE, text=True)
        check(done.returncode == 0, f"peak: exit status {done.returncode}")
        told = json.loads(done.stdout)
        for run in told["runs"]:
            for name in ("gflops", "read", "copy", "triad"):
                check(run[name] > 0, f"peak: {name} = {run[name]}")
                key = (run["threads"], name)
                best[key] = max(best.get(key, 0.0), run[name])
    labels = {"gflops": ("float32 multiply-adds", "GFLOP/s")}
    found = []
    for (threads, name), value in best.items():
        label, unit = labels.get(name, (f"memory, {name}", "GB/s"))
        what = {"part": "peak", "engine": "machine", "version": told["isa"], "threads": threads}
        found.append(Figure.of([value], measure=label, unit=unit, **what))
    return found


if __name__ == "__main__":
    main(parser(__doc__, repeat=3), measure, "The machine")
