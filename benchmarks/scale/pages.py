"""Tables, and their places in a page: between ``<!-- table NAME -->`` and ``<!-- end -->``."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from benchmarks.harness.plots import LineChart


class Figures(NamedTuple):
    """The answer to one question: tables in Markdown by their names, and charts."""

    tables: Mapping[str, str]
    charts: Sequence[LineChart]


def filled(page: str, tables: Mapping[str, str]) -> str:
    """The page with the tables in their places.

    Raises:
        LookupError: the page has no place for one of them.
    """
    for name, table in tables.items():
        start, end = f"<!-- table {name} -->\n", "<!-- end -->"
        before, found, rest = page.partition(start)
        if not found:
            raise LookupError(f"the page has no place for a table: {start.strip()}")
        page = f"{before}{start}{table}\n{end}{rest.partition(end)[2]}"
    return page
