"""The interfaces that a rotation uses besides Key Vault: the service's control plane, its endpoint, and the clock.

They are defined by what a rotation needs; their implementations use gRPC and REST, which decisions and steps do not.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from shared.credentials.key_vault import KeyVault
from shared.credentials.pins import Roots
from shared.rotation.clock import steady_time
from shared.rotation.decide import Progress, Reason
from shared.rotation.decide_keys import KeyKind
from shared.rotation.events import Announce, Hold
from shared.rotation.lease import Leases
from shared.rotation.presented import Handshakes
from shared.rotation.validate import Certificate


@dataclass(frozen=True)
class UpdateStatus:
    """An update as the control plane reports it; ``operation`` is its path there, where that is known."""

    progress: Progress
    operation: str = ""
    message: str = ""


class ServiceUpdates(Protocol):
    """The control plane of one service.

    Each method raises ControlPlaneUnreachable where its outcome is not known, ControlPlaneRefused where nothing was
    done, and IdentityUnavailable.
    """

    def update(self, certificate: Certificate) -> UpdateStatus:
        """Have the service serve a certificate; waits for the end of that only briefly."""

    def progress(self, operation: str) -> UpdateStatus:
        """The progress of an update; without its operation, whether any is in progress."""

    def keys(self) -> Mapping[KeyKind, str]:
        """Both keys of the service."""

    def regenerate(self, kind: KeyKind) -> str:
        """Regenerate a key, and return it."""


class ServiceProbe(Protocol):
    """The endpoint of one service."""

    def handshakes(self) -> Handshakes:
        """What each of its addresses presents."""

    def rehearse(self, certificate: Certificate, roots: Roots) -> str:
        """Why gateways with these roots could not connect to it with the certificate, in words; empty where they can.

        Nothing is changed, and the endpoint is not asked.
        """

    def score(self, roots: Roots, key: str) -> None:
        """Score something with one key, over connections that are verified with ``roots`` alone.

        Raises:
            GatewayError: that failed; the cause.
        """


@dataclass(frozen=True)
class Interfaces:
    """All of them, for one service; ``clock`` returns Unix seconds, ``hold`` remembers what is not announced yet."""

    vault: KeyVault
    updates: ServiceUpdates
    probe: ServiceProbe
    announce: Announce
    leases: Leases
    hold: Hold = field(default_factory=lambda: Hold(Reason.ENDPOINT_UNREACHABLE))
    clock: Callable[[], float] = steady_time
    sleep: Callable[[float], None] = time.sleep
