"""Tables and numbers of the pages."""

import math
from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """A table; the first ``left`` columns are aligned to the left, the others to the right."""
    rule = ["---" if column < left else "---:" for column in range(len(head))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))


def number(value: float | None, digits: int | None = None) -> str:
    """With commas between thousands; empty for None, and a dash where it is not finite.

    Without ``digits``, whole numbers as they are, and others to three significant digits or so.
    """
    if value is None:
        return ""
    if not math.isfinite(value):
        return "-"
    if digits is None:
        digits = 0 if isinstance(value, int) or value >= 100 else 2 if value < 10 else 1
    return f"{value:,.{digits}f}"


def milliseconds(seconds: float) -> str:
    """Seconds as milliseconds; a dash where they are not finite."""
    return number(seconds * 1e3)


def percent(share: float, digits: int = 0) -> str:
    """A share of one; a dash where it is not finite."""
    return f"{share * 100:.{digits}f} %" if math.isfinite(share) else "-"
