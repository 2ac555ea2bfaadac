"""What a call does when the service cannot be reached or is not trusted: it waits, and looks for newer pins.

A call waits for a service that is in trouble for a while from the trouble's beginning, within its deadline and the
retry budget; while it waits for the connection, newer pins are looked for, since those may be what is missing.
"""

import asyncio
import time
from contextlib import suppress

from shared.credentials.cache import CredentialCache, Credentials
from shared.credentials.pins import Pins
from shared.errors import GatewayError
from shared.telemetry import CREDENTIALS, WAIT, RequestContext, metrics
from shared.upstream.retry import FORGOTTEN, MARGIN, PAUSE_LAST, RetryBudget, patience, pause
from shared.upstream.slot import ChannelSlot


class Recovery:
    """Recovers the connection to one service; each method returns where another attempt is worth while.

    ``credentials`` is None for a service without TLS.
    """

    # _down_since  when the service was first seen to be in trouble; None while it responds
    # _seen_at     when a call last met that trouble

    def __init__(self, slot: ChannelSlot, credentials: CredentialCache | None, service: str) -> None:
        self._slot = slot
        self._credentials = credentials
        self._service = service
        self._budget = RetryBudget()
        self._down_since: float | None = None
        self._seen_at = 0.0

    def call_started(self) -> None:
        self._budget.earn()

    @property
    def retries_left(self) -> float:
        """How many retries the budget allows at the moment."""
        return self._budget.tokens

    @property
    def is_idle(self) -> bool:
        """Whether the service is in no trouble, as far as calls have met it."""
        return self._down_since is None

    def responded(self) -> None:
        """The service was reached, whatever it responded."""
        self._down_since = None

    async def from_disconnection(
        self, error: GatewayError, attempts: int, used: Credentials | None, context: RequestContext
    ) -> None:
        """Wait until the connection is back; after the time to wait is over, only look for newer pins once.

        gRPC reports the failure of the last address only: behind a connection that one address of a name refused,
        there may be another's certificate that is not trusted.

        Raises:
            GatewayError: ``error``, where waiting is not worth while, or the service did not come back.
        """
        seconds = self._patience(context)
        if seconds <= 0:
            if used is not None and await self._replaced(await self.newer(used, context), context):
                return
            raise error
        if not self._budget.spend():
            raise error
        with context.timings.measure(WAIT):
            back = False
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await asyncio.sleep(pause(attempts))
                    await self._reconnected(used)
                    back = True
        if not back:
            self._seen_at = time.monotonic()
            raise error
        metrics.RETRIES.add((self._service, "disconnection"))

    async def from_distrust(
        self, error: GatewayError, attempts: int, used: Credentials, context: RequestContext
    ) -> None:
        """Look for newer pins, by which the service's certificate may be trusted, and connect with them.

        Where there are none, or the service is down at the moment, another attempt is worth while for as long as any
        trouble is waited out.

        Raises:
            GatewayError: ``error``, where it is not.
        """
        seconds = self._patience(context)
        if await self._replaced(await self.newer(used, context), context):
            metrics.RETRIES.add((self._service, "distrust"))
            return
        if min(seconds, context.remaining - MARGIN) <= 0:
            raise error
        with context.timings.measure(WAIT):
            await asyncio.sleep(min(pause(attempts), seconds))
        metrics.RETRIES.add((self._service, "distrust"))

    async def newer(self, used: Credentials, context: RequestContext) -> Credentials:
        """Credentials newer than ``used``, or ``used`` itself; shortly before the request's deadline at the latest."""
        with context.timings.measure(CREDENTIALS), suppress(TimeoutError):
            async with _before_deadline(context):
                return await self._newest(used)
        return used

    def pins(self, used: Credentials | None) -> Pins | None:
        """The newest pins, for the channel: older ones would bring a withdrawn certificate back."""
        newest = used if used is None or self._credentials is None else self._credentials.newest(used)
        return None if newest is None else newest.pins

    def _patience(self, context: RequestContext) -> float:
        """Seconds for which the call may wait until the service, seen to be in trouble now, may be back."""
        now = time.monotonic()
        if self._down_since is None or now - self._seen_at > FORGOTTEN:
            self._down_since = now
        self._seen_at = now
        return patience(now=now, down_since=self._down_since, remaining=context.remaining)

    async def _reconnected(self, used: Credentials | None) -> None:
        """Wait for the connection, and at the same time for one with newer pins."""
        waits = [asyncio.create_task(self._connected(used))]
        if used is not None:
            waits.append(asyncio.create_task(self._replaced_by_newer_pins(used)))
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in done:
                wait.result()
        finally:
            for task in waits:
                task.cancel()
            await asyncio.wait(waits)

    async def _connected(self, used: Credentials | None) -> None:
        """Wait for the live channel, whichever that is: it may be replaced meanwhile."""
        while True:
            with self._slot.channel(self.pins(used)) as channel:
                if await channel.connected(PAUSE_LAST, through_failures=True):
                    return

    async def _replaced_by_newer_pins(self, used: Credentials) -> None:
        """Look for newer pins, again and again, until a channel with them has replaced the live one."""
        fresh = used
        while True:
            fresh = await self._newest(fresh)
            if not self._slot.has(fresh.pins) and await self._slot.renew(fresh.pins):
                return
            await asyncio.sleep(PAUSE_LAST)

    async def _replaced(self, fresh: Credentials, context: RequestContext) -> bool:
        """Whether a channel with those pins has replaced the live one; False where that one has them already."""
        if self._slot.has(fresh.pins):
            return False
        with context.timings.measure(WAIT):
            try:
                async with _before_deadline(context):
                    return await self._slot.renew(fresh.pins)
            except TimeoutError:
                return False

    async def _newest(self, used: Credentials) -> Credentials:
        return used if self._credentials is None else await self._credentials.newer_than(used)


def _before_deadline(context: RequestContext) -> asyncio.Timeout:
    """Ends a wait while there is time to report the cause instead of the delay."""
    return asyncio.timeout(max(context.remaining - MARGIN, 0))
