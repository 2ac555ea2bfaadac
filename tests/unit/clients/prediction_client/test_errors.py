"""The errors of failed calls, by gRPC's status and details; real handshakes are in the integration tests."""

import grpc
import pytest
from grpc import StatusCode
from grpc.aio import AioRpcError, Metadata
from prediction_client import errors
from prediction_client.errors import PredictionError, explain


def explained(code: StatusCode, details: str = "", *, with_token: bool = True) -> PredictionError:
    return explain(AioRpcError(code, Metadata(), Metadata(), details), with_token=with_token)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (StatusCode.UNAVAILABLE, errors.Unreachable),
        (StatusCode.CANCELLED, errors.Unreachable),
        (StatusCode.UNAUTHENTICATED, errors.TokenRefused),
        (StatusCode.PERMISSION_DENIED, errors.TokenRefused),
        (StatusCode.DEADLINE_EXCEEDED, errors.DeadlinePassed),
        (StatusCode.RESOURCE_EXHAUSTED, errors.Busy),
        (StatusCode.INVALID_ARGUMENT, errors.Rejected),
        (StatusCode.NOT_FOUND, errors.Rejected),
        (StatusCode.FAILED_PRECONDITION, errors.Rejected),
        (StatusCode.OUT_OF_RANGE, errors.Rejected),
        (StatusCode.UNIMPLEMENTED, errors.Rejected),
        (StatusCode.INTERNAL, errors.Failed),
        (StatusCode.UNKNOWN, errors.Failed),
        (StatusCode.DATA_LOSS, errors.Failed),
        (StatusCode.ABORTED, errors.Failed),
    ],
)
def test_every_status_has_an_error(code: StatusCode, kind: type[PredictionError]) -> None:
    error = explained(code)

    assert type(error) is kind
    assert error.code() is code
    assert str(error) == f"{error.cause} {kind.remedy}"
    assert error.details() == error.cause


@pytest.mark.parametrize(
    ("details", "kind", "cause"),
    [
        ("certificate verify failed: certificate has expired", errors.CertificateExpired, "has expired"),
        ("certificate verify failed: certificate is not yet valid", errors.CertificateExpired, "not valid yet"),
        ("CERTIFICATE_VERIFY_FAILED: unable to get local issuer certificate", errors.Untrusted, "no trusted root"),
        ("Hostname Verification Check failed.", errors.NameMismatch, "does not cover the name"),
        ("SSL_ERROR_SSL: WRONG_VERSION_NUMBER", errors.NotTls, "does not use TLS"),
    ],
)
def test_failed_handshakes_are_distinguished_by_their_details(
    details: str, kind: type[PredictionError], cause: str
) -> None:
    error = explained(StatusCode.UNAVAILABLE, f"failed to connect: {details}")

    assert type(error) is kind
    assert error.cause.startswith("The TLS handshake failed: ")
    assert cause in error.cause
    assert error.details() == f"failed to connect: {details}"


@pytest.mark.parametrize(
    ("details", "cause"),
    [
        ("CLIENT: Received message larger than max (9 vs. 4)", "The response is larger than this client accepts."),
        ("CLIENT: Sent message larger than max (9 vs. 4)", "The request is larger than this client sends."),
        ("SERVER: Received message larger than max (9 vs. 4)", "The request is larger than the service accepts."),
    ],
)
def test_oversized_messages_name_the_limiting_side(details: str, cause: str) -> None:
    error = explained(StatusCode.RESOURCE_EXHAUSTED, details)

    assert type(error) is errors.MessageTooLarge
    assert error.cause == cause


def test_refused_and_missing_tokens_have_different_causes() -> None:
    assert explained(StatusCode.UNAUTHENTICATED).cause == "The service refused the access token."
    assert explained(StatusCode.UNAUTHENTICATED, with_token=False).cause == "The service requires an access token."


@pytest.mark.parametrize(
    ("details", "quoted"),
    [
        ("no such model: 'x'", "The service responded with NOT_FOUND: no such model: 'x'"),
        ("", "The service responded with NOT_FOUND without details."),
        ("peer ipv4:10.1.2.3:443 failed", "The service responded with NOT_FOUND: peer (address) failed"),
        ("at 10.1.2.3 or [::1]:80", "The service responded with NOT_FOUND: at (address) or (address)"),
        ("use cats.internal:8443 instead", "The service responded with NOT_FOUND: use (address) instead"),
        ("see https://cats.internal/x", "The service responded with NOT_FOUND: see (address)"),
        ("line\none\ttwo", "The service responded with NOT_FOUND: line one two"),
        ("shape [224] is wrong", "The service responded with NOT_FOUND: shape [224] is wrong"),
        ("x" * 300, "The service responded with NOT_FOUND: " + "x" * 200 + "…"),
    ],
)
def test_the_services_details_are_quoted_without_addresses(details: str, quoted: str) -> None:
    assert explained(StatusCode.NOT_FOUND, details).cause == quoted


def test_the_message_is_the_cause_and_the_remedy_as_sentences() -> None:
    assert str(explained(StatusCode.NOT_FOUND, "no such model")) == (
        "The service responded with NOT_FOUND: no such model. Compare the request with the model's inputs."
    )
    assert str(explained(StatusCode.NOT_FOUND, "No.")) == (
        "The service responded with NOT_FOUND: No. Compare the request with the model's inputs."
    )


def test_an_rpc_error_without_a_status_is_a_failure() -> None:
    error = explain(grpc.RpcError(), with_token=True)

    assert type(error) is errors.Failed
    assert error.code() is StatusCode.UNKNOWN


def test_errors_are_instances_of_rpc_error() -> None:
    assert isinstance(errors.Closed(), grpc.RpcError)
    assert errors.Closed().code() is StatusCode.CANCELLED
