"""The plot of an overload: rates, times and memory, one below the other, over the same seconds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.cold_plot import BLUE, GREY, ORANGE, RED, figure, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(data: Mapping[str, Any], file: Path) -> Path:
    """Draw what :func:`benchmarks.overload.measure` returned."""
    rows, seconds = data["series"], data["seconds"]
    over = seconds["before"], seconds["before"] + seconds["over"]
    with figure(file, 7.5, 6.0) as made:
        rates, times, memory = made.subplots(3, 1, sharex=True, height_ratios=[3, 3, 1.4])
        _rates(rates, rows, data["capacity"])
        _times(times, rows)
        memory.plot(*_columns(data["rss"], "rss_mb"), color=BLUE)
        memory.set_ylim(bottom=0)
        memory.set_ylabel("worker, MB")
        memory.set_xlabel("seconds")
        for axes in (rates, times, memory):
            axes.axvspan(*over, color="#f4f0e6", zorder=-1)
            plain(axes)
    return file


def _rates(axes: "Axes", rows: Sequence[Mapping[str, Any]], capacity: float) -> None:
    at = [row["at"] for row in rows]
    axes.plot(at, [row["offered"] for row in rows], color=GREY, label="offered", linewidth=1)
    axes.plot(at, [row["good"] for row in rows], color=BLUE, label="scored in time")
    axes.plot(at, [row["refused"] for row in rows], color=ORANGE, linestyle="--", label="refused")
    axes.plot(at, [row["other"] for row in rows], color=RED, linestyle=":", label="lost")
    axes.axhline(capacity, color="black", linewidth=0.7)
    axes.annotate("capacity", (0, capacity), (2, 2), textcoords="offset points", fontsize=8)
    axes.set_ylabel("requests a second")
    axes.set_title("Twice as many requests as can be scored", loc="left", fontweight="bold")
    axes.legend(loc="upper right", frameon=False)


def _times(axes: "Axes", rows: Sequence[Mapping[str, Any]]) -> None:
    for kind, name, colour in (("good_times", "score", BLUE), ("refused_times", "refusal", ORANGE)):
        for share, style in (("p50", "-"), ("p99", ":")):
            found = [(row["at"], row[kind][f"{share}_ms"]) for row in rows if row[kind][f"{share}_ms"] is not None]
            if found:
                axes.plot(*zip(*found, strict=True), color=colour, linestyle=style, label=f"{name}, {share}")
    axes.set_yscale("log")
    axes.set_ylabel("milliseconds")
    axes.legend(loc="lower right", frameon=False)


def _columns(rows: Sequence[Mapping[str, float]], name: str) -> tuple[list[float], list[float]]:
    return [row["at"] for row in rows], [row[name] for row in rows]
