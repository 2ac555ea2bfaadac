"""What the worker's process costs: ``python -m benchmarks.worker_process``.

The package of `make dist` runs in the local host by turns: in the host's own process, and in a worker process as in
Azure. Times are from the start of the host's process, in milliseconds; the services are processes, with an engine that
takes no time. In the worker's way there are two processes to start, and each call crosses gRPC twice.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

import httpx

from benchmarks.harness.command import at_least, exit_code
from benchmarks.harness.errors import BenchmarkFailed
from benchmarks.harness.images import jpeg
from benchmarks.harness.paths import ROOT
from benchmarks.harness.testbed import Testbed, run
from devstack import package
from devstack.host.remote.folder import ensure_folder
from tools import dist

COUNT, CALLS, IMAGE_BYTES = 10, 200, 20_000
LOG = "host.log"
HERE, WORKER = "in the host's process", "in a worker process"
WAYS: Mapping[str, Sequence[str]] = {HERE: (), WORKER: ("--worker-process",)}


class Times(NamedTuple):
    """Of one start, in milliseconds: until it served, until the first score, and for a later call."""

    serving: float
    first_score: float
    call: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.worker_process")
    add = parser.add_argument
    add("--count", type=at_least(1), default=COUNT, metavar="N", help="starts of each kind (default: %(default)s)")
    options = parser.parse_args(arguments)
    return exit_code(lambda: run(lambda testbed: measure(testbed, options.count)))


async def measure(testbed: Testbed, count: int) -> None:
    """Measure, and print."""
    app, settings = package.unpack(), testbed.settings(await testbed.start_services())
    ensure_folder()
    size, unpacked = dist.DEFAULT.stat().st_size, sum(file.stat().st_size for file in app.rglob("*") if file.is_file())
    print(f"The package has {size / 1e6:.1f} MB, unpacked {unpacked / 1e6:.0f} MB. Medians of {count} starts, in ms:\n")
    take = partial(_take, app, settings, testbed.options.folder, jpeg(IMAGE_BYTES))
    taken: dict[str, list[Times]] = {way: [] for way in WAYS}
    for way in WAYS:
        take(way)  # reads the files from the disk
    for _ in range(count):
        for way, times in taken.items():
            times.append(take(way))
    print(f"{'':<24}{'serving':>10}{'first score':>13}{'later call':>12}")
    for way, times in taken.items():
        serving, first, call = (median(one) for one in zip(*times, strict=True))
        print(f"{way:<24}{serving:10.0f}{first:13.0f}{call:12.2f}")
    restarted = median(_restart(app, settings, testbed.options.folder, jpeg(IMAGE_BYTES)) for _ in range(count))
    became = [
        int(found) for found in re.findall(r"became the app in (\d+) ms", (testbed.options.folder / LOG).read_text())
    ]
    print(f"\nA placeholder becomes the app, imported and indexed, in {median(became):.0f} ms.")
    print(f"A killed worker's successor gives its first score after {restarted:.0f} ms.")


def _take(app: Path, settings: Mapping[str, str], state: Path, image: bytes, way: str) -> Times:
    began = time.perf_counter()
    with _host(app, settings, state, *WAYS[way]) as (client, _):
        serving = time.perf_counter() - began
        _score(client, image)
        first = time.perf_counter() - began
        calls = [_score(client, image) for _ in range(CALLS)]
    return Times(1e3 * serving, 1e3 * first, 1e3 * median(calls))


def _restart(app: Path, settings: Mapping[str, str], state: Path, image: bytes) -> float:
    with _host(app, settings, state, "--worker-process") as (client, host):
        _score(client, image)
        children = Path(f"/proc/{host}/task/{host}/children").read_text().split()
        (worker,) = (int(pid) for pid in children if "functions_worker" in Path(f"/proc/{pid}/cmdline").read_text())
        os.kill(worker, signal.SIGKILL)
        began = time.perf_counter()
        while True:
            with suppress(BenchmarkFailed):  # what the worker had begun to answer fails
                _score(client, image)
                return 1e3 * (time.perf_counter() - began)


@contextmanager
def _host(app: Path, settings: Mapping[str, str], state: Path, *more: str) -> Iterator[tuple[httpx.Client, int]]:
    """A host that serves, by a client of it, and its process id."""
    command = [sys.executable, "-m", "devstack.host", "--app", str(app), "--port", "0", "--state", str(state)]
    environment = {**os.environ, **settings}
    with (
        (state / LOG).open("ab") as log,
        subprocess.Popen(  # noqa: S603 - the project's own program
            [*command, "--grace", "0", *more],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line.startswith("ready "):
                raise BenchmarkFailed("The host did not start.")
            with httpx.Client(base_url=line.removeprefix("ready ").strip(), timeout=60, trust_env=False) as client:
                yield client, process.pid
        finally:
            process.terminate()


def _score(client: httpx.Client, image: bytes) -> float:
    """Score an image; returns the seconds that it took."""
    began = time.perf_counter()
    response = client.post("/api/score", content=image, headers={"Content-Type": "image/jpeg"})
    if response.status_code != httpx.codes.OK:
        raise BenchmarkFailed(f"An image was answered by {response.status_code} instead of a score.")
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
