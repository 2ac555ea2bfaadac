"""An environment for rotations: a real Key Vault, identity endpoint, control plane and inference services."""

import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from devstack.authority import Authority, Issued
from devstack.authority import fingerprint as fingerprint_of
from devstack.control.app import Account
from shared.control_plane import types as control_plane_types
from shared.control_plane.client import DeploymentClient
from shared.credentials.key_vault import KeyVault, credential
from shared.errors import SecretMissing
from shared.rotation.events import Event, to_log
from shared.rotation.interfaces import Interfaces
from shared.rotation.lease import Leases
from shared.rotation.run import ServiceRotation
from shared.rotation.service_probe import GrpcProbe
from shared.rotation.service_updates import ControlPlaneUpdates
from shared.scoring.probe import probe
from shared.settings import RotationSettings, ServiceSettings, VaultSettings
from shared.upstream.codecs.tensorflow import TensorFlowCodec
from tests.support.devstack.control_plane import ControlPlaneClient, ControlPlaneFiles
from tests.support.key_vault import IDENTITY_HEADER, LocalVault, running_vault

ACCOUNT = Account()

# Gateways refresh their credentials within this time, in seconds.
REFRESH = 0.3

# Short enough for a test, but long enough for a loaded machine.
SETTINGS = RotationSettings(
    ACCOUNT.subscription,
    ACCOUNT.group,
    ACCOUNT.name,
    grace_seconds=1.0,
    update_seconds=30.0,
    settling_seconds=3.0,
    retry_seconds=3600.0,
    lease_seconds=20.0,
    least_valid_days=7,
    warn_days=30,
)

# The time limit of a run, in seconds: longer than any step takes here.
LONG = 60.0


def service_probe(service: ServiceSettings) -> GrpcProbe:
    codec = TensorFlowCodec(service)
    return GrpcProbe(service, probe(codec), codec.scores)


def service_settings(name: str, port: int) -> ServiceSettings:
    """The settings of a rotated service whose secrets have its name."""
    return ServiceSettings(
        name,
        "127.0.0.1",
        port,
        primary_key_secret=f"{name}-primary-key",
        secondary_key_secret=f"{name}-secondary-key",
        pins_secret=f"{name}-pins",
        control_plane_name=name,
        certificate_secret=f"{name}-certificate",
    )


def short_sleep(seconds: float) -> None:
    """Sleep less than requested: without concurrent runs, no claims of others can appear in the meantime."""
    time.sleep(min(seconds, 0.05))


@dataclass
class RotationEnvironment:
    """The running servers, with methods that create services and their rotations."""

    vault: LocalVault
    plane: ControlPlaneClient
    control: str
    clients: list[Any] = field(default_factory=list)

    @property
    def authority(self) -> Authority:
        return self.vault.files.authority

    @property
    def vault_settings(self) -> VaultSettings:
        return VaultSettings(self.vault.address, ca_file=str(self.vault.ca), refresh_seconds=REFRESH)

    def settings(self, **changes: Any) -> RotationSettings:
        found = replace(SETTINGS, arm_endpoint=self.control, ca_file=str(self.vault.ca))
        return replace(found, **changes)

    def service(self, name: str, issued: Issued | None = None) -> "RotatedService":
        """Create a service with a certificate, and store its secrets in the vault."""
        issued = issued or self.authority.issue(["127.0.0.1"])
        made = self.plane.create(name, issued)
        primary, secondary = self.plane.keys(made)
        # The secondary first: the key stored last is tried first; within the same second, the primary is.
        self.vault.set(f"{name}-secondary-key", secondary)
        self.vault.set(f"{name}-primary-key", primary)
        self.vault.set(f"{name}-pins", issued.certificate.decode())
        rotated = RotatedService(self, service_settings(name, made["port"]), made["id"])
        rotated.offer(issued)
        return rotated

    def steady(self, name: str) -> "RotatedService":
        """Create a service whose certificate is verified and the only pin."""
        made = self.service(name)
        made.until("certificate-verified")
        made.events.clear()
        return made

    def client(self) -> KeyVault:
        """A client of the vault, as in a gateway."""
        made = KeyVault(self.vault_settings)
        self.clients.append(made)
        return made

    def interfaces(self, service: ServiceSettings, vault: KeyVault, announce: Callable[[Event], None]) -> Interfaces:
        """The interfaces of a rotation, with real clients."""
        settings = self.settings()
        client = DeploymentClient(
            control_plane_types.Account(settings.subscription, settings.group, settings.account),
            credential(self.vault_settings),
            arm_endpoint=settings.arm_endpoint,
            ca_file=settings.ca_file,
        )
        self.clients.append(client)
        updates = ControlPlaneUpdates(client, service.control_plane_name)
        leases = Leases(vault, sleep=short_sleep)
        return Interfaces(vault, updates, service_probe(service), announce, leases, sleep=short_sleep)

    def close(self) -> None:
        for client in self.clients:
            client.close()
        self.clients.clear()


@dataclass
class RotatedService:
    """A service of the environment and its rotation; ``events`` are the announced ones."""

    environment: RotationEnvironment
    settings: ServiceSettings
    id: str
    events: list[Event] = field(default_factory=list)
    vault: KeyVault = field(init=False)
    interfaces: Interfaces = field(init=False)

    def __post_init__(self) -> None:
        self.vault = self.environment.client()
        self.interfaces = self.environment.interfaces(self.settings, self.vault, self._announce)

    def _announce(self, event: Event) -> None:
        self.events.append(event)
        to_log(event)

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    def rotation(self, **changes: Any) -> ServiceRotation:
        return ServiceRotation(self.settings, self.environment.settings(**changes), REFRESH, self.interfaces)

    def offer(self, issued: Issued | None = None) -> Issued:
        """Store a new certificate in the vault; returns it."""
        issued = issued or self.environment.authority.issue(["127.0.0.1"])
        self.environment.vault.set(self.settings.certificate_secret, (issued.key + issued.chain).decode())
        return issued

    def serve(self, issued: Issued) -> None:
        """Update the service to serve a certificate, without a rotation."""
        operation = self.environment.plane.wait_for_end(self.environment.plane.update({"id": self.id}, issued))
        assert operation["state"] == "Succeeded"

    def served(self) -> str:
        """The fingerprint of the certificate that the endpoint presents."""
        pem = ssl.get_server_certificate((self.settings.address, self.settings.port))
        return fingerprint_of(pem.encode())

    def pinned(self) -> set[str]:
        text = self.vault.read(self.settings.pins_secret).value
        return {fingerprint_of((block + "-----END CERTIFICATE-----").encode()) for block in _blocks(text)}

    def updates(self) -> int:
        """The number of updates that the control plane executed or attempted."""
        return sum(each["kind"] == "Update" for each in self.environment.plane.admin(self.id)["operations"])

    def versions(self) -> dict[str, int]:
        """The number of versions of each secret that a rotation writes."""
        names = ("pins", "rotation", "rotation-lease", "primary-key", "secondary-key", "certificate")
        return {name: self._count(f"{self.name}-{name}") for name in names}

    def _count(self, secret: str) -> int:
        try:
            return len(self.vault.versions(secret))
        except SecretMissing:
            return 0

    def until(self, kind: str, seconds: float = 60.0, **changes: Any) -> None:
        """Run until an event is announced."""
        rotation, ends = self.rotation(**changes), time.monotonic() + seconds
        while kind not in self.kinds:
            assert time.monotonic() < ends, f"{kind} was not announced: {self.kinds}"
            rotation.run(LONG)
            time.sleep(0.05)


def _blocks(text: str) -> list[str]:
    return [block for block in text.split("-----END CERTIFICATE-----") if "BEGIN" in block]


@contextmanager
def running_environment(folder: Path, *more: str) -> Iterator[RotationEnvironment]:
    """Start all servers with their state in an empty folder; ``more`` are arguments of the control plane."""
    with running_vault(folder) as vault, pytest.MonkeyPatch.context() as variables:
        variables.setenv("IDENTITY_ENDPOINT", vault.identity)
        variables.setenv("IDENTITY_HEADER", IDENTITY_HEADER)
        files = ControlPlaneFiles(folder, vault.files.authority)
        with files.running(folder / "control", *more) as running, files.connect(running.address) as plane:
            environment = RotationEnvironment(vault, plane, running.address.replace("127.0.0.1", "localhost"))
            yield environment
            environment.close()
