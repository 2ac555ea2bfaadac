"""How the HTTP servers of the local stack start and stop, so that all of them behave alike.

A server prints one line ``ready ADDRESS`` when it listens, logs one line a request to stderr, ends silently with
code 0 on SIGINT or SIGTERM, and says in one line why it cannot start.
"""

import asyncio
import contextlib
import errno
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

HOST = "127.0.0.1"

_log = logging.getLogger("devstack")

# How long a stopping server waits for the requests under way, in seconds.
_PATIENCE = 1

# How long for idle clients: one that keeps a TLS connection open answers the closing of it only when it reads next,
# which may be never.
_PATIENCE_IDLE = 0.2


class StartError(Exception):
    """A server cannot start; the message is one line that names cause and remedy."""


class RequestLog:
    """Logs method, path and status of each request: never a query, a header or a body, which may hold secrets."""

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
            # The raw path is still percent-encoded: a request cannot write lines of its own into the log.
            path = scope["raw_path"].decode("ascii", "replace")
            _log.info("%s %s %s", scope["method"], path, status)


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Make the TLS side of a server from a PEM chain (leaf first) and its private key.

    Raises:
        StartError: a file is missing, or the two do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:  # ssl.SSLError is one too
        reason = error.strerror or str(error)
        raise StartError(
            f"cannot serve TLS with certificate {certificate} and key {key}: {reason}; "
            "pass a PEM chain (leaf first) and the leaf's own private key"
        ) from None
    return context


def listen(port: int) -> socket.socket:
    """Bind ``port`` of the loopback address and listen; port 0 takes a free one.

    Raises:
        StartError: the port is in use or may not be bound.
    """
    # The protocol is named because asyncio turns Nagle's algorithm off only where it is: with it on, an answer in two
    # pieces waits 40 ms for the client's delayed acknowledgement.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        # At once, not when the server starts: until someone listens, two processes can bind the same port.
        listener.listen()
    except OSError as error:
        listener.close()
        raise StartError(_unbindable(port, error)) from None
    return listener


def _unbindable(port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {HOST} is in use: stop the program that holds it, or pass another --port"
    return f"port {port} on {HOST} cannot be bound ({error.strerror}): pass another --port"


def serve(
    build: Callable[[asyncio.Event], ASGIApp],
    *,
    name: str,
    port: int,
    address: Callable[[int], str],
    tls: ssl.SSLContext | None = None,
) -> None:
    """Run an application until SIGINT or SIGTERM.

    ``build`` makes it, given the event that is set when the server begins to stop: whatever waits on purpose must
    wait for that too. ``address`` turns the bound port into what the ready line says.

    Raises:
        StartError: the port cannot be bound.
    """
    _log_to_stderr(name)
    listener = listen(port)
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
        timeout_graceful_shutdown=_PATIENCE,
        **transport,
    )
    await _Server(config, stopping, ready).serve(sockets=[listener])


class _Server(uvicorn.Server):
    """uvicorn's server, with this stack's ready line and its silent end."""

    def __init__(self, config: uvicorn.Config, stopping: asyncio.Event, ready: str) -> None:
        super().__init__(config)
        self._stopping = stopping
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(self._ready, flush=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().call_later(_PATIENCE_IDLE, self._abort_closing)
        await super().shutdown(sockets)

    def _abort_closing(self) -> None:
        for connection in list(self.server_state.connections):
            if connection.transport.is_closing():
                connection.transport.abort()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # The original raises the signal again after the shutdown, which would end the process with its code.
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop)
        yield

    def _stop(self) -> None:
        self.should_exit = True
        self._stopping.set()
        # From here on the server only has to say that it waits for clients, which is nobody's concern.
        logging.getLogger("uvicorn.error").disabled = True


def _log_to_stderr(name: str) -> None:
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format=f"%(asctime)s {name} %(message)s", datefmt="%H:%M:%S"
    )
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
