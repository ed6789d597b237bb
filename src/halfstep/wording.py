"""Numbers and names as text for a person: the same on the terminal and in a report."""

from __future__ import annotations

__all__ = ["counted", "error_text", "percent", "printable", "size"]


def printable(text: str, lines: bool = False) -> str:
    """Without what would move the cursor or break the line (ids and titles come from files)."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or (lines and c == "\n") else "�" for c in text)


def size(count: float) -> str:
    """«1.2 MB»."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"


def counted(count: int, noun: str) -> str:
    """«1 rating», «1,000 ratings»."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def error_text(error: float) -> str:
    """An RMSE or MAE: four decimals, or four digits where it is large.

    >>> error_text(0.84659), error_text(158.6288)
    ('0.8466', '158.6')
    """
    return f"{error:.4f}" if error < 10 else f"{error:.4g}"


def percent(share: float) -> str:
    """A share with two digits: «0.45%», «6%», «35%»; what is not all is not called 100%.

    >>> percent(0.0602), percent(0.35), percent(0.9996), percent(1.0), percent(1e-7)
    ('6%', '35%', '99.96%', '100%', '<0.01%')
    """
    hundredths = 100 * share
    if 0 < hundredths < 0.01:
        return "<0.01%"
    if 99.5 <= hundredths < 100:
        return f"{min(hundredths, 99.99):.4g}%"
    return f"{hundredths:.0f}%" if hundredths >= 10 else f"{hundredths:.2g}%"
