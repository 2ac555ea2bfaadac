"""The handshake that gateways will make with a new certificate, made beforehand: on loopback, by gRPC's TLS.

Which keys, curves, key usages and pairs of roots gRPC's TLS takes is for itself to say: a list of them would be another
implementation, and out of date. So a server on loopback is given the certificate, and a client connects as gateways do,
with their options, the service's names and the pins that they will have.
"""

import datetime as dt
import functools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from shared.credentials.pins import Roots
from shared.rotation.validate import Certificate
from shared.upstream.causes import cause
from shared.upstream.channel import OPTIONS, channel_credentials

# Seconds for a handshake within the machine.
_SECONDS = 5.0

_METHOD = "/rehearsal/Call"
_HOST = "control.invalid"

# What gRPC's details contain, and what that says about the certificate.
_REASONS = {
    "KEY_USAGE_BIT_INCORRECT": "its keyUsage lacks digitalSignature",
    "Handshake read failed": "TLS has no signature for its kind of key",
}


class NothingKnown(Exception):
    """No handshake can be made on this machine; the message is a refusal, which holds for this attempt alone."""


class _Handler(grpc.GenericRpcHandler):
    def service(self, _details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes]":
        return grpc.unary_unary_rpc_method_handler(lambda request, _context: request)


def rehearse(certificate: Certificate, names: Sequence[str], roots: Roots) -> str:
    """Why gateways with these roots could not connect to a service with the certificate; empty where they can.

    Args:
        certificate: with the leaf's own key.
        names: the names that gateways expect in it.
        roots: what gateways will trust, with the certificate among it.

    Raises:
        NothingKnown: not even a certificate that every gRPC can use passes.
    """
    alone = _handshake(certificate, names, certificate.roots)
    failure = alone or _handshake(certificate, names, roots)
    if not failure:
        return ""
    if not _control_succeeds():
        raise NothingKnown(
            f"no handshake can be made on this machine's loopback, so nothing is known of it ({failure})"
        )
    if alone:
        return f"gRPC's TLS cannot use it: {alone}"
    return (
        "gRPC accepts it, but not while the other pins are trusted beside it: one of them has the same subject. "
        f"Issue it with another subject, or with an authorityKeyIdentifier ({failure})"
    )


def _handshake(certificate: Certificate, names: Sequence[str], roots: Roots) -> str:
    """What went wrong with a call over a connection; empty where nothing did."""
    pair = certificate.key_pem, certificate.chain_pem
    with ThreadPoolExecutor(1, "rehearsal") as threads:
        server = grpc.server(threads, [_Handler()])
        try:
            port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
        except (RuntimeError, ValueError):
            return "a server with it does not start; its kind of key, or its keyUsage, is not one for TLS"
        server.start()
        try:
            return next(filter(None, (_call(port, name, roots) for name in names)), "")
        finally:
            server.stop(0).wait()


def _call(port: int, name: str, roots: Roots) -> str:
    options = [*OPTIONS, ("grpc.ssl_target_name_override", name)]
    with grpc.secure_channel(f"127.0.0.1:{port}", channel_credentials(roots), options) as channel:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(_METHOD)
        try:
            call(b"", timeout=_SECONDS)
        except grpc.RpcError as error:
            return _reason(error)
    return ""


def _reason(error: grpc.RpcError) -> str:
    details = error.details() or ""
    for text, reason in _REASONS.items():
        if text in details:
            return reason
    detail = cause(error).detail.rstrip(".")
    return f"{detail[0].lower()}{detail[1:]}"


@functools.cache
def _control() -> Certificate:
    """A certificate of the kind that every gRPC can use."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _HOST)])
    now, day = dt.datetime.now(dt.UTC), dt.timedelta(days=1)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now - day, now + 3650 * day)
    names = x509.SubjectAlternativeName([x509.DNSName(_HOST)])
    return Certificate(made.add_extension(names, critical=False).sign(key, hashes.SHA256()), key, ())


def _control_succeeds() -> bool:
    control = _control()
    return not _handshake(control, [_HOST], control.roots)
