"""The certificate that a service presents, and its replacement while connections are open."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import grpc

from devstack.authority import fingerprint
from devstack.pem import check_pair

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate chain, leaf first, and the leaf's private key; both PEM."""

    chain: bytes
    key: bytes

    def __post_init__(self) -> None:
        check_pair(self.chain, self.key, "the certificate", "the private key")

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the leaf certificate in DER form, in lower-case hexadecimal."""
        return fingerprint(self.chain)

    def __repr__(self) -> str:
        return f"<KeyPair {self.fingerprint[:16]}>"


class Identity:
    """The current key pair. gRPC fetches it before each handshake; open connections continue with the old one.

    gRPC calls from a thread of its own. Only the reference to the current pair is shared.
    """

    def __init__(
        self, pair: KeyPair, source: Callable[[], KeyPair | None] | None = None, clients: bytes | None = None
    ) -> None:
        """``clients`` is the authority, as PEM, of the certificates that clients must present; None: they need none."""
        self._clients = clients
        self._pair = pair
        self._source = source
        self._served = pair

    @property
    def pair(self) -> KeyPair:
        return self._pair

    def set(self, pair: KeyPair) -> None:
        """Present another certificate, from the next handshake on."""
        self._pair = pair

    def credentials(self) -> grpc.ServerCredentials:
        """The credentials of a gRPC server with this identity. The server supports TLS 1.2 and 1.3."""
        self._served = self._pair
        return grpc.dynamic_ssl_server_credentials(
            _configuration(self._pair, self._clients),
            self._fetch,  # type: ignore[arg-type] # the stubs lack None, which means no change
            require_client_authentication=self._clients is not None,
        )

    def _fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """Called by gRPC before a handshake: another configuration, or None to keep the last one."""
        if self._source and (replaced := self._source()):
            self._pair = replaced
        pair = self._pair
        if pair is self._served:
            return None
        self._served = pair
        logger.info("certificate %s is served from now on", pair.fingerprint[:16])
        return _configuration(pair, self._clients)


def _configuration(pair: KeyPair, clients: bytes | None) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(pair.key, pair.chain)], clients)
