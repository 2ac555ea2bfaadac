"""Runs over all services that are rotated: concurrent, independent of each other, and bounded in time."""

import asyncio
import random
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from shared.backoff import backoff
from shared.control_plane.client import DeploymentClient
from shared.control_plane.types import Account
from shared.credentials.key_vault import KeyVault, credential
from shared.errors import GatewayError, InternalError, NotRotated, RotationBusy, UnknownService
from shared.rotation import events
from shared.rotation.decide import Reason
from shared.rotation.events import Event, Hold, to_log
from shared.rotation.interfaces import Interfaces
from shared.rotation.lease import LeaseHeld, Leases
from shared.rotation.observe import Observation
from shared.rotation.run import ServiceRotation
from shared.rotation.service_probe import GrpcProbe
from shared.rotation.service_updates import ControlPlaneUpdates
from shared.rotation.status import phase
from shared.rotation.webhook import Webhook
from shared.scoring.probe import probe
from shared.settings import RotationSettings, Settings, VaultSettings
from shared.telemetry import fault_path, in_thread, log, metrics
from shared.threads import DaemonExecutor
from shared.upstream.codecs import Codec

# Services that are observed, or acted on, at the same time. The threads wait most of their time.
_CONCURRENT = 32
# Seconds of a run after which no further service is started; the order is random each time.
BUDGET = 15.0
# Seconds for which the timer leaves a service alone whose run was blocked; doubled each time up to the maximum. At a
# run a minute, the first five come as usual.
BLOCKED_FIRST, BLOCKED_LAST = 5.0, 300.0
# Seconds over which the starts of a run are spread, for each service and at most.
_SPREAD, _MOST_SPREAD = 0.01, 2.0


@dataclass(frozen=True)
class Outcome:
    """The result of a run, or an observation, of one service: the state after it, or the problem; and its events."""

    observation: Observation | None = None
    problem: GatewayError | None = None
    events: list[Event] = field(default_factory=list)


@dataclass(frozen=True)
class Progress:
    """Where a rotation was when it was last observed, ``at``; times are Unix times.

    ``since`` is when its last event happened, ``expires`` when the certificate does that the service presents.
    """

    phase: str
    since: float | None
    expires: float | None
    at: float


@dataclass(frozen=True)
class Block:
    """What blocks a service's rotation: the problem type, for how many runs in a row, and until when the timer waits.

    The time is on the monotonic clock.
    """

    problem: str
    runs: int
    until: float


def blocked(before: Block | None, problem: str, now: float) -> Block:
    """The block after one more run that was blocked, by the same problem or another one."""
    runs = 1 if before is None else before.runs + 1
    return Block(problem, runs, now + backoff(runs, BLOCKED_FIRST, BLOCKED_LAST))


class Rotations:
    """The rotations of all services that the settings rotate; made once a worker.

    ``progress`` is of the services that were observed.
    """

    # _blocked  what blocks a service's rotation, by service: announced once, not at every run

    def __init__(
        self,
        settings: Settings,
        rotation: RotationSettings,
        vault_settings: VaultSettings,
        vault: KeyVault,
        codecs: Mapping[str, Codec],
    ) -> None:
        self._known = {*settings.services, *settings.splits}
        self._services = {name: service for name, service in settings.services.items() if service.control_plane_name}
        self._rotation = rotation
        self._refresh_seconds = vault_settings.refresh_seconds
        self._vault = vault
        self._leases = Leases(vault)
        self._client = DeploymentClient(
            Account(rotation.subscription, rotation.group, rotation.account),
            credential(vault_settings),
            arm_endpoint=rotation.arm_endpoint,
            ca_file=rotation.ca_file,
        )
        self._updates = {
            name: ControlPlaneUpdates(self._client, service.control_plane_name)
            for name, service in self._services.items()
        }
        self._probes = {
            name: GrpcProbe(service, probe(codecs[name]), codecs[name].check)
            for name, service in self._services.items()
        }
        self._threads = DaemonExecutor(_CONCURRENT, "rotation")
        self._webhook = Webhook(rotation.webhook_url) if rotation.webhook_url else None
        self._holds = {name: Hold(Reason.ENDPOINT_UNREACHABLE) for name in self._services}
        self._blocked: dict[str, Block] = {}
        self.progress: dict[str, Progress] = {}
        self._lock = threading.Lock()

    @property
    def names(self) -> list[str]:
        return list(self._services)

    def by_secret(self, secret: str) -> list[str]:
        """The services whose certificate is in that secret of Key Vault; secrets' names ignore case."""
        wanted = secret.lower()
        return [name for name, service in self._services.items() if service.certificate_secret.lower() == wanted]

    async def observe(self, name: str | None = None) -> Mapping[str, Outcome]:
        """The state of one service, or of all; nothing is changed.

        Raises:
            UnknownService, NotRotated: there is none of that name, or it is not rotated.
        """
        chosen = self.chosen(name)
        found = await asyncio.gather(*(in_thread(self._threads, self._observe, one) for one in chosen))
        return dict(zip(chosen, found, strict=True))

    async def run(
        self, names: Collection[str] | None = None, *, rotate_keys: bool = False, retry: bool = False
    ) -> Mapping[str, Outcome]:
        """Take the next steps of the named services.

        Where none are named, of all but those whose last runs were blocked: they are tried again after a pause. One
        that fails does not stop the others. Those for which the run has no time are left out.
        """
        chosen = self._not_paused() if names is None else list(names)
        random.shuffle(chosen)
        ends = time.monotonic() + BUDGET
        spread = min(_SPREAD * (len(chosen) - 1), _MOST_SPREAD)

        async def one(name: str) -> Outcome | None:
            # Spread out, so that neither Key Vault nor the control plane gets the requests of all at once.
            await asyncio.sleep(random.uniform(0, spread))  # noqa: S311 - no secret
            return await in_thread(self._threads, self._run, name, ends, rotate_keys, retry)

        found = await asyncio.gather(*map(one, chosen))
        return {name: outcome for name, outcome in zip(chosen, found, strict=True) if outcome is not None}

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._client.close()
        if self._webhook is not None:
            self._webhook.close()

    def chosen(self, name: str | None) -> list[str]:
        """The named service, or all.

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

    def _not_paused(self) -> list[str]:
        now = time.monotonic()
        with self._lock:
            paused = {name for name, block in self._blocked.items() if now < block.until}
        return [name for name in self._services if name not in paused]

    def _observe(self, name: str) -> Outcome:
        return self._outcome(name, [], lambda rotation: rotation.observe())

    def _run(self, name: str, ends: float, rotate_keys: bool, retry: bool) -> Outcome | None:
        remaining = ends - time.monotonic()
        if remaining <= 0:
            return None
        happened: list[Event] = []
        try:
            outcome = self._outcome(
                name, happened, lambda rotation: rotation.run(remaining, rotate_keys=rotate_keys, retry=retry)
            )
        except LeaseHeld as lease:
            return Outcome(problem=RotationBusy(f"Another run holds the lease of {name!r}.", retry_after=lease.seconds))
        self._announce_block(name, outcome.problem, happened)
        return outcome

    def _outcome(self, name: str, happened: list[Event], work: Callable[[ServiceRotation], Observation]) -> Outcome:
        try:
            observation = work(self._rotation_of(name, happened))
        except LeaseHeld:
            raise
        except GatewayError as error:
            return Outcome(problem=error, events=happened)
        except Exception as fault:
            log.error("rotation of %s: internal-error %s", name, fault_path(fault))  # without its stack trace
            return Outcome(problem=InternalError("An unexpected fault stopped the rotation."), events=happened)
        self.progress[name] = _progress(observation)
        return Outcome(observation, observation.problem, happened)

    def _rotation_of(self, name: str, happened: list[Event]) -> ServiceRotation:
        def announce(event: Event) -> None:
            self._announce(event, happened)

        interfaces = Interfaces(
            self._vault, self._updates[name], self._probes[name], announce, self._leases, self._holds[name]
        )
        return ServiceRotation(self._services[name], self._rotation, self._refresh_seconds, interfaces)

    def _announce(self, event: Event, happened: list[Event]) -> None:
        happened.append(event)
        to_log(event)
        with self._lock:
            metrics.ROTATION_EVENTS.add((event.service, event.kind))
        if self._webhook is not None and event.kind in events.ANNOUNCED:
            self._webhook.post(event)

    def _announce_block(self, name: str, problem: GatewayError | None, happened: list[Event]) -> None:
        """Announce once what blocks a rotation, and that it no longer does."""
        with self._lock:
            known = self._blocked.pop(name, None)
            if problem is not None:
                self._blocked[name] = blocked(known, problem.slug, time.monotonic())
        if problem is not None and (known is None or problem.slug != known.problem):
            detail, data = f"{problem.title}: {problem.detail}", {"problem": problem.slug}
            self._announce(Event(events.BLOCKED, name, time.time(), detail, data), happened)
        elif problem is None and known is not None:
            detail = f"The rotation is no longer blocked by {known.problem}."
            self._announce(Event(events.UNBLOCKED, name, time.time(), detail, {"problem": known.problem}), happened)


def _progress(observed: Observation) -> Progress:
    history, served = observed.persisted.history, observed.served
    since = history[-1].at if history else None
    expires = None if served is None else served.not_after.timestamp()
    return Progress(phase(observed), since, expires, observed.state.now)
