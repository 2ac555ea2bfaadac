"""One FPGA service: a gRPC server with a model, keys and a certificate, which can be replaced while it runs."""

import asyncio
from dataclasses import dataclass

import grpc

from devstack.fpga.access import KeyRing
from devstack.fpga.calls import Calls, drop_connections
from devstack.fpga.engines import Engine
from devstack.fpga.faults import Faults, FaultSwitch
from devstack.fpga.handlers import Parts, handlers
from devstack.fpga.health import Health
from devstack.fpga.identity import Identity, KeyPair
from devstack.fpga.recorder import Recorder
from devstack.fpga.requests import Model
from devstack.keys import Keys
from devstack.sockets import PortUnavailable, bind

MESSAGE_LIMIT = 4 * 1024 * 1024

_MARGIN_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a service listens; port 0 takes a free one. ``message_limit`` is in bytes, in both directions."""

    host: str = "127.0.0.1"
    port: int = 0
    message_limit: int = MESSAGE_LIMIT


class Service:
    """A service of the data plane. Use it inside one event loop::

        service = Service(Model("imagenet", 1, engine.output_shape), engine,
                          keys=KeyRing(Keys("first", "second")), identity=Identity(KeyPair(chain, key)))
        port = await service.start()
        service.set_certificate(new_pair)
        await service.stop()

    With an identity it uses TLS and every call needs a key; without one, neither. Services may share an engine:
    stopping a service does not close it.
    """

    def __init__(
        self,
        model: Model,
        engine: Engine,
        *,
        keys: KeyRing | None = None,
        identity: Identity | None = None,
        endpoint: Endpoint | None = None,
        faults: FaultSwitch | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        if (keys is None) != (identity is None):
            raise ValueError("keys go with TLS: a service has keys and a certificate, or neither")
        self.model = model
        self.recorder = recorder or Recorder()
        self._keys = keys
        self._identity = identity
        self._endpoint = endpoint or Endpoint()
        self._faults = faults or FaultSwitch()
        self._health = Health(lambda: self._faults.not_serving)
        self._calls = Calls()
        self._handlers = handlers(
            Parts(
                model=model,
                engine=engine,
                health=self._health,
                faults=self._faults,
                recorder=self.recorder,
                keys=keys,
                calls=self._calls,
                drop=self.drop_connections,
            )
        )
        # None while stopped; the port stays the same from the first start on.
        self._server: grpc.aio.Server | None = None
        self._port = self._endpoint.port

    @property
    def port(self) -> int:
        """The port; 0 before the first start where a free one is taken."""
        return self._port

    @property
    def address(self) -> str:
        return f"{self._endpoint.host}:{self._port}"

    async def start(self) -> int:
        """Listen, and return the port.

        Raises:
            PortUnavailable: it cannot be bound.
        """
        if self._server is None:
            self._server = await self._listen()
            self._health.open()
        return self._port

    async def stop(self, grace: float = 1.0) -> None:
        """Accept no more calls, wait ``grace`` seconds for those in progress, then cancel them."""
        server, self._server = self._server, None
        self._health.close()
        if server:
            # gRPC refuses new calls from here on, and would cancel the others itself later than this method does.
            stopping = asyncio.create_task(server.stop(grace + _MARGIN_SECONDS))
            await self._calls.end(grace)
            await stopping

    def drop_connections(self) -> int:
        """Close every connection at once, like a network failure; new ones are accepted. Returns their number."""
        return drop_connections(self._port)

    def set_keys(self, keys: Keys) -> None:
        """Replace the keys, from the next call on.

        Raises:
            ValueError: the service has no keys.
        """
        if not self._keys:
            raise ValueError(f"{self!r} has no keys: it has no TLS")
        self._keys.set(keys)

    def set_certificate(self, pair: KeyPair) -> None:
        """Replace the certificate, from the next handshake on; open connections continue.

        Raises:
            ValueError: the service has no TLS.
        """
        if not self._identity:
            raise ValueError(f"{self!r} has no TLS")
        self._identity.set(pair)

    def set_faults(self, faults: Faults) -> None:
        """Replace the injected faults; ``Faults()`` ends all."""
        self._faults.set(faults)

    def set_serving(self, *, serving: bool) -> None:
        """Change the answer to health checks. Calls are answered in any case."""
        self._health.set(serving=serving)

    async def _listen(self) -> grpc.aio.Server:
        # Before gRPC, which would print its own message about a failure.
        bind(self._endpoint.host, self._port).close()
        limit = self._endpoint.message_limit
        server = grpc.aio.server(
            handlers=self._handlers,
            options=[
                ("grpc.max_receive_message_length", limit),
                ("grpc.max_send_message_length", limit),
                # Otherwise a second server could share the port.
                ("grpc.so_reuseport", 0),
            ],
        )
        try:
            if self._identity:
                self._port = server.add_secure_port(self.address, self._identity.credentials())
            else:
                self._port = server.add_insecure_port(self.address)
        except RuntimeError:
            raise PortUnavailable(f"port {self._port} on {self._endpoint.host} is in use") from None
        await server.start()
        return server

    def __repr__(self) -> str:
        state = "listening" if self._server else "stopped"
        return f"<Service {self.model.name} {self.address} {'TLS' if self._identity else 'plain'} {state}>"
