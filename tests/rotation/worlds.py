"""A world to rotate in: a real Key Vault, identity endpoint, control plane and inference services, on loopback."""

import os
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from devstack.authority import Authority, Issued
from devstack.authority import fingerprint as fingerprint_of
from devstack.control.app import Account
from shared.errors import SecretMissing
from shared.fpga import deployment_types
from shared.fpga.deployment_client import DeploymentClient
from shared.fpga.deployments import ServiceDeployments
from shared.fpga.endpoint import ServiceEndpoint
from shared.scoring.probe import probe
from shared.settings import RotationSettings, ServiceSettings, VaultSettings
from shared.trust.events import Event, to_log
from shared.trust.parties import Parties
from shared.trust.rotator import Rotator
from shared.trust.vault import Vault, credential
from tests.devstack.control.plane import Files, Plane
from tests.vaults import IDENTITY_HEADER, running_vault
from tests.vaults import Vault as RunningVault

ACCOUNT = Account()

# Gateways read their credentials anew within this time, in seconds.
REFRESH = 0.3

# Quick enough to watch, and long enough for what a loaded machine takes.
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

# A tick's length: as long as anything may take here, which nothing does.
LONG = 60.0


def impatient(seconds: float) -> None:
    """Sleep less than was asked for: where one run is alone, it need not wait for others' claims to show."""
    time.sleep(min(seconds, 0.05))


@dataclass
class World:
    """The running servers, and what makes services and rotators in them."""

    vault: RunningVault
    plane: Plane
    authority: Authority
    control: str
    clients: list[Any] = field(default_factory=list)

    @property
    def vault_settings(self) -> VaultSettings:
        return VaultSettings(self.vault.address, ca_file=str(self.vault.ca), refresh_seconds=REFRESH)

    def settings(self, **changes: Any) -> RotationSettings:
        found = replace(SETTINGS, arm_endpoint=self.control, ca_file=str(self.vault.ca))
        return replace(found, **changes)

    def service(self, name: str, issued: Issued | None = None, **more: Any) -> "Rotated":
        """A service that serves a certificate, with its secrets in the vault."""
        issued = issued or self.authority.issue(["127.0.0.1"])
        made = self.plane.create(name, issued, **more)
        primary, secondary = self.plane.keys(made)
        # The secondary first: of two the later is tried first, of the same second the primary.
        self.vault.set(f"{name}-secondary-key", secondary)
        self.vault.set(f"{name}-primary-key", primary)
        self.vault.set(f"{name}-pins", issued.certificate.decode())
        self.offer(name, issued)
        settings = ServiceSettings(
            name,
            "127.0.0.1",
            made["port"],
            primary_key_secret=f"{name}-primary-key",
            secondary_key_secret=f"{name}-secondary-key",
            pins_secret=f"{name}-pins",
            control_plane_name=name,
            certificate_secret=f"{name}-certificate",
        )
        return Rotated(self, settings, made["id"], issued)

    def offer(self, name: str, issued: Issued) -> None:
        """Put a certificate into the vault, as a new version."""
        self.vault.set(f"{name}-certificate", (issued.key + issued.chain).decode())

    def client(self) -> Vault:
        """A client of the vault, as gateways have one."""
        made = Vault(self.vault_settings)
        self.clients.append(made)
        return made

    def parties(
        self, service: ServiceSettings, vault: Vault, announce: Any = to_log, sleep: Any = time.sleep
    ) -> Parties:
        """Whom a rotator deals with, all of it real."""
        settings = self.settings()
        client = DeploymentClient(
            deployment_types.Account(settings.subscription, settings.group, settings.account),
            credential(self.vault_settings),
            arm_endpoint=settings.arm_endpoint,
            ca_file=settings.ca_file,
        )
        self.clients.append(client)
        deployments = ServiceDeployments(client, service.control_plane_name)
        return Parties(vault, deployments, ServiceEndpoint(service, *probe(service)), announce, sleep=sleep)

    def close(self) -> None:
        for client in self.clients:
            client.close()
        self.clients.clear()


@dataclass
class Rotated:
    """A service of the world, and its rotation; ``events`` is all that was announced."""

    world: World
    settings: ServiceSettings
    id: str
    first: Issued
    events: list[Event] = field(default_factory=list)
    vault: Vault = field(init=False)
    parties: Parties = field(init=False)

    def __post_init__(self) -> None:
        self.vault = self.world.client()
        self.parties = self.world.parties(self.settings, self.vault, self._announce, impatient)

    def _announce(self, event: Event) -> None:
        self.events.append(event)
        to_log(event)

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    def rotator(self, parties: Parties | None = None, **changes: Any) -> Rotator:
        return Rotator(self.settings, self.world.settings(**changes), REFRESH, parties or self.parties)

    def offer(self, issued: Issued | None = None) -> Issued:
        """A new certificate in the vault; returns it."""
        issued = issued or self.world.authority.issue(["127.0.0.1"])
        self.world.offer(self.name, issued)
        return issued

    def serve(self, issued: Issued) -> None:
        """Have the service serve a certificate, by hand."""
        operation = self.world.plane.ended(self.world.plane.update({"id": self.id}, issued))
        assert operation["state"] == "Succeeded"

    def served(self) -> str:
        """The fingerprint that the endpoint really presents."""
        pem = ssl.get_server_certificate((self.settings.address, self.settings.port))
        return fingerprint_of(pem.encode())

    def pinned(self) -> set[str]:
        text = self.vault.read(self.settings.pins_secret).value
        return {fingerprint_of((block + "-----END CERTIFICATE-----").encode()) for block in _blocks(text)}

    def updates(self) -> int:
        """How many updates the control plane carried out, or tried."""
        return sum(each["kind"] == "Update" for each in self.world.plane.admin(self.id)["operations"])

    def versions(self) -> dict[str, int]:
        """How many versions each of the secrets has that a rotation writes."""
        names = ("pins", "rotation", "rotation-lease", "primary-key", "secondary-key", "certificate")
        return {name: self._count(f"{self.name}-{name}") for name in names}

    def _count(self, secret: str) -> int:
        try:
            return len(self.vault.versions(secret))
        except SecretMissing:
            return 0

    def until(self, kind: str, seconds: float = 60.0, **changes: Any) -> None:
        """Tick until an event has happened."""
        rotator, ends = self.rotator(**changes), time.monotonic() + seconds
        while kind not in self.kinds:
            assert time.monotonic() < ends, f"{kind} has not happened: {self.kinds}"
            rotator.tick(LONG)
            time.sleep(0.05)


def _blocks(text: str) -> list[str]:
    return [block for block in text.split("-----END CERTIFICATE-----") if "BEGIN" in block]


@contextmanager
def running_world(folder: Path, *more: str) -> Iterator[World]:
    """All servers, with their state in an empty folder; arguments are the control plane's."""
    before = {name: os.environ.get(name) for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER")}
    with running_vault(folder) as vault:
        authority = Authority.load(folder)
        files = Files(folder, authority)
        os.environ.update(IDENTITY_ENDPOINT=vault.identity, IDENTITY_HEADER=IDENTITY_HEADER)
        try:
            with files.running(folder / "control", *more) as running, files.plane(running.address) as plane:
                world = World(vault, plane, authority, running.address.replace("127.0.0.1", "localhost"))
                yield world
                world.close()
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
