"""Exports to a collector over gRPC; imported by the exporting thread alone.

The synchronous channel, which belongs to that thread and to no event loop.
"""

from pathlib import Path
from urllib.parse import urlsplit

import grpc

from shared.telemetry.receiver import LOST, REFUSED, SENT, Outcome
from shared.telemetry.target import Target

# With these, nothing was accepted, and the same export may be later.
_PASSING = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
    }
)


class GrpcSender:
    """Calls one method, whose messages are serialized already."""

    def __init__(self, target: Target, method: str) -> None:
        self._target = target
        self._channel = _channel(target)
        self._call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(method)
        self._metadata = tuple((name.lower(), value) for name, value in target.headers.items())

    def send(self, message: bytes, seconds: float) -> Outcome:
        try:
            self._call(
                message,
                timeout=min(seconds, self._target.seconds),
                metadata=self._metadata,
                compression=grpc.Compression.Gzip if self._target.compressed else None,
            )
        except grpc.RpcError as error:
            # Without its details, which may have the address.
            code = error.code()
            return Outcome(REFUSED if code in _PASSING else LOST, f"status {code.name}")
        return Outcome(SENT)

    def close(self) -> None:
        self._channel.close()


def _channel(target: Target) -> grpc.Channel:
    parts = urlsplit(target.url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    is_tls = parts.scheme == "https"
    address = f"{host}:{parts.port or (443 if is_tls else 80)}"
    if not is_tls:
        return grpc.insecure_channel(address)
    return grpc.secure_channel(
        address,
        grpc.ssl_channel_credentials(
            _read(target.ca_file),
            private_key=_read(target.client_key),
            certificate_chain=_read(target.client_certificate),
        ),
    )


def _read(file: str) -> bytes | None:
    return Path(file).read_bytes() if file else None
