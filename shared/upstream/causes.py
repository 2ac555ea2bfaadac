"""Causes of failed calls: gRPC's status and details, as one of the gateway's own errors.

gRPC reports every failure to connect as UNAVAILABLE; only the text of its details distinguishes a refused connection
from an untrusted certificate. The texts are those of gRPC's C core and of BoringSSL.
"""

from collections.abc import Mapping
from typing import Protocol

from grpc import StatusCode

from shared import errors
from shared.errors import GatewayError
from shared.quoting import quoted

_TLS: tuple[tuple[str, type[GatewayError], str], ...] = (
    (
        "certificate has expired",
        errors.ServiceCertificateExpired,
        "The handshake failed: the certificate that the service presents, or its issuer's, has expired.",
    ),
    (
        "certificate is not yet valid",
        errors.ServiceCertificateExpired,
        "The handshake failed: the certificate that the service presents is not valid yet.",
    ),
    (
        "Hostname Verification Check failed",
        errors.ServiceNameMismatch,
        "The handshake failed: the certificate that the service presents does not cover its configured name.",
    ),
    (
        "CERTIFICATE_VERIFY_FAILED",
        errors.ServiceUntrusted,
        "The handshake failed: no pin matches the certificate that the service presents.",
    ),
    (
        "WRONG_VERSION_NUMBER",
        errors.ServiceWithoutTls,
        "The handshake failed: the server at the service's port does not use TLS.",
    ),
)

_STATUS: Mapping[StatusCode, type[GatewayError]] = {
    StatusCode.UNAVAILABLE: errors.ServiceUnreachable,
    # The gateway never cancels a call whose outcome it needs: a service that stops cancels those in progress.
    StatusCode.CANCELLED: errors.ServiceUnreachable,
    StatusCode.UNAUTHENTICATED: errors.KeysRefused,
    StatusCode.PERMISSION_DENIED: errors.KeysRefused,
    StatusCode.DEADLINE_EXCEEDED: errors.DeadlineExceeded,
    StatusCode.RESOURCE_EXHAUSTED: errors.ServiceBusy,
    StatusCode.INVALID_ARGUMENT: errors.ServiceRejected,
    StatusCode.NOT_FOUND: errors.ServiceRejected,
    StatusCode.FAILED_PRECONDITION: errors.ServiceRejected,
    StatusCode.OUT_OF_RANGE: errors.ServiceRejected,
    StatusCode.UNIMPLEMENTED: errors.ServiceRejected,
}

_DETAILS: Mapping[type[GatewayError], str] = {
    errors.ServiceUnreachable: "The connection to the service could not be made, or broke.",
    errors.KeysRefused: "The service accepts neither the primary nor the secondary key.",
    errors.DeadlineExceeded: "The deadline passed while the service was scoring.",
    errors.ServiceBusy: "The service reports that its resources are exhausted.",
}

# Where a retry soon may help: seconds for Retry-After.
_RETRY_AFTER: Mapping[type[GatewayError], float] = {errors.ServiceUnreachable: 1, errors.ServiceBusy: 1}

_TRUST_FAILURES = (errors.ServiceUntrusted, errors.ServiceCertificateExpired, errors.ServiceNameMismatch)

MESSAGE_TOO_LARGE = "The request is larger than the messages that the service accepts."


class FailedCall(Protocol):
    """What gRPC raises, in its asynchronous and its synchronous API."""

    def code(self) -> StatusCode: ...

    def details(self) -> str | None: ...


def cause(error: FailedCall) -> GatewayError:
    """The gateway's error for a failed call."""
    code, details = error.code(), error.details() or ""
    if code is StatusCode.UNAVAILABLE:
        for text, kind, detail in _TLS:
            if text in details:
                return kind(detail)
    if code is StatusCode.RESOURCE_EXHAUSTED and "larger than max" in details:
        return errors.MessageTooLarge(MESSAGE_TOO_LARGE)
    kind = _STATUS.get(code, errors.ServiceFailed)
    detail = _DETAILS.get(kind) or f"The service responded with {code.name}: {quoted(details) or 'it gave no reason.'}"
    if kind is errors.ServiceRejected:
        return errors.ServiceRejected(detail, code.name)
    return kind(detail, retry_after=_RETRY_AFTER.get(kind))


def is_trust_failure(error: GatewayError) -> bool:
    """Whether the handshake failed over certificates, so that newer pins may help."""
    return isinstance(error, _TRUST_FAILURES)
