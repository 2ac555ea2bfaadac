"""How many calls a worker should have under way, at most."""

from functools import partial
from itertools import product

import numpy as np

from benchmarks.harness.markdown import milliseconds, number, percent, table
from benchmarks.harness.plots import Axis, LineChart
from benchmarks.scale.limiters import (
    Aimd,
    CountsMessages,
    Gradient,
    Limiter,
    Maker,
    NeverAges,
    Own,
    Vegas,
    WantsRoomForAll,
)
from benchmarks.scale.overload import Outcome, Overload, simulate
from benchmarks.scale.pages import Figures
from benchmarks.scale.queues import SERVICE

WORKERS = (1, 10, 100, 1_000)
DEADLINES = (1.0, 10.0)
TWICE = 2.0
# How long workers that start one after the other are simulated, in seconds, and when the last one has started.
JOINING, JOINED = 120.0, 60.0


def fixed(limit: int) -> Maker:
    """A maker of fixed limits."""
    return lambda _: Limiter(float(limit))


FIXED: dict[str, Maker] = {f"fixed {limit}": fixed(limit) for limit in (16, 64)}
ADAPTIVE: dict[str, Maker] = {
    "the gateway's": Own,
    **{f"begins with {first}": partial(Aimd, first=first) for first in (8, 16, 32, 64)},
    "16, does not double": partial(Aimd, first=16, doubles=False),
    "cuts the limit itself": partial(Aimd, from_flight=False),
    "without the bound": partial(Aimd, bound=False),
    "Vegas": lambda _: Vegas(),
    "gradient": lambda _: Gradient(),
}
AGEING: dict[str, Maker] = {"the gateway's": Own, "without ageing": partial(Own, kind=NeverAges)}
BATCHING: dict[str, Maker] = {"the gateway's": Own, "twice the shortest": partial(Aimd, multiple=2.0)}
COUNTING: dict[str, Maker] = {"the gateway's": Own, "counts messages": partial(Own, kind=CountsMessages)}
FAIR: dict[str, Maker] = {"the gateway's": Own, "wants room for all": partial(Own, kind=WantsRoomForAll)}
COMPARED: dict[str, Maker] = {"fixed 64": FIXED["fixed 64"], "the gateway's": Own}


def figures() -> Figures:
    """All of it; about 30 seconds."""
    tables = {"limits-fixed": _fixed(), "limits-small": _too_small(), "limits-adaptive": _adaptive()}
    more = {"limits-joining": _joining(), "limits-slow": _slow_by_nature(), "limits-after": _after()}
    more |= {"limits-batches": _batches()}
    units = {"limits-slower": _slower(), "limits-messages": _messages(), "limits-sizes": _sizes()}
    return Figures([_fixed_chart(), _joining_chart()], simulated={**tables, **more, **units})


def _twice(workers: int, deadline: float, maker: Maker, *, drops: bool = False) -> Outcome:
    """Twice the node's capacity for a minute, of which the last two thirds count."""
    return simulate(Overload(TWICE, workers, deadline, seconds=60.0, warm_up=20.0, drops_expired=drops), maker)


def _fixed() -> str:
    rows = []
    for deadline, workers, limit in product(DEADLINES, WORKERS, (4, 16, 64)):
        found = _twice(workers, deadline, fixed(limit))
        drops = _twice(workers, deadline, fixed(limit), drops=True)
        all_limits = f"{workers * limit * SERVICE:,.2f} s"
        shares = [percent(found.goodput), percent(drops.goodput), percent(found.refused)]
        given = [f"{deadline:g} s", number(workers), number(limit), all_limits]
        rows.append([*given, *shares, milliseconds(found.latency(99))])
    head = ["deadline", "workers", "limit", "all limits times 1.8 ms", "goodput", "if late calls are dropped"]
    return table([*head, "refused", "p99, ms"], rows)


def _too_small() -> str:
    """The share that is refused although the node could serve it, because requests come in bursts."""
    uses = list(product((0.6, 0.8, 0.95), (1, 4)))
    rows = []
    for limit in (4, 8, 16, 32, 64):
        refused = [simulate(Overload(use, workers, 10.0, seconds=300.0), fixed(limit)).refused for use, workers in uses]
        rows.append([number(limit), *(percent(share, 2) for share in refused)])
    return table(["limit", *(f"{percent(use)}, {workers} w." for use, workers in uses)], rows)


def _cells(found: Outcome) -> list[str]:
    latencies = [milliseconds(found.latency(at)) for at in (50, 99)]
    return [percent(found.goodput), percent(found.late), *latencies]


def _mean_limit(found: Outcome) -> str:
    return number(float(found.limits.mean()), 1)


def _adaptive() -> str:
    rows = []
    names = ("the gateway's", "cuts the limit itself", "Vegas", "gradient")
    for deadline, workers, name in product(DEADLINES, WORKERS, names):
        found = _twice(workers, deadline, ADAPTIVE[name])
        given = [f"{deadline:g} s", number(workers), name]
        rows.append([*given, *_cells(found), f"{found.fairness:.2f}", _mean_limit(found)])
    head = ["deadline", "workers", "limiter", "goodput", "late", "p50, ms", "p99, ms", "fairness", "mean limit"]
    return table(head, rows)


def _starting(workers: int, deadline: float, maker: Maker) -> Outcome:
    """Twice the capacity, for workers that start one after the other."""
    joins = [JOINED * turn / workers for turn in range(workers)]
    case = Overload(TWICE, workers, deadline, seconds=JOINING, warm_up=1.0, drops_expired=False, joins=joins)
    return simulate(case, maker)


def _joining() -> str:
    rows = []
    for (workers, deadline), (name, maker) in product(((100, 1.0), (1_000, 10.0)), (ADAPTIVE | FIXED).items()):
        rows.append([number(workers), f"{deadline:g} s", name, *_cells(_starting(workers, deadline, maker))])
    return table(["1 to …", "deadline", "limiter", "goodput", "late", "p50, ms", "p99, ms"], rows)


def _slow_by_nature() -> str:
    """Eight replicas of 2.5 s each with one address: no overload, though every call takes a quarter of its deadline.

    As a node that is eight times as fast, and a round trip that takes the rest of the time.
    """
    case = Overload(0.8, 1, 10.0, seconds=2_000.0, warm_up=300.0, service=2.5 / 8, round_trip=2.5 * 7 / 8)
    impatient: dict[str, Maker] = {"without three times the lowest latency": partial(Aimd, patient=False)}
    rows = []
    for name, maker in {**COMPARED, **impatient}.items():
        found = simulate(case, maker)
        rows.append([name, percent(found.goodput), percent(found.refused), *_cells(found)[2:], _mean_limit(found)])
    return table(["limiter", "goodput of 80 %", "refused", "p50, ms", "p99, ms", "mean limit"], rows)


def _after() -> str:
    """The node takes three times as long from the 10th to the 20th second, at 80 % use before and after."""

    def slowness(at: float) -> float:
        return 3.0 if 10 <= at < 20 else 1.0

    seconds, rows = (9, 19, 20, 21, 25, 30), []
    for workers, (name, maker) in product(WORKERS[:3], COMPARED.items()):
        found = simulate(Overload(0.8, workers, 10.0, 60.0, 1.0, drops_expired=False, slowness=slowness), maker)
        during = [found.latencies[(found.ended >= second) & (found.ended < second + 1)] for second in seconds]
        medians = [milliseconds(float(np.median(one))) if len(one) else "-" for one in during]
        rows.append([number(workers), name, *medians])
    return table(["workers", "limiter", *(f"second {at}, ms" for at in seconds)], rows)


def _slower() -> str:
    """Images take four times as long after a minute; the hour from then, at 75 % of the capacity that is left."""

    def slowness(at: float) -> float:
        return 4.0 if at >= 60 else 1.0

    rows = []
    for replicas, workers, (name, maker) in product((1, 16), (1, 10), AGEING.items()):
        case = Overload(0.1875, workers, 1.0, 3_660.0, 60.0, service=0.05 / replicas, slowness=slowness)
        found = simulate(case._replace(replicas=replicas), maker)
        latencies = [milliseconds(found.latency(at)) for at in (50, 99)]
        rows.append([number(replicas), number(workers), name, percent(found.refused, 1), *latencies])
    return table(["replicas", "workers", "limiter", "refused", "p50, ms", "p99, ms"], rows)


def _batches() -> str:
    """A node that takes up to eight waiting images together, in some parts of the deadline."""
    rows = []
    for takes, workers in product((0.04, 0.08, 0.16, 0.25), (1, 10)):
        cells = [milliseconds(takes), number(workers)]
        for load, maker in product((0.8, TWICE), BATCHING.values()):
            found = simulate(Overload(load, workers, 1.0, 300.0, service=takes / 8, batch=8), maker)
            last = percent(found.refused, 1) if load < 1 else milliseconds(found.latency(99))
            cells += [percent(found.goodput), last]
        rows.append(cells)
    head = ["a batch takes, ms", "workers"]
    for (at, last), name in product({"80 %": "refused", "200 %": "p99, ms"}.items(), BATCHING):
        head += [f"{at}, {name}: goodput", last]
    return table(head, rows)


def _messages() -> str:
    """Messages of 16 rows, each of which takes a replica 6 ms, at half of the capacity."""
    rows = []
    for replicas, workers, (name, maker) in product((1, 8), (1, 4), COUNTING.items()):
        case = Overload(0.5, workers, 1.0, 300.0, service=0.006 / replicas, sizes=(16,), together=True)
        found = simulate(case._replace(replicas=replicas), maker)
        given = [number(replicas), number(workers), name]
        rows.append([*given, percent(found.refused, 1), percent(found.late, 1), milliseconds(found.latency(99))])
    return table(["replicas", "workers", "limiter", "refused", "late", "p99, ms"], rows)


def _sizes() -> str:
    """A fifth of the images in requests of 16, the others in requests of one."""
    rows = []
    for (service, deadline), use, (name, maker) in product(((SERVICE, 10.0), (0.006, 1.0)), (0.8, 0.95), FAIR.items()):
        found = simulate(Overload(use, 1, deadline, 600.0, service=service, sizes=(1,) * 64 + (16,)), maker)
        given = [milliseconds(service), f"{deadline:g} s", percent(use), name]
        shares = [percent(found.refused_of[size], 1) for size in (1, 16)]
        rows.append([*given, *shares, percent(found.goodput), milliseconds(found.latency(99))])
    head = ["an image takes, ms", "deadline", "load", "limiter", "requests of 1: refused", "of 16: refused"]
    return table([*head, "goodput", "p99, ms"], rows)


def _fixed_chart() -> LineChart:
    limits, lines = (2, 4, 8, 16, 32, 64, 128, 256), {}
    for workers in WORKERS:
        goodputs = [_twice(workers, 10.0, fixed(limit)).goodput for limit in limits]
        lines[f"{workers:,} worker{'s' if workers > 1 else ''}"] = list(zip(limits, goodputs, strict=True))
    title = "Goodput at twice the capacity, fixed limits, deadline 10 s, simulated"
    x = Axis("limit of each worker", log=True)
    return LineChart("limits-fixed", title, x, Axis("goodput over capacity"), lines)


def _joining_chart() -> LineChart:
    edges, lines = np.arange(0.0, JOINING + 1, 4.0), {}
    for name in ("the gateway's", "begins with 8", "begins with 16", "Vegas", "fixed 16"):
        found = _starting(1_000, 10.0, (ADAPTIVE | FIXED)[name])
        good = np.histogram(found.ended, edges)[0] * SERVICE / 4.0
        lines[name] = list(zip((edges[1:] - 2).tolist(), good.tolist(), strict=True))
    title = "Goodput while 1,000 workers start within a minute, at twice the capacity of one node, simulated"
    return LineChart("limits-joining", title, Axis("seconds"), Axis("goodput over capacity"), lines)
