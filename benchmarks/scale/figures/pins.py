"""How long it takes until every gateway has read a new pin."""

import numpy as np

from benchmarks.scale.pages import Figures, Table
from benchmarks.scale.pins import HANGING, QUICK, Reading, due_after, late, seen_after
from benchmarks.scale.svg import Axis, Chart, Series

REFRESH = 300.0
# What the rotation adds to the refresh time: 15 s for a read that fails and the next, 1 s since Key Vault rounds times.
MORE = 16.0
# What the chart leaves out as next to nothing.
LEAST = 1e-8
TROUBLES = (
    ("none", Reading()),
    ("1 % fail at once", Reading(failing=0.01, failing_takes=QUICK)),
    ("1 % hang", Reading(failing=0.01, failing_takes=HANGING)),
    ("10 % fail at once", Reading(failing=0.1, failing_takes=QUICK)),
    ("10 % hang", Reading(failing=0.1, failing_takes=HANGING)),
    ("30 % hang", Reading(failing=0.3, failing_takes=HANGING)),
)


def figures() -> Figures:
    """All of it; about two seconds."""
    return Figures([_when(), _late()], [_chart()])


def _when() -> Table:
    """The last of so many caches to read, in the middle of a thousand repetitions."""
    random = np.random.default_rng(1)
    rows = []
    for caches in (1, 10, 100, 1_000, 10_000):
        turns = max(20, min(1_000, 2_000_000 // caches))
        cells = [f"{caches:,}"]
        for _, reading in (TROUBLES[0], TROUBLES[2], TROUBLES[4]):
            last = seen_after(reading, caches * turns, random).reshape(turns, caches).max(axis=1)
            cells += [f"{np.median(last):.0f} s", f"{np.percentile(last, 99):.0f} s"]
        rows.append(cells)
    head = ["caches", "no failures: the last one after", "99 of 100 times"]
    return Table("pins-last", [*head, "1 % hang", "99 of 100", "10 % hang", "99 of 100"], rows)


def _late() -> Table:
    rows = []
    for name, reading in TROUBLES:
        cells = [name]
        for more in (0.0, 1.0, MORE, 60.0):
            one = late(reading, REFRESH + more)
            cells.append(_chance(1 - (1 - one) ** 1_000 if one > 1e-12 else one * 1_000))
        rows.append(cells)
    head = ["reads", *(f"+{more:g} s" for more in (0.0, 1.0, MORE, 60.0))]
    return Table("pins-late", head, rows)


def _chance(chance: float) -> str:
    if chance == 0:
        return "0"
    return f"{chance:.1%}" if chance >= 0.001 else f"{chance:.0e}".replace("e-0", "e-")


def _chart() -> Chart:
    times = np.arange(0.0, 361.0, 3.0)
    lines = [Series("no failures", [(float(at), due_after(REFRESH, float(at))) for at in times])]
    for name, reading in TROUBLES[1:]:
        chances = [(float(at), late(reading, float(at))) for at in times]
        lines.append(Series(name, [point for point in chances if point[1] >= LEAST]))
    title = f"Caches that have not yet read a new pin, refresh {REFRESH:g} s, computed"
    y = Axis("share of all", log=True, bottom=LEAST)
    return Chart("pins", title, Axis("seconds since it was stored"), y, lines)
