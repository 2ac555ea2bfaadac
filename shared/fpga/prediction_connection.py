"""How a prediction client connects: what its arguments mean for gRPC, checked before anything is sent.

A faulty argument is a ValueError that says what to pass instead; gRPC itself would fall back to other roots, or quote
a malformed access token in its complaint.
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

from shared.fpga.channels import Endpoint
from shared.settings import ServiceSettings, Tls

ROOTS_VARIABLE = "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"

_INT_MAX = 2**31 - 1
_BLOCK = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)

_OPTIONS: tuple[tuple[str, int], ...] = (
    # A frozen service is noticed by a ping while a call waits: gRPC's default takes longer than any call here.
    ("grpc.keepalive_time_ms", 2_000),
    ("grpc.keepalive_timeout_ms", 2_000),
    ("grpc.http2.ping_timeout_ms", 2_000),
    # No pings without calls: servers answer those with too_many_pings.
    ("grpc.keepalive_permit_without_calls", 0),
    # Back within half a second of the service; "min" is really how long a connection may take to be made.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.min_reconnect_backoff_ms", 5_000),
    # What is tried again is decided by cause, not in the library.
    ("grpc.enable_retries", 0),
    # A client with other roots must not find the connection of one with these.
    ("grpc.use_local_subchannel_pool", 1),
)


@dataclass(frozen=True, repr=False)
class Connection:
    """Where the service is, whom to trust there, and the token to show; made by :meth:`of`.

    ``roots`` is PEM, or None for those that gRPC brings along; ``message_bytes`` bounds both ways.
    """

    endpoint: Endpoint
    roots: bytes | None
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
            ValueError: they contradict each other, or one cannot be used.
            OSError: the file of root certificates cannot be read.
        """
        _check_address(address, port)
        _check_token(token, use_ssl=use_ssl)
        for name, value in (("root_certificates", root_certificates), ("ssl_target_name", ssl_target_name)):
            if value and not use_ssl:
                raise ValueError(f"{name} says whom to trust over TLS: pass use_ssl=True too")
        tls = Tls.REQUIRED if use_ssl else Tls.INSECURE
        service = ServiceSettings("client", address, port, tls, ssl_target_name)
        roots = _roots(root_certificates) if use_ssl else None
        return cls(Endpoint.of(service), roots, token, idle, message_bytes)

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What every call carries: the key as it is, without "Bearer"."""
        return (("authorization", self.token),) if self.token else ()

    def open(self) -> grpc.Channel:
        """A channel for calls that block; it connects with the first."""
        if not self.endpoint.tls:
            return grpc.insecure_channel(self.endpoint.target, self._options)
        return grpc.secure_channel(self.endpoint.target, grpc.ssl_channel_credentials(self.roots), self._options)

    def open_async(self) -> grpc.aio.Channel:
        """A channel of the running event loop."""
        if not self.endpoint.tls:
            return grpc.aio.insecure_channel(self.endpoint.target, self._options)
        return grpc.aio.secure_channel(self.endpoint.target, grpc.ssl_channel_credentials(self.roots), self._options)

    @property
    def _options(self) -> list[tuple[str, int | str]]:
        options: list[tuple[str, int | str]] = [
            *_OPTIONS,
            ("grpc.max_send_message_length", self.message_bytes),
            ("grpc.max_receive_message_length", self.message_bytes),
            # gRPC leaves the connection after this time without calls, and makes a new one for the next call.
            ("grpc.client_idle_timeout_ms", min(int(self.idle / timedelta(milliseconds=1)), _INT_MAX)),
        ]
        if self.endpoint.server_name:
            options.append(("grpc.ssl_target_name_override", self.endpoint.server_name))
        if self.endpoint.several:
            options.append(("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}'))
        return options

    def __repr__(self) -> str:
        return f"{self.endpoint.target} {'TLS' if self.endpoint.tls else 'in the clear'}"


def _check_address(address: str | None, port: int | None) -> None:
    if not address:
        raise ValueError("address is missing: pass the service's host name or IP address")
    if "/" in address:
        raise ValueError("address is a URL: pass the host name or IP address alone")
    if port is None or not 0 < port < 65536:
        raise ValueError(f"port is {port}: pass the service's port, from 1 to 65535")


def _check_token(token: str, *, use_ssl: bool) -> None:
    if not token:
        return
    if not use_ssl:
        raise ValueError("access_token would travel in the clear: pass use_ssl=True, or no access_token")
    if not token.isascii() or not token.isprintable() or token != token.strip():
        raise ValueError("access_token must be printable ASCII without spaces or line ends around it")


def _roots(given: bytes | str | os.PathLike[str] | None) -> bytes | None:
    """The PEM that is given, itself or by its file, or that the environment names; None where neither is.

    gRPC reads the variable once for the whole process, and uses other roots where the file cannot be read.
    """
    if isinstance(given, bytes):
        return _checked(given, "root_certificates")
    if given:
        return _checked(Path(given).read_bytes(), f"the file {os.fspath(given)!r}")
    named = os.environ.get(ROOTS_VARIABLE)
    if named:
        return _checked(Path(named).read_bytes(), f"the file {named!r} that {ROOTS_VARIABLE} names")
    return None


def _checked(pem: bytes, source: str) -> bytes:
    """Only the sound certificates: gRPC would drop all that follow the first other one.

    Bundles of public authorities hold a few that are not quite by the book.
    """
    sound = [block for block in _BLOCK.findall(pem) if _is_sound(block)]
    if not sound:
        raise ValueError(f"{source} must hold certificates as PEM, and holds none that can be read")
    return b"\n".join(sound) + b"\n"


def _is_sound(block: bytes) -> bool:
    with warnings.catch_warnings():
        # An odd serial number is no reason to distrust a root that somebody chose.
        warnings.simplefilter("ignore")
        try:
            x509.load_pem_x509_certificate(block)
        except ValueError:
            return False
    return True
