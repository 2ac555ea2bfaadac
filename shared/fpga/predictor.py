"""One service as the gateway uses it: the live channel, the current key, and what to do when something is refused."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from grpc import StatusCode
from grpc.aio import AioRpcError

from protos.health_pb2 import HealthCheckResponse
from shared.admission import Admission
from shared.errors import GatewayError, KeysRefused, ServiceUnreachable
from shared.fpga.causes import cause, is_about_trust
from shared.fpga.channels import CONNECT_SECONDS, Channel, ChannelSlot, Endpoint
from shared.fpga.retries import BACKOFF_LAST, RetryBudget, backoff, patience
from shared.settings import ServiceSettings
from shared.telemetry import CREDENTIALS, PREDICT, WAIT, Call
from shared.trust.certificates import Pins
from shared.trust.credentials import CredentialCache, Credentials

# One of the service's methods with its request, ready to be sent over a channel with a key.
type _Send = Callable[[Channel, str | None, Call], Awaitable[bytes]]

# What the service says when it cannot keep up.
_NO_CAPACITY = (StatusCode.DEADLINE_EXCEEDED, StatusCode.RESOURCE_EXHAUSTED)


class Predictor:
    """Calls one inference service.

    ``credentials`` is None for a service without TLS: such a one is never sent a key. ``admission`` watches the calls.
    """

    # _accepted    the key that the service took last, and the keys that it was one of; others begin with their first
    # _down_since  when the service was first seen to be away; None while it answers

    def __init__(self, service: ServiceSettings, credentials: CredentialCache | None) -> None:
        self.credentials = credentials
        self.admission = Admission(service.max_concurrency * len(service.addresses), service.deadline_seconds)
        self._slot = ChannelSlot(Endpoint.of(service))
        self._budget = RetryBudget()
        self._accepted: tuple[tuple[str, ...], str | None] = ((), None)
        self._down_since: float | None = None

    async def predict(self, request: bytes, call: Call) -> bytes:
        """Score a serialized PredictRequest; the answer is a serialized PredictResponse.

        A refused key is answered by the other one, then by fresh ones from Key Vault; an untrusted certificate by
        fresh pins, looked for again for a while; a connection that broke or cannot be made by waiting for a new one,
        for a while, within the retry budget. All within the deadline; nothing else is tried twice.

        Raises:
            GatewayError: the cause, as the service, the network or Key Vault gave it.
        """

        async def send(channel: Channel, key: str | None, call: Call) -> bytes:
            # Watched alone, without what is waited for before: while a connection is made, nobody is overloaded.
            with self.admission.watch(call):
                try:
                    return await channel.predict(request, key, call)
                except AioRpcError as error:
                    if error.code() in _NO_CAPACITY:
                        raise cause(error) from error
                    raise

        return await self._answer(send, call)

    async def model_metadata(self, request: bytes, call: Call) -> bytes:
        """Ask what the model takes and gives, by a serialized GetModelMetadataRequest; otherwise as :meth:`predict`."""
        return await self._answer(lambda channel, key, call: channel.model_metadata(request, key, call), call)

    async def model_status(self, request: bytes, call: Call) -> bytes:
        """Ask for the model's versions, by a serialized GetModelStatusRequest; otherwise as :meth:`predict`."""
        return await self._answer(lambda channel, key, call: channel.model_status(request, key, call), call)

    async def connect(self) -> None:
        """Fetch the credentials and connect, so that the first request need not.

        Raises:
            GatewayError: the credentials cannot be had, or the service does not answer; the cause.
        """
        await self.health(Call("warm-up", time.monotonic() + CONNECT_SECONDS))

    async def health(self, call: Call) -> str:
        """The service's own word on its health, in lower case; ``unknown`` where it does not offer the protocol.

        Raises:
            GatewayError: it cannot be asked; the cause.
        """
        credentials = None if self.credentials is None else await self.credentials.current()
        try:
            with self._slot.lease(_pins(credentials)) as channel:
                await channel.connected(call.remaining)
                answer = await channel.health(self._first_key(credentials), call)
        except AioRpcError as error:
            if error.code() is StatusCode.UNIMPLEMENTED:
                return "unknown"
            raise cause(error) from error
        return HealthCheckResponse.ServingStatus.Name(HealthCheckResponse.FromString(answer).status).lower()

    @property
    def channel_state(self) -> str:
        return self._slot.state

    async def close(self) -> None:
        await self._slot.close()

    def __repr__(self) -> str:
        return f"<Predictor {self._slot!r} {self.credentials!r}>"

    async def _answer(self, send: _Send, call: Call) -> bytes:
        self._budget.earn()
        untrusted: GatewayError | None = None
        for tries in itertools.count(1):
            with call.timings.measure(CREDENTIALS):
                credentials = await self._current(call)
            try:
                answer = await self._admitted(send, credentials, call)
            except AioRpcError as error:
                why = cause(error)
                if credentials is not None and is_about_trust(error):
                    untrusted = why
                    await self._trusted(why, tries, credentials, call)
                elif isinstance(why, ServiceUnreachable):
                    await self._recovered(untrusted or why, tries, credentials, call)
                else:
                    raise why from error
            else:
                break
        self._down_since = None
        return answer

    async def _current(self, call: Call) -> Credentials | None:
        if self.credentials is None:
            return None
        snapshot = self.credentials.latest()
        if snapshot is not None:
            return snapshot
        async with call.in_time():
            return await self.credentials.current()

    def _first_key(self, credentials: Credentials | None) -> str | None:
        if credentials is None:
            return None
        keys, key = self._accepted
        return key if keys == credentials.keys else credentials.keys[0]

    async def _admitted(self, send: _Send, credentials: Credentials | None, call: Call) -> bytes:
        """One try, or a few more where the service refuses a key: with the others, then with those of a newer snapshot.

        Raises:
            AioRpcError: the call failed, but not over its key.
            KeysRefused: no key is accepted.
        """
        tried = {key := self._first_key(credentials)}
        try:
            return await self._attempt(send, credentials, key, call)
        except AioRpcError as error:
            if credentials is None or error.code() is not StatusCode.UNAUTHENTICATED:
                raise
            refusal = error
        for _ in range(2):
            for key in (key for key in credentials.keys if key not in tried):
                tried.add(key)
                try:
                    return await self._attempt(send, credentials, key, call)
                except AioRpcError as error:
                    if error.code() is not StatusCode.UNAUTHENTICATED:
                        raise
                    refusal = error
            credentials = await self._newer(credentials, call)
        raise KeysRefused("The service accepts neither the primary nor the secondary key.") from refusal

    async def _attempt(self, send: _Send, credentials: Credentials | None, key: str | None, call: Call) -> bytes:
        with self._slot.lease(_pins(credentials)) as channel:
            if channel.state != "ready":
                with call.timings.measure(WAIT):
                    await channel.connected(call.remaining)
            with call.timings.measure(PREDICT):
                answer = await send(channel, key, call)
        if credentials is not None:
            self._accepted = (credentials.keys, key)
        return answer

    def _patience(self, call: Call) -> float:
        """Seconds for which the call may wait until the service, seen to be in trouble now, may be back."""
        now = time.monotonic()
        self._down_since = self._down_since or now
        return patience(now=now, down_since=self._down_since, remaining=call.remaining)

    async def _recovered(self, error: GatewayError, tries: int, credentials: Credentials | None, call: Call) -> None:
        """Wait until the service may be back; later, when nothing is waited for any more, look for newer pins alone.

        Of a name with several addresses gRPC tells the last failure alone: behind a connection that one of them refused
        there may be another's certificate that is not trusted.

        Raises:
            GatewayError: ``error``, where it is not worth while to wait, or the service did not come back.
        """
        seconds = self._patience(call)
        if seconds <= 0:
            if credentials is not None and await self._renewed(await self._newer(credentials, call), call):
                return
            raise error
        if not self._budget.spend():
            raise error
        with call.timings.measure(WAIT):
            back = False
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await asyncio.sleep(backoff(tries))
                    await self._reconnected(credentials)
                    back = True
        if not back:
            raise error

    async def _reconnected(self, used: Credentials | None) -> None:
        """Wait for the connection, and at the same time for one with newer pins, which may be what it lacks."""
        ways = [asyncio.create_task(self._connected(used))]
        if used is not None:
            ways.append(asyncio.create_task(self._replaced(used)))
        try:
            done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in done:
                way.result()
        finally:
            for task in ways:
                task.cancel()
            await asyncio.wait(ways)

    async def _connected(self, used: Credentials | None) -> None:
        """Wait for the live channel, whichever that is: while one is waited for, another may take its place."""
        while True:
            newest = used if self.credentials is None else self.credentials.latest()
            with self._slot.lease(_pins(newest)) as channel:
                if await channel.connected(BACKOFF_LAST, patiently=True):
                    return

    async def _replaced(self, used: Credentials) -> None:
        """Look for newer pins, again and again, until a channel with them has taken the live one's place."""
        fresh = used
        while True:
            fresh = await self._newest(fresh)
            if not self._slot.is_for(fresh.pins) and await self._slot.renew(fresh.pins):
                return
            await asyncio.sleep(BACKOFF_LAST)

    async def _trusted(self, error: GatewayError, tries: int, used: Credentials, call: Call) -> None:
        """Look for newer pins, with which the service's certificate may be trusted, and connect with them.

        Where there are none, or the service is away just now, another try is worth while for as long as any trouble is
        waited out.

        Raises:
            GatewayError: ``error``, where it is not.
        """
        seconds = self._patience(call)
        if await self._renewed(await self._newer(used, call), call):
            return
        if seconds <= 0:
            raise error
        with call.timings.measure(WAIT):
            await asyncio.sleep(min(backoff(tries), seconds))

    async def _renewed(self, fresh: Credentials, call: Call) -> bool:
        """Whether a channel with those pins has taken the live one's place; False where that has them already."""
        if self._slot.is_for(fresh.pins):
            return False
        with call.timings.measure(WAIT):
            try:
                async with call.in_time():
                    return await self._slot.renew(fresh.pins)
            except TimeoutError:
                return False

    async def _newest(self, used: Credentials) -> Credentials:
        return used if self.credentials is None else await self.credentials.newer_than(used)

    async def _newer(self, used: Credentials, call: Call) -> Credentials:
        with call.timings.measure(CREDENTIALS):
            async with call.in_time():
                return await self._newest(used)


def _pins(credentials: Credentials | None) -> Pins | None:
    return None if credentials is None else credentials.pins
