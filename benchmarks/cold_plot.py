"""The plot of a cold start, and what the plots of this kind of section share."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Colours that people who see fewer of them can tell apart (Okabe and Ito, https://jfly.uni-koeln.de/color/).
BLUE, ORANGE, GREEN, RED, PURPLE, GREY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#999999"

_WHOSE = {"Python": GREY, "Microsoft": ORANGE, "ours": BLUE}
_WHERE = {"event loop": BLUE, "thread": GREEN}
# The same data gives the same file.
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "scoring-gateway",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.axisbelow": True,
}


@contextmanager
def figure(file: Path, width: float, height: float) -> Iterator[Figure]:
    """A figure, of a size in inches, which becomes an SVG file at the end."""
    with mpl.rc_context(_STYLE):
        made = Figure((width, height), layout="constrained")
        yield made
        file.parent.mkdir(parents=True, exist_ok=True)
        made.savefig(file, format="svg", metadata={"Date": None})


def plain(axes: "Axes") -> None:
    """Take away what says nothing."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(visible=True, color="#dddddd", linewidth=0.6)


def draw(data: Mapping[str, Any], file: Path) -> Path:
    """Two time lines: the start, and the first request with what it is made of."""
    requested, parts = data["steps"][-2]["until"], data["first_request"]
    with figure(file, 7.5, 2.2 + 0.26 * len(parts)) as made:
        above, below = made.subplots(2, 1, sharex=True, height_ratios=[len(data["steps"]), max(1, len(parts))])
        for row, step in enumerate(data["steps"]):
            _bar(above, row, step["until"] - step["milliseconds"], step["until"], _WHOSE[step["whose"]])
        _label(above, [f"{step['name'].partition(':')[0]} ({step['whose']})" for step in data["steps"]])
        above.set_title("A cold start", loc="left", fontweight="bold")
        for row, part in enumerate(parts):
            _bar(below, row, requested + part["begin"], requested + part["end"], _WHERE[part["thread"]])
        _label(below, [f"{part['name']} ({part['thread']})" for part in parts])
        below.set_title("Within the first request, watched", loc="left", fontweight="bold")
        below.set_xlabel("milliseconds since the process was started")
    return file


def _bar(axes: "Axes", row: int, begin: float, end: float, colour: str) -> None:
    axes.barh(row, end - begin, left=begin, color=colour, height=0.7)
    axes.annotate(f"{end - begin:.0f}" if end - begin >= 10 else f"{end - begin:.1f}", (end, row), (3, 0),
                  textcoords="offset points", va="center", fontsize=8)  # fmt: skip


def _label(axes: "Axes", names: list[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    plain(axes)
    axes.grid(visible=False, axis="y")
