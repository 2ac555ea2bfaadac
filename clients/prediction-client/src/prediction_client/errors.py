"""Errors of a prediction call: one flat tree, one class per cause.

Every error is a ``grpc.RpcError`` with ``code()`` and ``details()``, so code written for gRPC's own errors keeps
working. A message is one line: the cause, then the remedy. It never contains the access token or the service's address.
"""

import re
from collections.abc import Mapping
from typing import ClassVar

import grpc
from grpc import StatusCode
from grpc.aio import AioRpcError


class PredictionError(grpc.RpcError):
    """Base of all: ``cause`` is what happened, ``remedy`` what to do about it."""

    remedy: ClassVar[str] = ""

    def __init__(self, cause: str, code: StatusCode, details: str = "") -> None:
        super().__init__(f"{cause if cause.endswith(('.', '…')) else f'{cause}.'} {self.remedy}")
        self.cause = cause
        self._code = code
        self._details = details or cause

    def code(self) -> StatusCode:
        """The gRPC status."""
        return self._code

    def details(self) -> str:
        """The details of gRPC or of the service; the cause if there are none."""
        return self._details


class Unreachable(PredictionError):
    """The connection could not be established, or was lost; the only error after which a call is retried."""

    remedy = "Check the address and the port, that the service is running, and whether it uses TLS (use_ssl)."


class Untrusted(PredictionError):
    """The service's certificate was not issued by a trusted root."""

    remedy = (
        "Pass the service's certificate, or its authority's, as root_certificates, or name its file in "
        "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH."
    )


class CertificateExpired(PredictionError):
    """The service's certificate, or its issuer's, is not valid at this time."""

    remedy = "Renew the service's certificate, and check this machine's clock."


class NameMismatch(PredictionError):
    """The service's certificate is for another name than the address."""

    remedy = "Call the service by a name in its certificate, or pass that name as ssl_target_name."


class NotTls(PredictionError):
    """The server does not use TLS."""

    remedy = "Check the address and the port; for a service without TLS pass use_ssl=False and no access token."


class TokenRefused(PredictionError):
    """The service refused the access token, or requires one."""

    remedy = "Pass one of the service's current keys as access_token."


class DeadlinePassed(PredictionError):
    """No response arrived within the timeout."""

    remedy = "Try again, or pass a longer timeout."


class Busy(PredictionError):
    """The service has no capacity for the call."""

    remedy = "Try again a little later."


class MessageTooLarge(PredictionError):
    """A request or a response is larger than the limit for messages."""

    remedy = "Send fewer or smaller images per call; max_message_bytes raises this client's own limit."


class Rejected(PredictionError):
    """The service rejected the request: its model, signature, input name, type, shape or content."""

    remedy = "Compare the request with the model's inputs."


class AnswerInvalid(PredictionError):
    """The response does not hold the requested output as a tensor of floats."""

    remedy = "Compare output_name with the model's outputs."


class Failed(PredictionError):
    """The service failed."""

    remedy = "Check the service's log."


class Closed(PredictionError):
    """The client was closed while the call was in progress."""

    remedy = "Close the client after its last call."

    def __init__(self) -> None:
        super().__init__("The client was closed during the call.", StatusCode.CANCELLED)


# gRPC reports every failed connection as UNAVAILABLE; only the details, which are those of gRPC's C core and of
# BoringSSL, distinguish a refused connection from an untrusted certificate.
_HANDSHAKE: tuple[tuple[str, type[PredictionError], str], ...] = (
    ("certificate has expired", CertificateExpired, "the service's certificate, or its issuer's, has expired."),
    ("certificate is not yet valid", CertificateExpired, "the service's certificate is not valid yet."),
    (
        "Hostname Verification Check failed",
        NameMismatch,
        "the service's certificate does not cover the name that was called.",
    ),
    ("CERTIFICATE_VERIFY_FAILED", Untrusted, "no trusted root covers the service's certificate."),
    ("WRONG_VERSION_NUMBER", NotTls, "the server at this port does not use TLS."),
)

_TOO_LARGE: Mapping[str, str] = {
    "CLIENT: Received message larger than max": "The response is larger than this client accepts.",
    "Sent message larger than max": "The request is larger than this client sends.",
    "larger than max": "The request is larger than the service accepts.",
}

_KINDS: Mapping[StatusCode, type[PredictionError]] = {
    StatusCode.UNAVAILABLE: Unreachable,
    # A service that stops cancels the calls in progress.
    StatusCode.CANCELLED: Unreachable,
    StatusCode.UNAUTHENTICATED: TokenRefused,
    StatusCode.PERMISSION_DENIED: TokenRefused,
    StatusCode.DEADLINE_EXCEEDED: DeadlinePassed,
    StatusCode.RESOURCE_EXHAUSTED: Busy,
    StatusCode.INVALID_ARGUMENT: Rejected,
    StatusCode.NOT_FOUND: Rejected,
    StatusCode.FAILED_PRECONDITION: Rejected,
    StatusCode.OUT_OF_RANGE: Rejected,
    StatusCode.UNIMPLEMENTED: Rejected,
}

_CAUSES: Mapping[type[PredictionError], str] = {
    Unreachable: "The connection to the service could not be established, or was lost.",
    DeadlinePassed: "The deadline passed before the service responded.",
    Busy: "The service's resources are exhausted.",
}

# Addresses in the service's details. A shape such as [224] is not one.
_ADDRESS = re.compile(
    r"(ipv[46]:|unix:|dns:|https?://)\S+|\b\d{1,3}(\.\d{1,3}){3}\b(:\d+)?|\[[0-9a-fA-F]*:[0-9a-fA-F:]+\](:\d+)?|\b[\w.-]+:\d{2,5}\b"
)
_MAX_QUOTED = 200


def explain(error: grpc.RpcError, *, with_token: bool) -> PredictionError:
    """The error for a failed call, by gRPC's status and details.

    Args:
        error: as gRPC raised it, in its blocking or its asyncio API.
        with_token: whether an access token was sent.
    """
    code, details = _status(error)
    if code is StatusCode.UNAVAILABLE:
        for text, kind, cause in _HANDSHAKE:
            if text in details:
                return kind(f"The TLS handshake failed: {cause}", code, details)
    if code is StatusCode.RESOURCE_EXHAUSTED:
        for text, cause in _TOO_LARGE.items():
            if text in details:
                return MessageTooLarge(cause, code, details)
    kind = _KINDS.get(code, Failed)
    if kind is TokenRefused:
        cause = f"The service {'refused the' if with_token else 'requires an'} access token."
    else:
        cause = _CAUSES.get(kind) or f"The service responded with {code.name}{_quoted(details)}"
    return kind(cause, code, details)


def _status(error: grpc.RpcError) -> tuple[StatusCode, str]:
    """Status and details: every error raised by a call has both, although the base class does not declare them."""
    if isinstance(error, grpc.Call | AioRpcError):
        return error.code(), error.details() or ""
    return StatusCode.UNKNOWN, ""


def _quoted(details: str) -> str:
    text = _ADDRESS.sub("(address)", " ".join(details.split()))
    if not text:
        return " without details."
    return f": {text[:_MAX_QUOTED]}{'…' if len(text) > _MAX_QUOTED else ''}"
