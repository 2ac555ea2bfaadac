"""A lease on a service: of several rotations that run at once, one acts.

Key Vault has no compare-and-set. But it gives each version of a secret a time, in whole seconds, and never an earlier
one to a later version. So whoever wants to act stores a version of the service's lease secret (a claim, which expires
by itself), waits until the second of its claim is over, and lists the versions: of the claims that are alive the
earliest has won, of two in the same second the one with the smaller identifier. A claim that comes later finds the
winner's, and loses. Giving back is disabling one's claim; of a run that died the claim expires.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from shared.errors import GatewayError, SecretMissing
from shared.trust.secrets import Version
from shared.trust.vault import Vault

# Until a claim's second is over on the vault's clock, whatever was left of it: a second, and what clocks drift in one.
_SECOND = 1.1


class Busy(Exception):
    """Another run holds the lease; ``until`` is when it ends, in Unix seconds."""

    def __init__(self, until: float) -> None:
        super().__init__("another run is at work")
        self.until = until


@dataclass(frozen=True)
class Lease:
    """A lease held until ``until``, in Unix seconds."""

    until: float


def winner(claims: list[Version], now: float) -> Version | None:
    """The claim that holds the lease; None where none is alive."""
    alive = [claim for claim in claims if claim.enabled and claim.expires is not None and claim.expires > now]
    return min(alive, key=lambda claim: (claim.created, claim.id), default=None)


@contextmanager
def held(
    vault: Vault,
    secret: str,
    seconds: float,
    *,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Lease]:
    """Hold the lease whose claims are the versions of ``secret``, for ``seconds`` at most.

    Raises:
        Busy: somebody else holds it.
        GatewayError: Key Vault cannot be used; the cause.
    """
    # A look first, so that those who come too late leave no claim behind.
    _refuse_if_lost(vault, secret, "", clock())
    until = clock() + seconds
    claim = vault.write(secret, "claim", expires=until)
    try:
        sleep(_SECOND)
        _refuse_if_lost(vault, secret, claim.id, clock())
        yield Lease(until)
    finally:
        # A claim that cannot be given back expires.
        with suppress(GatewayError):
            vault.disable(secret, claim.id)


def _refuse_if_lost(vault: Vault, secret: str, own: str, now: float) -> None:
    first = winner(_claims(vault, secret), now)
    if first is not None and first.id != own:
        raise Busy(first.expires or now)


def _claims(vault: Vault, secret: str) -> list[Version]:
    try:
        return vault.versions(secret)
    except SecretMissing:
        return []
