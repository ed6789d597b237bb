"""Numbers and names as text for a person: the same on the terminal and in a report."""

from __future__ import annotations

__all__ = ["percent", "printable", "size"]


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


def percent(share: float) -> str:
    """A share with two digits: «0.45%», «6%», «35%»; what is not all is not called 100%.

    >>> percent(0.0602), percent(0.35), percent(0.9996), percent(1.0)
    ('6%', '35%', '99.96%', '100%')
    """
    hundredths = 100 * share
    if 99.5 <= hundredths < 100:
        return f"{min(hundredths, 99.99):.4g}%"
    return f"{hundredths:.0f}%" if hundredths >= 10 else f"{hundredths:.2g}%"
