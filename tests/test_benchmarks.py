"""Every benchmark runs in its test mode: it checks its answers on small data, not its speed."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.parametrize("name", ["sweep.py", "accuracy.py"])
def test_mode(name):
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / name), "--test", "--only", "halfstep"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "halfstep" in done.stdout
