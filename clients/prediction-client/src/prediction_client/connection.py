"""The connection of a client: its arguments, checked before anything is sent, as a gRPC channel's.

An unusable argument is a ValueError that names what to pass instead; gRPC itself would use other roots, or quote a
malformed access token in its error.
"""

import os
import re
import warnings
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Self

import grpc
import grpc.aio
from cryptography import x509

ROOTS_VARIABLE = "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"

_INT_MAX = 2**31 - 1
_BLOCK = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)

_OPTIONS: tuple[tuple[str, int], ...] = (
    # Pings during a call detect a frozen service: gRPC's default takes longer than any call here.
    ("grpc.keepalive_time_ms", 2_000),
    ("grpc.keepalive_timeout_ms", 2_000),
    ("grpc.http2.ping_timeout_ms", 2_000),
    # No pings without calls: servers answer those with too_many_pings.
    ("grpc.keepalive_permit_without_calls", 0),
    # Reconnects within half a second of the service's return; "min" is how long connecting may take.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.min_reconnect_backoff_ms", 5_000),
    # Retries depend on the cause, and are not gRPC's.
    ("grpc.enable_retries", 0),
    # Clients with different roots must not share a connection.
    ("grpc.use_local_subchannel_pool", 1),
)


@dataclass(frozen=True, repr=False)
class Connection:
    """The service's address, the roots to verify it with, and the access token; made by :meth:`of`.

    ``target`` is gRPC's name of the address; ``roots`` is PEM, or None for gRPC's own roots; ``server_name`` is
    empty where the certificate is verified for the address; ``message_bytes`` limits requests and responses.
    """

    target: str
    tls: bool
    roots: bytes | None
    server_name: str
    token: str
    idle: timedelta
    message_bytes: int

    @classmethod
    def of(
        cls,
        address: str,
        port: int,
        *,
        use_ssl: bool,
        token: str,
        idle: timedelta,
        root_certificates: bytes | str | os.PathLike[str] | None,
        ssl_target_name: str,
        message_bytes: int,
    ) -> Self:
        """Check the arguments of a client.

        Raises:
            ValueError: one cannot be used, or two contradict each other.
            OSError: the file of root certificates cannot be read.
        """
        target = _target(address, port)
        _check_token(token, use_ssl=use_ssl)
        for name, value in (("root_certificates", root_certificates), ("ssl_target_name", ssl_target_name)):
            if value and not use_ssl:
                raise ValueError(f"{name} only applies to TLS: pass use_ssl=True too")
        roots = _roots(root_certificates) if use_ssl else None
        return cls(target, use_ssl, roots, ssl_target_name, token, idle, message_bytes)

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The metadata of every call: the access token as it is, without "Bearer"."""
        return (("authorization", self.token),) if self.token else ()

    def open(self) -> grpc.Channel:
        """A channel for blocking calls; the first one connects."""
        if not self.tls:
            return grpc.insecure_channel(self.target, self._options)
        return grpc.secure_channel(self.target, grpc.ssl_channel_credentials(self.roots), self._options)

    def open_async(self) -> grpc.aio.Channel:
        """A channel of the running event loop; the first call connects."""
        if not self.tls:
            return grpc.aio.insecure_channel(self.target, self._options)
        return grpc.aio.secure_channel(self.target, grpc.ssl_channel_credentials(self.roots), self._options)

    @property
    def _options(self) -> list[tuple[str, int | str]]:
        options: list[tuple[str, int | str]] = [
            *_OPTIONS,
            ("grpc.max_send_message_length", self.message_bytes),
            ("grpc.max_receive_message_length", self.message_bytes),
            # After this time without calls gRPC closes the connection; the next call makes a new one.
            ("grpc.client_idle_timeout_ms", min(int(self.idle / timedelta(milliseconds=1)), _INT_MAX)),
        ]
        if self.server_name:
            options.append(("grpc.ssl_target_name_override", self.server_name))
        if self.target.startswith("ipv4:"):
            options.append(("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}'))
        return options

    def __repr__(self) -> str:
        return f"{self.target} {'TLS' if self.tls else 'without TLS'}"


def _target(address: str | None, port: int | None) -> str:
    """The name of an address in gRPC: one host name or IP address, or several IPv4 addresses with commas."""
    if not address:
        raise ValueError("address is missing: pass the service's host name or IP address")
    if "/" in address:
        raise ValueError("address is a URL: pass the host name or IP address alone")
    if port is None or not 0 < port < 65536:
        raise ValueError(f"port is {port}: pass the service's port, from 1 to 65535")
    hosts = (part.strip() for part in address.split(","))
    first, *others = (f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host in hosts)
    return f"ipv4:{','.join([first, *others])}" if others else f"dns:///{first}"


def _check_token(token: str, *, use_ssl: bool) -> None:
    if not token:
        return
    if not use_ssl:
        raise ValueError("access_token would be sent unencrypted: pass use_ssl=True, or no access_token")
    if not token.isascii() or not token.isprintable() or token != token.strip():
        raise ValueError("access_token must be printable ASCII without surrounding spaces or line ends")


def _roots(given: bytes | str | os.PathLike[str] | None) -> bytes | None:
    """The given PEM or that of the given file, else that of the file named by the environment, else None.

    gRPC itself reads the variable once per process, and uses other roots where the file cannot be read.
    """
    if isinstance(given, bytes):
        return _checked(given, "root_certificates")
    if given:
        return _checked(Path(given).read_bytes(), f"the file {os.fspath(given)!r}")
    named = os.environ.get(ROOTS_VARIABLE)
    if named:
        return _checked(Path(named).read_bytes(), f"the file {named!r} named by {ROOTS_VARIABLE}")
    return None


def _checked(pem: bytes, source: str) -> bytes:
    """The readable certificates of a PEM file alone: gRPC would ignore all that follow an unreadable one.

    Bundles of public authorities contain a few that are malformed.
    """
    readable = [block for block in _BLOCK.findall(pem) if _is_readable(block)]
    if not readable:
        raise ValueError(f"{source} must hold PEM certificates, and holds none that can be read")
    return b"\n".join(readable) + b"\n"


def _is_readable(block: bytes) -> bool:
    with warnings.catch_warnings():
        # An unusual serial number is no reason to distrust a root that the caller chose.
        warnings.simplefilter("ignore")
        try:
            x509.load_pem_x509_certificate(block)
        except ValueError:
            return False
    return True
