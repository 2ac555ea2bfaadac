"""Systems measured by turns: a slice of load on one, then on the next, round after round.

So whatever drifts on the machine drifts for all. A slice keeps a number of requests under way at one system while the
others are idle. Disturbed slices are repeated (:mod:`benchmarks.harness.noise`); so is one in which a peer answered an
error. An error of the gateway's ends the run.
"""

import math
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from benchmarks.comparison.systems import GATEWAY, Backend, System
from benchmarks.comparison.workloads import Payloads, Workload
from benchmarks.harness.errors import BadAnswer
from benchmarks.harness.grpc_load import GrpcLoad
from benchmarks.harness.http_load import HttpLoad
from benchmarks.harness.launch import free_port
from benchmarks.harness.machine import CpuLoad, Processors, cpu_seconds
from benchmarks.harness.noise import Measured, RetryBudget, measured
from benchmarks.harness.slices import Samples, Schedule, Slice
from devstack.supervisor import Program, Supervisor

# A system that would need longer for a slice is left out: beyond the concurrency that keeps its processor busy,
# requests only wait.
LONGEST_SECONDS = 8.0
# How often a peer's slice is repeated after errors before an error ends the run.
RESTARTS = 3


class Case(NamedTuple):
    """A measurement of each system."""

    workload: Workload
    concurrency: int
    schedule: Schedule


class Runner:
    """The systems' servers and requests."""

    # _services  the process ids of the programs that the systems use
    # _ports     of each system with a server
    # _requests  those of each system
    # _rates     the latest measured requests a second of each system and workload

    def __init__(self, supervisor: Supervisor, backend: Backend) -> None:
        self._supervisor = supervisor
        self._backend = backend
        self._payloads = Payloads.make()
        self._services = list(supervisor.pids().values())
        self._ports: dict[str, int] = {}
        self._requests: dict[str, Mapping[Workload, bytes]] = {}
        self._rates: dict[tuple[str, Workload], float] = {}

    async def start(self, systems: Sequence[System]) -> None:
        """Start the systems' servers, one after the other, since they share a processor.

        Raises:
            StackFailed: one does not start.
        """
        processors = ",".join(map(str, sorted(Processors.split().measured)))
        for system in systems:
            self._requests[system.name] = system.requests(self._payloads)
            if system.launch is None:
                continue
            port = free_port()
            launch = system.launch(self._backend, port)
            ready = ["--ready-path", launch.ready_path] if launch.ready_path else []
            arguments = ["--processors", processors, "--port", str(port), *ready, "--", *map(str, launch.command)]
            log = self._backend.folder / "logs" / f"{system.name}.log"
            program = Program(system.title, "benchmarks.harness.launch", arguments, log, launch.environment)
            await self._supervisor.start(program)
            self._ports[system.name] = port

    async def compare(self, systems: Sequence[System], case: Case) -> dict[str, dict[str, float]]:
        """Measure the systems that support the workload; returns each one's summary.

        Raises:
            BadAnswer: a system answered wrongly.
        """
        schedule, able = case.schedule, [each for each in systems if self._is_able(each, case)]
        samples = {each.name: Samples() for each in able}
        budget = RetryBudget(schedule.rounds * len(able), schedule.retries)
        for number in range(schedule.rounds):
            _show(f"{case.workload}, {case.concurrency} at a time: round {number + 1} of {schedule.rounds}")
            for system in able:

                async def take(system: System = system) -> Measured[Slice]:
                    return await self._slice(system, case, budget)

                await add_slice(samples[system.name], take, restarts=0 if system.name == GATEWAY else RESTARTS)
            # No system is always the first.
            able.append(able.pop(0))
        summaries = {each.name: samples[each.name].summary() for each in systems if each in able}
        self._rates.update({(name, case.workload): row["rps"] for name, row in summaries.items()})
        return summaries

    def _is_able(self, system: System, case: Case) -> bool:
        """Whether it supports the workload, and is fast enough, estimated from its rate at a lower concurrency."""
        if case.workload not in self._requests[system.name]:
            return False
        rate = self._rates.get((system.name, case.workload), math.inf)
        # Each connection answers once before a slice, and then at least so often.
        return case.concurrency * (1 + case.schedule.least) / rate < LONGEST_SECONDS

    async def _slice(self, system: System, case: Case, budget: RetryBudget) -> Measured[Slice]:
        """Take one slice, after a check that the answers are right."""
        server = [self._supervisor.pids()[system.title]] if system.name in self._ports else []
        async with self._load(system, case) as load:
            self._check(system, case.workload, await load.first())

            async def take() -> Slice:
                before = cpu_seconds(server), cpu_seconds(self._services)
                made = await load.run(case.schedule.seconds, case.schedule.least)
                made.server_cpu = cpu_seconds(server) - before[0]
                made.services_cpu = cpu_seconds(self._services) - before[1]
                return made

            return await measured(take, CpuLoad([*self._services, *server]), budget)

    def _load(self, system: System, case: Case) -> GrpcLoad | HttpLoad:
        request, backend = self._requests[system.name][case.workload], self._backend
        port = self._ports.get(system.name)
        if port is None:
            return GrpcLoad.secure(backend.address, backend.roots.read_bytes(), backend.key, request, case.concurrency)
        if system.grpc:
            return GrpcLoad.plain(f"127.0.0.1:{port}", request, case.concurrency)
        return HttpLoad(port, request, case.concurrency)

    def _check(self, system: System, workload: Workload, body: bytes) -> None:
        """Compare the answer with the simulated engine's for this workload."""
        try:
            found = system.read(body)
        except (ValueError, LookupError, TypeError) as error:
            raise BadAnswer(f"{system.title} answered {body[:300]!r} ({error})") from None
        decoded = system.decodes and workload is not Workload.TENSOR
        expected = None if decoded else self._payloads.expected(workload)
        if found and expected is not None and found != expected:
            raise BadAnswer(f"{system.title} found the labels {found} and not {expected}")


async def add_slice(samples: Samples, take: Callable[[], Awaitable[Measured[Slice]]], *, restarts: int) -> None:
    """Add a slice, repeated up to so many times after a wrong answer.

    Raises:
        BadAnswer: every time.
    """
    for _ in range(restarts):
        try:
            samples.taken.append(await take())
        except BadAnswer as error:
            samples.failed += 1
            _show(f"repeated: {error}")
        else:
            return
    samples.taken.append(await take())


def _show(progress: str) -> None:
    with suppress(OSError):
        print(f"\r\033[K{progress}", end="", file=sys.stderr, flush=True)
