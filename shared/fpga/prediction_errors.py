"""What can go wrong between a prediction client and the service: one flat tree, told by cause.

Every error is a ``grpc.RpcError`` with ``code()`` and ``details()``, so programs that were written against gRPC's own
errors go on working. A message is one line: the cause, then what to do about it. It never holds the access token, nor
the service's address.
"""

from collections.abc import Mapping
from typing import ClassVar

import grpc
from grpc.aio import AioRpcError, Metadata

from shared import errors
from shared.fpga.causes import cause

_SENT_TOO_MUCH = "Sent message larger than max"
_CLIENT_REFUSES = "CLIENT: Received message larger than max"


class PredictionError(grpc.RpcError):
    """Base of all. ``cause`` says what happened, ``remedy`` what to do."""

    remedy: ClassVar[str] = ""

    def __init__(self, cause: str, code: grpc.StatusCode, details: str = "") -> None:
        super().__init__(f"{cause} {self.remedy}")
        self.cause = cause
        self._code = code
        self._details = details or cause

    def code(self) -> grpc.StatusCode:
        """The status, as gRPC numbers them."""
        return self._code

    def details(self) -> str:
        """The words of gRPC or of the service, where there are any; else the cause."""
        return self._details


class Unreachable(PredictionError):
    """No connection, or one that broke; the only cause for which a call is tried again."""

    remedy = "Check the address and the port, that the service runs, and that use_ssl says whether it speaks TLS."


class Untrusted(PredictionError):
    """The service's certificate was issued by no one who is trusted."""

    remedy = (
        "Pass the certificate that the service presents, or its authority's, as root_certificates, or name its file in "
        "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH."
    )


class CertificateExpired(PredictionError):
    """The service's certificate, or its issuer's, is not valid now."""

    remedy = "Have the service's certificate renewed, and check this machine's clock."


class NameMismatch(PredictionError):
    """The service's certificate is for another name than the address."""

    remedy = "Call the service by a name in its certificate, or pass that name as ssl_target_name."


class NotTls(PredictionError):
    """What answers does not speak TLS."""

    remedy = "Check the address and the port; a service without TLS is called with use_ssl=False, and no access token."


class TokenRefused(PredictionError):
    """The service does not let this client in."""

    remedy = "Pass one of the service's current keys as access_token."


class DeadlinePassed(PredictionError):
    """The answer was not there within the timeout."""

    remedy = "Try again, or pass a longer timeout."


class Busy(PredictionError):
    """The service has no room for the call."""

    remedy = "Try again a little later."


class MessageTooLarge(PredictionError):
    """A request or an answer is larger than a message may be."""

    remedy = "Send fewer or smaller images in one call; max_message_bytes raises this client's own limit."


class Rejected(PredictionError):
    """The service refuses the call as such: its model, name, type, shape or content."""

    remedy = "Compare what is sent with what the service takes."


class AnswerInvalid(PredictionError):
    """The service answered something else than a tensor of floats."""

    remedy = "Compare output_name with what the service answers."


class Failed(PredictionError):
    """The service failed within."""

    remedy = "Look at the service's own log."


class Closed(PredictionError):
    """The client was closed while the call was under way."""

    remedy = "Close the client after its last call."


_KINDS: Mapping[type[errors.GatewayError], type[PredictionError]] = {
    errors.ServiceUnreachable: Unreachable,
    errors.ServiceUntrusted: Untrusted,
    errors.ServiceCertificateExpired: CertificateExpired,
    errors.ServiceNameMismatch: NameMismatch,
    errors.ServiceWithoutTls: NotTls,
    errors.KeysRefused: TokenRefused,
    errors.DeadlineExceeded: DeadlinePassed,
    errors.ServiceBusy: Busy,
    errors.MessageTooLarge: MessageTooLarge,
    errors.ServiceRejected: Rejected,
    errors.ServiceFailed: Failed,
}

# Where the gateway's sentence speaks of what this client does not have: pins, two keys.
_SENTENCES: Mapping[type[PredictionError], str] = {
    Untrusted: "The handshake failed: no trusted root covers the certificate that the service presents.",
    DeadlinePassed: "The deadline passed before the service answered.",
}


def explained(error: grpc.RpcError, *, with_token: bool) -> PredictionError:
    """The cause of a failed call, told apart by gRPC's status and words.

    Args:
        error: as gRPC raised it, synchronous or not.
        with_token: whether an access token was sent.
    """
    code, details = _said(error)
    told = cause(AioRpcError(code, Metadata(), Metadata(), details))
    kind = _KINDS.get(type(told), Failed)
    sentence = _SENTENCES.get(kind, told.detail)
    if kind is TokenRefused:
        sentence = f"The service {'refuses the access token' if with_token else 'asks for an access token'}."
    elif kind is MessageTooLarge:
        sentence = _about_size(details)
    return kind(sentence, code, details)


def _said(error: grpc.RpcError) -> tuple[grpc.StatusCode, str]:
    """Status and words; every error that a call raises has both, though the base class promises neither."""
    if isinstance(error, grpc.Call | AioRpcError):
        return error.code(), error.details() or ""
    return grpc.StatusCode.UNKNOWN, ""


def _about_size(details: str) -> str:
    if _CLIENT_REFUSES in details:
        return "The answer is larger than this client takes."
    if _SENT_TOO_MUCH in details:
        return "The request is larger than this client sends."
    return "The request is larger than the messages that the service takes."
