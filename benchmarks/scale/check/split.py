"""A split of which one member dies, or freezes, under load, beside what the rules of ``shared.traffic`` promise."""

import asyncio
import time
from collections.abc import Awaitable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.harness.launch import free_port
from benchmarks.harness.markdown import number, percent, table
from benchmarks.harness.open_loop import Answer
from benchmarks.harness.testbed import Testbed
from benchmarks.scale.check.stack import Gateways, MortalService, settings_of
from shared.settings import prefix
from shared.traffic.decide import Member, shares

# Both members batch, so that some requests are with each at any time; one alone can serve all of them.
BATCH, LATENCY, RATE = 8, 0.1, 60.0
WORKERS = 3
# A window of the return, in seconds.
WINDOW = 10.0
_ALONE = 10

BLUE, GREEN = "blue", "green"


class Times(NamedTuple):
    """Seconds of load before the member dies, until it is back, and after that."""

    before: float
    down: float
    after: float

    @property
    def all(self) -> float:
        return sum(self)


class Case(NamedTuple):
    """What happens to a member; ``back_at_once``: it is started again at once."""

    name: str
    split: str
    frozen: bool = False
    back_at_once: bool = False


KILLED = Case("killed, back after a while", "killed")
RESTARTED = Case("killed, started again at once", "restarted", back_at_once=True)
CASES = (
    KILLED,
    RESTARTED,
    Case("frozen for a while", "frozen", frozen=True),
)


class Death(NamedTuple):
    """A run: when the member died and was back, since the load's begin, and all answers."""

    died: float
    back: float
    answers: Sequence[Answer]


async def measure(testbed: Testbed, settings: Mapping[str, str], cases: Mapping[Case, Times]) -> tuple[str, str]:
    """Measure the cases; returns a table of what failed, and one of the first case's shares after the return.

    Raises:
        StackFailed: a process cannot be started. BenchmarkFailed: an image was not scored.
    """
    given = {"latency_ms": LATENCY * 1e3}
    blue = MortalService(testbed, BLUE, free_port(), "--batch", str(BATCH), **given)
    green = MortalService(testbed, GREEN, free_port(), "--batch", str(BATCH), **given)
    try:
        await asyncio.gather(blue.start(), green.start())
        gateways = await Gateways.start(testbed, WORKERS, {**settings, **_settings(blue, green, [*cases])})
        deaths = []
        for case, times in cases.items():
            gateways.warm_up(case.split, LATENCY, _ALONE)
            deaths.append(await _one(gateways, green, case, times))
    finally:
        await asyncio.gather(blue.kill(), green.kill())
    failures = [row(case, death) for case, death in zip(cases, deaths, strict=True)]
    return table(FAILURES, failures), table(SHARES, return_rows(deaths[0]))


def _settings(blue: MortalService, green: MortalService, cases: Sequence[Case]) -> Mapping[str, str]:
    """A split with members of its own for each case: what one learned is not known to the next."""
    members: dict[str, tuple[str, Mapping[str, str]]] = {
        f"{member}-{case.split}": (service.address, {})
        for case in cases
        for member, service in ((BLUE, blue), (GREEN, green))
    }
    settings = settings_of(members)
    for case in cases:
        settings["SERVICES"] += f",{case.split}"
        settings[prefix(case.split) + "TRAFFIC"] = f"{BLUE}-{case.split}:50,{GREEN}-{case.split}:50"
    return settings


async def _one(gateways: Gateways, member: MortalService, case: Case, times: Times) -> Death:
    began = time.monotonic()
    loading = asyncio.create_task(gateways.load(case.split, RATE, times.all))
    await asyncio.sleep(times.before)
    died = time.monotonic() - began
    ending: Awaitable[None] = _freeze(member, times.down) if case.frozen else _kill(member, case, times.down)
    await ending
    return Death(died, time.monotonic() - began, await loading)


async def _kill(member: MortalService, case: Case, seconds: float) -> None:
    await member.kill()
    if not case.back_at_once:
        await asyncio.sleep(seconds)
    await member.start()


async def _freeze(member: MortalService, seconds: float) -> None:
    member.freeze(frozen=True)
    await asyncio.sleep(seconds)
    member.freeze(frozen=False)


FAILURES = (
    *("a member is", "down, s", "requests meanwhile", "at the member when it died: computed", "measured"),
    *("failed", "last failure began after, s", "slowest failure, s", "slowest success, s", "given to it meanwhile"),
)


def row(case: Case, death: Death) -> Sequence[str]:
    """A row of the table of failures."""
    before = [answer for answer in death.answers if 1 <= answer.at < death.died - 1 and answer.status == 200]
    there = [answer for answer in before if answer.service.startswith(GREEN)]
    # Little's law: half of the rate, times the time that a request takes.
    expected = RATE / 2 * sum(answer.took for answer in there) / max(1, len(there))
    at_death = [a for a in death.answers if a.at < death.died < a.at + a.took and a.service.startswith(GREEN)]
    meanwhile = [answer for answer in death.answers if death.died <= answer.at < death.back]
    failed = [answer for answer in death.answers if answer.status != 200]
    began = max((answer.at for answer in failed), default=death.died) - death.died
    slowest = max((answer.took for answer in meanwhile if answer.status == 200), default=0.0)
    given = sum(answer.service.startswith(GREEN) for answer in meanwhile)
    return (
        *(case.name, number(death.back - death.died, 1), number(len(meanwhile)), number(expected, 1)),
        *(number(len(at_death)), number(len(failed)), number(max(0.0, began), 2)),
        *(number(max((answer.took for answer in failed), default=0.0), 2), number(slowest, 2)),
        percent(given / max(1, len(meanwhile))),
    )


SHARES = ("seconds", "requests", "the member's share: by the rules", "measured")


def return_rows(death: Death) -> Sequence[Sequence[str]]:
    """The rows of the table of shares: before, while it was away, and since it is back."""
    last = max(answer.at for answer in death.answers)
    since = [death.back + turn * WINDOW for turn in range(int((last - death.back) // WINDOW) + 1)]
    windows = [
        ("before", 0.0, death.died),
        ("while it is away", death.died, death.back),
        *((f"{at - death.back:.0f} to {at - death.back + WINDOW:.0f} after", at, at + WINDOW) for at in since),
    ]
    rows = []
    for name, begin, end in windows:
        mine = [answer for answer in death.answers if begin <= answer.at < end]
        share = sum(answer.service.startswith(GREEN) for answer in mine) / max(1, len(mine))
        rows.append((name, number(len(mine)), percent(promised(begin, end, death)), percent(share)))
    return rows


def promised(begin: float, end: float, death: Death) -> float:
    """The member's mean share by the rules, if its death and its return are noticed at once."""
    green = Member(50)
    if begin >= death.back:
        green.back_at = death.back
    elif begin >= death.died:
        green.why = "service-unreachable"
    moments = np.linspace(begin, end, 101)
    return float(np.mean([shares({BLUE: Member(50), GREEN: green}, now)[GREEN] for now in moments]))
