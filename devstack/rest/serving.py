"""How the REST servers start and stop.

A server prints one line ``ready ADDRESS`` when it listens, logs one line for each request to stderr, ends silently
with code 0 on SIGINT or SIGTERM, and prints one line if it cannot start.
"""

import asyncio
import contextlib
import logging
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from devstack import sockets
from devstack.errors import CommandError

HOST = "127.0.0.1"

_log = logging.getLogger("devstack")

# Seconds that a stopping server waits for requests in progress.
_GRACE = 1

# Seconds that it waits for idle clients to close: a client with an open TLS connection notices only at its next read.
_GRACE_IDLE = 0.2


class RequestLog:
    """Logs method, path and status of each request, but no query, header or body, which may contain secrets."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        status = "-"

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            # The raw path is percent-encoded, so a request cannot add lines to the log.
            path = scope["raw_path"].decode("ascii", "replace")
            _log.info("%s %s %s", scope["method"], path, status)


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """The TLS context of a server, from a PEM chain (leaf first) and its private key.

    Raises:
        CommandError: a file is missing, or the key is another certificate's.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:  # also ssl.SSLError
        reason = error.strerror or str(error)
        raise CommandError(
            f"cannot serve TLS with certificate {certificate} and key {key}: {reason}; "
            "pass a PEM chain (leaf first) and the leaf's private key"
        ) from None
    return context


def serve(
    build: Callable[[asyncio.Event], ASGIApp],
    *,
    name: str,
    port: int,
    address: Callable[[int], str],
    tls: ssl.SSLContext | None = None,
) -> None:
    """Run an application until SIGINT or SIGTERM.

    ``build`` makes the application, given the event that is set when the server begins to stop, for which injected
    delays must wait too. ``address`` makes the address in the ready line from the bound port.

    Raises:
        CommandError: the port cannot be bound.
    """
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format=f"%(asctime)s {name} %(message)s", datefmt="%H:%M:%S"
    )
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    try:
        listener = sockets.listen(HOST, port)
    except sockets.PortUnavailable as error:
        raise CommandError(f"{error}: stop the program that uses it, or choose another --port") from None
    ready = f"ready {address(listener.getsockname()[1])}"
    with contextlib.closing(listener):
        asyncio.run(_serve(build, listener, ready, tls))


async def _serve(
    build: Callable[[asyncio.Event], ASGIApp], listener: socket.socket, ready: str, tls: ssl.SSLContext | None
) -> None:
    stopping = asyncio.Event()
    transport: dict[str, Any] = {"ssl_context_factory": lambda _config, _default: tls} if tls else {}
    config = uvicorn.Config(
        RequestLog(build(stopping)),
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE,
        **transport,
    )
    await _Server(config, stopping, ready).serve(sockets=[listener])


class _Server(uvicorn.Server):
    """uvicorn's server, with a ready line and a silent end."""

    def __init__(self, config: uvicorn.Config, stopping: asyncio.Event, ready: str) -> None:
        super().__init__(config)
        self._stopping = stopping
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(self._ready, flush=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().call_later(_GRACE_IDLE, self._abort_closing)
        await super().shutdown(sockets)

    def _abort_closing(self) -> None:
        for connection in list(self.server_state.connections):
            if connection.transport.is_closing():
                connection.transport.abort()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # The original method raises the signal again after the shutdown, which would end the process with its code.
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop)
        yield

    def _stop(self) -> None:
        self.should_exit = True
        self._stopping.set()
        # From here on it logs only that it waits for clients.
        logging.getLogger("uvicorn.error").disabled = True
