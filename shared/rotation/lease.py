"""A lease on a service: of several runs at the same time, one acts.

Key Vault has no compare-and-set. But it gives each version of a secret a time, in whole seconds, and never an earlier
one to a later version. So a run that wants to act stores a version of the service's lease secret (a claim, which
expires by itself), waits until the second of its claim is over, and lists the versions: of the claims that have not
expired the earliest wins, of two in the same second the one with the smaller id. A later claim finds the winner's, and
loses. A lease is released by disabling its claim; that of a run that died expires.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from shared.credentials.key_vault import KeyVault
from shared.credentials.secrets import Version
from shared.errors import GatewayError, SecretMissing

# Seconds until a claim's second is over on the vault's clock, whatever is left of it, with clock drift.
_SECOND = 1.1


class LeaseHeld(Exception):
    """Another run holds the lease; ``until`` is when it ends, in Unix seconds."""

    def __init__(self, until: float) -> None:
        super().__init__("another run holds the lease")
        self.until = until


@dataclass(frozen=True)
class Lease:
    """A lease held until ``until``, in Unix seconds."""

    until: float


def winner(claims: list[Version], now: float) -> Version | None:
    """The claim that holds the lease; None where all have expired."""
    valid = [claim for claim in claims if claim.enabled and claim.expires is not None and claim.expires > now]
    return min(valid, key=lambda claim: (claim.created, claim.id), default=None)


@contextmanager
def acquired(
    vault: KeyVault,
    secret: str,
    seconds: float,
    *,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Lease]:
    """Hold the lease whose claims are the versions of ``secret``, for ``seconds`` at most.

    Raises:
        LeaseHeld: another run holds it.
        GatewayError: Key Vault cannot be used; the cause.
    """
    # Checked before claiming, so that late runs leave no claims behind.
    _raise_if_lost(vault, secret, "", clock())
    until = clock() + seconds
    claim = vault.write(secret, "claim", expires=until)
    try:
        sleep(_SECOND)
        _raise_if_lost(vault, secret, claim.id, clock())
        yield Lease(until)
    finally:
        # A claim that cannot be released expires.
        with suppress(GatewayError):
            vault.disable(secret, claim.id)


def _raise_if_lost(vault: KeyVault, secret: str, own: str, now: float) -> None:
    first = winner(_claims(vault, secret), now)
    if first is not None and first.id != own:
        raise LeaseHeld(first.expires or now)


def _claims(vault: KeyVault, secret: str) -> list[Version]:
    try:
        return vault.versions(secret)
    except SecretMissing:
        return []
