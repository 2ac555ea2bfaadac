"""Ticks over all services that are rotated: side by side, none in another's way, and bounded in time."""

import asyncio
import random
import threading
import time
import traceback
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from shared.errors import GatewayError, InternalError, NotRotated, RotationBusy, UnknownService
from shared.fpga.deployment_client import DeploymentClient
from shared.fpga.deployment_types import Account
from shared.fpga.deployments import ServiceDeployments
from shared.fpga.endpoint import ServiceEndpoint
from shared.scoring.probe import probe
from shared.settings import RotationSettings, Settings, VaultSettings
from shared.telemetry import log
from shared.trust import events
from shared.trust.events import Event, to_log
from shared.trust.lease import Busy
from shared.trust.observer import View
from shared.trust.parties import Parties
from shared.trust.rotator import Rotator
from shared.trust.vault import Vault, credential
from shared.webhook import Webhook

# Services that are looked at, or acted on, at the same time. Threads wait most of their time.
_SIDE_BY_SIDE = 32
# Seconds of a tick after which no further service is begun; they come first in no particular order next time.
BUDGET = 15.0
# Seconds over which the beginnings of a tick are spread, for each service and at most.
_SPREAD, _MOST_SPREAD = 0.01, 2.0


@dataclass(frozen=True)
class Outcome:
    """What came of a tick, or a look, at one service: the world after it, or why there was none; and what happened."""

    view: View | None = None
    problem: GatewayError | None = None
    events: list[Event] = field(default_factory=list)


class Rotations:
    """The rotations of all services that the settings rotate; made once a worker."""

    def __init__(self, settings: Settings, rotation: RotationSettings, of_vault: VaultSettings, vault: Vault) -> None:
        self._known = settings.services
        self._services = {name: service for name, service in settings.services.items() if service.control_plane_name}
        self._rotation = rotation
        self._refresh_seconds = of_vault.refresh_seconds
        self._vault = vault
        self._client = DeploymentClient(
            Account(rotation.subscription, rotation.group, rotation.account),
            credential(of_vault),
            arm_endpoint=rotation.arm_endpoint,
            ca_file=rotation.ca_file,
        )
        self._deployments = {
            name: ServiceDeployments(self._client, service.control_plane_name)
            for name, service in self._services.items()
        }
        self._threads = ThreadPoolExecutor(_SIDE_BY_SIDE, "rotation")
        self._webhook = Webhook(rotation.webhook_url) if rotation.webhook_url else None
        self._probes = {name: probe(service) for name, service in self._services.items()}
        # What keeps a service's rotation from going on, by service: said once, not at every tick.
        self._blocked: dict[str, str] = {}
        self._lock = threading.Lock()

    @property
    def names(self) -> list[str]:
        return list(self._services)

    def by_secret(self, secret: str) -> list[str]:
        """The services whose certificate is in that secret of Key Vault, whose names are the same in any case."""
        wanted = secret.lower()
        return [name for name, service in self._services.items() if service.certificate_secret.lower() == wanted]

    async def look(self, name: str | None = None) -> Mapping[str, Outcome]:
        """See the world of one service, or of all; nothing is changed.

        Raises:
            UnknownService, NotRotated: there is none of that name, or it is not rotated.
        """
        chosen = self.chosen(name)
        loop = asyncio.get_running_loop()
        found = await asyncio.gather(*(loop.run_in_executor(self._threads, self._look, one) for one in chosen))
        return dict(zip(chosen, found, strict=True))

    async def tick(
        self, names: Collection[str] | None = None, *, rotate_keys: bool = False, retry: bool = False
    ) -> Mapping[str, Outcome]:
        """Bring services a step, or a few, further; all of them where none are named.

        One that fails does not keep the others from going on. Those that the tick has no time for are left out.
        """
        chosen = list(self._services if names is None else names)
        random.shuffle(chosen)
        ends = time.monotonic() + BUDGET
        spread = min(_SPREAD * (len(chosen) - 1), _MOST_SPREAD)

        async def one(name: str) -> Outcome | None:
            # Apart from each other, so that neither Key Vault nor the control plane meets them all at once.
            await asyncio.sleep(random.uniform(0, spread))  # noqa: S311 - no secret
            work = asyncio.get_running_loop().run_in_executor
            return await work(self._threads, self._tick, name, ends, rotate_keys, retry)

        found = await asyncio.gather(*map(one, chosen))
        return {name: outcome for name, outcome in zip(chosen, found, strict=True) if outcome is not None}

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._client.close()
        if self._webhook is not None:
            self._webhook.close()

    def chosen(self, name: str | None) -> list[str]:
        """The services that are meant: the named one, or all.

        Raises:
            UnknownService, NotRotated: there is none of that name, or it is not rotated.
        """
        if name is None:
            return self.names
        if name not in self._known:
            raise UnknownService(f"The gateway has no service {name!r}.", services=sorted(self._known))
        if name not in self._services:
            raise NotRotated(f"The service {name!r} has no CONTROL_PLANE_NAME.", services=sorted(self._services))
        return [name]

    def _look(self, name: str) -> Outcome:
        try:
            view = self._rotator(name, []).look()
        except GatewayError as error:
            return Outcome(problem=error)
        except Exception as fault:
            return Outcome(problem=_internal(name, fault))
        return Outcome(view, view.problem)

    def _tick(self, name: str, ends: float, rotate_keys: bool, retry: bool) -> Outcome | None:
        left = ends - time.monotonic()
        if left <= 0:
            return None
        happened: list[Event] = []
        try:
            view = self._rotator(name, happened).tick(left, rotate_keys=rotate_keys, retry=retry)
        except Busy as busy:
            wait = max(1.0, busy.until - time.time())
            return Outcome(problem=RotationBusy(f"Another run holds the lease of {name!r}.", retry_after=wait))
        except GatewayError as error:
            self._block(name, error, happened)
            return Outcome(problem=error, events=happened)
        except Exception as fault:
            problem = _internal(name, fault)
            self._block(name, problem, happened)
            return Outcome(problem=problem, events=happened)
        if view.problem is not None:
            self._block(name, view.problem, happened)
        else:
            self._unblock(name)
        return Outcome(view, view.problem, happened)

    def _rotator(self, name: str, happened: list[Event]) -> Rotator:
        service = self._services[name]

        def announce(event: Event) -> None:
            happened.append(event)
            to_log(event)
            if self._webhook is not None and event.kind in events.ANNOUNCED:
                self._webhook.post(event)

        request, check = self._probes[name]
        parties = Parties(self._vault, self._deployments[name], ServiceEndpoint(service, request, check), announce)
        return Rotator(service, self._rotation, self._refresh_seconds, parties)

    def _block(self, name: str, error: GatewayError, happened: list[Event]) -> None:
        with self._lock:
            known, self._blocked[name] = self._blocked.get(name), error.slug
        if known != error.slug:
            event = Event(events.BLOCKED, name, time.time(), f"{error.title}: {error.detail}", {"problem": error.slug})
            happened.append(event)
            to_log(event)
            if self._webhook is not None:
                self._webhook.post(event)

    def _unblock(self, name: str) -> None:
        with self._lock:
            self._blocked.pop(name, None)


def _internal(name: str, fault: Exception) -> InternalError:
    """A fault of our own: where it arose, and nothing of what was being handled."""
    frame = traceback.extract_tb(fault.__traceback__)[-1]
    place = f"{type(fault).__name__} at {Path(frame.filename).name}:{frame.lineno}"
    log.error("rotation of %s: internal-error %s", name, place)
    return InternalError(f"An unexpected fault ({place}) stopped the rotation.")
