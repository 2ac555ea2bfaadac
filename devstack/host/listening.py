"""The socket that the host listens on."""

import errno
import socket

from devstack.host.errors import HostError

# How many connections may wait to be accepted.
BACKLOG = 2048


def listen(address: str, port: int) -> socket.socket:
    """Listen on an address of this machine; port 0 takes any that is free.

    Raises:
        HostError: the port is in use, or the address is not this machine's.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Connections inherit it. asyncio sets it only where it knows the protocol, which it does not of this socket, and
    # without it an answer's body waits 40 ms for its head to be acknowledged.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        listener.bind((address, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise HostError(_explain(error, address, port)) from None
    return listener


def base_address(address: str, port: int) -> str:
    """The URL that people reach the host by."""
    host = "localhost" if address == "127.0.0.1" else f"[{address}]" if ":" in address else address
    return f"http://{host}:{port}"


def _explain(error: OSError, address: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {address} is in use: stop what uses it, or take another with --port"
    return f"cannot listen on {address}:{port} ({error.strerror}): take another --address or --port"
