"""How long it takes until every gateway has read a new pin."""

import numpy as np

from benchmarks.harness.markdown import table
from benchmarks.harness.plots import Axis, LineChart
from benchmarks.scale.pages import Figures
from benchmarks.scale.pins import HANGING, QUICK, Reading, due_after, late, seen_after

REFRESH = 300.0
# What the rotation adds to the refresh time: 15 s for a read that fails and the next, 1 s since Key Vault rounds times.
MORE = 16.0
# Smaller shares are not drawn.
LEAST = 1e-8
FAILURES = {
    "none": Reading(),
    "1 % fail at once": Reading(failing=0.01, failing_takes=QUICK),
    "1 % hang": Reading(failing=0.01, failing_takes=HANGING),
    "10 % fail at once": Reading(failing=0.1, failing_takes=QUICK),
    "10 % hang": Reading(failing=0.1, failing_takes=HANGING),
    "30 % hang": Reading(failing=0.3, failing_takes=HANGING),
}


def figures() -> Figures:
    """All of it; about two seconds."""
    return Figures([_chart()], simulated={"pins-last": _when()}, computed={"pins-late": _late()})


def _when() -> str:
    """The last of so many caches to read: the median and the 99th percentile of many repetitions."""
    random = np.random.default_rng(1)
    rows = []
    for caches in (1, 10, 100, 1_000, 10_000):
        turns = max(20, min(1_000, 2_000_000 // caches))
        cells = [f"{caches:,}"]
        for name in ("none", "1 % hang", "10 % hang"):
            last = seen_after(FAILURES[name], caches * turns, random).reshape(turns, caches).max(axis=1)
            cells += [f"{np.median(last):.0f} s", f"{np.percentile(last, 99):.0f} s"]
        rows.append(cells)
    head = ["caches", "no failures: the last one after", "99 of 100 times"]
    return table([*head, "1 % hang", "99 of 100", "10 % hang", "99 of 100"], rows)


def _late() -> str:
    rows, margins = [], (0.0, 1.0, MORE, 60.0)
    for name, reading in FAILURES.items():
        chances = [late(reading, REFRESH + margin) for margin in margins]
        rows.append([name, *(_chance(1 - (1 - one) ** 1_000 if one > 1e-12 else one * 1_000) for one in chances)])
    return table(["reads", *(f"+{margin:g} s" for margin in margins)], rows)


def _chance(chance: float) -> str:
    if chance == 0:
        return "0"
    return f"{chance:.1%}" if chance >= 0.001 else f"{chance:.0e}".replace("e-0", "e-")


def _chart() -> LineChart:
    times = np.arange(0.0, 361.0, 3.0).tolist()
    lines = {"no failures": [(at, due_after(REFRESH, at)) for at in times]}
    for name, reading in list(FAILURES.items())[1:]:
        lines[name] = [(at, chance) for at in times if (chance := late(reading, at)) >= LEAST]
    title = f"Caches that have not yet read a new pin, refresh {REFRESH:g} s, computed"
    y = Axis("share of all", log=True, bottom=LEAST, top=1.0)
    return LineChart("pins", title, Axis("seconds since it was stored"), y, lines)
