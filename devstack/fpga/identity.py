"""The certificate that a service shows, and its exchange while connections are open."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate chain, leaf first, and the leaf's private key; both PEM."""

    chain: bytes
    key: bytes

    def __post_init__(self) -> None:
        try:
            leaf = x509.load_pem_x509_certificates(self.chain)[0]
        except ValueError:
            raise ValueError("the certificate is not PEM") from None
        try:
            key = serialization.load_pem_private_key(self.key, password=None)
        except (ValueError, TypeError):
            raise ValueError("the private key is not PEM, or is encrypted") from None
        if _public(key.public_key()) != _public(leaf.public_key()):
            raise ValueError("the private key belongs to another certificate")

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the leaf certificate in DER form, in lower-case hexadecimal."""
        return x509.load_pem_x509_certificates(self.chain)[0].fingerprint(hashes.SHA256()).hex()

    def __repr__(self) -> str:
        return f"<KeyPair {self.fingerprint[:16]}>"


class Identity:
    """The key pair in force. gRPC asks before each handshake, so open connections live on under the old one.

    gRPC calls from a thread of its own. Only the reference to the current pair is shared, and it is replaced whole.
    """

    def __init__(self, pair: KeyPair, source: Callable[[], KeyPair | None] | None = None) -> None:
        self._pair = pair
        self._source = source
        self._served = pair

    @property
    def pair(self) -> KeyPair:
        return self._pair

    def set(self, pair: KeyPair) -> None:
        """Show another certificate, from the next handshake on."""
        self._pair = pair

    def credentials(self) -> grpc.ServerCredentials:
        """What a gRPC server needs to show this identity. The server speaks TLS 1.2 and 1.3."""
        self._served = self._pair
        return grpc.dynamic_ssl_server_credentials(
            _configuration(self._pair),
            self._fetch,  # type: ignore[arg-type] # the stubs leave out None, which gRPC takes for "no change"
        )

    def _fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """What gRPC asks before a handshake: another configuration, or None to go on with the last one."""
        if self._source and (replaced := self._source()):
            self._pair = replaced
        pair = self._pair
        if pair is self._served:
            return None
        self._served = pair
        logger.info("certificate %s is served from now on", pair.fingerprint[:16])
        return _configuration(pair)


def _configuration(pair: KeyPair) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(pair.key, pair.chain)])


def _public(key: PublicKeyTypes) -> bytes:
    """A public key in a form that can be compared."""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
