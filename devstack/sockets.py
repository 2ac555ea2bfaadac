"""Listening sockets, and the messages about ports that cannot be used."""

import errno
import socket


class PortUnavailable(Exception):
    """A port is in use or may not be bound; the message says which, without a remedy."""


def listen(address: str, port: int, backlog: int = 128) -> socket.socket:
    """Bind a port of an address and listen; port 0 takes a free one.

    Raises:
        PortUnavailable: it cannot be bound.
    """
    listener = bind(address, port)
    # Not when the server starts: until a process listens, another one can bind the same port.
    listener.listen(backlog)
    return listener


def bind(address: str, port: int) -> socket.socket:
    """A socket that is bound to a port.

    Raises:
        PortUnavailable: it cannot be bound.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    bound = socket.socket(family)
    # A port is free although connections of its last owner linger.
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Connections inherit it. asyncio sets it only on sockets that name their protocol, and without it an answer in two
    # pieces waits 40 ms for the client's delayed acknowledgement.
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        bound.bind((address, port))
    except OSError as error:
        bound.close()
        reason = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be bound ({error.strerror})"
        raise PortUnavailable(f"port {port} on {address} {reason}") from None
    return bound
