"""From which size Key Vault answers 429, and what comes of it."""

import math
from collections.abc import Mapping

import numpy as np

from benchmarks.scale.pages import Figures, Table, number, percent
from benchmarks.scale.queues import Floats
from benchmarks.scale.svg import Axis, Chart, Series
from benchmarks.scale.vault import (
    LIMIT,
    WINDOW,
    Course,
    Group,
    Kind,
    Pause,
    backoff,
    every_second,
    most_caches,
    seldomer,
    simulate,
)

REFRESHES = (60.0, 120.0, 300.0, 600.0, 1_800.0)
COLD = (1_000, 2_000, 5_000, 8_000, 10_000, 20_000)
START = 60.0


def figures() -> Figures:
    """All of it; about 20 seconds."""
    cold = {count: simulate([_starting(count)], 240.0) for count in COLD}
    return Figures([_steady(), _cold(cold), _in_vain(), _sizes()], [_cold_chart(cold)])


def _spread(count: int, seconds: float) -> Floats:
    return np.random.default_rng((1, count)).random(count) * seconds


def _starting(count: int) -> Group:
    return Group(Kind.COLD, _spread(count, START))


def _percentile(values: Floats, percent_: float) -> float:
    return float(np.percentile(values, percent_, method="inverted_cdf"))


def _seconds(value: float) -> str:
    return f"{value:,.0f} s" if math.isfinite(value) else "never"


def _steady() -> Table:
    """Caches that began at any time within the first refresh; an hour."""
    rows = []
    seconds, refresh = 3_600.0, 300.0
    for count in (1_000, 9_000, 18_000, 27_000, 36_000):
        course = simulate([Group(Kind.RENEWING, _spread(count, refresh))], seconds, refresh=refresh)
        asked, refused = course.per_window(seconds)
        late = np.arange(len(asked)) * WINDOW >= 1_800
        rows.append(
            [
                number(count),
                percent(count / most_caches(refresh)),
                number(float(asked.max())),
                percent(len(course.refused) / len(course.asked), 1),
                percent(float(refused[late].sum() / max(asked[late].sum(), 1)), 1),
            ]
        )
    head = ["caches", "of what the vault can do", "busiest 10 s", "refused in an hour", "in the second half hour"]
    return Table("vault-steady", head, rows)


def _cold(courses: dict[int, Course]) -> Table:
    rows = []
    for count, course in courses.items():
        ready = course.ready_after[0]
        patient = simulate([_starting(count)], 300.0, cold=backoff).ready_after[0]
        asked, _ = course.per_window(240.0)
        rows.append(
            [
                number(count),
                number(float(asked.max())),
                percent(len(course.refused) / len(course.asked)),
                *(_seconds(_percentile(ready, at)) for at in (50, 99, 100)),
                _seconds(_percentile(patient, 100)),
            ]
        )
    head = [
        "caches that start in a minute",
        "busiest 10 s",
        "refused",
        "ready after: half",
        "99 of 100",
        "all",
        "if pauses doubled: all",
    ]
    return Table("vault-cold", head, rows)


# How long requests that force reads wait between them.
WAYS: Mapping[str, Pause] = {"every second": every_second, "the gateway's": seldomer}


def _in_vain() -> Table:
    """While a service cannot be trusted by any worker, 100 workers start that need another one."""
    rows = []
    seconds = 180.0
    for count in (100, 133, 200, 1_000, 2_000, 5_000):
        others = Group(Kind.COLD, 30.0 + _spread(100, START))
        cells = [number(count)]
        for pause in WAYS.values():
            groups = [others, Group(Kind.IN_VAIN, _spread(count, 1.0))]
            course = simulate(groups, seconds, in_vain=pause)
            # On average, when the first rush is over.
            asked, _ = course.per_window(seconds)
            cells += [number(float(asked[6:].mean())), _seconds(_percentile(course.ready_after[0], 99))]
        rows.append(cells)
    head = ["workers"]
    for way in WAYS:
        head += [f"{way}: in 10 s", "others ready"]
    return Table("vault-in-vain", head, rows)


def _sizes() -> Table:
    rows = [
        [f"{refresh:g} s", number(most_caches(refresh)), number(most_caches(refresh) / 2), f"{refresh + 16:g} s"]
        for refresh in REFRESHES
    ]
    head = ["`CREDENTIALS_REFRESH_SECONDS`", "caches at the limit", "at half of it", "until all have a new pin"]
    return Table("vault-sizes", head, rows)


def _cold_chart(courses: dict[int, Course]) -> Chart:
    lines = []
    for count, course in courses.items():
        began = np.sort(_starting(count).starts + course.ready_after[0])
        at = np.arange(0.0, 181.0, 2.0)
        points = [(float(x), float(np.searchsorted(began, x, side="right") / count)) for x in at]
        if count >= 5_000:
            lines.append(Series(f"{count:,} caches", points))
    title = f"Cold starts within a minute, {LIMIT:,} answers in {WINDOW:g} s, simulated"
    return Chart("vault-cold", title, Axis("seconds"), Axis("share that has its credentials"), lines)
