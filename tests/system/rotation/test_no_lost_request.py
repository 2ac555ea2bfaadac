"""No request is lost, whatever changes or fails behind the gateway.

Two workers have a steady load, and every response is checked, while the certificate is rotated twice (once with a
restart that drops all connections), both keys are rotated, Key Vault fails for ten seconds, and a worker is killed.
"""

import asyncio
import itertools
import os
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from devstack.authority import fingerprint as fingerprint_of
from devstack.state import CERTIFICATE, SERVICE
from tests.support.app import PICTURE, until
from tests.support.devstack.running_services import RunningServices
from tests.support.devstack.stack_process import SIMULATED, StackProcess

SECONDS, RATE = 60.0, 50.0
# Quick enough for two rotations in a minute.
SETTINGS = {
    "CREDENTIALS_REFRESH_SECONDS": "2",
    "ROTATION_SCHEDULE": "*/2 * * * * *",
    "ROTATION_GRACE_SECONDS": "1",
    "ROTATION_LEASE_SECONDS": "20",
}


@dataclass
class Load:
    """Requests at a steady rate; ``failed`` has all wrong responses.

    ``broken`` has the start times of the requests that got no response, because the worker with their connection was
    killed.
    """

    url: str
    statuses: Counter[int] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    broken: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    sent: int = 0
    expected: Any = None

    async def run(self, seconds: float, over: asyncio.Event) -> None:
        """Send requests for so many seconds, and until ``over`` is set."""
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
        async with httpx.AsyncClient(timeout=30, trust_env=False, limits=limits) as client:
            answer = await client.post(f"{self.url}/api/score", content=PICTURE, headers={"Content-Type": "image/jpeg"})
            self.expected = answer.json()["predictions"]
            began, tasks = time.monotonic(), set[asyncio.Task[None]]()
            for number in itertools.count():
                if over.is_set() and number >= seconds * RATE:
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
    """The services behind the gateway, and the changes to them."""

    def __init__(self, up: StackProcess) -> None:
        self.services = RunningServices(up)
        self.vault = self.services.vault
        self.plane = self.services.control()
        self.service = self.services.deployed

    def offer(self) -> str:
        """Store a new certificate in the vault; returns its fingerprint."""
        issued = self.vault.files.authority.issue()
        self.vault.set(CERTIFICATE, (issued.key + issued.chain).decode())
        return fingerprint_of(issued.certificate)

    async def status(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self._request("GET")).raise_for_status().json()["services"][SERVICE]
        return found

    async def rotate_keys(self) -> None:
        async def is_accepted() -> bool:
            response = await self._request("POST", {"service": SERVICE, "rotate_keys": True})
            # The timer's run may be in progress: rotation-busy means to try again.
            return response.status_code != httpx.codes.CONFLICT and response.raise_for_status().is_success

        await until(is_accepted, 40, pause=0.2)

    async def _request(self, method: str, body: Any = None) -> httpx.Response:
        async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
            return await client.request(method, f"{self.services.up.url}/api/rotation", json=body)


class Trouble:
    """The changes and failures during the load, one after the other; ``log`` has their times."""

    def __init__(self, up: StackProcess, behind: Behind) -> None:
        self.log: list[str] = []
        self.killed_at = 0.0
        self._up = up
        self._behind = behind
        self._began = time.monotonic()

    def note(self, what: str) -> None:
        self.log.append(f"  {time.monotonic() - self._began:5.1f} s  {what}")

    async def make(self) -> None:
        behind = self._behind
        await asyncio.sleep(1)
        self.note("a new certificate, to be exchanged without a restart")
        await self._rotate()
        self.note("it is served, verified and pinned alone; a new one, with a restart that drops all connections")
        await asyncio.to_thread(behind.plane.admin, SERVICE, {"swap": "restart"})
        await self._rotate()
        self.note("it is served, verified and pinned alone; the keys are to be rotated")
        await behind.rotate_keys()
        await until(self._has_rotated_the_keys, 40, pause=0.2)
        self.note("both keys were rotated; Key Vault goes down for ten seconds")
        await asyncio.to_thread(behind.vault.fault, mode="error")
        await asyncio.sleep(10)
        await asyncio.to_thread(behind.vault.fault)
        # Not during the outage: a worker that starts then has no credentials to serve with.
        self.note("Key Vault is back; a worker is killed")
        self._kill_a_worker()
        await asyncio.sleep(3)
        self.note("another one has started")

    async def _rotate(self) -> None:
        wanted = await asyncio.to_thread(self._behind.offer)

        async def is_rotated() -> bool:
            status = await self._behind.status()
            return bool(status["phase"] == "steady" and status["served"]["fingerprint"] == wanted)

        await until(is_rotated, 40, pause=0.2)

    async def _has_rotated_the_keys(self) -> bool:
        return "keys-rotated" in {entry["event"] for entry in (await self._behind.status())["history"]}

    def _kill_a_worker(self) -> None:
        host = self._up.pid("devstack.host")
        worker = int(Path(f"/proc/{host}/task/{host}/children").read_text().split()[0])
        os.kill(worker, signal.SIGKILL)
        self.killed_at = time.monotonic()


@pytest.mark.timeout(280)
async def test_no_request_is_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with StackProcess(tmp_path / "stack", *SIMULATED, "--workers", "2", environment=SETTINGS) as up:
        await asyncio.to_thread(up.until_serving)
        behind = Behind(up)
        load = Load(up.url)
        keys = behind.plane.keys(behind.service)
        trouble, over = Trouble(up, behind), asyncio.Event()
        work = asyncio.create_task(load.run(SECONDS, over))
        await trouble.make()
        over.set()
        await work
        trouble.note("the load ends")
        after = behind.plane.keys(behind.service)
        behind.plane.http.close()
        up.signal(signal.SIGINT)
        assert up.wait_for_end() == 0
    with capsys.disabled():
        print("", *trouble.log, load.figures(), sep="\n")

    assert load.failed == []
    # Sent to a worker that was dead, or that died with them.
    assert all(trouble.killed_at - 1 <= moment <= trouble.killed_at + 0.5 for moment in load.broken)
    assert load.statuses[200] + len(load.broken) == load.sent >= SECONDS * RATE
    assert {one == other for one, other in zip(keys, after, strict=True)} == {False}
