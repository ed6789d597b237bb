"""Figures in columns, as text: for the `str()` of what an evaluation returns."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["aligned", "figure"]


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """A header and rows of text, the first `left` columns to the left and all others to the right.

    >>> print(aligned(["metric", "value"], [["rmse", "0.9"], ["ndcg@10", "0.25"]]))
    metric   value
    rmse       0.9
    ndcg@10   0.25
    """
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join(
            text.ljust(width) if column < left else text.rjust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def figure(value: float) -> str:
    """Four decimals, or four digits where the number is large or small; «–» where there is none.

    >>> figure(0.91234), figure(12345.6), figure(0.00001234), figure(float("nan"))
    ('0.9123', '12,346', '1.234e-05', '–')
    """
    if value != value:
        return "–"
    if value != 0 and abs(value) < 1e-3:
        return f"{value:.3e}"
    return f"{value:,.4f}" if abs(value) < 1e3 else f"{value:,.0f}"
