"""A service's endpoint as rotations see it: which certificate it presents, and whether it scores with that one alone.

Synchronous, for a thread: a probe must not share a connection, or a cached root, with the traffic.
"""

import socket
import ssl
from collections.abc import Callable

import grpc

from shared.credentials.pins import Roots
from shared.errors import GatewayError, HandshakeFailed, ServiceUnreachable
from shared.rotation.presented import Handshakes, Presented
from shared.rotation.rehearsal import NothingKnown, rehearse
from shared.rotation.validate import Certificate
from shared.settings import ServiceSettings
from shared.telemetry import log
from shared.upstream.causes import cause
from shared.upstream.channel import OPTIONS, channel_credentials
from shared.upstream.codecs import Rpc

# Seconds for a handshake, and for a scored request with the handshake before it.
_HANDSHAKE, _SCORE = 3.0, 4.0

# How many rehearsals are remembered: of the desired certificate and of the last good one, with a few sets of pins.
_REHEARSALS = 8

# In gRPC's details of a call whose connection broke in its handshake.
_IN_HANDSHAKE = "andshake"


class GrpcProbe:
    """One service's addresses; implements :class:`shared.rotation.interfaces.ServiceProbe`.

    ``rpc`` is an inference request; ``check`` raises a GatewayError for a response without scores.
    """

    # _rehearsed  results by the certificate and the roots: runs are frequent, and handshakes cost

    def __init__(self, service: ServiceSettings, rpc: Rpc, check: Callable[[bytes], object]) -> None:
        self._service = service
        self._rpc = rpc
        self._check = check
        self._rehearsed: dict[tuple[str, bytes], str] = {}

    def handshakes(self) -> Handshakes:
        """What each of the addresses presents."""
        found, refused = [], False
        for address in self._service.addresses:
            try:
                found.append(Presented.of(handshake(self._service, address)))
            except OSError as error:  # ssl's errors are among them
                refused = refused or (isinstance(error, ssl.SSLError) and "ALERT" in (error.reason or ""))
            except ValueError:
                log.warning("service %s presents what is not a certificate", self._service.name)
        return Handshakes(tuple(found), refused)

    def rehearse(self, certificate: Certificate, roots: Roots) -> str:
        """Why gateways with these roots could not connect to the service with the certificate; empty where they can."""
        case = certificate.fingerprint, roots.bundle
        if case not in self._rehearsed:
            try:
                found = rehearse(certificate, self._service.certificate_names, roots)
            except NothingKnown as failure:
                return str(failure)
            if len(self._rehearsed) >= _REHEARSALS:
                self._rehearsed.clear()
            self._rehearsed[case] = found
        return self._rehearsed[case]

    def score(self, roots: Roots, key: str) -> None:
        """Score the request with one key, over connections that are verified with ``roots`` alone; at each address.

        Raises:
            GatewayError: that failed; the cause.
        """
        credentials = channel_credentials(roots)
        name = self._service.tls_name
        options = [*OPTIONS, *([("grpc.ssl_target_name_override", name)] if name else [])]
        for address in self._service.addresses:
            host = f"[{address}]" if ":" in address else address
            with grpc.secure_channel(f"{host}:{self._service.port}", credentials, options) as channel:
                self._infer(channel, key)

    def _infer(self, channel: grpc.Channel, key: str) -> None:
        infer: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(self._rpc.method)
        try:
            response = infer(self._rpc.request, timeout=_SCORE, metadata=(("authorization", key),))
        except grpc.RpcError as error:
            raise _cause(error) from error
        self._check(response)


def handshake(service: ServiceSettings, address: str) -> bytes:
    """The certificate that an address of a service presents, in DER form; nothing vouches for it.

    Nothing is sent over this connection, and nothing is trusted: it only shows what is presented.

    Raises:
        OSError: no handshake could be made.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])  # gRPC's servers refuse the handshake without
    with (
        socket.create_connection((address, service.port), _HANDSHAKE) as plain,
        context.wrap_socket(plain, server_hostname=service.tls_name or address) as secure,
    ):
        leaf = secure.getpeercert(binary_form=True)
    if leaf is None:
        raise ssl.SSLError("no certificate was presented")
    return leaf


def _cause(error: grpc.RpcError) -> GatewayError:
    found = cause(error)
    if type(found) is ServiceUnreachable and _IN_HANDSHAKE in (error.details() or ""):
        return HandshakeFailed("The service accepts the connection, and the TLS handshake fails.", retry_after=1)
    return found
