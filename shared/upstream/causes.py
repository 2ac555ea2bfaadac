"""Causes of failed calls: gRPC's status and details, as one of the gateway's own errors.

gRPC reports every failure to connect as UNAVAILABLE; only the text of its details distinguishes a refused connection
from an untrusted certificate. The texts are those of gRPC's C core and of BoringSSL.
"""

import re
from collections.abc import Mapping
from typing import Protocol

from grpc import StatusCode

from shared import errors
from shared.errors import GatewayError
from shared.quoting import quoted

# What the settings may say more of.
NO_PIN = "The handshake failed: no pin matches the certificate that the service presents."
NO_CONNECTION = "The connection to the service could not be made, or broke."
KEY_REFUSED = "The service refuses the key that was tried last."

# Of calls that did not reach the service.
_CONNECTION: tuple[tuple[str, type[GatewayError], str], ...] = (
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
        "BAD_SIGNATURE",
        errors.ServiceUntrusted,
        "The handshake failed: the service does not prove that the certificate it presents is its own.",
    ),
    (
        "CERTIFICATE_VERIFY_FAILED",
        errors.ServiceUntrusted,
        NO_PIN,
    ),
    (
        "missing selected ALPN property",
        errors.ServiceWithoutHttp2,
        "The handshake failed: the server at the service's port uses TLS, but offers no HTTP/2.",
    ),
    (
        "errors resolving",
        errors.ServiceNameUnresolved,
        "The service's host name does not resolve.",
    ),
    (
        "DNS resolution failed",
        errors.ServiceNameUnresolved,
        "The service's host name does not resolve.",
    ),
    (
        "WRONG_VERSION_NUMBER",
        errors.ServiceWithoutTls,
        "The handshake failed: the server at the service's port does not use TLS.",
    ),
)

# Of a proxy's response to CONNECT, and of one in place of gRPC's own.
_PROXY_STATUS = re.compile(r"HTTP proxy returned response code (\d{3})")
_HTTP_STATUS = re.compile(r"Received http2 header with status: (\d{3})")

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
    errors.ServiceUnreachable: NO_CONNECTION,
    errors.KeysRefused: KEY_REFUSED,
    errors.DeadlineExceeded: "The deadline passed while the service was scoring.",
    errors.ServiceBusy: "The service reports that its resources are exhausted.",
}

# Where a retry soon may help: seconds for Retry-After.
_RETRY_AFTER: Mapping[type[GatewayError], float] = dict.fromkeys(
    (errors.ServiceUnreachable, errors.ServiceNameUnresolved, errors.ServiceBusy), 1
)

# Triton's answer while it loads its models, and after SIGTERM, before it closes its connections.
_UNLOADED = "has no available versions"
_STARTING_OR_ENDING = "No version of the model is loaded: the service is starting or ending, or cannot load it."

_TRUST_FAILURES = (errors.ServiceUntrusted, errors.ServiceCertificateExpired, errors.ServiceNameMismatch)

OUTAGES = (errors.ServiceUnreachable, errors.ServiceNameUnresolved, errors.ProxyRefused)

_NO_SAN = "The certificate that the service presents has no subjectAltName for the address, only a common name."
CLIENT_CERTIFICATE_REFUSED = "The service closes the connection; it may refuse the client certificate."
MESSAGE_TOO_LARGE = "The request is larger than the messages that the service accepts."


class FailedCall(Protocol):
    """What gRPC raises, in its asynchronous and its synchronous API."""

    def code(self) -> StatusCode: ...

    def details(self) -> str | None: ...


def cause(error: FailedCall) -> GatewayError:
    """The gateway's error for a failed call."""
    code, details = error.code(), error.details() or ""
    if code is StatusCode.UNAVAILABLE:
        for text, kind, detail in _CONNECTION:
            if text in details:
                return kind(detail, retry_after=_RETRY_AFTER.get(kind))
    return _local_cause(code, details) or _reported_cause(code, details)


def _local_cause(code: StatusCode, details: str) -> GatewayError | None:
    """The error of a call that did not reach the service, whatever its status; None of one that did."""
    if proxied := _PROXY_STATUS.search(details) or _HTTP_STATUS.search(details):
        return errors.ProxyRefused(f"A server on the way responded with HTTP {proxied[1]}.", retry_after=1)
    # From the gateway's own gRPC, before anything is sent: the certificate covers the address by its common name alone.
    if code is StatusCode.UNAUTHENTICATED and details == "call host does not match SSL server name":
        return errors.ServiceNameMismatch(_NO_SAN)
    return None


def _reported_cause(code: StatusCode, details: str) -> GatewayError:
    """The error of a status that the service reports, or gRPC of a connection."""
    if code is StatusCode.PERMISSION_DENIED:
        why = quoted(details) or "it gave no reason"
        return errors.KeysRefused(
            f"The service responded with PERMISSION_DENIED to the key that was tried: {why.rstrip('.')}."
        )
    if code is StatusCode.RESOURCE_EXHAUSTED and "larger than max" in details:
        if "CLIENT: Received message" in details:  # the response was refused here, and not the request by the service
            return errors.ServiceAnswerInvalid("The response is larger than the messages that the gateway accepts.")
        return errors.MessageTooLarge(MESSAGE_TOO_LARGE)
    if code is StatusCode.NOT_FOUND and _UNLOADED in details:
        return errors.ServiceUnreachable(_STARTING_OR_ENDING, retry_after=1)
    kind = _STATUS.get(code, errors.ServiceFailed)
    detail = _DETAILS.get(kind) or f"The service responded with {code.name}: {quoted(details) or 'it gave no reason.'}"
    if kind is errors.ServiceRejected:
        return errors.ServiceRejected(detail, code.name)
    return kind(detail, retry_after=_RETRY_AFTER.get(kind))


def is_outage(error: GatewayError) -> bool:
    """Whether the service was not reached, so that waiting may help."""
    return isinstance(error, OUTAGES)


def is_trust_failure(error: GatewayError) -> bool:
    """Whether the handshake failed over certificates, so that newer pins may help."""
    return isinstance(error, _TRUST_FAILURES)
