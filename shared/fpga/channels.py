"""Long-lived TLS channels: one live channel a service, replaced beside the traffic when the pins change.

A live channel never notices new pins: it keeps the roots that it was made with, also when it reconnects. So new pins
get a new channel; once it is connected, new calls go there, and the old one closes after its last call:

    (none)      -> live                     the first call
    live        -> live + successor         the pins differ: the successor connects in the background
    live + succ -> succ is live, old drains the successor is connected
    live + succ -> live                     the successor did not connect: the old one goes on, tried again later
    draining    -> closed                   the last call ended, or DRAIN_SECONDS passed
"""

import asyncio
from dataclasses import dataclass
from typing import Self

import grpc
import grpc.aio

from shared.settings import ServiceSettings, Tls
from shared.telemetry import Call, log
from shared.trust.certificates import Pins

PREDICT = "/tensorflow.serving.PredictionService/Predict"
METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata"
STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
HEALTH = "/grpc.health.v1.Health/Check"

DRAIN_SECONDS = 30.0
CONNECT_SECONDS = 10.0
# Between two tries to connect a successor.
RETRY_SECONDS = 2.0

type _Method = grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]

_MEBIBYTE = 1024 * 1024
_OPTIONS: tuple[tuple[str, int], ...] = (
    # Large photographs go in one message; the service's own limit decides beyond that.
    ("grpc.max_send_message_length", 64 * _MEBIBYTE),
    ("grpc.max_receive_message_length", 64 * _MEBIBYTE),
    # A frozen peer is noticed by a ping, while calls wait, within 2.5 s: gRPC's default takes a minute. A slow one
    # answers the ping, and gets no more than two of them before it answers the call.
    ("grpc.keepalive_time_ms", 1_500),
    ("grpc.keepalive_timeout_ms", 1_000),
    ("grpc.http2.ping_timeout_ms", 1_000),
    # No pings without calls: servers answer those with too_many_pings. Load balancers drop a silent connection after
    # four minutes, so it is left before that, and made anew by the next call.
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.client_idle_timeout_ms", 180_000),
    # Back within half a second of the service. The one called "min" is really how long a connection may take to be
    # made: short as the others, it would cut off every handshake over a long way.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.min_reconnect_backoff_ms", 5_000),
    # What may be retried is decided here, by cause, not in the library.
    ("grpc.enable_retries", 0),
    # A channel with other roots must not find the connection of one with the old roots.
    ("grpc.use_local_subchannel_pool", 1),
)
_ROUND_ROBIN = '{"loadBalancingConfig": [{"round_robin": {}}]}'


@dataclass(frozen=True)
class Endpoint:
    """Where a service is, and by which name its certificate is checked (empty: by its address)."""

    target: str
    tls: bool
    server_name: str = ""
    several: bool = False

    @classmethod
    def of(cls, service: ServiceSettings) -> "Endpoint":
        """An address is a host name, an IP address, or several IPv4 addresses with commas (tried in turn)."""
        hosts = [f"[{one}]:{service.port}" if ":" in one else f"{one}:{service.port}" for one in service.addresses]
        several = len(hosts) > 1
        target = f"ipv4:{','.join(hosts)}" if several else f"dns:///{hosts[0]}"
        return cls(target, service.tls is Tls.REQUIRED, service.tls_name, several)


class Channel:
    """A gRPC channel with the roots that it trusts, and the count of the calls on it: each enters and leaves it."""

    def __init__(self, endpoint: Endpoint, pins: Pins | None) -> None:
        self.pins = pins
        self._tls = endpoint.tls
        self._calls = 0
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._channel = _open(endpoint, pins)
        # Without serializers: bytes in, bytes out.
        self._predict: _Method = self._channel.unary_unary(PREDICT)
        self._metadata_of: _Method = self._channel.unary_unary(METADATA)
        self._status_of: _Method = self._channel.unary_unary(STATUS)
        self._health: _Method = self._channel.unary_unary(HEALTH)

    async def predict(self, request: bytes, key: str | None, call: Call) -> bytes:
        """Send a serialized PredictRequest; the answer is a serialized PredictResponse.

        Raises:
            grpc.aio.AioRpcError: as gRPC reports it.
        """
        return await self._predict(request, timeout=max(call.remaining, 0.001), metadata=self._metadata(key, call))

    async def model_metadata(self, request: bytes, key: str | None, call: Call) -> bytes:
        """Send a serialized GetModelMetadataRequest; the answer is a serialized GetModelMetadataResponse.

        Raises:
            grpc.aio.AioRpcError: as gRPC reports it.
        """
        return await self._metadata_of(request, timeout=max(call.remaining, 0.001), metadata=self._metadata(key, call))

    async def model_status(self, request: bytes, key: str | None, call: Call) -> bytes:
        """Send a serialized GetModelStatusRequest; the answer is a serialized GetModelStatusResponse.

        Raises:
            grpc.aio.AioRpcError: as gRPC reports it.
        """
        return await self._status_of(request, timeout=max(call.remaining, 0.001), metadata=self._metadata(key, call))

    async def health(self, key: str | None, call: Call) -> bytes:
        """Ask the service's health; the answer is a serialized HealthCheckResponse.

        Raises:
            grpc.aio.AioRpcError: as gRPC reports it.
        """
        return await self._health(b"", timeout=max(call.remaining, 0.001), metadata=self._metadata(key, call))

    async def connected(self, seconds: float, *, patiently: bool = False) -> bool:
        """Wait until the channel is connected; False where ``seconds`` pass before, or where the last try failed.

        With ``patiently`` failed tries are no reason to stop waiting.
        """
        try:
            async with asyncio.timeout(max(seconds, 0)):
                return await self._connect(patiently=patiently)
        except TimeoutError:
            return False

    @property
    def state(self) -> str:
        """In gRPC's words: idle, connecting, ready, transient_failure or shutdown."""
        return self._channel.get_state().name.lower()

    def __enter__(self) -> Self:
        self._calls += 1
        self._quiet.clear()
        return self

    def __exit__(self, *_error: object) -> None:
        self._calls -= 1
        if not self._calls:
            self._quiet.set()

    async def drain(self, seconds: float = DRAIN_SECONDS) -> None:
        """Close after the last call, or after ``seconds``."""
        try:
            async with asyncio.timeout(seconds):
                await self._quiet.wait()
        except TimeoutError:
            log.warning("a channel is closed with %d calls still on it", self._calls)
        await self.close()

    async def close(self) -> None:
        await self._channel.close()

    def __repr__(self) -> str:
        return f"<Channel {self.state}, {self._calls} calls, {self.pins!r}>"

    async def _connect(self, *, patiently: bool) -> bool:
        ready, lost = grpc.ChannelConnectivity.READY, grpc.ChannelConnectivity.SHUTDOWN
        state = self._channel.get_state(try_to_connect=True)
        while state not in (ready, lost):
            if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE and not patiently:
                return False
            await self._channel.wait_for_state_change(state)
            state = self._channel.get_state(try_to_connect=True)
        return state is ready

    def _metadata(self, key: str | None, call: Call) -> tuple[tuple[str, str], ...]:
        metadata = []
        if key is not None:
            if not self._tls:
                raise RuntimeError("a key must never travel without TLS")
            metadata.append(("authorization", key))
        if call.traceparent:
            metadata.append(("traceparent", call.traceparent))
        if call.tracestate:
            metadata.append(("tracestate", call.tracestate))
        return tuple(metadata)


class ChannelSlot:
    """Holds the live channel of one service and worker; belongs to one event loop.

    Whoever asks names the newest pins that are known: older ones would put an outdated channel in a newer one's place.
    """

    # _live       what new calls use; None before the first
    # _successor  connects a channel for other pins in the background; None while there is no need
    # _retry_at   when a lease may begin the next successor, after one that did not connect
    # _tasks      successors and drains under way, kept from the garbage collector

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._live: Channel | None = None
        self._successor: _Successor | None = None
        self._retry_at = 0.0
        self._tasks: set[asyncio.Task[object]] = set()

    def lease(self, pins: Pins | None) -> Channel:
        """The channel for one call, to be entered. Where ``pins`` are new, one for them is begun, the old one lent."""
        if self._live is None:
            self._live = Channel(self._endpoint, pins)
        elif self._live.pins != pins and asyncio.get_running_loop().time() >= self._retry_at:
            self._begin(pins)
        return self._live

    def is_for(self, pins: Pins | None) -> bool:
        """Whether the live channel trusts just these."""
        return self._live is not None and self._live.pins == pins

    async def renew(self, pins: Pins | None) -> bool:
        """Replace the channel by one for ``pins`` and wait for it; False where it did not connect."""
        if not self.is_for(pins):
            # It goes on for the others, should this one be given up.
            await asyncio.wait({self._begin(pins)})
        return self.is_for(pins)

    @property
    def state(self) -> str:
        """The live channel's state, in gRPC's words; ``none`` before the first call."""
        return "none" if self._live is None else self._live.state

    async def close(self) -> None:
        """Close at once, with whatever is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._live is not None:
            await self._live.close()
            self._live = None

    def __repr__(self) -> str:
        return f"<ChannelSlot live={self._live!r}{', successor' if self._successor else ''}>"

    def _begin(self, pins: Pins | None) -> asyncio.Task[None]:
        successor = self._successor
        if successor is not None and successor.pins != pins:
            successor.task.cancel()
            successor = None
        if successor is None:
            successor = _Successor(pins, self._keep(asyncio.create_task(self._replace(pins))))
            self._successor = successor
            successor.task.add_done_callback(self._ended)
        return successor.task

    def _ended(self, task: asyncio.Task[None]) -> None:
        if self._successor is not None and self._successor.task is task:
            self._successor = None

    async def _replace(self, pins: Pins | None) -> None:
        successor = Channel(self._endpoint, pins)
        try:
            connected = await successor.connected(CONNECT_SECONDS)
        except asyncio.CancelledError:
            await successor.close()
            raise
        if not connected:
            self._retry_at = asyncio.get_running_loop().time() + RETRY_SECONDS
            log.warning("a channel with the new pins does not connect; the old one goes on: %r", pins)
            await successor.close()
            return
        old, self._live = self._live, successor
        if old is not None:
            self._keep(asyncio.create_task(old.drain()))

    def _keep[T](self, task: asyncio.Task[T]) -> asyncio.Task[T]:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


@dataclass(frozen=True)
class _Successor:
    """A channel to be, and the task that connects it."""

    pins: Pins | None
    task: asyncio.Task[None]


def _open(endpoint: Endpoint, pins: Pins | None) -> grpc.aio.Channel:
    options: list[tuple[str, int | str]] = list(_OPTIONS)
    if endpoint.several:
        options.append(("grpc.service_config", _ROUND_ROBIN))
    if not endpoint.tls:
        return grpc.aio.insecure_channel(endpoint.target, options)
    if endpoint.server_name:
        options.append(("grpc.ssl_target_name_override", endpoint.server_name))
    roots = grpc.ssl_channel_credentials(root_certificates=None if pins is None else pins.bundle)
    return grpc.aio.secure_channel(endpoint.target, roots, options)
