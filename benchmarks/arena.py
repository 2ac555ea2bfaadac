"""Contestants side by side: slices of load in turn, round after round, in which nobody else may disturb.

A slice keeps a number of requests under way at one contestant while the others rest. Slices of all contestants make a
round; rounds are repeated, so that whatever drifts on the machine drifts for all. Medians are taken over a contestant's
slices. One that was disturbed is taken again (:mod:`benchmarks.quiet`); so is one in which a peer answered an error.
The gateway's errors end the run.
"""

import asyncio
import math
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import NamedTuple, Protocol

from benchmarks.contestants import BY_NAME, GATEWAY, Contestant, Stage
from benchmarks.grpc_load import GrpcLoad
from benchmarks.http_load import BadAnswer, HttpLoad, Slice
from benchmarks.launch import free_port
from benchmarks.machine import Load, Processors, family_seconds
from benchmarks.quiet import Noise, Patience, Taken, quietly
from benchmarks.works import Materials, Work
from devstack.supervisor import Program, Supervisor

# Who would take longer for a slice, and what goes before it, is left out: at more requests at a time than keep its
# processor busy, a server only lets them wait.
LONGEST_SECONDS = 8.0
# How often a peer's slice is begun anew before its errors end the run too.
ANEW = 3


@dataclass(frozen=True)
class Pace:
    """How long to measure: ``seconds`` a slice, ``rounds``, and at least so many answers a connection and slice.

    ``again`` is the share of the slices that may be tried once more.
    """

    rounds: int
    seconds: float
    least: int = 2
    again: float = 0.5


class Cost(NamedTuple):
    """A slice, with the processor time that the server, and the services behind it, used meanwhile; in seconds."""

    made: Slice
    server: float
    services: float = 0.0


@dataclass
class Samples:
    """The slices of one contestant at one work and concurrency."""

    costs: list[Cost] = field(default_factory=list)
    noise: Noise = field(default_factory=Noise)
    failed: int = 0

    def add(self, taken: Taken[Cost]) -> None:
        """Note a slice, and how it was come by."""
        self.costs.append(taken.value)
        self.noise.note(taken)

    def summary(self) -> dict[str, float]:
        """What the results hold: requests a second, milliseconds, and processor time in milliseconds a request."""
        slices = [each.made for each in self.costs]
        times = sorted(time for each in slices for time in each.times())
        requests = len(times)
        return {
            "rps": median(each.rate for each in slices),
            "p50_ms": 1e3 * median(median(each.times()) for each in slices),
            "p99_ms": 1e3 * times[int(requests * 0.99)],
            "server_cpu_ms": 1e3 * sum(each.server for each in self.costs) / requests,
            "services_cpu_ms": 1e3 * sum(each.services for each in self.costs) / requests,
            "client_cpu_ms": 1e3 * sum(each.worked for each in slices) / requests,
            "requests": requests,
            "refused": sum(each.refused for each in slices),
            "slices": len(slices),
            "failed": self.failed,
            **self.noise.told(),
        }


class _Load(Protocol):
    async def first(self) -> bytes: ...

    async def run(self, seconds: float, least: int) -> Slice: ...


class _OverHttp:
    """The HTTP client in a thread of its own: it blocks."""

    def __init__(self, load: HttpLoad) -> None:
        self._load = load

    async def first(self) -> bytes:
        return await asyncio.to_thread(self._load.first)

    async def run(self, seconds: float, least: int) -> Slice:
        return await asyncio.to_thread(self._load.run, seconds, least)


class _OverGrpc:
    def __init__(self, load: GrpcLoad, calls: int) -> None:
        self._load = load
        self._calls = calls

    async def first(self) -> bytes:
        return (await asyncio.gather(*(self._load.call() for _ in range(self._calls))))[0]

    async def run(self, seconds: float, least: int) -> Slice:
        return await self._load.run(self._calls, seconds, least)


class Arena:
    """The contestants' servers, started, and what is sent to them."""

    # _services  the names of the processes that the contestants talk to
    # _ports     where each contestant's server listens; missing for those without one
    # _requests  what each contestant is sent, once it was made
    # _rates     the requests a second of each contestant at each work, as they were measured last

    def __init__(self, stage: Stage, made: Materials, supervisor: Supervisor, services: Sequence[str]) -> None:
        self._stage = stage
        self._made = made
        self._supervisor = supervisor
        self._services = services
        self._ports: dict[str, int] = {}
        self._requests: dict[str, Mapping[Work, bytes]] = {}
        self._rates: dict[tuple[str, Work], float] = {}

    async def start(self, contestants: Sequence[Contestant], logs: Path) -> None:
        """Start the contestants' servers, one after the other: they share a processor.

        Raises:
            StackFailed: one does not start.
        """
        for each in contestants:
            if each.launch is None:
                continue
            port = free_port()
            launch = each.launch(self._stage, port)
            measured = ",".join(map(str, sorted(Processors.split().measured)))
            arguments = ["--processors", measured, "--port", str(port)]
            if launch.ready_path:
                arguments += ["--ready-path", launch.ready_path]
            log, environment = logs / f"{each.name}.log", launch.environment
            await self._supervisor.start(
                Program(each.title, "benchmarks.launch", [*arguments, "--", *launch.command], log, environment)
            )
            self._ports[each.name] = port

    async def compare(
        self, contestants: Sequence[Contestant], work: Work, concurrency: int, pace: Pace
    ) -> dict[str, dict[str, float]]:
        """Measure those of the contestants that can do the work; returns each one's summary.

        Raises:
            BadAnswer: a contestant answered wrongly.
        """
        for each in contestants:
            if each.name not in self._requests:
                self._requests[each.name] = each.requests(self._made)
        able = [each for each in contestants if self._is_able(each, work, concurrency, pace)]
        samples = {each.name: Samples() for each in able}
        patience = Patience(pace.rounds * len(able), pace.again)
        for number in range(pace.rounds):
            _tell(f"{work}, {concurrency} at a time: round {number + 1} of {pace.rounds}")
            for each in able:

                async def take(each: Contestant = each) -> Taken[Cost]:
                    return await self._slice(each, work, concurrency, pace, patience)

                await _add_slice(samples[each.name], take, anew=0 if each.name == GATEWAY else ANEW)
            # Nobody is always the one after the same other.
            able.append(able.pop(0))
        told = {each.name: samples[each.name].summary() for each in contestants if each.name in samples}
        self._rates.update({(name, work): row["rps"] for name, row in told.items()})
        return told

    def _is_able(self, each: Contestant, work: Work, concurrency: int, pace: Pace) -> bool:
        """Whether it can do the work, and is quick enough to be waited for, by what it did at a lower concurrency."""
        if work not in self._requests[each.name]:
            return False
        rate = self._rates.get((each.name, work), math.inf)
        # Each connection answers once before a slice, and then at least so often.
        return concurrency * (1 + pace.least) / rate < LONGEST_SECONDS

    async def _slice(
        self, each: Contestant, work: Work, concurrency: int, pace: Pace, patience: Patience
    ) -> Taken[Cost]:
        """Take one slice, and see that it was of right answers."""
        async with self._load(each, work, concurrency) as load:
            self._check(each, work, await load.first())

            async def take() -> Cost:
                server, services = self._seconds(self._title(each.name)), self._seconds(self._services)
                made = await load.run(pace.seconds, pace.least)
                return Cost(
                    made,
                    self._seconds(self._title(each.name)) - server,
                    self._seconds(self._services) - services,
                )

            return await quietly(take, Load((), self._families(each.name)), patience)

    @asynccontextmanager
    async def _load(self, each: Contestant, work: Work, concurrency: int) -> AsyncIterator[_Load]:
        request, stage = self._requests[each.name][work], self._stage
        port = self._ports.get(each.name)
        if not each.grpc:
            assert port is not None  # noqa: S101 - whoever speaks HTTP has a server
            # In a thread, since a server that is stopped would hold up the loop.
            load = await asyncio.to_thread(HttpLoad, port, request, concurrency)
            with load:
                yield _OverHttp(load)
        elif port is None:
            async with GrpcLoad.secure(stage.fpga, stage.roots.read_bytes(), stage.key, request) as direct:
                yield _OverGrpc(direct, concurrency)
        else:
            async with GrpcLoad.plain(f"127.0.0.1:{port}", request) as proxied:
                yield _OverGrpc(proxied, concurrency)

    def _check(self, each: Contestant, work: Work, body: bytes) -> None:
        """See to it that the answer is the one that the simulated engine gives to just this work."""
        try:
            found = each.read(body)
        except (ValueError, LookupError, TypeError) as error:
            raise BadAnswer(f"{each.title} answered {body[:300]!r} ({error})") from None
        wanted = None if each.decodes and work is not Work.TENSOR else self._made.best(work)
        if found and wanted is not None and found != wanted:
            raise BadAnswer(f"{each.title} found the labels {found} and not {wanted}")

    def _families(self, name: str) -> list[int]:
        pids = self._supervisor.pids()
        return [pids[title] for title in (*self._services, *self._title(name)) if title in pids]

    def _seconds(self, titles: Sequence[str]) -> float:
        """The processor time that these programs have used."""
        pids = self._supervisor.pids()
        return family_seconds(*(pids[title] for title in titles))

    def _title(self, name: str) -> list[str]:
        return [BY_NAME[name].title] if name in self._ports else []


async def _add_slice(samples: Samples, take: Callable[[], Awaitable[Taken[Cost]]], *, anew: int) -> None:
    """Add a slice, begun anew up to so many times where an answer is wrong.

    Raises:
        BadAnswer: the last time too.
    """
    for _ in range(anew):
        try:
            samples.add(await take())
        except BadAnswer as error:
            samples.failed += 1
            _tell(f"begun anew: {error}")
        else:
            return
    samples.add(await take())


def _tell(what: str) -> None:
    with suppress(OSError):
        print(f"\r\033[K{what}", end="", file=sys.stderr, flush=True)
