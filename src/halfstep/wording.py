"""Numbers and names as text for a person: the same on the terminal and in a report."""

from __future__ import annotations

from unicodedata import category

__all__ = ["counted", "error_text", "metric_title", "percent", "printable", "size"]


_JOINERS = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"  # of Persian words, of emojis


def printable(text: str, lines: bool = False) -> str:
    """Without what would move the cursor or break the line (ids and titles come from files).

    >>> printable("a\\u3000b\\x1b[31m")
    'a b�[31m'
    """
    if text.isprintable():
        return text
    return "".join(_shown(c, lines) for c in text)


def _shown(letter: str, lines: bool) -> str:
    if letter.isprintable() or letter in _JOINERS or (lines and letter == "\n"):
        return letter
    return " " if category(letter) == "Zs" else "�"


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
    """An RMSE or MAE: four decimals, or four digits where it is large or tiny.

    >>> error_text(0.84659), error_text(158.6288), error_text(0.00012345)
    ('0.8466', '158.6', '0.0001234')
    """
    return f"{error:.4f}" if 0.01 <= error < 10 or error == 0 else f"{error:.4g}"


def metric_title(name: str) -> str:
    """A metric as it is written.

    >>> metric_title("ndcg@10"), metric_title("recall@20"), metric_title("rmse")
    ('NDCG@10', 'recall@20', 'RMSE')
    """
    base, _, k = name.partition("@")
    written = (
        base.upper() if base in ("ndcg", "map", "mrr", "auc", "rmse") else base.replace("_", " ")
    )
    return f"{written}@{k}" if k else written


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
