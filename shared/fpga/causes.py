"""What a failed call means: gRPC's status and its words, as one of the gateway's own errors.

gRPC reports every failure to connect as UNAVAILABLE; only the words of its details tell a refused connection from an
untrusted certificate. The words are those of gRPC's C core and of BoringSSL.
"""

import re
from collections.abc import Mapping
from typing import Protocol

from grpc import StatusCode

from shared import errors
from shared.errors import GatewayError

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
        "The handshake failed: the certificate that the service presents does not cover the name it is called by.",
    ),
    (
        "CERTIFICATE_VERIFY_FAILED",
        errors.ServiceUntrusted,
        "The handshake failed: no pin covers the certificate that the service presents.",
    ),
    (
        "WRONG_VERSION_NUMBER",
        errors.ServiceWithoutTls,
        "The handshake failed: what answers at the service's port does not speak TLS.",
    ),
)

_STATUS: Mapping[StatusCode, type[GatewayError]] = {
    StatusCode.UNAVAILABLE: errors.ServiceUnreachable,
    # Nobody here cancels a call and then asks why: a service that stops does so to those under way.
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

_WORDS: Mapping[type[GatewayError], str] = {
    errors.ServiceUnreachable: "The connection to the service could not be made, or broke.",
    errors.KeysRefused: "The service accepts neither the primary nor the secondary key.",
    errors.DeadlineExceeded: "The deadline passed while the service was scoring.",
    errors.ServiceBusy: "The service answered that its resources are exhausted.",
}

# Where another try soon may help: seconds for Retry-After.
_RETRY_AFTER: Mapping[type[GatewayError], float] = {errors.ServiceUnreachable: 1, errors.ServiceBusy: 1}

# Addresses in the service's words: they stay inside. A shape such as [224] is none.
_ADDRESS = re.compile(
    r"(ipv[46]:|unix:|dns:|https?://)\S+|\b\d{1,3}(\.\d{1,3}){3}\b(:\d+)?|\[[0-9a-fA-F]*:[0-9a-fA-F:]+\](:\d+)?|\b[\w.-]+:\d{2,5}\b"
)
_MAX_WORDS = 200


class FailedCall(Protocol):
    """What gRPC raises, in its asynchronous API and in the other."""

    def code(self) -> StatusCode: ...

    def details(self) -> str | None: ...


def cause(error: FailedCall) -> GatewayError:
    """The gateway's error for a failed call."""
    details = error.details() or ""
    if error.code() is StatusCode.UNAVAILABLE:
        for words, kind, sentence in _TLS:
            if words in details:
                return kind(sentence)
    if error.code() is StatusCode.RESOURCE_EXHAUSTED and "larger than max" in details:
        return errors.MessageTooLarge("The request is larger than the messages that the service takes.")
    kind = _STATUS.get(error.code(), errors.ServiceFailed)
    sentence = _WORDS.get(kind) or f"The service answered {error.code().name}: {_quotable(details)}"
    found = kind(sentence, retry_after=_RETRY_AFTER.get(kind))
    if isinstance(found, errors.ServiceRejected):
        found.code = error.code().name
    return found


def is_about_trust(error: FailedCall) -> bool:
    """Whether the handshake failed over certificates, so that newer pins may help."""
    return isinstance(
        cause(error), errors.ServiceUntrusted | errors.ServiceCertificateExpired | errors.ServiceNameMismatch
    )


def _quotable(details: str) -> str:
    words = _ADDRESS.sub("(address)", " ".join(details.split()))
    return words[:_MAX_WORDS] + ("…" if len(words) > _MAX_WORDS else "") if words else "it gave no reason."
