"""The credentials of one service: read from Key Vault, kept, and refreshed in the background.

A request never waits for Key Vault while there is a snapshot. The states of a cache, by its snapshot's age:

    empty   no snapshot yet: requests wait for the first read, all for the same one
    fresh   used as it is
    due     used as it is, while one read in the background renews it
    overdue after a time without requests: they wait for a read, but for ``OVERDUE_WAIT`` at most
    stale   due, and the last read failed: used as it is, read again after a pause; ``problem`` has the cause

While it is empty and a read has failed, it is read again without a request: a worker that started while Key Vault was
away has its credentials soon after.

A caller whose keys or pins are refused asks for a newer snapshot: that reads at once, but not more often than
``MIN_INTERVAL``, and less often where such reads bring nothing new, so that a thousand workers before a service that
refuses them all do not exhaust Key Vault, which others need too.
"""

import asyncio
import copy
import datetime as dt
import math
import random
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from contextlib import suppress
from enum import Enum, auto
from typing import NamedTuple

from shared.backoff import backoff
from shared.credentials.pins import ClientCertificate, Pins, read_pins
from shared.credentials.secrets import Secret, usable_keys
from shared.credentials.trust import expiry_warning, joined, public_roots
from shared.errors import (
    GatewayError,
    IdentityUnavailable,
    InternalError,
    InvalidKey,
    SecretDisabled,
    SecretMissing,
    VaultThrottled,
    VaultUnreachable,
)
from shared.settings import Auth, ServiceSettings, Trust
from shared.telemetry import fault_path, log, metrics

# Seconds between two reads that callers force, and after a first read that failed. After UNCHANGED_READS in a row that
# brought nothing new it doubles each time, up to the maximum.
MIN_INTERVAL, MAX_INTERVAL, UNCHANGED_READS = 1.0, 10.0, 3
# Seconds between background reads that fail; doubled each time up to the maximum.
RETRY_FIRST, RETRY_MAX = 2.0, 60.0
# Seconds between reads while there is no snapshot, up to half of them less by chance: while Key Vault does not respond,
# and while it throttles, which it does for ten seconds. After other failures the pauses are those above.
AWAY, THROTTLED, JITTER = 1.0, 10.0, 0.5
# Seconds that all secrets of a read may take together, a token for them included.
READ_SECONDS = 5.0
# A snapshot of that many refresh intervals is overdue; how long a request waits for a newer one then, in seconds.
OVERDUE, OVERDUE_WAIT = 2.0, 1.0


class Credentials(NamedTuple):
    """The keys that the service accepts, in the order in which they are tried, and the pins to verify it with.

    ``read_at`` is a point of the cache's clock.
    """

    keys: tuple[str, ...]
    pins: Pins
    read_at: float

    def __repr__(self) -> str:
        return f"<Credentials {self.pins!r}>"


class Plan(Enum):
    """What a request does about the snapshot."""

    USE = auto()
    USE_AND_REFRESH = auto()
    WAIT = auto()
    FAIL = auto()


def plan(
    *, now: float, read_at: float | None, refresh_at: float, failed_at: float | None, overdue: float = math.inf
) -> Plan:
    """Decide, by the clock alone; see the module's docstring for the states.

    Args:
        now: the clock's time.
        read_at: when the snapshot was read; None while there is none.
        refresh_at: when the next background read may start.
        failed_at: when the last read failed; None after a success.
        overdue: the age at which a snapshot is read again before it is used, unless such a read failed recently.
    """
    if read_at is None:
        return Plan.FAIL if failed_at is not None and now - failed_at < MIN_INTERVAL else Plan.WAIT
    if now < refresh_at:
        return Plan.USE
    is_overdue = now - read_at >= overdue and (failed_at is None or now - failed_at >= overdue)
    return Plan.WAIT if is_overdue else Plan.USE_AND_REFRESH


def cold_pause(error: GatewayError, failures: int) -> float:
    """Seconds until a cache without a snapshot reads again, after so many failures in a row, of which this is the last.

    They are random, so that the workers that wait for a vault do not read together when it is back.
    """
    if isinstance(error, VaultThrottled):
        return backoff(1, THROTTLED, THROTTLED, jitter=JITTER)
    if isinstance(error, VaultUnreachable | IdentityUnavailable):
        return backoff(1, AWAY, AWAY, jitter=JITTER)
    return backoff(failures, RETRY_FIRST, RETRY_MAX, jitter=JITTER)


class CredentialCache:
    """Keeps the latest snapshot of one service's credentials; belongs to one event loop."""

    # _snapshot         the credentials in use; None while empty
    # _reading          the read in progress, shared by all who wait for it
    # _refresh_at       when the next background read may start
    # _forced           whether the read in progress was forced by a caller
    # _unchanged_reads  how many forced reads in a row failed or brought nothing new
    # _timer            reads again while there is no snapshot
    # _failed_at, problem, _failures   the last read's failure and how many in a row; None and 0 after a success

    def __init__(
        self,
        read: Callable[[], Awaitable[Credentials]],
        *,
        refresh_seconds: float,
        clock: Callable[[], float] = time.monotonic,
        service: str = "",
    ) -> None:
        self._read = read
        self._service = service
        self._refresh_seconds = refresh_seconds
        self._clock = clock
        self._snapshot: Credentials | None = None
        self._reading: asyncio.Task[Credentials] | None = None
        self._refresh_at = 0.0
        self._forced = False
        self._unchanged_reads = 0
        self._failed_at: float | None = None
        self._failures = 0
        self._timer: asyncio.TimerHandle | None = None
        self.problem: GatewayError | None = None

    def latest(self) -> Credentials | None:
        """The snapshot, without waiting; None while there is none, or it is overdue. Starts to renew one that is due.

        Raises:
            GatewayError: there is none, and it could not be read a moment ago; the cause.
        """
        snapshot = self._snapshot
        read_at = None if snapshot is None else snapshot.read_at
        step = plan(
            now=self._clock(),
            read_at=read_at,
            refresh_at=self._refresh_at,
            failed_at=self._failed_at,
            overdue=OVERDUE * self._refresh_seconds,
        )
        if step is Plan.FAIL and self.problem is not None:
            # A copy: the same error, raised again and again, would collect the tracebacks of all.
            raise copy.copy(self.problem)
        if step is Plan.USE_AND_REFRESH:
            self._start_reading()
        return None if step is Plan.WAIT else snapshot

    async def current(self) -> Credentials:
        """The snapshot, read first where there is none or it is overdue.

        Raises:
            GatewayError: there is none, and it cannot be read; the cause.
        """
        found = self.latest()
        if found is not None:
            return found
        if self._snapshot is None:
            return await self._shared_read()
        with suppress(GatewayError, TimeoutError):
            async with asyncio.timeout(OVERDUE_WAIT):
                return await self._shared_read()
        return self._snapshot

    def newest(self, used: Credentials) -> Credentials:
        """The snapshot as it is; ``used`` where there is none."""
        return self._snapshot or used

    async def newer_than(self, used: Credentials) -> Credentials:
        """A snapshot read after ``used`` was; ``used`` itself where a newer one is not available now."""
        snapshot = self._snapshot
        if snapshot is None or snapshot is not used:
            return snapshot or used
        last = used.read_at if self._failed_at is None else self._failed_at
        if self._reading is None:
            interval = backoff(max(1, self._unchanged_reads - UNCHANGED_READS + 1), MIN_INTERVAL, MAX_INTERVAL)
            if self._clock() - last < interval:
                return used
            self._forced = True
        try:
            return await self._shared_read()
        except GatewayError:
            return used

    @property
    def pins(self) -> Pins | None:
        """The snapshot's pins; None while there is none."""
        return None if self._snapshot is None else self._snapshot.pins

    @property
    def refresh_seconds(self) -> float:
        """The age at which a snapshot is read again."""
        return self._refresh_seconds

    @property
    def age(self) -> float | None:
        """Seconds since the snapshot was read; None while there is none."""
        return None if self._snapshot is None else self._clock() - self._snapshot.read_at

    def close(self) -> None:
        """Read no more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._reading is not None:
            self._reading.cancel()

    def __repr__(self) -> str:
        if self._snapshot is None:
            state = "empty"
        elif self.problem is not None:
            state = "stale"
        else:
            state = "due" if self._clock() >= self._refresh_at else "fresh"
        return f"<CredentialCache {state}{', reading' if self._reading else ''}>"

    async def _shared_read(self) -> Credentials:
        # Shielded: a caller that is cancelled does not cancel the read for the others.
        return await asyncio.shield(self._start_reading())

    def _start_reading(self) -> asyncio.Task[Credentials]:
        if self._reading is None:
            self._reading = asyncio.create_task(self._renew())
            self._reading.add_done_callback(self._finished)
        return self._reading

    def _finished(self, task: asyncio.Task[Credentials]) -> None:
        self._reading, self._forced = None, False
        if not task.cancelled():
            task.exception()  # retrieved here, since nobody may be waiting

    async def _renew(self) -> Credentials:
        try:
            snapshot = await self._read()
        except GatewayError as error:
            self._record_failure(error)
            raise
        except Exception as fault:
            log.error("credentials could not be read for %s: internal-error %s", self._service, fault_path(fault))
            unexpected = InternalError(f"The credentials could not be read: {type(fault).__name__}.", retry_after=1)
            self._record_failure(unexpected)
            raise unexpected from fault
        metrics.CREDENTIALS_READS.add((self._service, ""))
        if self._timer is not None:
            self._timer.cancel()
        before, self._snapshot = self._snapshot, snapshot
        is_new = before is None or (before.keys, before.pins) != (snapshot.keys, snapshot.pins)
        self._unchanged_reads = self._unchanged_reads + 1 if self._forced and not is_new else 0
        self._failed_at, self.problem, self._failures = None, None, 0
        # Spread out, so that many instances that started together do not read together.
        self._refresh_at = snapshot.read_at + self._refresh_seconds * random.uniform(0.8, 1.0)  # noqa: S311 - no secret
        return snapshot

    def _record_failure(self, error: GatewayError) -> None:
        metrics.CREDENTIALS_READS.add((self._service, error.slug))
        now = self._clock()
        if self._forced:
            self._unchanged_reads += 1
        self._failed_at, self.problem, self._failures = now, copy.copy(error), self._failures + 1
        self._refresh_at = now + backoff(self._failures, RETRY_FIRST, RETRY_MAX)
        if self._snapshot is None:
            self._read_later(cold_pause(error, self._failures))
        kept = "there is no snapshot" if self._snapshot is None else "the last snapshot stays in use"
        log.warning("credentials could not be read for %s (%s): %s %s", self._service, kept, error.slug, error.detail)

    def _read_later(self, pause: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(pause, self._start_reading)


class CredentialReader:
    """Reads a service's secrets, all of them at the same time; ``read_secret`` blocks, and runs in ``executor``."""

    def __init__(
        self,
        service: ServiceSettings,
        read_secret: Callable[[str], Secret],
        executor: Executor,
        clock: Callable[[], float] = time.monotonic,
        *,
        read_identity: Callable[[str], ClientCertificate] | None = None,
        read_token: Callable[[], str] | None = None,
    ) -> None:
        """``read_identity`` makes a client certificate of a secret's value, ``read_token`` gets one for AUTH=entra."""
        self._read_identity = read_identity
        self._read_token = read_token
        self._service = service
        self._read_secret = read_secret
        self._executor = executor
        self._clock = clock

    async def __call__(self) -> Credentials:
        """Read now.

        Raises:
            GatewayError: the primary key or the pins cannot be read, or no key can be used; the cause.
        """
        service, read_at = self._service, self._clock()
        has_keys = service.auth in {Auth.KEY, Auth.BEARER}
        primary = self._in_thread(self._read_secret, service.primary_key_secret, wanted=has_keys)
        secondary = self._in_thread(self._read_optional, service.secondary_key_secret, wanted=has_keys)
        pinned = self._in_thread(self._read_pins, service.pins_secret, wanted=service.trust is not Trust.PUBLIC)
        public = self._in_thread(public_roots, service.trust_file, wanted=service.trust is not Trust.PINS)
        presented = self._in_thread(
            self._read_presented, service.client_certificate_secret, wanted=bool(service.client_certificate_secret)
        )
        token = self._in_thread(self._token, "", wanted=service.auth is Auth.ENTRA)
        # All to their ends: of several failures the first in this order is raised, whichever came first.
        try:
            async with asyncio.timeout(READ_SECONDS):
                results = await asyncio.gather(
                    primary, secondary, pinned, public, presented, token, return_exceptions=True
                )
        except TimeoutError:
            raise VaultUnreachable(
                f"Key Vault, or the identity endpoint, did not respond within {READ_SECONDS:g} s.", retry_after=1
            ) from None
        for result in results:
            if isinstance(result, BaseException):
                raise result
        pins = joined(pinned.result(), public.result(), presented.result())
        for fault in pins.rejected:
            log.warning("service %s: %s", service.name, fault)
        return Credentials(self._authorization(primary.result(), secondary.result(), token.result()), pins, read_at)

    def _authorization(self, primary: Secret | None, secondary: Secret | None, token: str | None) -> tuple[str, ...]:
        """What authorizes a call, in the order in which it is tried; nothing where the service asks for nothing."""
        if token is not None:
            return (f"Bearer {token}",)
        if primary is None:
            return ()
        keys = self._keys(primary, secondary)
        return tuple(f"Bearer {key}" for key in keys) if self._service.auth is Auth.BEARER else keys

    def _keys(self, primary: Secret, secondary: Secret | None) -> tuple[str, ...]:
        """The keys that can be sent, in the order in which they are tried.

        Raises:
            InvalidKey: there is none.
        """
        secrets = {self._service.primary_key_secret: primary}
        if secondary is not None:
            secrets.setdefault(self._service.secondary_key_secret, secondary)
        keys, faults = usable_keys(secrets)
        for fault in faults:
            log.warning("service %s: %s The other key is used.", self._service.name, fault.detail)
        return tuple(keys)

    def _in_thread[T](self, read: Callable[[str], T], secret: str, *, wanted: bool) -> "asyncio.Future[T | None]":
        loop = asyncio.get_running_loop()
        if wanted:
            return loop.run_in_executor(self._executor, read, secret)
        nothing: asyncio.Future[T | None] = loop.create_future()
        nothing.set_result(None)
        return nothing

    def _token(self, _: str) -> str:
        if self._read_token is None:
            raise RuntimeError("a service with AUTH=entra needs a source of tokens")
        return self._read_token()

    def _read_presented(self, secret: str) -> ClientCertificate:
        if self._read_identity is None:
            raise RuntimeError("a service with a client certificate needs a reader of it")
        try:
            presented = self._read_identity(self._read_secret(secret).value)
        except ValueError as error:
            raise InvalidKey(f"The client certificate in secret {secret!r} cannot be used: {error}.") from error
        if warning := expiry_warning(presented, secret, dt.datetime.now(dt.UTC)):
            log.warning("service %s: %s", self._service.name, warning)
        return presented

    def _read_optional(self, secret: str) -> Secret | None:
        try:
            return self._read_secret(secret)
        except (SecretMissing, SecretDisabled):
            return None

    def _read_pins(self, secret: str) -> Pins:
        return read_pins(self._read_secret(secret).value, secret, dt.datetime.now(dt.UTC))
