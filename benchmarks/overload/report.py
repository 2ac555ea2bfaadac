"""Overload: tables, and a plot of rates, times and memory over the same seconds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.harness.markdown import number, table
from benchmarks.harness.plots import BLUE, GREY, ORANGE, RED, figure, simplify

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PHASES = {"before": "60 % of the capacity", "over": "twice the capacity", "after": "60 % again"}

_TEXT = """\
## Overload

The gateway over HTTP in the local Functions host, one worker on a processor of its own; the client and a service that
scores one image at a time in 1.8 ms share the other one. Requests (a JPEG of 20 KB) come in an open loop: at random
times (Poisson, seeded) that do not depend on answers, as those of independent users; a request's time counts from the
moment at which it was due. No request sets a deadline, so the service's default, ten seconds, holds. The capacity is
what the service scored when it was called directly, without a pause: {capacity:.0f} images a second. Other
processes used {others:.0%} of the machine.

{phases_table}

At twice the capacity {goodput:.0f} scores a second arrive in time: **{ratios[overload_goodput]:.1%} of the capacity**.
{refusals} {recovery}
The worker's memory was {memory[before_mb]:.0f} MB before, {most} at most, and {at_end} at the end.

![Rates, times and memory](performance/overload.svg)

**One service hangs, another does not.** The fast one at 60 % of its capacity, by itself, and while the other
takes {hanging_neighbour[hanging][offered]:.0f} requests a second and answers none:

{neighbour_table}

Of the hanging one's requests {hanging_neighbour[hanging][refused]:.0f} a second are refused at once
{refused_after}, the rest at their deadline.

**Clients that disconnect.** Some 64 clients of a service that hangs disconnect after 0.2 s, without their answer. Then
the service answers again, and a new client repeats its request until it gets a score:

{disconnects_table}
"""


def report(data: Mapping[str, Any]) -> str:
    """The section."""
    phases, neighbour, disconnects = [], [], []
    for key, name in _PHASES.items():
        row, seconds = data["phases"][key], f"{data['seconds'][key]:g}"
        given = [name, seconds, number(row["offered"], 0)]
        phases.append([*given, *_rate(row, "good"), *_rate(row, "refused"), number(row["other"], 1)])
    for key, name in (("alone", "by itself"), ("beside", "with the other")):
        row = data["hanging_neighbour"][key]
        neighbour.append([name, *_rate(row, "good"), number(row["refused"], 1), number(row["other"], 1)])
    for row in data["disconnects"]:
        after = row["scored_after_seconds"]
        scored = "never" if after is None else f"{after:.2f} s"
        disconnects.append([f"{row['deadline_seconds']:g} s", scored, str(row["refused"])])
    refused_after = data["hanging_neighbour"]["hanging"]["refused_times"]["p50_ms"]
    times = ["p50 ms", "p99 ms"]
    head = ["load", "seconds", "offered/s", "scored in time/s", *times, "refused/s", *times, "lost/s"]
    return _TEXT.format(
        **data,
        phases_table=table(head, phases),
        refusals=_refusals(data["ratios"]["overload_refusal_p50_ms"]),
        recovery=_recovery(data["normal_after_seconds"]),
        most=_more(data["memory"]["most_more_mb"]),
        at_end=_more(data["memory"]["more_at_the_end_mb"]),
        neighbour_table=table(["fast service", "scored in time/s", *times, "refused/s", "lost/s"], neighbour),
        refused_after=f"(median {number(refused_after, 1)} ms)",
        disconnects_table=table(["deadline of those who disconnected", "scored after", "refused before"], disconnects),
    )


def _rate(row: Mapping[str, Any], kind: str) -> list[str]:
    """The requests a second of an outcome, and their times."""
    return [number(row[kind], 0), *(number(row[f"{kind}_times"][key], 1) for key in ("p50_ms", "p99_ms"))]


def _refusals(p50: float | None) -> str:
    if p50 is None:
        return "None is refused."
    return f"A refusal (429 or 503 with `Retry-After`) takes **{p50:.1f} ms** in the median."


def _recovery(seconds: float | None) -> str:
    if seconds is None:
        return "After it, times did not become normal again."
    return f"{seconds:.2f} s after it every request is scored again, and the p99 is within twice that of before."


def _more(megabytes: float) -> str:
    return f"{abs(megabytes):.1f} MB {'more' if megabytes >= 0 else 'less'}"


def plot(data: Mapping[str, Any], folder: Path) -> None:
    """Draw the three phases."""
    file, rows, seconds = folder / "overload.svg", data["series"], data["seconds"]
    with figure(file, 7.5, 6.0) as drawn:
        rates, times, memory = drawn.subplots(3, 1, sharex=True, height_ratios=[3, 3, 1.4])
        _draw_rates(rates, rows, data["capacity"])
        _draw_times(times, rows)
        memory.plot([one["at"] for one in data["rss"]], [one["rss_mb"] for one in data["rss"]], color=BLUE)
        memory.set_ylim(bottom=0)
        memory.set_ylabel("worker, MB")
        memory.set_xlabel("seconds")
        for axes in (rates, times, memory):
            axes.axvspan(seconds["before"], seconds["before"] + seconds["over"], color="#f4f0e6", zorder=-1)
            simplify(axes)


def _draw_rates(axes: "Axes", rows: Sequence[Mapping[str, Any]], capacity: float) -> None:
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


def _draw_times(axes: "Axes", rows: Sequence[Mapping[str, Any]]) -> None:
    for kind, name, colour in (("good_times", "score", BLUE), ("refused_times", "refusal", ORANGE)):
        for share, style in (("p50", "-"), ("p99", ":")):
            found = [(row["at"], row[kind][f"{share}_ms"]) for row in rows if row[kind][f"{share}_ms"] is not None]
            if found:
                axes.plot(*zip(*found, strict=True), color=colour, linestyle=style, label=f"{name}, {share}")
    axes.set_yscale("log")
    axes.set_ylabel("milliseconds")
    axes.legend(loc="lower right", frameon=False)
