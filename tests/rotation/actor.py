"""Rotates in processes that die: ``python -m tests.rotation.actor``, with jobs as JSON on its standard input.

Each job is a child of its own, forked before anything has a thread. It rotates one service until that is done, or until
it kills itself: right before, or right after, the so-manieth time that it would change something.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shared.errors import GatewayError
from shared.fpga import deployment_types
from shared.fpga.deployment_client import DeploymentClient
from shared.fpga.deployments import ServiceDeployments
from shared.fpga.endpoint import ServiceEndpoint
from shared.scoring.probe import probe
from shared.settings import RotationSettings, ServiceSettings, VaultSettings
from shared.trust import events
from shared.trust.events import Event
from shared.trust.lease import Busy
from shared.trust.parties import Parties
from shared.trust.rotation import Nothing
from shared.trust.rotator import Rotator
from shared.trust.vault import Vault, credential

# A rotation that takes longer than this, in seconds, will not end.
PATIENCE = 90.0
# Between two ticks, in seconds.
PAUSE = 0.3


@dataclass
class Death:
    """Dies at the change of that number, counted from 1; 0 for never. ``reached`` names the changes until then."""

    number: int
    after: bool
    report: Callable[[str], None]
    reached: int = 0

    def around[T](self, what: str, change: Callable[[], T]) -> T:
        self.reached += 1
        is_it = self.reached == self.number
        if is_it:
            self.report(what)
            if not self.after:
                os.kill(os.getpid(), signal.SIGKILL)
        result = change()
        if is_it:
            os.kill(os.getpid(), signal.SIGKILL)
        return result


class MortalVault(Vault):
    """The vault, which dies where it would write."""

    def __init__(self, settings: VaultSettings, death: Death) -> None:
        super().__init__(settings)
        self._death = death

    def write(self, name: str, *given: Any, **options: Any) -> Any:
        return self._death.around(f"write {name}", lambda: super(MortalVault, self).write(name, *given, **options))

    def disable(self, name: str, version: str) -> None:
        self._death.around(f"give back {name}", lambda: super(MortalVault, self).disable(name, version))


class MortalDeployments(ServiceDeployments):
    """The control plane, which dies where it would change something."""

    def __init__(self, client: DeploymentClient, name: str, death: Death) -> None:
        super().__init__(client, name)
        self._death = death

    def update(self, certificate: Any) -> Any:
        return self._death.around("update service", lambda: super(MortalDeployments, self).update(certificate))

    def regenerate(self, kind: Any) -> Any:
        return self._death.around(f"regenerate {kind}", lambda: super(MortalDeployments, self).regenerate(kind))


def ignore(_event: Event) -> None:
    """Announce nothing: the test looks at what came of it all."""


def rotate(job: dict[str, Any], report: Callable[[str], None]) -> bool:
    """Rotate a job's service; True when it is done."""
    death = Death(job["number"], job["after"], report)
    service, settings = ServiceSettings(**job["service"]), RotationSettings(**job["settings"])
    of_vault = VaultSettings(**job["vault"])
    vault = MortalVault(of_vault, death)
    account = deployment_types.Account(settings.subscription, settings.group, settings.account)
    client = DeploymentClient(
        account, credential(of_vault), arm_endpoint=settings.arm_endpoint, ca_file=settings.ca_file
    )
    deployments = MortalDeployments(client, service.control_plane_name, death)
    parties = Parties(vault, deployments, ServiceEndpoint(service, *probe(service)), ignore)
    rotator = Rotator(service, settings, of_vault.refresh_seconds, parties)
    asked, ends = not job["keys"], time.monotonic() + PATIENCE
    while time.monotonic() < ends:
        try:
            view = rotator.tick(PATIENCE, rotate_keys=not asked)
        except (Busy, GatewayError):
            time.sleep(PAUSE)
            continue
        known = {entry.event for entry in view.note.history}
        asked = asked or events.KEYS_REQUESTED in known
        if asked and isinstance(view.step, Nothing) and view.note.keys is None:
            return True
        time.sleep(PAUSE)
    return False


def child(job: dict[str, Any], report: int) -> None:
    done = rotate(job, lambda what: _write(report, what))
    _write(report, "done" if done else "never done")
    os._exit(0)


def _write(descriptor: int, line: str) -> None:
    os.write(descriptor, f"{line}\n".encode())


def main() -> None:
    """Run all jobs side by side; prints what each reported, as a JSON list in their order."""
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
