"""One service as the gateway uses it: the live channel, the current key, and what to do when something is refused."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from grpc import StatusCode
from grpc.aio import AioRpcError

from protos.health_pb2 import HealthCheckResponse
from shared.errors import KeysRefused, ServiceUnreachable
from shared.fpga.causes import cause, is_about_trust
from shared.fpga.channels import CONNECT_SECONDS, Channel, ChannelSlot, Endpoint
from shared.fpga.retries import RetryBudget, backoff, patience
from shared.settings import ServiceSettings
from shared.telemetry import CREDENTIALS, PREDICT, WAIT, Call
from shared.trust.certificates import Pins
from shared.trust.credentials import CredentialCache, Credentials

# One of the service's methods with its request, ready to be sent over a channel with a key.
type _Send = Callable[[Channel, str | None, Call], Awaitable[bytes]]


class Predictor:
    """Calls one inference service.

    ``credentials`` is None for a service without TLS: such a one is never sent a key.
    """

    # _accepted    the key that the service took last, and the keys that it was one of; others begin with their first
    # _down_since  when the service was first seen to be away; None while it answers

    def __init__(self, service: ServiceSettings, credentials: CredentialCache | None) -> None:
        self.credentials = credentials
        self._slot = ChannelSlot(Endpoint.of(service))
        self._budget = RetryBudget()
        self._accepted: tuple[tuple[str, ...], str | None] = ((), None)
        self._down_since: float | None = None

    async def predict(self, request: bytes, call: Call) -> bytes:
        """Score a serialized PredictRequest; the answer is a serialized PredictResponse.

        A refused key is answered by the other one, then by fresh ones from Key Vault; an untrusted certificate by
        fresh pins; a connection that broke or cannot be made by waiting for a new one, for a while, within the
        deadline and the retry budget. Nothing else is tried twice.

        Raises:
            GatewayError: the cause, as the service, the network or Key Vault gave it.
        """
        return await self._answer(lambda channel, key, call: channel.predict(request, key, call), call)

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
        with call.timings.measure(CREDENTIALS):
            credentials = await self._current(call)
        self._budget.earn()
        retries = 0
        while True:
            try:
                answer = await self._trusted(send, credentials, call)
            except ServiceUnreachable as error:
                retries += 1
                credentials = await self._recovered(error, retries, credentials, call)
            else:
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

    async def _recovered(
        self, error: ServiceUnreachable, retries: int, credentials: Credentials | None, call: Call
    ) -> Credentials | None:
        """Wait until the service may be back; the credentials to go on with.

        Raises:
            ServiceUnreachable: ``error``, where it is not worth while to wait, or the service did not come back.
        """
        now = time.monotonic()
        self._down_since = self._down_since or now
        seconds = patience(now=now, down_since=self._down_since, remaining=call.remaining)
        if seconds <= 0 or not self._budget.spend():
            raise error
        with call.timings.measure(WAIT):
            pause = min(backoff(retries), seconds)
            await asyncio.sleep(pause)
            if credentials is None:
                back = await self._reconnected(None, seconds - pause)
            else:
                back, credentials = await self._reconnected_or_renewed(credentials, seconds - pause)
        if not back:
            raise error
        return credentials

    async def _reconnected(self, pins: Pins | None, seconds: float) -> bool:
        with self._slot.lease(pins) as channel:
            return await channel.connected(seconds, patiently=True)

    async def _reconnected_or_renewed(self, used: Credentials, seconds: float) -> tuple[bool, Credentials]:
        """Wait for the connection, and at the same time for newer pins, which may be what it lacks.

        Of a name with several addresses gRPC tells the last failure alone: behind a connection that one of them refused
        there may be another's certificate that is not trusted.
        """
        connecting = asyncio.create_task(self._reconnected(used.pins, seconds))
        reading = asyncio.create_task(self._newest(used))
        try:
            await asyncio.wait({connecting, reading}, return_when=asyncio.FIRST_COMPLETED)
            if not connecting.done() and reading.result().pins != used.pins:
                return await self._renewed(reading.result().pins, seconds), reading.result()
            return await connecting, used
        finally:
            connecting.cancel()
            reading.cancel()
            await asyncio.wait({connecting, reading})

    async def _renewed(self, pins: Pins, seconds: float) -> bool:
        try:
            async with asyncio.timeout(max(seconds, 0)):
                return await self._slot.renew(pins)
        except TimeoutError:
            return False

    async def _newest(self, used: Credentials) -> Credentials:
        return used if self.credentials is None else await self.credentials.newer_than(used)

    async def _trusted(self, send: _Send, credentials: Credentials | None, call: Call) -> bytes:
        """One try, or a few more where the service refuses a key or shows an unknown certificate."""
        try:
            return await self._attempt(send, credentials, self._first_key(credentials), call)
        except AioRpcError as error:
            if credentials is None:
                raise cause(error) from error
            if error.code() is StatusCode.UNAUTHENTICATED:
                return await self._with_other_keys(send, credentials, call)
            if is_about_trust(error):
                return await self._with_fresh_pins(send, credentials, call, error)
            raise cause(error) from error

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

    async def _with_other_keys(self, send: _Send, credentials: Credentials, call: Call) -> bytes:
        """The keys of the snapshot that were not tried, then those of a newer one."""
        tried = {self._first_key(credentials)}
        refusal: AioRpcError | None = None
        for _ in range(2):
            for key in (key for key in credentials.keys if key not in tried):
                tried.add(key)
                try:
                    return await self._attempt(send, credentials, key, call)
                except AioRpcError as error:
                    if error.code() is not StatusCode.UNAUTHENTICATED:
                        raise cause(error) from error
                    refusal = error
            credentials = await self._newer(credentials, call)
        raise KeysRefused("The service accepts neither the primary nor the secondary key.") from refusal

    async def _with_fresh_pins(self, send: _Send, credentials: Credentials, call: Call, error: AioRpcError) -> bytes:
        fresh = await self._newer(credentials, call)
        with call.timings.measure(WAIT):
            renewed = fresh.pins != credentials.pins and await self._renewed(fresh.pins, call.remaining)
        if not renewed:
            raise cause(error) from error
        try:
            return await self._attempt(send, fresh, self._first_key(fresh), call)
        except AioRpcError as again:
            raise cause(again) from again

    async def _newer(self, used: Credentials, call: Call) -> Credentials:
        with call.timings.measure(CREDENTIALS):
            async with call.in_time():
                return await self._newest(used)


def _pins(credentials: Credentials | None) -> Pins | None:
    return None if credentials is None else credentials.pins
