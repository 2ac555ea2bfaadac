"""The gateways' own limits before a node that takes images one after the other, and before one that batches."""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from benchmarks.harness.markdown import number, percent, table
from benchmarks.harness.open_loop import Answer
from benchmarks.harness.testbed import Testbed
from benchmarks.scale.check.spread import RUNS, spread
from benchmarks.scale.check.stack import Gateways, Length, settings_of
from benchmarks.scale.limiters import Own
from benchmarks.scale.overload import Call, Overload, simulate

# A node's time for an image when it is busy, in seconds, and how many it takes together: one, or several.
SERVICE, SINGLE, BATCH = 0.01, 1, 8


class Case(NamedTuple):
    """Gateways with one worker each before a node, the deadline in seconds, the load as a share of its capacity."""

    batch: int
    workers: int
    deadline: float
    load: float

    @property
    def service(self) -> str:
        """A service of its own for each case: so each begins with the limit of a new worker."""
        return f"batch-{self.batch}-{self.workers}-{self.deadline:g}-{round(100 * self.load)}"


CASES = (
    *(Case(SINGLE, 3, deadline, 2.0) for deadline in (1.0, 10.0)),
    *(Case(BATCH, workers, 1.0, load) for load in (0.8, 2.0) for workers in (1, 3)),
    *(Case(BATCH, 3, 10.0, load) for load in (0.8, 2.0)),
)


class Found(NamedTuple):
    """A run after its warm-up: shares of the capacity, and of the requests; seconds."""

    goodput: float
    refused: float
    late: float
    median: float
    p99: float


class Experienced(Own):
    """The gateway's own limiter, after an image that the node scored alone in ``takes`` seconds."""

    def __init__(self, deadline: float, takes: float) -> None:
        super().__init__(deadline)
        self.admits(0.0, 0)
        self.done(takes, takes, 1, Call(takes, takes, worker=0, in_time=True, images=1, last=True))


def simulated(case: Case, length: Length, round_trip: float) -> Sequence[Found]:
    """Several runs of the simulation; as in the measurement, images were scored before."""
    found = []
    maker = partial(Experienced, takes=SERVICE * case.batch + round_trip)
    for seed in range(1, RUNS + 1):
        one = simulate(
            Overload(
                *(case.load, case.workers, case.deadline, length.seconds, length.warm_up),
                service=SERVICE,
                batch=case.batch,
                round_trip=round_trip,
                seed=seed,
            ),
            maker,
        )
        found.append(Found(one.goodput, one.refused, one.late, one.latency(50), one.latency(99)))
    return found


def summary(answers: Sequence[Answer], deadline: float, length: Length) -> Found:
    """The answers after the warm-up, counted as the simulation counts."""
    seconds, warm_up = length.seconds, length.warm_up
    refused = sum(answer.status == 503 and answer.at >= warm_up for answer in answers)
    ended = [answer for answer in answers if answer.status != 503 and warm_up <= answer.at + answer.took <= seconds]
    took = [answer.took for answer in ended if answer.status == 200 and answer.took <= deadline]
    all_of_them = max(1, refused + len(ended))
    median, p99 = np.percentile(took, (50, 99)) if took else (float("nan"),) * 2
    return Found(
        goodput=len(took) * SERVICE / (seconds - warm_up),
        refused=refused / all_of_them,
        late=(len(ended) - len(took)) / all_of_them,
        median=float(median),
        p99=float(p99),
    )


async def measure(testbed: Testbed, settings: Mapping[str, str], length: Length, cases: Sequence[Case]) -> str:
    """Measure the cases; returns the table.

    Raises:
        StackFailed: a process cannot be started. BenchmarkFailed: an image was not scored.
    """
    addresses = await _start_nodes(testbed, sorted({case.batch for case in cases}))
    services = {
        case.service: (addresses[case.batch], {"DEADLINE_MS": str(round(1e3 * case.deadline))}) for case in cases
    }
    gateways = await Gateways.start(testbed, max(case.workers for case in cases), {**settings, **settings_of(services)})
    rows = []
    for case in cases:
        mine = gateways.first(case.workers)
        overhead = mine.warm_up(case.service, SERVICE * case.batch, length.alone)
        answers = await mine.load(case.service, case.load / SERVICE, length.seconds)
        rows.append(row(case, simulated(case, length, overhead), summary(answers, case.deadline, length)))
    return table(HEAD, rows)


HEAD = (
    *("images at a time", "workers", "deadline", "load", "goodput: simulated", "measured", "refused: simulated"),
    *("measured", "late: simulated", "measured", "p50, ms: simulated", "measured", "p99, ms: simulated", "measured"),
)


def row(case: Case, runs: Sequence[Found], found: Found) -> Sequence[str]:
    """A row of the table: each figure simulated and measured."""
    cells = [number(case.batch), number(case.workers), f"{case.deadline:g} s", percent(case.load)]
    for name in Found._fields:
        show = _milliseconds if name in {"median", "p99"} else percent
        cells += [spread([getattr(run, name) for run in runs], show), show(getattr(found, name))]
    return cells


def _milliseconds(seconds: float) -> str:
    return number(seconds * 1e3, 0)


async def _start_nodes(testbed: Testbed, sizes: Sequence[int]) -> Mapping[int, str]:
    """Start a node for each size of batches, all of the same capacity; returns their addresses."""
    issued = testbed.authority.issue()

    async def start(batch: int) -> str:
        given = ("--batch", str(batch))
        return await testbed.start_another_service(f"batch-{batch}", issued, *given, latency_ms=SERVICE * batch * 1e3)

    return dict(zip(sizes, await asyncio.gather(*map(start, sizes)), strict=True))
