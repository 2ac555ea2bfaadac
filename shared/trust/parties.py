"""Whom a rotation deals with, besides Key Vault: the service's control plane and its endpoint, and the time.

They are named here by what they do, since those who do it know gRPC and REST, which this part of the house does not.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from shared.trust.events import Announce
from shared.trust.judge import Certificate
from shared.trust.key_rotation import Kind
from shared.trust.rotation import Progress
from shared.trust.vault import Vault


@dataclass(frozen=True)
class Told:
    """What the control plane says of an update; ``operation`` is where it says more, if it said."""

    progress: Progress
    operation: str = ""
    message: str = ""


class Deployments(Protocol):
    """The control plane of one service.

    Each method raises ControlPlaneUnreachable where nothing is known of what came of it, and ControlPlaneRefused where
    nothing came of it.
    """

    def update(self, certificate: Certificate) -> Told:
        """Have the service serve a certificate; waits for the end of that only a little."""

    def progress(self, operation: str) -> Told:
        """How far an update is; without its operation, whether any is under way."""

    def keys(self) -> Mapping[Kind, str]:
        """Both keys of the service."""

    def regenerate(self, kind: Kind) -> str:
        """Have a key generated anew, and return it."""


class Endpoint(Protocol):
    """The data plane of one service."""

    def presented(self) -> Sequence[bytes]:
        """The leaf certificate (DER) that each of its addresses presents; without those that do not answer."""

    def score(self, pin: str, key: str) -> None:
        """Score something with one key, trusting one certificate (PEM) alone.

        Raises:
            GatewayError: that failed; the cause.
        """


@dataclass(frozen=True)
class Parties:
    """All of them, for one service; ``clock`` gives Unix seconds."""

    vault: Vault
    deployments: Deployments
    endpoint: Endpoint
    announce: Announce
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
