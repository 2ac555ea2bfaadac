"""The plot of the gateway beside its peers: requests a second at each kind of work."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.cold_plot import BLUE, GREY, ORANGE, figure
from benchmarks.contestants import BY_NAME, DIRECT, GATEWAY
from benchmarks.side_by_side_report import number, picture
from benchmarks.works import TITLES, Work

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The concurrency that is drawn where it was measured.
_DRAWN = "16"


def draw(data: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw one panel for each kind of work; returns the file."""
    file = folder / Path(picture(data)).name
    tables = [(Work(work), rows) for work, rows in data["tables"].items() if work in set(Work)]
    columns = min(2, len(tables))
    lines = -(-len(tables) // columns)
    with figure(file, 6.4 * columns, 2.9 * lines) as drawn:
        panels = drawn.subplots(lines, columns, squeeze=False).flat
        for axes, (work, by_concurrency) in zip(panels, tables, strict=False):
            concurrency = _DRAWN if _DRAWN in by_concurrency else max(by_concurrency, key=int)
            _panel(axes, work, concurrency, by_concurrency[concurrency])
        for axes in list(panels)[len(tables) :]:
            axes.set_visible(False)
    return [file]


def _panel(axes: "Axes", work: Work, concurrency: str, rows: Mapping[str, Mapping[str, float]]) -> None:
    names = list(rows)[::-1]
    rates = [rows[name]["rps"] for name in names]
    colours = [BLUE if name == GATEWAY else GREY if name == DIRECT else ORANGE for name in names]
    bars = axes.barh([BY_NAME[name].title for name in names], rates, color=colours, height=0.7)
    axes.bar_label(bars, [number(rate) for rate in rates], padding=3)
    axes.set_title(f"{TITLES[work]}, {concurrency} at a time", loc="left", fontsize=9)
    axes.set_xlim(0, max(rates) * 1.18)
    axes.set_xlabel("requests a second")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
