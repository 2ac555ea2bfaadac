"""A lease on a service's secrets: of several runs at the same time, one acts.

Key Vault has no compare-and-set. But it gives each version of a secret the time of its last change, in whole seconds of
one clock, and never an earlier one to a later change. So a run that wants to act makes a claim: a version of the lease
secret, enabled, that expires. Of the claims that have not expired the earliest holds the lease, of two in the same
second the one with the smaller id. A run acts once it has *seen its own claim listed and first*, a second after it was
first listed: by then every claim of the same second is listed, too, also where Key Vault lists late. Each write checks
again. A lease is released by disabling its claim; that of a run that died expires.

A process claims with the same version each time, so that versions do not pile up. All times are the vault's, which the
response to a claim states: neither the wall clock of this machine nor that of another one matters.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from shared.credentials.key_vault import KeyVault
from shared.credentials.secrets import Version
from shared.errors import GatewayError, SecretMissing, VaultUnreachable

# Seconds until the vault's second in which a claim was made is over, with clock drift.
_SECOND = 1.1
# Seconds for which a claim may be missing from the list, and between two lists.
_LISTED, _POLL = 15.0, 0.5
# Seconds that a request which is on its way may take; none is sent later than that before the lease ends.
_REQUEST = 9.0
# By how much a claim's expiry may differ from the vault's clock.
_DRIFT = 2.0


class LeaseHeld(Exception):
    """Another run holds the lease, or took it over; ``seconds`` is how long at most."""

    def __init__(self, seconds: float) -> None:
        super().__init__("another run holds the lease")
        self.seconds = seconds


def winner(claims: list[Version], now: float) -> Version | None:
    """The claim that holds the lease at a time of the vault's clock; None where all have expired."""
    valid = [claim for claim in claims if claim.enabled and claim.expires is not None and claim.expires > now]
    return min(valid, key=lambda claim: (claim.updated, claim.id), default=None)


@dataclass(frozen=True)
class Lease:
    """A claim of this process; ``ends`` is on the monotonic clock, ``ahead`` what the vault's clock is ahead of it."""

    vault: KeyVault
    secret: str
    claim: Version
    ends: float
    ahead: float
    length: float
    monotonic: Callable[[], float]

    def check(self) -> None:
        """Before each write: the claim is listed and first, and the write will arrive before it expires.

        Raises:
            LeaseHeld: that is not so.
            GatewayError: Key Vault cannot be used; the cause.
        """
        if self.monotonic() > self.ends - min(_REQUEST, self.length / 2) or not self.is_first():
            raise LeaseHeld(_SECOND)

    def is_first(self) -> bool:
        """Whether the claim is first; False where it is not listed, and no other is.

        Raises:
            LeaseHeld: another one is first.
            GatewayError: Key Vault cannot be used; the cause.
        """
        now = self.ahead + self.monotonic()
        first = winner(self.vault.versions(self.secret), now)
        if first is not None and first.id != self.claim.id:
            raise LeaseHeld(max((first.expires or now) - now, _SECOND))
        # An entry of an earlier claim with the same version is not this one.
        return first is not None and first.updated == self.claim.updated


@dataclass
class Leases:
    """The leases of one process; safe to use from several threads."""

    # _own    this process's version of each lease secret
    # _held   the secrets whose lease a run of this process holds, or is claiming
    # _ahead  what the vault's clock is ahead of the monotonic clock; None before the first claim

    vault: KeyVault
    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _own: dict[str, str] = field(default_factory=dict)
    _held: set[str] = field(default_factory=set)
    _ahead: float | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def acquired(self, secret: str, seconds: float) -> Iterator[Lease]:
        """Hold the lease whose claims are the versions of ``secret``, for ``seconds`` at most.

        Raises:
            LeaseHeld: another run holds it.
            GatewayError: Key Vault cannot be used; the cause.
        """
        with self._alone(secret, seconds):
            self._raise_if_late(secret)
            lease = self._claim(secret, seconds)
            try:
                self._win(lease)
                yield lease
            finally:
                # A claim that cannot be released expires.
                with suppress(GatewayError):
                    self.vault.renew(secret, lease.claim.id, enabled=False)

    @contextmanager
    def _alone(self, secret: str, seconds: float) -> Iterator[None]:
        """Runs of this process share the version of its claim: only one may use it."""
        with self._lock:
            if secret in self._held:
                raise LeaseHeld(seconds)
            self._held.add(secret)
        try:
            yield
        finally:
            with self._lock:
                self._held.discard(secret)

    def _raise_if_late(self, secret: str) -> None:
        """Without a version to claim with: a run that is late must leave none behind."""
        if secret in self._own:
            return
        try:
            claims = self.vault.versions(secret)
        except SecretMissing:
            return
        now = self._now()
        first = winner(claims, now)
        # A claim of the future shows only that this machine's clock is wrong.
        if first is not None and first.expires is not None and first.updated <= now + _DRIFT:
            raise LeaseHeld(first.expires - now)

    def _claim(self, secret: str, seconds: float) -> Lease:
        ends = self.monotonic() + seconds
        expires = self._now() + seconds
        claim = self._renewed(secret, expires) or self.vault.write(secret, "claim", expires=expires)
        if abs((claim.expires or 0.0) - claim.updated - seconds) > _DRIFT:
            # This machine's clock differs from the vault's, by which the others see whether the claim has expired.
            ends = self.monotonic() + seconds
            claim = self.vault.renew(secret, claim.id, enabled=True, expires=claim.updated + seconds)
        ahead = self._ahead = claim.updated - self.monotonic()
        self._own[secret] = claim.id
        return Lease(self.vault, secret, claim, ends, ahead, seconds, self.monotonic)

    def _renewed(self, secret: str, expires: float) -> Version | None:
        own = self._own.get(secret)
        if own is None:
            return None
        try:
            return self.vault.renew(secret, own, enabled=True, expires=expires)
        except SecretMissing:
            return None  # somebody deleted it

    def _win(self, lease: Lease) -> None:
        ends = self.monotonic() + _LISTED
        while not lease.is_first():
            if self.monotonic() >= ends:
                raise VaultUnreachable(f"Key Vault does not list the claim on {lease.secret!r} that it stored.")
            self.sleep(_POLL)
        self.sleep(_SECOND)
        lease.check()

    def _now(self) -> float:
        """The time on the vault's clock, as far as it is known."""
        return self.wall() if self._ahead is None else self._ahead + self.monotonic()
