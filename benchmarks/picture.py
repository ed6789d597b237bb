"""bench.png and bench.svg: seconds of a sweep, ours and the peers', and our kernels under the roof.

python benchmarks/picture.py [benchmarks/record]     draws a record's figures again
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from record import Figure, read_rows

OURS, EXACT, OTHER, INK = "#D55E00", "#0072B2", "#9CC9E3", "#333333"


def bars(axes: Any, figures: Sequence[Figure]) -> str:
    """Seconds of a sweep by engine, the fastest on top; the finding in words."""
    from matplotlib.patches import Patch

    sweeps = [f for f in figures if f.part == "sweep" and f.measure == "sweep"]
    threads = max(f.threads for f in sweeps)
    sweeps = sorted((f for f in sweeps if f.threads == threads), key=lambda f: f.value)
    colours = [
        OURS if f.engine.startswith("halfstep") else EXACT if "Cholesky" in f.engine else OTHER
        for f in sweeps
    ]
    places = range(len(sweeps), 0, -1)
    axes.barh(places, [f.value for f in sweeps], color=colours, height=0.72)
    widest = max(f.value for f in sweeps)
    for place, figure in zip(places, sweeps, strict=True):
        axes.text(
            figure.value + 0.012 * widest,
            place,
            f"{figure.value:.3g} s",
            va="center",
            color=INK,
        )
    axes.set_yticks(list(places), [f.engine for f in sweeps])
    axes.set_xlim(0, 1.16 * widest)
    axes.set_xlabel("seconds of one sweep over all users and all items")
    first = sweeps[0]
    axes.set_title(f"{first.case}, K = {first.K}, {threads} threads", loc="left", fontsize=12)
    legend = [
        Patch(color=OURS, label="halfstep"),
        Patch(color=EXACT, label="exact"),
        Patch(color=OTHER, label="approximate, or an SGD epoch"),
    ]
    axes.legend(handles=legend, loc="upper right", frameon=False)
    ours = [f for f in sweeps if f.engine.startswith("halfstep")]
    exact = [f for f in sweeps if "Cholesky" in f.engine and not f.engine.startswith("halfstep")]
    if not ours or not exact:
        return "Seconds of one sweep"
    ratio = exact[0].value / ours[0].value
    name = exact[0].engine.partition(",")[0]
    pace = f"{ratio:.1f} × as fast as" if ratio >= 1 else f"{1 / ratio:.1f} × slower than"
    return f"halfstep: an exact sweep {pace} the next ({name})"


def roofline(axes: Any, figures: Sequence[Figure]) -> str:
    """Our kernels under what the machine can do; the finding in words."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    peak = [f for f in figures if f.part == "peak"]
    ours = [f for f in figures if f.part == "kernels"]
    threads = max(f.threads for f in peak)
    flops = max(
        f.value for f in peak if f.threads == threads and f.measure == "float32 multiply-adds"
    )
    memory = max(f.value for f in peak if f.threads == threads and f.unit == "GB/s")
    density = {f.K: f.value for f in ours if f.measure == "operations a byte"}
    speed = {f.K: f.value for f in ours if f.unit == "GFLOP/s" and f.threads == threads}
    points = [(density[K], speed[K], K) for K in sorted(density) if K in speed]
    top = max(y for _, y, _ in points)

    ridge = flops / memory
    low = min(0.4 * points[0][0], 0.1 * ridge)
    high = max(4 * points[-1][0], 4 * ridge)
    axes.loglog([low, ridge, high], [low * memory, flops, flops], color=INK, linewidth=2)
    axes.loglog(
        [x for x, _, _ in points], [y for _, y, _ in points], "o", color=OURS, markersize=10
    )
    for x, y, K in points:
        axes.annotate(
            f"K = {K}\n{y:.0f}",
            (x, y),
            xytext=(0, -9),
            textcoords="offset points",
            ha="center",
            va="top",
            color=INK,
        )
    axes.text(high, flops * 1.07, f"multiply-adds: {flops:.0f} GFLOP/s", ha="right", color=INK)
    middle = (low * ridge) ** 0.5
    axes.annotate(
        f"memory:\n{memory:.0f} GB/s",
        (middle, middle * memory),
        xytext=(-8, 4),
        textcoords="offset points",
        ha="right",
        va="bottom",
        color=INK,
    )
    axes.set_xlim(0.6 * low, high * 1.1)
    axes.set_ylim(min(low * memory, 0.4 * min(y for _, y, _ in points)), 1.6 * max(flops, top))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(NullLocator())
    axes.set_xlabel("useful operations a byte, nothing cached")
    axes.set_ylabel("useful operations, GFLOP/s")
    axes.set_title(f"halfstep under the roof of {threads} threads", loc="left", fontsize=12)
    best = max(points, key=lambda point: point[1])
    if best[1] > flops:
        return "the roof was measured on a busy machine"
    return f"{100 * best[1] / flops:.0f} % of the multiply-add peak at K = {best[2]}"


def draw(figures: Sequence[Figure], folder: Path) -> None:
    """Write the pictures; what was not measured is left out."""
    parts = {figure.part for figure in figures}
    panels = [bars] if "sweep" in parts else []
    panels += [roofline] if {"peak", "kernels"} <= parts else []
    if not panels:
        return
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    with pyplot.rc_context({"font.size": 11, "svg.hashsalt": "halfstep"}):
        widths = [1.25, 1.0][: len(panels)]
        picture, axes = pyplot.subplots(
            1,
            len(panels),
            figsize=(6.6 * len(panels), 5.4),
            layout="constrained",
            squeeze=False,
            width_ratios=widths,
        )
        found = [panel(place, figures) for panel, place in zip(panels, axes[0], strict=True)]
        for place in axes[0]:
            place.spines[["top", "right"]].set_visible(False)
        picture.suptitle(", ".join(found), fontsize=15, fontweight="bold")
        for ending in ("png", "svg"):
            scratch = folder / f".bench.part.{ending}"
            picture.savefig(scratch, dpi=160)
            scratch.replace(folder / f"bench.{ending}")
        pyplot.close(picture)


if __name__ == "__main__":
    where = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent / "record")
    draw([Figure.from_row(row) for row in read_rows(where / "figures.csv")], where)
