"""An hour's worth of changes and failures behind the gateway: ``python -m benchmarks.endurance.hour``.

The package of `make dist` runs in a worker process of the local host, as in Azure. Clients send requests at a steady
rate, and check every answer, while certificates and keys are rotated, the model changes, instances of the service are
killed and Key Vault is slow, one after the other: a round of all of them a minute. The first round is the warm-up.

The exit code is 1 where a request is lost, or where the worker has more memory, files, sockets or threads at the end
than after the warm-up.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import psutil  # type: ignore[import-untyped]  # published without type information

from benchmarks.endurance.hour import disturbances, load
from benchmarks.endurance.hour.behind import Behind, register_next_model
from benchmarks.endurance.hour.disturbances import Disturbances
from benchmarks.endurance.hour.instances import NAME, Instances
from benchmarks.endurance.hour.load import Load
from benchmarks.endurance.hour.report import HEAD, Conditions, Row, failures, page, verdict
from benchmarks.harness import description
from benchmarks.harness.command import at_least, exit_code
from benchmarks.harness.errors import BenchmarkFailed
from benchmarks.harness.machine import Footprint
from benchmarks.harness.paths import ROOT
from benchmarks.harness.testbed import Testbed, run
from devstack import package
from devstack.host.remote.folder import ensure_folder
from devstack.stack import HOST

# Quick enough for a round a minute. Credentials of twice that age are read again before they are used, so it must not
# be less than a slow vault's time for one answer.
REFRESH = "3"
SETTINGS = {
    "CREDENTIALS_REFRESH_SECONDS": REFRESH,
    "ROTATION_SCHEDULE": "*/2 * * * * *",
    "ROTATION_GRACE_SECONDS": "1",
    "ROTATION_LEASE_SECONDS": "20",
}

_OBSERVATIONS, _PAUSE = 10, 0.1
_WORKER = "functions_worker"

# Of the machine's description; no program has a processor to itself here.
_SHOWN = ("processor", "cores", "memory", "system", "python")


@dataclass(frozen=True)
class Options:
    """Of the command line."""

    rounds: int
    seconds: int
    only: Sequence[str]
    worker_process: bool
    report: Path | None


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    options = _parse(arguments)
    return exit_code(lambda: _conclude(run(partial(measure, options=options)), options))


async def measure(testbed: Testbed, options: Options) -> list[Row]:
    """Print a row for each round, and return them.

    Raises:
        BenchmarkFailed: a disturbance does not come to its end.
    """
    register_next_model(testbed)
    async with Instances.of(testbed) as instances:
        addresses, _ = await asyncio.gather(testbed.start_services(), instances.start())
        settings = testbed.settings(addresses)
        services = f"{settings['SERVICES']}, {NAME}"
        settings |= {**SETTINGS, **instances.settings, "SERVICES": services}
        gateway, pid = await _start_app(testbed, settings, worker_process=options.worker_process)
        clients = Load(gateway, load.kinds(NAME))
        await clients.prepare()
        async with Behind.of(testbed, addresses, gateway) as behind:
            made = Disturbances(behind, instances, clients)
            if {disturbances.CERTIFICATE, disturbances.KEYS} & set(options.only):
                await made.until_steady()
            over = asyncio.Event()
            sending = asyncio.create_task(clients.run(over))
            try:
                rows = await _rounds(made, clients, pid, options)
            finally:
                over.set()
                await sending
    rows[-1].window.add(clients.take())
    return rows


async def _rounds(made: Disturbances, clients: Load, pid: int, options: Options) -> list[Row]:
    rows: list[Row] = []
    print(" ".join(f"{name:>11}" for name in HEAD), flush=True)
    for round_number in range(1, options.rounds + 1):
        end = time.monotonic() + options.seconds
        happened: dict[str, float] = {}
        for name in options.only:
            with _timed(happened, name):
                await made.each[name]()
        await asyncio.sleep(max(0.0, end - time.monotonic() - _OBSERVATIONS * _PAUSE))
        rows.append(Row(round_number, happened, clients.take(), await _settled(pid)))
        print(" ".join(f"{cell:>11}" for cell in rows[-1].cells), flush=True)
    return rows


@contextmanager
def _timed(into: dict[str, float], name: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    into[name] = time.monotonic() - began


async def _settled(pid: int) -> Footprint:
    """The process's footprint without what comes and goes with single requests.

    Raises:
        BenchmarkFailed: it has ended.
    """
    found = []
    for _ in range(_OBSERVATIONS):
        await asyncio.sleep(_PAUSE)
        try:
            found.append(Footprint.of(pid))
        except psutil.NoSuchProcess:
            raise BenchmarkFailed("The process that runs the app has ended.") from None
    memory, files, sockets, threads = zip(*found, strict=True)
    return Footprint(median(memory), min(files), min(sockets), min(threads))


async def _start_app(testbed: Testbed, settings: Mapping[str, str], *, worker_process: bool) -> tuple[str, int]:
    """Start the local host; its URL, and the id of the process that runs the app."""
    app, more = ROOT, list[str]()
    if worker_process:
        app, more = await asyncio.to_thread(package.unpack), ["--worker-process"]
        await asyncio.to_thread(ensure_folder)
    arguments = ["--app", str(app), "--port", "0", "--state", str(testbed.options.folder), "--quiet", *more]
    url = await testbed.start(HOST, "devstack.host", *arguments, settings=settings)
    pid = testbed.supervisor.pids()[HOST]
    if worker_process:
        (pid,) = (one.pid for one in psutil.Process(pid).children() if _WORKER in one.cmdline())
    return url, pid


def _conclude(rows: Sequence[Row], options: Options) -> None:
    print(f"\n{verdict(rows)}")
    if options.report:
        conditions = Conditions(
            way="the package of `make dist` in a worker process of the local Functions host, as in Azure"
            if options.worker_process
            else "the app in the process of the local Functions host",
            clients=load.CLIENTS,
            rate=load.RATE,
            refresh=REFRESH,
            machine={name: text for name, text in description.machine().items() if name in _SHOWN},
        )
        options.report.write_text(page(rows, conditions), encoding="utf-8")
    if failures(rows):
        raise BenchmarkFailed("The run does not prove what it is for; see above.")


def _parse(arguments: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.endurance.hour")
    add = parser.add_argument
    add("--rounds", type=at_least(2), default=10, metavar="N", help="the first is the warm-up (default: %(default)s)")
    add("--seconds", type=at_least(0), default=60, metavar="N", help="least length of a round (default: %(default)s)")
    every = tuple(disturbances.ALL)
    add("--only", nargs="+", choices=every, default=every, metavar="NAME", help=f"some of {', '.join(every)}")
    add("--in-process", action="store_true", help="the app in the host's process instead of a worker process")
    add("--report", type=Path, metavar="FILE", help="write a page, as docs/endurance.md")
    given = parser.parse_args(arguments)
    return Options(given.rounds, given.seconds, tuple(given.only), not given.in_process, given.report)


if __name__ == "__main__":
    sys.exit(main())
