"""Running engines as processes of their own, one after the other, and what their figures mean."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PEERS = HERE / ".venv-peers" / "bin" / "python"


@dataclass(frozen=True)
class Engine:
    """One program to measure: its script, its options, and whether it is a peer."""

    name: str
    script: str
    peer: bool = False
    options: Mapping[str, Any] | None = None

    def missing(self) -> str | None:
        """Why it cannot run here, or None."""
        if self.peer and not PEERS.exists():
            return f"{self.name} is not installed: run benchmarks/setup_peers.sh"
        return None

    def run(self, folder: Path, threads: int, **options: Any) -> dict[str, Any]:
        """Its figures on the instance in `folder`."""
        command = [
            str(PEERS if self.peer else sys.executable),
            str(HERE / "engines" / self.script),
            str(folder),
            f"--threads={threads}",
            f"--options={json.dumps({**options, **(self.options or {})})}",
        ]
        limits = ("HALFSTEP", "OMP", "OPENBLAS", "MKL")
        environment = os.environ | {f"{name}_NUM_THREADS": str(threads) for name in limits}
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            raise SystemExit(f"{self.name} failed (exit status {done.returncode})")
        figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return figures


def available(engines: list[Engine]) -> list[Engine]:
    """Those that can run; the others are named on stderr."""
    for engine in engines:
        if reason := engine.missing():
            print(reason, file=sys.stderr)
    return [engine for engine in engines if engine.missing() is None]


def cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def machine(threads: int) -> str:
    """One line on where the figures were taken, and how busy it was."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        name = models[0].partition(":")[2].strip() if models else name
    load = f", load {os.getloadavg()[0]:.1f} at the start" if hasattr(os, "getloadavg") else ""
    return f"{name}, {threads} of {cores()} cores{load}"


def check(holds: bool, what: str) -> None:
    """A benchmark whose answer is wrong has no figures."""
    if not holds:
        raise SystemExit(f"wrong answer: {what}")
