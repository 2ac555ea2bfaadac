"""Tables as Markdown, and their places in a page: between ``<!-- table NAME -->`` and ``<!-- end -->``."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.scale.svg import Chart


@dataclass(frozen=True)
class Table:
    """A table with its name; cells are written as they are."""

    name: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """First column to the left, the others to the right."""
        rule = ["---", *["---:"] * (len(self.head) - 1)]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in (self.head, rule, *self.rows))


@dataclass(frozen=True)
class Figures:
    """What answers one question."""

    tables: Sequence[Table]
    charts: Sequence[Chart]


class MissingPlace(ValueError):
    """A page has no place for a table."""


def filled(page: str, tables: Sequence[Table]) -> str:
    """The page with the tables in their places.

    Raises:
        MissingPlace: the page has none for one of them.
    """
    for table in tables:
        place = re.compile(rf"(<!-- table {re.escape(table.name)} -->\n).*?(<!-- end -->)", re.DOTALL)
        if not place.search(page):
            raise MissingPlace(f"The page has no place for the table {table.name!r}: <!-- table {table.name} -->")
        page = place.sub(lambda match, table=table: f"{match[1]}{table.markdown()}\n{match[2]}", page)  # type: ignore[misc] # mypy cannot tell the type of a lambda with a default
    return page


def number(value: float, digits: int = 0) -> str:
    """With commas between thousands; a dash where there is none."""
    return f"{value:,.{digits}f}" if math.isfinite(value) else "-"


def milliseconds(seconds: float) -> str:
    """To two digits or so; seconds where they are many."""
    if not math.isfinite(seconds):
        return "-"
    ms = seconds * 1e3
    return f"{ms:.2f}" if ms < 10 else f"{ms:.1f}" if ms < 100 else f"{ms:,.0f}"


def percent(share: float, digits: int = 0) -> str:
    """A share of one."""
    return f"{share * 100:.{digits}f} %" if math.isfinite(share) else "-"
