"""Gateways and inference services of the local stack, and the load on them.

Each gateway is a Functions host with one worker and a port of its own, as instances are. Requests that arrive at random
and go to a random one are as many independent Poisson processes: each gateway has a load of its own.
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

import numpy as np
import psutil  # type: ignore[import-untyped]  # published without type information

from benchmarks.harness.errors import BenchmarkFailed
from benchmarks.harness.http_client import post
from benchmarks.harness.images import jpeg
from benchmarks.harness.machine import cpu_seconds
from benchmarks.harness.open_loop import Answer, Load, send, send_one
from benchmarks.harness.paths import ROOT
from benchmarks.harness.testbed import AUTHORITY_PINS, KEYS, OPEN, Testbed, service_settings

# Its name in the services' certificates, and their model.
OF_SERVICE: Mapping[str, str] = {**KEYS, **AUTHORITY_PINS, "TLS_NAME": "localhost", "MODEL": "imagenet"}

_IMAGE = jpeg(20_000)


class Length(NamedTuple):
    """How long a case is measured, how much of that does not count, in seconds; and how many lone requests precede."""

    seconds: float
    warm_up: float = 0.0
    alone: int = 15


class Gateways(NamedTuple):
    """The ports of gateways with the same settings."""

    ports: Sequence[int]

    @classmethod
    async def start(cls, testbed: Testbed, count: int, settings: Mapping[str, str]) -> "Gateways":
        """Start so many; the settings are those of the services and of the app.

        Raises:
            StackFailed: a process cannot be started.
        """
        # No rotation run meanwhile; in local.settings.json they come every five seconds.
        given = {**settings, "ROTATION_SCHEDULE": "0 0 4 1 1 *", "CREDENTIALS_REFRESH_SECONDS": "300"}

        async def start(number: int) -> int:
            name = f"gateway {number}"
            state = testbed.options.folder / name
            arguments = ("--app", str(ROOT), "--port", "0", "--state", str(state), "--quiet")
            return port_of(await testbed.start(name, "devstack.host", *arguments, settings=given))

        return cls(await asyncio.gather(*map(start, range(count))))

    def first(self, workers: int) -> "Gateways":
        return Gateways(self.ports[:workers])

    def warm_up(self, service: str, takes: float, times: int) -> float:
        """Connect; returns the seconds by which a lone request takes longer than its service, the median.

        Each gateway gets so many requests, of which the first third does not count.

        Raises:
            BenchmarkFailed: an image was not scored.
        """
        found = []
        for port in self.ports:
            answers = [send_one(port, request(service)) for _ in range(times)]
            if {answer.status for answer in answers} != {200}:
                raise BenchmarkFailed(f"An image for {service} was answered by {answers[0].status} and the like.")
            found += [answer.took for answer in answers[times // 3 :]]
        return max(0.0, float(np.median(found)) - takes)

    async def load(self, service: str, rate: float, seconds: float, seed: int = 1) -> Sequence[Answer]:
        """Send ``rate`` requests a second in all, at random times; returns the answers in the order of the requests."""
        each = Load(request(service), rate / len(self.ports), seconds)
        tasks = [
            asyncio.to_thread(send, port, each, seed=seed + 1_000 * number) for number, port in enumerate(self.ports)
        ]
        return sorted(answer for answers in await asyncio.gather(*tasks) for answer in answers)


class OtherPrograms:
    """The share of the machine's processor time that goes to other programs than this one and all that it starts."""

    def __init__(self) -> None:
        self._began = self._read()

    def share(self) -> float:
        """Since this was made, from 0 to 1."""
        busy, own, total = (now - then for now, then in zip(self._read(), self._began, strict=True))
        return max(0.0, busy - own) / max(0.01, total)

    def _read(self) -> tuple[float, float, float]:
        times = psutil.cpu_times()
        busy = times.user + times.nice + times.system + times.steal
        return busy, cpu_seconds([os.getpid()]), busy + times.idle + times.iowait + times.irq + times.softirq


def request(service: str) -> bytes:
    """A photograph for a service of the gateway."""
    return post(f"/api/services/{service}/score", "image/jpeg", _IMAGE)


def port_of(address: str) -> int:
    """The port of ``host:port``, or of a URL that ends with it."""
    return int(address.rpartition(":")[2])


def settings_of(services: Mapping[str, tuple[str, Mapping[str, str]]]) -> dict[str, str]:
    """The app settings for services: by their names, an address as ``host:port`` and what differs from the others."""
    # The first three are those of local.settings.json.
    settings = {"SERVICES": ",".join(("imagenet", "imagenet-tensor", OPEN, *services))}
    for name, (address, given) in services.items():
        settings |= service_settings(name, address, {**OF_SERVICE, **given})
    return settings


class MortalService:
    """An inference service that may be killed, frozen and started again at the same port."""

    def __init__(self, testbed: Testbed, name: str, port: int, *arguments: str, latency_ms: float) -> None:
        issued = testbed.authority.issue()
        given = testbed.service_command(name, issued, "--port", str(port), *arguments, latency_ms=latency_ms)
        self.address = f"127.0.0.1:{port}"
        self._command = (sys.executable, "-m", "devstack.tethered", *given)
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it, until it accepts calls.

        Raises:
            BenchmarkFailed: it ends instead.
        """
        pipe = subprocess.PIPE
        # The pipe to its standard input is what it is tethered to.
        self._process = await asyncio.create_subprocess_exec(*self._command, cwd=ROOT, stdin=pipe, stdout=pipe)
        assert self._process.stdout  # noqa: S101 - a pipe
        if not await self._process.stdout.readline():
            raise BenchmarkFailed("An inference service did not start again.")

    async def kill(self) -> None:
        """End it at once: its connections are reset."""
        if self._process:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    def freeze(self, *, frozen: bool) -> None:
        """Stop it without an end: its connections stay, and nothing is answered. Or let it go on."""
        if self._process:
            self._process.send_signal(signal.SIGSTOP if frozen else signal.SIGCONT)
