"""Whether a worker holds on to anything: ``python -m benchmarks.endurance``.

First over HTTP, with the local Functions host as a process of its own: ``--count`` scores, then as many refusals of
every kind (:mod:`benchmarks.refusals`); after each kind, when the clients are gone, the host's resident memory, open
files, sockets and threads are read from /proc. Then the same requests, fewer, through the worker library in this
process, where the event loop's tasks can be counted too, and what is left when the gateway has been closed.

What is met for the first time costs memory that stays: libraries are loaded, connections made. So the numbers are
compared with those after ``--warm-up`` scores, and with those after a few of every refusal.
"""

import argparse
import asyncio
import contextlib
import json
import logging
import sys
from collections.abc import AsyncIterator, Mapping, Sequence

import aiohttp

from benchmarks.course import CLIENTS, HEADING, Course, Row, Send, steady, verdict
from benchmarks.machine import Footprint
from benchmarks.refusals import IMAGE, Refusal
from benchmarks.rig import App, Bench, at_least, run
from benchmarks.trouble import Trouble
from devstack import stack
from devstack.stack import HOST
from devstack.supervisor import Program
from shared.gateway import gateway


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.endurance")
    add = parser.add_argument
    add("--count", type=at_least(1), default=5000, metavar="N", help="scores, and refusals a kind (default: 5000)")
    add("--in-process", type=at_least(1), default=1000, metavar="N", help="the same in this process (default: 1000)")
    add("--warm-up", type=at_least(1), default=200, metavar="N", help="scores before the first look (default: 200)")
    options = parser.parse_args(arguments)
    if sys.platform != "linux":
        print("What a process holds is read from /proc, which only Linux has: run this there.", file=sys.stderr)
        return 1
    return run(lambda bench: measure(bench, options))


async def measure(bench: Bench, options: argparse.Namespace) -> None:
    """Both courses, one after the other."""
    trouble = Trouble(bench)
    addresses = await bench.start_services()
    settings = {**bench.settings(addresses), **await trouble.start(addresses)}
    host, pid = await start_host(bench, settings)
    print(f"Over HTTP, {CLIENTS} clients at a time; the Functions host holds\n\n{HEADING}")
    over_http = Course(lambda: over(host), lambda name: Row(name, Footprint.of(pid)), trouble)
    verdict(await over_http.run(options.count, options.warm_up))
    print(f"\nIn this process, {CLIENTS} requests at a time; it holds\n\n{HEADING}{'tasks':>7}")
    print(await steady(here, "nothing yet"))
    logging.getLogger().addHandler(logging.NullHandler())  # the gateway's warnings, one a refusal, are not for here
    app = await App.load(settings)
    await Course(lambda: within(app), here, trouble).run(options.in_process, options.warm_up)
    await gateway().close()
    print(await steady(here, "the gateway was closed"))


async def start_host(bench: Bench, settings: Mapping[str, str]) -> tuple[str, int]:
    """Start the Functions host with one worker; returns its address and process id."""
    options = bench.options
    arguments = ["--app", str(stack.ROOT), "--port", "0", "--state", str(options.folder), "--quiet"]
    program = Program(HOST, "devstack.host", arguments, options.logs / "host.log", settings)
    (address,) = await bench.supervisor.start(program)
    return address, bench.supervisor.pids()[HOST]


def here(name: str) -> Row:
    """What this process holds; the task that looks is not counted."""
    return Row(name, Footprint.of(), len(asyncio.all_tasks()) - 1)


@contextlib.asynccontextmanager
async def over(host: str) -> AsyncIterator[Send]:
    """Clients over HTTP, with connections of their own that are closed at the end."""
    connector = aiohttp.TCPConnector(limit=CLIENTS)
    async with aiohttp.ClientSession(host, connector=connector, timeout=aiohttp.ClientTimeout(60)) as session:

        async def send(request: Refusal) -> str:
            headers = {"Content-Type": request.kind, **request.headers}
            body = pieces() if request.chunked else request.body
            async with session.post(request.target, data=body, headers=headers) as answer:
                return slug(await answer.read())

        yield send


@contextlib.asynccontextmanager
async def within(app: App) -> AsyncIterator[Send]:
    """Clients that invoke the function in this process."""

    async def send(request: Refusal) -> str:
        headers = {"Content-Type": request.kind, **request.headers}
        if request.chunked:
            headers["Transfer-Encoding"] = "chunked"
        outcome = await app.invoke(app.request(request.target, headers, request.body))
        return slug(outcome.value.value["body"].value if outcome.value else b"{}")

    yield send


async def pieces() -> AsyncIterator[bytes]:
    """A body whose length nobody knows before its end."""
    yield IMAGE


def slug(body: bytes) -> str:
    """The last part of a problem's type; empty for a score."""
    document = json.loads(body)
    return "" if "predictions" in document else str(document.get("type", "no problem document")).rpartition(":")[2]


if __name__ == "__main__":
    sys.exit(main())
