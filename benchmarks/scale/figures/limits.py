"""How many calls a worker should have under way, at most."""

from collections.abc import Mapping

import numpy as np

from benchmarks.scale.limiters import Aimd, Fixed, Gradient, Maker, Own, Vegas
from benchmarks.scale.overload import Outcome, Overload, simulate
from benchmarks.scale.pages import Figures, Table, milliseconds, number, percent
from benchmarks.scale.queues import SERVICE
from benchmarks.scale.svg import Axis, Chart, Series

LIMITS = (4, 16, 64)
WORKERS = (1, 10, 100, 1_000)
DEADLINES = (1.0, 10.0)
TWICE = 2.0
# The length of the story in which workers come one after the other, in seconds, and until when the last has come.
STORY, JOINED = 120.0, 60.0

ADAPTIVE: Mapping[str, Maker] = {
    "the gateway's": Own,
    "begins with 8": lambda deadline: Aimd(deadline, first=8),
    "begins with 16": lambda deadline: Aimd(deadline, first=16),
    "begins with 32": lambda deadline: Aimd(deadline, first=32),
    "begins with 64": lambda deadline: Aimd(deadline, first=64),
    "16, does not double": lambda deadline: Aimd(deadline, first=16, doubles=False),
    "cuts the limit itself": lambda deadline: Aimd(deadline, from_flight=False),
    "without the bound": lambda deadline: Aimd(deadline, bound=False),
    "Vegas": lambda _: Vegas(),
    "gradient": lambda _: Gradient(),
}


def fixed(limit: int) -> Maker:
    """A maker of fixed limits."""
    return lambda _: Fixed(float(limit))


def figures() -> Figures:
    """All of it; about 30 seconds."""
    tables = [_fixed(), _too_small(), _adaptive(), _joining(), _slow_by_nature(), _after()]
    return Figures(tables, [_fixed_chart(), _joining_chart()])


def _twice(workers: int, deadline: float, *, drops: bool = False) -> Overload:
    """Twice the node's capacity for a minute, of which the last two thirds count."""
    return Overload(TWICE, workers, deadline, seconds=60.0, warm_up=20.0, drops_expired=drops)


def _fixed() -> Table:
    rows = []
    for deadline in DEADLINES:
        for workers in WORKERS:
            for limit in LIMITS:
                found = simulate(_twice(workers, deadline), fixed(limit))
                drops = simulate(_twice(workers, deadline, drops=True), fixed(limit))
                rows.append(
                    [
                        f"{deadline:g} s",
                        number(workers),
                        number(limit),
                        f"{workers * limit * SERVICE:,.2f} s",
                        percent(found.goodput),
                        percent(drops.goodput),
                        percent(found.refused),
                        milliseconds(found.latency(99)),
                    ]
                )
    head = ["deadline", "workers", "limit", "all limits times 1.8 ms", "goodput", "if late calls are dropped"]
    return Table("limits-fixed", [*head, "refused", "p99, ms"], rows)


def _too_small() -> Table:
    """What is refused although the node could serve it, for want of places when requests come in a bunch."""
    rows = []
    for limit in (4, 8, 16, 32, 64):
        cells = [number(limit)]
        for use in (0.6, 0.8, 0.95):
            for workers in (1, 4):
                found = simulate(Overload(use, workers, 10.0, seconds=300.0), fixed(limit))
                cells.append(percent(found.refused, 2))
        rows.append(cells)
    head = ["limit", *(f"{percent(use)}, {workers} w." for use in (0.6, 0.8, 0.95) for workers in (1, 4))]
    return Table("limits-small", head, rows)


def _adaptive() -> Table:
    rows = []
    for deadline in DEADLINES:
        for workers in WORKERS:
            for name in ("the gateway's", "cuts the limit itself", "Vegas", "gradient"):
                found = simulate(_twice(workers, deadline), ADAPTIVE[name])
                rows.append([f"{deadline:g} s", number(workers), name, *_cells(found)])
    head = ["deadline", "workers", "limiter", "goodput", "late", "p50, ms", "p99, ms", "fairness", "mean limit"]
    return Table("limits-adaptive", head, rows)


def _cells(found: Outcome) -> list[str]:
    return [
        percent(found.goodput),
        percent(found.late),
        milliseconds(found.latency(50)),
        milliseconds(found.latency(99)),
        f"{found.fairness:.2f}",
        number(float(found.limits.mean()), 1),
    ]


def _story(workers: int, deadline: float) -> Overload:
    joins = [JOINED * turn / workers for turn in range(workers)]
    return Overload(TWICE, workers, deadline, seconds=STORY, warm_up=1.0, drops_expired=False, joins=joins)


def _joining() -> Table:
    rows = []
    for workers, deadline in ((100, 1.0), (1_000, 10.0)):
        for name, maker in {**ADAPTIVE, "fixed 16": fixed(16), "fixed 64": fixed(64)}.items():
            found = simulate(_story(workers, deadline), maker)
            rows.append([number(workers), f"{deadline:g} s", name, *_cells(found)[:4]])
    head = ["1 to …", "deadline", "limiter", "goodput", "late", "p50, ms", "p99, ms"]
    return Table("limits-joining", head, rows)


def _slow_by_nature() -> Table:
    """Eight replicas of 2.5 s each behind one address: no overload, though every call takes a quarter of its deadline.

    As a node that is eight times as fast, and a way there that takes the rest of the time.
    """
    case = Overload(0.8, 1, 10.0, seconds=2_000.0, warm_up=300.0, service=2.5 / 8, round_trip=2.5 * 7 / 8)
    makers: Mapping[str, Maker] = {
        "fixed 64": fixed(64),
        "the gateway's": Own,
        "without twice the lowest latency": lambda deadline: Aimd(deadline, patient=False),
    }
    rows = []
    for name, maker in makers.items():
        found = simulate(case, maker)
        rows.append([name, percent(found.goodput), percent(found.refused), *_cells(found)[2:4], _cells(found)[5]])
    return Table("limits-slow", ["limiter", "goodput of 80 %", "refused", "p50, ms", "p99, ms", "mean limit"], rows)


def _after() -> Table:
    """The node takes three times as long from the 10th to the 20th second, at 80 % use before and after."""
    rows = []
    for workers in WORKERS[:3]:
        for name, maker in {"fixed 64": fixed(64), "the gateway's": Own}.items():
            case = Overload(
                0.8,
                workers,
                10.0,
                seconds=60.0,
                warm_up=1.0,
                drops_expired=False,
                slowness=lambda at: 3.0 if 10 <= at < 20 else 1.0,
            )
            found = simulate(case, maker)
            cells = [number(workers), name]
            for second in (9, 19, 20, 21, 25, 30):
                during = found.latencies[(found.ended >= second) & (found.ended < second + 1)]
                cells.append(milliseconds(float(np.median(during))) if len(during) else "-")
            rows.append(cells)
    head = ["workers", "limiter", *(f"second {at}, ms" for at in ("9", "19", "20", "21", "25", "30"))]
    return Table("limits-after", head, rows)


def _fixed_chart() -> Chart:
    limits = (2, 4, 8, 16, 32, 64, 128, 256)
    lines = []
    for workers in WORKERS:
        points = [(float(one), simulate(_twice(workers, 10.0), fixed(one)).goodput) for one in limits]
        lines.append(Series(f"{workers:,} workers" if workers > 1 else "1 worker", points))
    title = "Goodput at twice the capacity, fixed limits, deadline 10 s, simulated"
    return Chart("limits-fixed", title, Axis("limit of each worker", log=True), Axis("goodput over capacity"), lines)


def _joining_chart() -> Chart:
    edges = np.arange(0.0, STORY + 1, 4.0)
    names = ("the gateway's", "begins with 8", "begins with 16", "Vegas")
    makers = {**{name: ADAPTIVE[name] for name in names}, "fixed 16": fixed(16)}
    lines = []
    for name, maker in makers.items():
        found = simulate(_story(1_000, 10.0), maker)
        good = np.histogram(found.ended, edges)[0] * SERVICE / 4.0
        lines.append(Series(name, list(zip((edges[1:] - 2).tolist(), good.tolist(), strict=True))))
    title = "Goodput while 1,000 workers start within a minute, at twice the capacity of one node, simulated"
    return Chart("limits-joining", title, Axis("seconds"), Axis("goodput over capacity"), lines)
