"""Round robin over several nodes: how long requests wait, and how even the load is."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.harness.errors import BenchmarkFailed
from benchmarks.harness.launch import free_port
from benchmarks.harness.markdown import number, percent, table
from benchmarks.harness.testbed import Testbed
from benchmarks.scale.balancing import Fleet, in_turn, settled
from benchmarks.scale.check.spread import RUNS, spread
from benchmarks.scale.check.stack import Gateways, Length, settings_of
from benchmarks.scale.queues import Floats

# Long enough for two processors to be no bottleneck, in seconds; one of the nodes may take longer.
SERVICE, SLOWER = 0.04, 1.5
EVEN, UNEVEN = (SERVICE,) * 4, (SERVICE,) * 3 + (SERVICE * SLOWER,)

NAMES: Mapping[str, Sequence[float]] = {"even": EVEN, "uneven": UNEVEN}
# No request is refused: limits are measured by themselves.
PATIENT = {"MAX_CONCURRENCY": "1024", "DEADLINE_MS": "60000"}
_PREDICT = '"method": "/tensorflow.serving.PredictionService/Predict"'


class Case(NamedTuple):
    """Gateways with one worker each, the nodes, and the load as a share of the nodes' capacity."""

    workers: int
    nodes: str
    use: float

    def fleet(self, requests: int = 0, seed: int = 1) -> Fleet:
        return Fleet(self.use, self.workers, NAMES[self.nodes], requests=requests, seed=seed)


CASES = (
    *(Case(workers, "even", use) for workers in (1, 3) for use in (0.6, 0.8)),
    *(Case(3, "uneven", use) for use in (0.6, 0.8)),
)


class Found(NamedTuple):
    """A run: how much longer requests took than at an idle fast node, and the numbers of calls of the nodes."""

    waits: Floats
    calls: Sequence[int]

    @property
    def figures(self) -> Sequence[float]:
        """The median wait, its 99th percentile, and the calls of the busiest node over the mean."""
        return *np.percentile(self.waits, (50, 99)), max(self.calls) / float(np.mean(self.calls))


def simulated(case: Case, requests: int) -> Sequence[Sequence[float]]:
    """The figures of several runs of so many requests."""
    found = []
    for seed in range(1, RUNS + 1):
        spent, chosen = in_turn(case.fleet(requests, seed))
        calls = np.bincount(chosen, minlength=len(NAMES[case.nodes])).tolist()
        found.append(Found(spent - SERVICE, calls).figures)
    return found


async def measure(testbed: Testbed, settings: Mapping[str, str], length: Length, cases: Sequence[Case]) -> str:
    """Measure the cases; returns the table.

    Raises:
        StackFailed: a process cannot be started. BenchmarkFailed: an image was not scored.
    """
    records = [testbed.options.folder / f"calls-{turn}" for turn in range(len(EVEN) + 1)]
    addresses = await _start_nodes(testbed, records)
    port = addresses[0].rpartition(":")[2]
    hosts = [address.rpartition(":")[0] for address in addresses]
    chosen = {"even": hosts[:-1], "uneven": [*hosts[: len(EVEN) - 1], hosts[-1]]}
    services = {name: (f":{port}", {"ADDRESS": ",".join(mine), **PATIENT}) for name, mine in chosen.items()}
    gateways = await Gateways.start(testbed, max(case.workers for case in cases), {**settings, **settings_of(services)})
    # Most nodes are fast ones, so the median is theirs.
    overheads = {name: gateways.warm_up(name, SERVICE, length.alone) for name in {case.nodes for case in cases}}
    rows = []
    for case in cases:
        before = _calls(records)
        answers = await gateways.first(case.workers).load(case.nodes, case.fleet().rate, length.seconds)
        calls = np.array(_calls(records)) - before
        took = np.array([answer.took for answer in answers])
        if failed := sum(answer.status != 200 for answer in answers):
            raise BenchmarkFailed(f"{failed} of {len(answers)} images were not scored.")
        used = [each for each in calls.tolist() if each]
        rows.append(row(case, len(took), Found(settled(took) - SERVICE - overheads[case.nodes], used)))
    return table(HEAD, rows)


HEAD = (
    *("workers", "nodes", "use", "requests", "median wait, ms: simulated", "measured"),
    *("p99, ms: simulated", "measured", "calls of the busiest node: simulated", "measured"),
)


def row(case: Case, requests: int, found: Found) -> Sequence[str]:
    """A row of the table: each figure simulated and measured."""
    columns = np.array(simulated(case, requests)).T
    cells = [number(case.workers), case.nodes, percent(case.use), number(requests)]
    shown: Sequence[Callable[[float], str]] = (_milliseconds, _milliseconds, lambda over: f"{over:.2f}")
    for runs, value, show in zip(columns, found.figures, shown, strict=True):
        cells += [spread(runs, show), show(value)]
    return cells


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.1f}" if seconds < 0.1 else f"{seconds * 1e3:,.0f}"


async def _start_nodes(testbed: Testbed, records: Sequence[Path]) -> Sequence[str]:
    """Start nodes with addresses of their own and the same port, the last of them slower."""
    issued, port = testbed.authority.issue(), str(free_port())

    async def start(turn: int, record: Path) -> str:
        takes = SERVICE * (SLOWER if turn == len(EVEN) else 1)
        where = ("--host", f"127.0.0.{turn + 1}", "--port", port, "--record", str(record))
        return await testbed.start_another_service(f"node-{turn}", issued, *where, latency_ms=takes * 1e3)

    return await asyncio.gather(*(start(turn, record) for turn, record in enumerate(records)))


def _calls(records: Sequence[Path]) -> Sequence[int]:
    return [record.read_text().count(_PREDICT) for record in records]
