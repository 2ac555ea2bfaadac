"""A service's endpoint as rotations see it: which certificate it presents, and whether it scores with that one alone.

Synchronous, for a thread: a probe must not share a connection, or a cached root, with the traffic.
"""

import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress

import grpc

from shared.credentials.pins import Roots
from shared.rotation.presented import Presented
from shared.settings import ServiceSettings
from shared.telemetry import log
from shared.upstream.causes import cause
from shared.upstream.channel import channel_credentials
from shared.upstream.codecs import Rpc

# Seconds for a handshake, and for a scored request with the handshake before it.
_HANDSHAKE, _SCORE = 3.0, 4.0

_OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
    ("grpc.max_receive_message_length", 4 * 1024 * 1024),
)


class GrpcProbe:
    """One service's addresses; implements :class:`shared.rotation.interfaces.ServiceProbe`.

    ``rpc`` is an inference request; ``check`` raises a GatewayError for a response without scores.
    """

    def __init__(self, service: ServiceSettings, rpc: Rpc, check: Callable[[bytes], object]) -> None:
        self._service = service
        self._rpc = rpc
        self._check = check

    def presented(self) -> Sequence[Presented]:
        """The leaf certificate that each address presents; without those that do not respond."""
        found = []
        for address in self._service.addresses:
            with suppress(OSError):  # ssl's errors are among them
                leaf = self._handshake(address)
                try:
                    found.append(Presented.of(leaf))
                except ValueError:
                    log.warning("service %s presents what is not a certificate", self._service.name)
        return found

    def score(self, roots: Roots, key: str) -> None:
        """Score the request with one key, over connections that are verified with ``roots`` alone; at each address.

        Raises:
            GatewayError: that failed; the cause.
        """
        credentials = channel_credentials(roots)
        name = self._service.tls_name
        options = [*_OPTIONS, *([("grpc.ssl_target_name_override", name)] if name else [])]
        for address in self._service.addresses:
            host = f"[{address}]" if ":" in address else address
            with grpc.secure_channel(f"{host}:{self._service.port}", credentials, options) as channel:
                self._infer(channel, key)

    def _infer(self, channel: grpc.Channel, key: str) -> None:
        infer: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(self._rpc.method)
        try:
            response = infer(self._rpc.request, timeout=_SCORE, metadata=(("authorization", key),))
        except grpc.RpcError as error:
            raise cause(error) from error
        self._check(response)

    def _handshake(self, address: str) -> bytes:
        # Nothing is sent over this connection, and nothing is trusted: it only shows what the address presents.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["h2"])  # gRPC's servers refuse the handshake without
        with (
            socket.create_connection((address, self._service.port), _HANDSHAKE) as plain,
            context.wrap_socket(plain, server_hostname=self._service.tls_name or address) as secure,
        ):
            leaf = secure.getpeercert(binary_form=True)
        if leaf is None:
            raise ssl.SSLError("no certificate was presented")
        return leaf
