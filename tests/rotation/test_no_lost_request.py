"""The promise of it all: whatever changes or breaks behind the gateway, no request is lost.

Two workers under a steady load, every answer checked, while the certificate rotates twice (once with a restart that
drops every connection), both keys rotate, Key Vault is down for ten seconds, and a worker is killed.
"""

import asyncio
import itertools
import os
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from devstack.authority import Authority
from devstack.authority import fingerprint as fingerprint_of
from tests.devstack.control.plane import Files, Plane
from tests.devstack.stacks import Up
from tests.faults.lab import PICTURE
from tests.vaults import Vault

SECONDS, RATE = 60.0, 50.0
# Quick enough for two rotations in a minute.
SETTINGS = {
    "CREDENTIALS_REFRESH_SECONDS": "2",
    "ROTATION_SCHEDULE": "*/2 * * * * *",
    "ROTATION_GRACE_SECONDS": "1",
    "ROTATION_LEASE_SECONDS": "20",
    "PYTHONIOENCODING": "utf-8",
}


@dataclass
class Load:
    """Requests at a steady rate; ``failed`` holds all but the right answers.

    A request that was on its way to the worker that is killed has no answer that anybody could give: its connection
    ends. Those are counted apart, by when that was.
    """

    url: str
    statuses: Counter[int] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    broken: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    sent: int = 0
    expected: Any = None

    async def run(self, seconds: float, trouble: asyncio.Event) -> None:
        """Send requests for so many seconds, and for as long as there is ``trouble``: until that is set."""
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
        async with httpx.AsyncClient(timeout=30, trust_env=False, limits=limits) as client:
            answer = await client.post(f"{self.url}/api/score", content=PICTURE, headers={"Content-Type": "image/jpeg"})
            self.expected = answer.json()["predictions"]
            began, tasks = time.monotonic(), set[asyncio.Task[None]]()
            for number in itertools.count():
                if trouble.is_set() and number >= seconds * RATE:
                    break
                self.sent += 1
                await asyncio.sleep(max(0.0, began + number / RATE - time.monotonic()))
                task = asyncio.create_task(self._one(client))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            await asyncio.gather(*tasks)

    def figures(self) -> str:
        took = sorted(1000 * seconds for seconds in self.seconds)
        times = f"median {took[len(took) // 2]:.1f} ms, 99 % within {took[int(len(took) * 0.99)]:.0f} ms"
        answers = f"{sum(self.statuses.values())} answers, by status {dict(self.statuses)}"
        return f"  {answers}; {len(self.broken)} connections ended with the worker; {times}, longest {took[-1]:.0f} ms"

    async def _one(self, client: httpx.AsyncClient) -> None:
        began = time.monotonic()
        try:
            answer = await client.post(f"{self.url}/api/score", content=PICTURE, headers={"Content-Type": "image/jpeg"})
        except httpx.TransportError:
            self.broken.append(began)
            return
        self.seconds.append(time.monotonic() - began)
        self.statuses[answer.status_code] += 1
        if answer.status_code != 200:
            self.failed.append(answer.text)
        elif answer.json()["predictions"] != self.expected:
            self.failed.append(f"wrong: {answer.text[:300]}")


class Behind:
    """What is behind the gateway, and what is done to it."""

    def __init__(self, up: Up) -> None:
        state = up.folder / "state"
        addresses = up.addresses()
        self._url = addresses["Score"].removesuffix("/api/score")
        self._authority = Authority.load(state)
        self.vault = Vault(
            addresses["Key Vault"],
            addresses["Managed identity"],
            state / "ca.pem",
            (state / "signing.key").read_bytes(),
        )
        self.plane = Plane(Files(state, self._authority), addresses["Control plane"])
        self.service = self.plane.get("/services")["value"][0]

    def offer(self) -> str:
        """A new certificate in the vault; returns its fingerprint."""
        issued = self._authority.issue()
        self.vault.set("imagenet-certificate", (issued.key + issued.chain).decode())
        return fingerprint_of(issued.certificate)

    def served(self) -> str:
        found: str = self.plane.admin("imagenet")["fingerprint"]
        return found

    async def status(self) -> dict[str, Any]:
        answer = (await self._ask("GET")).raise_for_status()
        found: dict[str, Any] = answer.json()["services"]["imagenet"]
        return found

    async def rotate_keys(self) -> None:
        async def is_taken_on() -> bool:
            answer = await self._ask("POST", {"service": "imagenet", "rotate_keys": True})
            # The timer's run may be at work just now: rotation-busy says to try again.
            return answer.status_code != httpx.codes.CONFLICT and answer.raise_for_status().is_success

        await until(is_taken_on)

    async def _ask(self, method: str, body: Any = None) -> httpx.Response:
        async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
            return await client.request(method, f"{self._url}/api/rotation", json=body)


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(40):
        while not await holds():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.2)


class Trouble:
    """All that is done while the load runs, one after the other; ``log`` says when."""

    def __init__(self, up: Up, behind: Behind) -> None:
        self.log: list[str] = []
        self.killed_at = 0.0
        self._up = up
        self._behind = behind
        self._began = time.monotonic()

    def say(self, what: str) -> None:
        self.log.append(f"  {time.monotonic() - self._began:5.1f} s  {what}")

    async def make(self) -> None:
        behind = self._behind
        await asyncio.sleep(1)
        self.say("a new certificate, to be exchanged under the open connections")
        await self._rotate()
        self.say("it is served, verified and pinned alone; a new one, with a restart that drops all connections")
        await asyncio.to_thread(behind.plane.admin, "imagenet", {"swap": "restart"})
        await self._rotate()
        self.say("it is served, verified and pinned alone; the keys are to be rotated")
        await behind.rotate_keys()
        await until(self._has_rotated_the_keys)
        self.say("both keys were rotated; Key Vault goes down for ten seconds")
        await asyncio.to_thread(behind.vault.fault, mode="error")
        await asyncio.sleep(10)
        await asyncio.to_thread(behind.vault.fault)
        # Not during the outage: a worker that starts then has no credentials to serve with.
        self.say("Key Vault is back; a worker is killed")
        self._kill_a_worker()
        await asyncio.sleep(3)
        self.say("another one has started")

    async def _rotate(self) -> None:
        wanted = await asyncio.to_thread(self._behind.offer)

        async def is_rotated() -> bool:
            status = await self._behind.status()
            return bool(status["phase"] == "steady" and status["served"]["fingerprint"] == wanted)

        await until(is_rotated)

    async def _has_rotated_the_keys(self) -> bool:
        return "keys-rotated" in {entry["event"] for entry in (await self._behind.status())["history"]}

    def _kill_a_worker(self) -> None:
        host = self._up.pid("devstack.host")
        worker = int(Path(f"/proc/{host}/task/{host}/children").read_text().split()[0])
        os.kill(worker, signal.SIGKILL)
        self.killed_at = time.monotonic()


@pytest.mark.timeout(280)
async def test_no_request_is_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--engine", "simulated", "--workers", "2")
    with Up(tmp_path / "stack", *arguments, environment={**os.environ, **SETTINGS}) as up:
        await asyncio.to_thread(up.until_serving)
        behind = Behind(up)
        load = Load(up.addresses()["Score"].removesuffix("/api/score"))
        keys = behind.plane.keys(behind.service)
        trouble, over = Trouble(up, behind), asyncio.Event()
        work = asyncio.create_task(load.run(SECONDS, over))
        await trouble.make()
        over.set()
        await work
        trouble.say("the load ends")
        after = behind.plane.keys(behind.service)
        behind.plane.http.close()
        up.signal(signal.SIGINT)
        assert up.ended() == 0
    with capsys.disabled():
        print("", *trouble.log, load.figures(), sep="\n")

    assert load.failed == []
    # Sent to a worker that was dead, or that died with them.
    assert all(trouble.killed_at - 1 <= moment <= trouble.killed_at + 0.5 for moment in load.broken)
    assert load.statuses[200] + len(load.broken) == load.sent >= SECONDS * RATE
    assert {one == other for one, other in zip(keys, after, strict=True)} == {False}
