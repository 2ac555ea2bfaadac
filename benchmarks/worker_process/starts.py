"""Starts of the package of `make dist` in the local host: in the host's own process, and in a worker process.

The worker's process begins as a placeholder, as in Flex Consumption. Times are in milliseconds from the start of the
host's process; in the worker's way there are two processes to start, and each call crosses gRPC twice.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import NamedTuple

import httpx

from benchmarks.harness.errors import BenchmarkFailed
from benchmarks.harness.images import jpeg
from benchmarks.harness.paths import ROOT
from devstack import package
from devstack.host.remote.folder import ensure_folder

LOG, IMAGE_BYTES = "host.log", 20_000
NATIVE, WORKER = "native", "worker"
WAYS: Mapping[str, tuple[str, ...]] = {NATIVE: (), WORKER: ("--worker-process",)}


class Times(NamedTuple):
    """Of one start, in milliseconds: until it served, and until the first score."""

    serving: float
    first_score: float


def measure(settings: Mapping[str, str], state: Path, count: int) -> dict[str, dict[str, float]]:
    """Medians of so many starts of each way by turns.

    Of a worker also how long a placeholder takes to become the app, and a killed worker's successor to its first score.

    Raises:
        BenchmarkFailed: a host does not start, or an image is not scored.
    """
    app, image = package.unpack(), jpeg(IMAGE_BYTES)
    ensure_folder()
    taken: dict[str, list[Times]] = {way: [] for way in WAYS}
    for _ in range(count):
        for way, times in taken.items():
            times.append(_take(app, settings, state, image, way))
    restarted = median(_restart(app, settings, state, image) for _ in range(count))
    became = [int(found) for found in re.findall(r"became the app in (\d+) ms", (state / LOG).read_text())]
    found = {
        way: {"serving_ms": median(one.serving for one in times), "first_ms": median(one.first_score for one in times)}
        for way, times in taken.items()
    }
    found[WORKER] |= {"became_ms": median(became), "restarted_ms": restarted}
    return found


def _take(app: Path, settings: Mapping[str, str], state: Path, image: bytes, way: str) -> Times:
    began = time.perf_counter()
    with _host(app, settings, state, *WAYS[way]) as (client, _):
        serving = time.perf_counter() - began
        _score(client, image)
        first = time.perf_counter() - began
    return Times(1e3 * serving, 1e3 * first)


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


def _score(client: httpx.Client, image: bytes) -> None:
    response = client.post("/api/score", content=image, headers={"Content-Type": "image/jpeg"})
    if response.status_code != httpx.codes.OK:
        raise BenchmarkFailed(f"An image was answered by {response.status_code} instead of a score.")
