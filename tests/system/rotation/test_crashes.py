"""Crash anywhere: the acting process is killed before and after every single change; the next runs complete the work.

Meanwhile every service is scored continuously, as a gateway does it, and no request may be lost.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

import pytest

from shared.credentials.cache import CredentialCache, CredentialReader
from shared.errors import GatewayError
from shared.rotation import events
from shared.scoring.probe import probe
from shared.scoring.several import cancelled_at_end
from shared.telemetry import RequestContext
from shared.upstream.client import ServiceClient
from shared.upstream.codecs.tensorflow import TensorFlowCodec
from tests.conftest import ROOT
from tests.support.rotation import RotatedService, RotationEnvironment

# Seconds: how often gateways read their credentials, and how long a dead run keeps others away.
REFRESH, LEASE = 1.0, 20.0


def job(rotated: RotatedService, *, number: int = 0, after: bool = False, keys: bool = False) -> dict[str, Any]:
    environment = rotated.environment
    return {
        "number": number,
        "after": after,
        "keys": keys,
        "service": {
            name: value
            for name, value in asdict(rotated.settings).items()
            if isinstance(value, str | int) and name not in {"tls", "input_form", "output_form"}
        },
        "settings": asdict(environment.settings(lease_seconds=LEASE, settling_seconds=3.0, grace_seconds=1.0)),
        "vault": {"url": environment.vault.address, "ca_file": str(environment.vault.ca), "refresh_seconds": REFRESH},
    }


async def act(jobs: Sequence[dict[str, Any]]) -> list[list[str]]:
    """The reports of an actor's child processes."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.support.rotation_actor",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "GRPC_VERBOSITY": "NONE"},
    )
    out, _ = await process.communicate(json.dumps(jobs).encode())
    found: list[list[str]] = json.loads(out)
    return found


class Traffic:
    """Continuous requests to services; ``lost`` has the errors of those that failed."""

    def __init__(self, services: Sequence[RotatedService]) -> None:
        self.answered = 0
        self.lost: list[str] = []
        self._services = services

    @asynccontextmanager
    async def flowing(self) -> AsyncIterator[None]:
        with ThreadPoolExecutor(16) as threads:
            clients = [self._client(one, threads) for one in self._services]
            tasks = [
                asyncio.create_task(self._score(one, client))
                for one, client in zip(self._services, clients, strict=True)
            ]
            try:
                async with cancelled_at_end(tasks):
                    yield
            finally:
                for client in clients:
                    await client.close()

    def _client(self, one: RotatedService, threads: ThreadPoolExecutor) -> ServiceClient:
        reader = CredentialReader(one.settings, one.vault.read, threads)
        return ServiceClient(one.settings, CredentialCache(reader, refresh_seconds=REFRESH))

    async def _score(self, one: RotatedService, client: ServiceClient) -> None:
        codec = TensorFlowCodec(one.settings)
        rpc = probe(codec)
        while True:
            try:
                codec.scores(await client.call(*rpc, RequestContext("request", time.monotonic() + 10)))
                self.answered += 1
            except GatewayError as error:
                self.lost.append(f"{one.name}: {error.slug} {error.detail}")
            await asyncio.sleep(0.4)


def is_requested(rotated: RotatedService) -> bool:
    """Whether the request to rotate the keys was persisted."""
    return any(entry.event == events.KEYS_REQUESTED for entry in rotated.rotation().observe().persisted.history)


@pytest.mark.timeout(280)
@pytest.mark.parametrize("keys", [False, True], ids=["certificate", "keys"])
async def test_a_run_that_dies_anywhere(
    environment: RotationEnvironment, keys: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    points = [(number, after) for number in range(1, 19) for after in (False, True)]
    what = "keys" if keys else "certificate"
    names = [f"{what}-{'after' if after else 'before'}-{number}" for number, after in points]
    services = await asyncio.gather(*(asyncio.to_thread(environment.steady, name) for name in names))
    before = [(one.served(), environment.plane.keys({"id": one.id})) for one in services]
    traffic = Traffic(services)
    async with traffic.flowing():
        if not keys:
            for one in services:
                one.offer()
        died = await act(
            [
                job(one, number=number, after=after, keys=keys)
                for one, (number, after) in zip(services, points, strict=True)
            ]
        )
        # The lease of a run that died expires.
        again = [job(one, keys=keys and not await asyncio.to_thread(is_requested, one)) for one in services]
        completed = await act(again)
        await asyncio.sleep(2 * REFRESH)

    assert completed == [["done"]] * len(services)
    assert not traffic.lost, traffic.lost[:5]
    assert traffic.answered > 10 * len(services)
    with capsys.disabled():
        print()
        for (number, after), report in zip(points, died, strict=True):
            if report != ["done"]:
                print(f"  died {'after ' if after else 'before'} change {number:2}: {report[0]}")
        print(f"  {traffic.answered} requests, {len(traffic.lost)} lost")
    # The last points are beyond the end: so every change was one of them.
    assert died[-1] == ["done"]
    for one, (served, old) in zip(services, before, strict=True):
        versions, new = one.versions(), environment.plane.keys({"id": one.id})
        if keys:
            assert {new[0] == old[0], new[1] == old[1]} == {False}, one.name
            # One more of each: none was regenerated without need.
            assert (versions["primary-key"], versions["secondary-key"]) == (2, 2), one.name
        else:
            assert one.served() != served, one.name
            assert one.pinned() == {one.served()}, one.name
            assert one.updates() == 1, one.name
