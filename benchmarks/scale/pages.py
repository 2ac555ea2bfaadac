"""Tables, and their places in a page: between ``<!-- table NAME -->`` and ``<!-- end -->``."""

from collections.abc import Mapping, Sequence
from enum import StrEnum

from benchmarks.harness.plots import LineChart


class Kind(StrEnum):
    """Where a table's figures come from."""

    COMPUTED = "Computed"
    SIMULATED = "Simulated"
    MEASURED = "Measured"


class Figures:
    """The answer to one question: tables in Markdown by their names and kinds, and charts, whose titles name theirs."""

    def __init__(
        self,
        charts: Sequence[LineChart],
        *,
        simulated: Mapping[str, str] | None = None,
        computed: Mapping[str, str] | None = None,
    ) -> None:
        self.charts = charts
        self.tables: Mapping[str, str] = {
            name: captioned(table, kind)
            for kind, tables in ((Kind.SIMULATED, simulated or {}), (Kind.COMPUTED, computed or {}))
            for name, table in tables.items()
        }


def captioned(table: str, kind: Kind, more: str = "") -> str:
    """A table with a line below it that says where its figures come from."""
    return f"{table}\n\n*{kind}{' ' if more else ''}{more}.*"


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
