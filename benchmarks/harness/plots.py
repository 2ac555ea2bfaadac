"""Plots as SVG files, by matplotlib; the same data gives the same file. Only drawing needs matplotlib."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colours that colour-blind readers can distinguish (Okabe and Ito, https://jfly.uni-koeln.de/color/).
BLUE, ORANGE, GREEN, RED, PURPLE, GREY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#999999"
_LINES = (BLUE, RED, GREEN, PURPLE, ORANGE, "#56b4e9", "#000000")

_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "scoring-gateway",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.axisbelow": True,
}


@contextmanager
def figure(file: Path, width: float, height: float) -> Iterator["Figure"]:
    """A figure, of a size in inches, that becomes an SVG file at the end."""
    import matplotlib as mpl  # noqa: PLC0415 - only drawing needs it
    from matplotlib.figure import Figure  # noqa: PLC0415 - as above

    with mpl.rc_context(_STYLE):
        made = Figure((width, height), layout="constrained")
        yield made
        file.parent.mkdir(parents=True, exist_ok=True)
        made.savefig(file, format="svg", metadata={"Date": None})


def simplify(axes: "Axes", grid: str = "both") -> None:
    """Remove the upper and the right border, and draw a light grid along an axis."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(visible=True, axis=grid, color="#dddddd", linewidth=0.6)  # type: ignore[arg-type]  # a literal


class Axis(NamedTuple):
    """An axis: its label, whether it is logarithmic, and its ends where they are not the data's."""

    label: str
    log: bool = False
    bottom: float | None = None
    top: float | None = None


class LineChart(NamedTuple):
    """Lines by their names, with the chart's file name; points that are not finite leave a gap."""

    name: str
    title: str
    x: Axis
    y: Axis
    lines: Mapping[str, Sequence[tuple[float, float]]]

    def draw(self, folder: Path) -> None:
        """Draw it into a file in a folder."""
        with figure(folder / f"{self.name}.svg", 8.0, 3.8) as drawn:
            axes = drawn.subplots()
            for (name, points), colour in zip(self.lines.items(), _LINES, strict=False):
                marker = "o" if len(points) <= 12 else ""
                axes.plot(*zip(*points, strict=True), color=colour, label=name, marker=marker, markersize=4)
            for axis, scale, limits in (
                (self.x, axes.set_xscale, axes.set_xlim),
                (self.y, axes.set_yscale, axes.set_ylim),
            ):
                scale("log" if axis.log else "linear")
                limits(0 if axis.bottom is None and not axis.log else axis.bottom, axis.top)
            axes.set_xlabel(self.x.label)
            axes.set_ylabel(self.y.label)
            axes.set_title(self.title, loc="left")
            axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
            simplify(axes)
