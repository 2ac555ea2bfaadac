"""Crash anywhere: the acting process is killed before and after every single change; the next ticks put all right.

Meanwhile every service is scored all the time, as a gateway does it, and no request may be lost.
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

from shared.errors import GatewayError
from shared.fpga.predictor import Predictor
from shared.scoring.probe import probe
from shared.telemetry import Call
from shared.trust import events
from shared.trust.credentials import CredentialCache, CredentialReader
from tests.conftest import ROOT
from tests.rotation.worlds import Rotated, World

# Seconds: how often gateways read their credentials, and how long a dead run keeps others away.
REFRESH, LEASE = 1.0, 5.0


def job(rotated: Rotated, *, number: int = 0, after: bool = False, keys: bool = False) -> dict[str, Any]:
    world = rotated.world
    return {
        "number": number,
        "after": after,
        "keys": keys,
        "service": {
            name: value
            for name, value in asdict(rotated.settings).items()
            if isinstance(value, str | int) and name not in {"tls", "input_form", "output_form"}
        },
        "settings": asdict(world.settings(lease_seconds=LEASE, settling_seconds=3.0, grace_seconds=1.0)),
        "vault": {"url": world.vault.address, "ca_file": str(world.vault.ca), "refresh_seconds": REFRESH},
    }


async def act(jobs: Sequence[dict[str, Any]]) -> list[list[str]]:
    """What the children of an actor reported."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.rotation.actor",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "GRPC_VERBOSITY": "NONE"},
    )
    out, _ = await process.communicate(json.dumps(jobs).encode())
    found: list[list[str]] = json.loads(out)
    return found


class Traffic:
    """Requests to services, without a pause; ``lost`` says what came of those that were not answered rightly."""

    def __init__(self, services: Sequence[Rotated]) -> None:
        self.answered = 0
        self.lost: list[str] = []
        self._services = services

    @asynccontextmanager
    async def flowing(self) -> AsyncIterator[None]:
        with ThreadPoolExecutor(16) as threads:
            predictors = [self._predictor(one, threads) for one in self._services]
            tasks = [
                asyncio.create_task(self._score(one.name, predictor, *probe(one.settings)))
                for one, predictor in zip(self._services, predictors, strict=True)
            ]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                for predictor in predictors:
                    await predictor.close()

    def _predictor(self, one: Rotated, threads: ThreadPoolExecutor) -> Predictor:
        reader = CredentialReader(one.settings, one.vault.read, threads)
        return Predictor(one.settings, CredentialCache(reader, refresh_seconds=REFRESH))

    async def _score(self, name: str, predictor: Predictor, request: bytes, check: Any) -> None:
        while True:
            try:
                check(await predictor.predict(request, Call("request", time.monotonic() + 10)))
                self.answered += 1
            except GatewayError as error:
                self.lost.append(f"{name}: {error.slug} {error.detail}")
            await asyncio.sleep(0.4)


async def prepared(world: World, name: str) -> Rotated:
    made = await asyncio.to_thread(world.service, name)
    await asyncio.to_thread(made.until, "certificate-verified")
    return made


def has_asked(rotated: Rotated) -> bool:
    """Whether the wish to rotate the keys had been written down."""
    return any(entry.event == events.KEYS_REQUESTED for entry in rotated.rotator().look().note.history)


@pytest.mark.timeout(280)
@pytest.mark.parametrize("keys", [False, True], ids=["certificate", "keys"])
async def test_a_run_that_dies_anywhere(world: World, keys: bool, capsys: pytest.CaptureFixture[str]) -> None:
    points = [(number, after) for number in range(1, 19) for after in (False, True)]
    what = "keys" if keys else "certificate"
    names = [f"{what}-{'after' if after else 'before'}-{number}" for number, after in points]
    services = await asyncio.gather(*(prepared(world, name) for name in names))
    before = [(one.served(), world.plane.keys({"id": one.id})) for one in services]
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
        # The lease of a run that died ends by itself.
        again = [job(one, keys=keys and not await asyncio.to_thread(has_asked, one)) for one in services]
        healed = await act(again)
        await asyncio.sleep(2 * REFRESH)

    assert healed == [["done"]] * len(services)
    assert not traffic.lost, traffic.lost[:5]
    assert traffic.answered > 10 * len(services)
    with capsys.disabled():
        print()
        for (number, after), report in zip(points, died, strict=True):
            if report != ["done"]:
                print(f"  died {'after ' if after else 'before'} change {number:2}: {report[0]}")
        print(f"  {traffic.answered} requests, {len(traffic.lost)} lost")
    # The last points lie beyond the end: so every change was one of them.
    assert died[-1] == ["done"]
    for one, (served, old) in zip(services, before, strict=True):
        versions, new = one.versions(), world.plane.keys({"id": one.id})
        if keys:
            assert {new[0] == old[0], new[1] == old[1]} == {False}, one.name
            # One more of each: none was generated anew without need.
            assert (versions["primary-key"], versions["secondary-key"]) == (2, 2), one.name
        else:
            assert one.served() != served, one.name
            assert one.pinned() == {one.served()}, one.name
            assert one.updates() == 1, one.name
