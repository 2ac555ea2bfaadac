"""Whether a worker keeps memory, files, sockets or threads: ``python -m benchmarks.endurance``.

The local Functions host, a process of its own, gets ``--count`` scores over HTTP, then as many requests for every
problem (:mod:`benchmarks.endurance.requests`). After each kind, when the clients have disconnected, the host's resident
memory, open files, sockets and threads are printed.

What happens for the first time takes memory that stays: libraries are imported, connections made. So the numbers are
compared with those after ``--warm-up`` scores, and with those after a few requests for every problem.
"""

import argparse
import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import aiohttp

from benchmarks.endurance import services
from benchmarks.endurance.requests import IMAGE, PROBLEMS, SCORED, Request
from benchmarks.harness.command import at_least, exit_code
from benchmarks.harness.errors import BenchmarkFailed
from benchmarks.harness.machine import Footprint
from benchmarks.harness.testbed import Testbed, run, write_faults

CLIENTS = 8
LIMIT_MB = 5.0
# A channel that cannot connect has a socket while it tries, several times a second: where the numbers are higher than
# before, the least of several observations counts.
OBSERVATIONS, PAUSE = 12, 0.05

type Row = tuple[str, Footprint]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.endurance")
    add = parser.add_argument
    add("--count", type=at_least(1), default=5000, metavar="N", help="scores, and requests a problem (default: 5000)")
    add("--warm-up", type=at_least(1), default=200, metavar="N", help="scores before the first row (default: 200)")
    options = parser.parse_args(arguments)
    return exit_code(lambda: run(lambda testbed: measure(testbed, options.count, options.warm_up)))


async def measure(testbed: Testbed, count: int, warm_up: int) -> None:
    """Print a row each: the first after the warm-up, the second after some of every problem, then one for each kind.

    Raises:
        BenchmarkFailed: a request had another answer than expected.
    """
    faults = testbed.options.folder / "faults.json"
    services.store_secrets(testbed)
    addresses = await testbed.start_services()
    settings = {**testbed.settings(addresses), **await services.start(testbed, addresses, faults)}
    host, pid = await testbed.start_gateway(settings)
    rows: list[Row] = []

    async def add(name: str, times: int, *requests: Request) -> None:
        for request in requests:
            await repeat(host, request, times, faults)
        rows.append((name, await steady(pid, rows[-1][1] if rows else None)))
        print_row(*rows[-1])

    print(f"{CLIENTS} clients at a time; the Functions host has\n")
    print(f"{'after':<44}{'RSS, MB':>9}{'files':>7}{'sockets':>9}{'threads':>9}")
    few = min(count, CLIENTS)
    await add(f"the first {warm_up} scores", warm_up, SCORED)
    await add(f"{few} of every problem", few, *PROBLEMS)
    for request in (SCORED, *PROBLEMS):
        await add(f"{count} times {request.name}", count, request)
    print_growth(rows)


async def repeat(host: str, request: Request, count: int, faults: Path) -> None:
    """Send a request so many times, from clients that disconnect at the end, and check the answers."""
    write_faults(faults, request.faults)
    turns, slugs = iter(range(count)), Counter[str]()
    headers = {"Content-Type": request.kind, **request.headers}
    async with aiohttp.ClientSession(host, timeout=aiohttp.ClientTimeout(60)) as session:

        async def client() -> None:
            for _ in turns:
                body = chunked_body() if request.chunked else request.body
                async with session.post(request.target, data=body, headers=headers) as answer:
                    slugs[slug(await answer.read())] += 1

        await asyncio.gather(*(client() for _ in range(CLIENTS)))
    if slugs.keys() != {request.slug}:
        raise BenchmarkFailed(f"Answers to {request.name} were: {dict(slugs)}")


async def chunked_body() -> AsyncIterator[bytes]:
    """A body without a known length."""
    yield IMAGE


def slug(body: bytes) -> str:
    """The last part of a problem's type; empty for a score."""
    document = json.loads(body)
    return "" if "predictions" in document else str(document.get("type", "no problem document")).rpartition(":")[2]


async def steady(pid: int, before: Footprint | None) -> Footprint:
    """The footprint once everything that was under way has ended."""
    found = []
    for _ in range(OBSERVATIONS):
        await asyncio.sleep(PAUSE)
        found.append(Footprint.of(pid))
        if before is not None and found[-1].counts <= before.counts:
            break
    return min(found, key=lambda each: each.counts)


def print_row(name: str, found: Footprint) -> None:
    """Print a footprint, in the columns of the heading."""
    print(f"{name:<44}{found.resident_mb:9.1f}{found.files:7}{found.sockets:9}{found.threads:9}", flush=True)


def print_growth(rows: Sequence[Row]) -> None:
    """Print how much larger the footprint is at the end than at the beginning."""
    last = rows[-1][1]
    for name, first in rows[:2]:
        grown = last.resident_mb - first.resident_mb
        print(
            f"since {name}: {grown:+.1f} MB ({'within' if grown <= LIMIT_MB else 'OVER'} {LIMIT_MB:g}),"
            f" {last.files - first.files:+d} files, {last.sockets - first.sockets:+d} sockets,"
            f" {last.threads - first.threads:+d} threads"
        )


if __name__ == "__main__":
    sys.exit(main())
