"""Runs rotations that crash: ``python -m tests.support.rotation_actor``, with jobs as JSON on its standard input.

Each job is a child process, forked before any thread is started. It rotates one service until the rotation is complete,
or until it kills itself immediately before or after its Nth change.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shared.control_plane import types as control_plane_types
from shared.control_plane.client import DeploymentClient
from shared.credentials.key_vault import KeyVault, credential
from shared.errors import GatewayError
from shared.rotation import events
from shared.rotation.decide import Nothing
from shared.rotation.events import Event
from shared.rotation.interfaces import Interfaces
from shared.rotation.lease import LeaseHeld, Leases
from shared.rotation.run import ServiceRotation
from shared.rotation.service_probe import GrpcProbe
from shared.rotation.service_updates import ControlPlaneUpdates
from shared.scoring.probe import probe
from shared.settings import RotationSettings, ServiceSettings, VaultSettings
from shared.upstream.codecs.tensorflow import TensorFlowCodec

# The time limit of a rotation, in seconds.
TIME_LIMIT = 120.0
# Seconds between two runs.
PAUSE = 0.3


@dataclass
class Crash:
    """Kills the process at change ``number``, counted from 1 (0 for never); ``reached`` counts the changes so far."""

    number: int
    after: bool
    report: Callable[[str], None]
    reached: int = 0

    def around[T](self, name: str, change: Callable[[], T]) -> T:
        self.reached += 1
        crashes = self.reached == self.number
        if crashes:
            self.report(name)
            if not self.after:
                os.kill(os.getpid(), signal.SIGKILL)
        result = change()
        if crashes:
            os.kill(os.getpid(), signal.SIGKILL)
        return result


class CrashingVault(KeyVault):
    """The vault's client; it kills the process at a write."""

    def __init__(self, settings: VaultSettings, crash: Crash) -> None:
        super().__init__(settings)
        self._crash = crash

    def write(self, name: str, *given: Any, **options: Any) -> Any:
        return self._crash.around(f"write {name}", lambda: super(CrashingVault, self).write(name, *given, **options))

    def renew(self, name: str, *given: Any, **options: Any) -> Any:
        what = "claim" if options["enabled"] else "release"
        return self._crash.around(f"{what} {name}", lambda: super(CrashingVault, self).renew(name, *given, **options))


class CrashingUpdates(ControlPlaneUpdates):
    """The control plane's client; it kills the process at a change."""

    def __init__(self, client: DeploymentClient, name: str, crash: Crash) -> None:
        super().__init__(client, name)
        self._crash = crash

    def update(self, certificate: Any) -> Any:
        return self._crash.around("update service", lambda: super(CrashingUpdates, self).update(certificate))

    def regenerate(self, kind: Any) -> Any:
        return self._crash.around(f"regenerate {kind}", lambda: super(CrashingUpdates, self).regenerate(kind))


def ignore(_event: Event) -> None:
    """Announce nothing: the tests check the outcome."""


def rotate(job: dict[str, Any], report: Callable[[str], None]) -> bool:
    """Rotate a job's service; returns whether the rotation is complete."""
    crash = Crash(job["number"], job["after"], report)
    service, settings = ServiceSettings(**job["service"]), RotationSettings(**job["settings"])
    vault_settings = VaultSettings(**job["vault"])
    vault = CrashingVault(vault_settings, crash)
    account = control_plane_types.Account(settings.subscription, settings.group, settings.account)
    client = DeploymentClient(
        account, credential(vault_settings), arm_endpoint=settings.arm_endpoint, ca_file=settings.ca_file
    )
    updates = CrashingUpdates(client, service.control_plane_name, crash)
    codec = TensorFlowCodec(service)
    service_probe = GrpcProbe(service, probe(codec), codec.check)
    interfaces = Interfaces(vault, updates, service_probe, ignore, Leases(vault))
    rotation = ServiceRotation(service, settings, vault_settings.refresh_seconds, interfaces)
    keys_requested, ends = not job["keys"], time.monotonic() + TIME_LIMIT
    while time.monotonic() < ends:
        try:
            observed = rotation.run(TIME_LIMIT, rotate_keys=not keys_requested)
        except (LeaseHeld, GatewayError):
            time.sleep(PAUSE)
            continue
        announced = {entry.event for entry in observed.persisted.history}
        keys_requested = keys_requested or events.KEYS_REQUESTED in announced
        if keys_requested and isinstance(observed.step, Nothing) and observed.persisted.keys is None:
            return True
        time.sleep(PAUSE)
    return False


def child(job: dict[str, Any], report: int) -> None:
    done = rotate(job, lambda change: _write(report, change))
    _write(report, "done" if done else "not done in time")
    os._exit(0)


def _write(descriptor: int, line: str) -> None:
    os.write(descriptor, f"{line}\n".encode())


def main() -> None:
    """Run all jobs concurrently; prints their reports as a JSON list, in the order of the jobs."""
    jobs = json.load(sys.stdin)
    reports = []
    for job in jobs:
        reading, writing = os.pipe()
        if os.fork() == 0:
            child(job, writing)
        os.close(writing)
        reports.append(reading)
    found = []
    for reading in reports:
        with os.fdopen(reading, encoding="utf-8") as lines:
            found.append(lines.read().split("\n")[:-1])
    for _ in jobs:
        os.wait()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
