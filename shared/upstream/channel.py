"""A TLS gRPC channel to a service, with the certificates that it trusts and the number of calls on it."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, NamedTuple, Self

import grpc
import grpc.aio

from shared.credentials.pins import ClientCertificate, Pins, Roots
from shared.settings import ServiceSettings, Tls
from shared.telemetry import RequestContext, log
from shared.upstream.unary import calls_over

# Seconds that a connection may take to be made.
CONNECT_SECONDS = 10.0
# Seconds after the last deadline of its calls at which a replaced channel is closed: gRPC ends the calls themselves.
_AFTER_DEADLINE = 1.0

_MEBIBYTE = 1024 * 1024
# What rotations prove a certificate with, too.
OPTIONS: tuple[tuple[str, int], ...] = (
    # Large photographs are sent in one message; beyond that the service's own limit decides.
    ("grpc.max_send_message_length", 64 * _MEBIBYTE),
    # gRPC's own default. Responses are numbers: a million of them are more than any classifier has for 16 images.
    ("grpc.max_receive_message_length", 4 * _MEBIBYTE),
    # A frozen peer is noticed by a ping, while calls wait, within 2.5 s: gRPC's default takes a minute. A slow one
    # answers the ping, and gets no more than two of them before it answers the call.
    ("grpc.keepalive_time_ms", 1_500),
    ("grpc.keepalive_timeout_ms", 1_000),
    ("grpc.http2.ping_timeout_ms", 1_000),
    # No pings without calls: servers answer those with too_many_pings. Load balancers drop an idle connection after
    # four minutes, so it is closed before that, and reopened by the next call.
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.client_idle_timeout_ms", 180_000),
    # Reconnected within half a second of the service's return. The option called "min" is really how long a connection
    # may take to be made: as short as the others, it would cut off every handshake over a long distance.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.min_reconnect_backoff_ms", 5_000),
    # A name whose address moves is resolved again that often while its addresses fail: gRPC's default is 30 seconds.
    ("grpc.dns_min_time_between_resolutions_ms", 500),
    # Retries are decided here, by cause, not in the library.
    ("grpc.enable_retries", 0),
    # A channel with other roots must not share the connection of one with the old roots.
    ("grpc.use_local_subchannel_pool", 1),
)
_READY = grpc.ChannelConnectivity.READY
_ROUND_ROBIN = '{"loadBalancingConfig": [{"round_robin": {}}]}'


class Target(NamedTuple):
    """gRPC's name of a service's address, the name in its certificate (empty: its address), and what calls carry.

    ``key_name`` is that of the metadata with the key; ``metadata`` and ``authority`` are the same in every call.
    """

    name: str
    tls: bool
    server_name: str = ""
    round_robin: bool = False
    key_name: str = "authorization"
    metadata: tuple[tuple[str, str], ...] = ()
    authority: str = ""

    @classmethod
    def of(cls, service: ServiceSettings) -> "Target":
        """An address is a host name, an IP address, or several IPv4 addresses with commas (used in turn)."""
        hosts = [f"[{one}]:{service.port}" if ":" in one else f"{one}:{service.port}" for one in service.addresses]
        several = len(hosts) > 1
        name = f"ipv4:{','.join(hosts)}" if several else f"dns:///{hosts[0]}"
        return cls(
            name,
            service.tls is Tls.REQUIRED,
            service.tls_name,
            several,
            service.auth_metadata,
            service.call_metadata,
            service.authority,
        )


class Channel:
    """A gRPC channel with the pins that it trusts; each call enters and leaves it as a context manager."""

    # _calls    calls in progress
    # _idle     set while there are none
    # _until    the end of the last deadline, or wait, of the calls so far

    def __init__(self, target: Target, pins: Pins | None) -> None:
        self.pins = pins
        self._tls = target.tls
        self._key_name = target.key_name
        self._fixed = target.metadata
        self._calls = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._until = 0.0
        self._channel = _open(target, pins)
        self._rpcs = calls_over(self._channel)

    def call(self, method: str, request: bytes, key: str | None, context: RequestContext) -> Coroutine[Any, Any, bytes]:
        """Call a method, as ``/package.Service/Method``, with a serialized message; the response is serialized too.

        Raises:
            grpc.aio.AioRpcError: as gRPC reports it; UNAVAILABLE also where the channel was closed meanwhile.
        """
        self._until = max(self._until, context.deadline)
        seconds = max(context.remaining, 0.001)
        return self._rpcs.call(method, request, seconds, self._metadata(key, context))

    async def connected(self, seconds: float, *, through_failures: bool = False) -> bool:
        """Wait until the channel is connected; False where ``seconds`` pass before, or an attempt to connect fails.

        With ``through_failures`` failed attempts do not end the wait.
        """
        self._until = max(self._until, time.monotonic() + seconds)
        try:
            async with asyncio.timeout(max(seconds, 0)):
                return await self._connect(through_failures=through_failures)
        except (TimeoutError, grpc.aio.UsageError):  # the latter: it was closed
            return False

    @property
    def is_ready(self) -> bool:
        """Whether it is connected."""
        return self._channel.get_state() is _READY

    @property
    def state(self) -> str:
        """The state by gRPC's name: idle, connecting, ready, transient_failure or shutdown."""
        return self._channel.get_state().name.lower()

    def __enter__(self) -> Self:
        self._calls += 1
        self._idle.clear()
        return self

    def __exit__(self, *_error: object) -> None:
        self._calls -= 1
        if not self._calls:
            self._idle.set()

    async def drain(self) -> None:
        """Close after the last call; a moment after the last deadline at the latest, when none can be in progress."""
        try:
            while self._calls:
                async with asyncio.timeout(max(self._until - time.monotonic(), 0) + _AFTER_DEADLINE):
                    await self._idle.wait()
        except TimeoutError:
            log.warning("a channel is closed with %d calls still in progress", self._calls)
        await self.close()

    async def close(self) -> None:
        self._rpcs.cancel()
        await self._channel.close()

    def __repr__(self) -> str:
        return f"<Channel {self.state}, {self._calls} calls, {self.pins!r}>"

    async def _connect(self, *, through_failures: bool) -> bool:
        shutdown = grpc.ChannelConnectivity.SHUTDOWN
        state = self._channel.get_state(try_to_connect=True)
        while state not in (_READY, shutdown):
            if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE and not through_failures:
                return False
            await self._channel.wait_for_state_change(state)
            state = self._channel.get_state(try_to_connect=True)
        return state is _READY

    def _metadata(self, key: str | None, context: RequestContext) -> tuple[tuple[str, str], ...]:
        metadata = list(self._fixed)
        if key is not None:
            if not self._tls:
                raise RuntimeError("a key must never be sent without TLS")
            metadata.append((self._key_name, key))
        if context.traceparent:
            metadata.append(("traceparent", context.traceparent))
        if context.tracestate:
            metadata.append(("tracestate", context.tracestate))
        return tuple(metadata)


def _open(target: Target, pins: Pins | None) -> grpc.aio.Channel:
    options: list[tuple[str, int | str]] = list(OPTIONS)
    if target.round_robin:
        options.append(("grpc.service_config", _ROUND_ROBIN))
    if target.authority:
        options.append(("grpc.default_authority", target.authority))
    if not target.tls:
        return grpc.aio.insecure_channel(target.name, options)
    if pins is None:
        raise RuntimeError("a channel with TLS must never be made without pins")
    if target.server_name:
        options.append(("grpc.ssl_target_name_override", target.server_name))
    return grpc.aio.secure_channel(target.name, channel_credentials(pins, pins.presents), options)


def channel_credentials(roots: Roots, presents: ClientCertificate | None = None) -> grpc.ChannelCredentials:
    """TLS that trusts these roots alone, and may present a certificate.

    The only place where a connection for a key gets its trust.
    """
    if not roots.bundle:
        raise RuntimeError("a channel with TLS must never be made without roots: gRPC would take the system's")
    if presents is None:
        return grpc.ssl_channel_credentials(root_certificates=roots.bundle)
    return grpc.ssl_channel_credentials(roots.bundle, presents.key, presents.chain)
