"""The client of one service: the live channel, the current key, and what follows when something is refused."""

import itertools
from dataclasses import replace
from typing import NamedTuple

from grpc import StatusCode
from grpc.aio import AioRpcError

from shared.credentials.cache import CredentialCache, Credentials
from shared.errors import ClientCertificateRefused, DeadlineExceeded, GatewayError, ServiceUnreachable
from shared.settings import ServiceSettings
from shared.telemetry import CREDENTIALS, WAIT, RequestContext, metrics
from shared.telemetry.trace import Call, random_id
from shared.upstream.admission import Admission
from shared.upstream.causes import CLIENT_CERTIFICATE_REFUSED, cause, is_outage, is_trust_failure
from shared.upstream.channel import Channel, Target
from shared.upstream.configured import as_configured
from shared.upstream.recovery import Recovery
from shared.upstream.slot import ChannelSlot, short

_OK, _CANCELLED = StatusCode.OK.name, StatusCode.CANCELLED.name

# The statuses of a service that is overloaded.
_NO_CAPACITY = (StatusCode.DEADLINE_EXCEEDED, StatusCode.RESOURCE_EXHAUSTED)


class _Rpc(NamedTuple):
    """One call of a service's method, ready to be sent over a channel with a key."""

    method: str
    request: bytes
    context: RequestContext
    admission: Admission | None
    images: int


class ServiceClient:
    """Calls one inference service; knows channels, keys, deadlines and retries, and no protocol.

    ``credentials`` is None for a service without TLS, which is never sent a key.
    """

    # _accepted  the key that the service accepted last, and the keys that it was one of; with others the first is tried

    def __init__(self, service: ServiceSettings, credentials: CredentialCache | None) -> None:
        self.credentials = credentials
        self._service = service.name
        self._settings = service
        self._server = ",".join(service.addresses), service.port
        self._slot = ChannelSlot(Target.of(service), service.name)
        self._recovery = Recovery(self._slot, credentials, service.name)
        self._presents = bool(service.client_certificate_secret)
        self._accepted: tuple[tuple[str, ...], str | None] = ((), None)

    async def call(
        self,
        method: str,
        request: bytes,
        context: RequestContext,
        *,
        admission: Admission | None = None,
        images: int = 1,
    ) -> bytes:
        """Call a method, as ``/package.Service/Method``, with a serialized message; the response is serialized too.

        After a refused key the other one is tried, then newer ones from Key Vault; after an untrusted certificate newer
        pins, for a while; after a connection that broke or cannot be made, the call waits for a new one, for a while
        and within the retry budget. All within the deadline; nothing else is tried twice.

        Args:
            method: the method's full name.
            request: the serialized request message.
            context: of the request that the call belongs to.
            admission: tracks the call where it counts for the service's load.
            images: how many are in the message.

        Raises:
            GatewayError: the cause, as the service, the network or Key Vault reported it.
        """
        rpc = _Rpc(method, request, context, admission, images)
        self._recovery.call_started()
        untrusted: GatewayError | None = None
        for attempts in itertools.count(1):
            credentials = None if self.credentials is None else self.credentials.latest()
            if credentials is None:
                credentials = await self._current(context)
            try:
                response = await self._with_any_key(rpc, credentials)
            except AioRpcError as error:
                why = self._cause(error)
                if credentials is not None and is_trust_failure(why):
                    untrusted = why
                    await self._recovery.from_distrust(why, attempts, credentials, context)
                elif is_outage(why):
                    await self._recovery.from_disconnection(untrusted or why, attempts, credentials, context)
                else:
                    if not isinstance(why, DeadlineExceeded):
                        self._recovery.responded()
                    raise why from error
            else:
                break
        self._recovery.responded()
        return response

    async def call_once(self, method: str, request: bytes, context: RequestContext) -> bytes:
        """As :meth:`call`, with one key and without retries: for questions about the service's state.

        Raises:
            GatewayError: the cause.
        """
        credentials = None if self.credentials is None else await self.credentials.current()
        try:
            with self._slot.channel(self._recovery.pins(credentials)) as channel:
                await channel.connected(context.remaining)
                response = await self._timed(channel, method, request, self._first_key(credentials), context)
        except AioRpcError as error:
            raise self._cause(error) from error
        self._slot.withdrawn = ()
        self._recovery.responded()
        return response

    @property
    def responds(self) -> bool:
        """Whether it is connected and no call is in trouble: known without asking the service."""
        return self._recovery.is_idle and self._slot.state == "ready"

    @property
    def retries_left(self) -> float:
        """How many retries the budget allows at the moment."""
        return self._recovery.retries_left

    @property
    def channel_state(self) -> str:
        """The live channel's state by gRPC's name; ``none`` before the first call."""
        return self._slot.state

    async def close(self) -> None:
        await self._slot.close()

    def __repr__(self) -> str:
        return f"<ServiceClient {self._slot!r} {self.credentials!r}>"

    async def _current(self, context: RequestContext) -> Credentials | None:
        if self.credentials is None:
            return None
        with context.timings.measure(CREDENTIALS):
            async with context.timeout():
                return await self.credentials.current()

    def _cause(self, error: AioRpcError) -> GatewayError:
        pins = None if self.credentials is None else self.credentials.pins
        why = as_configured(cause(error), self._settings, () if pins is None else pins.rejected)
        if self._presents and isinstance(why, ServiceUnreachable) and "Socket closed" in (error.details() or ""):
            why = ClientCertificateRefused(CLIENT_CERTIFICATE_REFUSED, retry_after=why.retry_after)
        withdrawn = self._slot.withdrawn
        # Also of a service that cannot be reached: gRPC reports the failure of the last of several addresses only.
        if not withdrawn or not (is_trust_failure(why) or is_outage(why)):
            return why
        lost = f"Trust was withdrawn from {short(withdrawn)}: it is no longer pinned, or has expired."
        return type(why)(f"{why.detail} {lost}", retry_after=why.retry_after)

    def _first_key(self, credentials: Credentials | None) -> str | None:
        if credentials is None:
            return None
        keys, key = self._accepted
        return key if keys == credentials.keys else next(iter(credentials.keys), None)

    async def _with_any_key(self, rpc: _Rpc, credentials: Credentials | None) -> bytes:
        """One attempt, or a few more where the service refuses a key: with the others, then with newer ones.

        Raises:
            AioRpcError: the call failed; over its key only where no key is accepted.
        """
        key, tried = self._first_key(credentials), set[str | None]()
        while True:
            try:
                return await self._attempt(rpc, credentials, key)
            except AioRpcError as error:
                if credentials is None or error.code() is not StatusCode.UNAUTHENTICATED:
                    raise
                tried.add(key)
                key, credentials = await self._next_key(tried, credentials, rpc.context)
                if key is None:
                    raise
                metrics.RETRIES.add((self._service, "key"))

    async def _next_key(
        self, tried: set[str | None], credentials: Credentials, context: RequestContext
    ) -> tuple[str | None, Credentials]:
        """A key that was not tried yet, of these credentials or of newer ones; None where there is none."""
        key = _untried(credentials, tried)
        if key is None:
            credentials = await self._recovery.newer(credentials, context)
            key = _untried(credentials, tried)
        return key, credentials

    async def _attempt(self, rpc: _Rpc, credentials: Credentials | None, key: str | None) -> bytes:
        context = rpc.context
        with self._slot.channel(self._recovery.pins(credentials)) as channel:
            if not channel.is_ready:
                with context.timings.measure(WAIT):
                    await channel.connected(context.remaining)
            response = await self._send(rpc, channel, key)
        self._slot.withdrawn = ()
        if credentials is not None:
            self._accepted = (credentials.keys, key)
        return response

    async def _send(self, rpc: _Rpc, channel: Channel, key: str | None) -> bytes:
        if rpc.admission is None:
            return await self._timed(channel, rpc.method, rpc.request, key, rpc.context)
        # Tracked without the waits before it: while a connection is being made, nothing is overloaded.
        with rpc.admission.track(rpc.context, rpc.images):
            try:
                return await self._timed(channel, rpc.method, rpc.request, key, rpc.context)
            except AioRpcError as error:
                if error.code() in _NO_CAPACITY:
                    raise cause(error) from error
                raise

    async def _timed(
        self, channel: Channel, method: str, request: bytes, key: str | None, context: RequestContext
    ) -> bytes:
        trace = context.trace
        if trace is not None:
            span_id = random_id(8)
            context = replace(context, traceparent=trace.traceparent(span_id))
        started, status = context.timings.call_started(), _CANCELLED
        try:
            response = await channel.call(method, request, key, context)
            status = _OK
        except AioRpcError as error:
            status = error.code().name
            raise
        finally:
            attributes = ("grpc", method[1:], status, "" if status is _OK else status, self._service)
            ended = context.timings.call_ended(started)
            metrics.CALL_DURATION.record(attributes, ended - started)
            if trace is not None:
                trace.ended(Call(span_id, method[1:], status, self._server, started, ended))
        return response


def _untried(credentials: Credentials, tried: set[str | None]) -> str | None:
    return next((key for key in credentials.keys if key not in tried), None)
