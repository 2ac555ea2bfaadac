"""Causes of failed calls, with real handshakes."""

import asyncio
import datetime as dt
import time
from collections.abc import Callable

import pytest
from grpc import StatusCode
from grpc.aio import AioRpcError, Metadata

from devstack.authority import Authority, Issued
from shared import errors
from shared.credentials.pins import Pins, read_pins
from shared.errors import GatewayError
from shared.settings import ServiceSettings
from shared.telemetry import RequestContext
from shared.upstream.causes import cause, is_trust_failure
from shared.upstream.channel import Target
from shared.upstream.codecs.tensorflow import PREDICT
from shared.upstream.slot import ChannelSlot
from tests.support.devstack.processes import unused_port
from tests.support.inference_service import StartService

NOW = dt.datetime.now(dt.UTC)
DAY = dt.timedelta(days=1)


def pins(certificate: bytes) -> Pins:
    return read_pins(certificate.decode(), "pins", NOW)


async def failure(port: int, trusted: Pins) -> AioRpcError:
    """The error of a failing call."""
    slot = ChannelSlot(Target.of(ServiceSettings("cats", "localhost", port)))
    try:
        with slot.channel(trusted) as channel, pytest.raises(AioRpcError) as caught:
            await channel.call(PREDICT, b"", "key", RequestContext("request", time.monotonic() + 5))
    finally:
        await slot.close()
    return caught.value


def status(code: StatusCode, details: str) -> AioRpcError:
    return AioRpcError(code, Metadata(), Metadata(), details)


@pytest.mark.parametrize(
    ("issue", "kind", "detail"),
    [
        (lambda _: Authority.create().issue(), errors.ServiceUntrusted, "no pin matches"),
        (lambda _: Authority.create("another").issue(), errors.ServiceUntrusted, "no pin matches"),
        (lambda ca: ca.issue(not_before=NOW - 2 * DAY, valid_for=DAY), errors.ServiceCertificateExpired, "has expired"),
        (lambda ca: ca.issue(not_before=NOW + DAY), errors.ServiceCertificateExpired, "not valid yet"),
        (lambda ca: ca.issue(["cats.example.com"]), errors.ServiceNameMismatch, "does not cover its configured name"),
    ],
    ids=["issuer of the same name", "issuer of another name", "expired", "not yet valid", "wrong name"],
)
async def test_a_failed_verification_names_the_cause(
    start: StartService,
    authority: Authority,
    issue: Callable[[Authority], Issued],
    kind: type[GatewayError],
    detail: str,
) -> None:
    service = await start(issue(authority))

    error = cause(await failure(service.port, pins(authority.pem)))

    assert type(error) is kind
    assert is_trust_failure(error)
    assert detail in error.detail


async def test_a_service_without_tls(start: StartService, authority: Authority) -> None:
    service = await start(tls=False)

    error = await failure(service.port, pins(authority.pem))

    assert isinstance(cause(error), errors.ServiceWithoutTls)
    assert not is_trust_failure(cause(error))


async def test_an_http_server_at_the_port(authority: Authority) -> None:
    async def respond_with_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(respond_with_http, "127.0.0.1", 0) as server:
        error = await failure(server.sockets[0].getsockname()[1], pins(authority.pem))

    assert isinstance(cause(error), errors.ServiceWithoutTls)


async def test_no_server_at_the_port(authority: Authority) -> None:
    port = unused_port()

    error = cause(await failure(port, pins(authority.pem)))

    assert isinstance(error, errors.ServiceUnreachable)
    assert error.retry_after == 1
    assert str(port) not in error.detail


async def test_a_refused_key(start: StartService, issued: Issued) -> None:
    service = await start()

    assert isinstance(cause(await failure(service.port, pins(issued.certificate))), errors.KeysRefused)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (StatusCode.UNAVAILABLE, errors.ServiceUnreachable),
        (StatusCode.PERMISSION_DENIED, errors.KeysRefused),
        (StatusCode.DEADLINE_EXCEEDED, errors.DeadlineExceeded),
        (StatusCode.RESOURCE_EXHAUSTED, errors.ServiceBusy),
        (StatusCode.INVALID_ARGUMENT, errors.ServiceRejected),
        (StatusCode.NOT_FOUND, errors.ServiceRejected),
        (StatusCode.UNIMPLEMENTED, errors.ServiceRejected),
        (StatusCode.INTERNAL, errors.ServiceFailed),
        (StatusCode.UNKNOWN, errors.ServiceFailed),
        (StatusCode.DATA_LOSS, errors.ServiceFailed),
        (StatusCode.ABORTED, errors.ServiceFailed),
    ],
)
def test_every_status_has_an_error(code: StatusCode, kind: type[GatewayError]) -> None:
    assert type(cause(status(code, ""))) is kind


@pytest.mark.parametrize(
    ("details", "quoted"),
    [
        ("no such model: 'x'", "The service responded with NOT_FOUND: no such model: 'x'"),
        ("", "The service responded with NOT_FOUND: it gave no reason."),
        ("peer ipv4:10.1.2.3:443 failed", "The service responded with NOT_FOUND: peer (address) failed"),
        ("at 10.1.2.3 or [::1]:80", "The service responded with NOT_FOUND: at (address) or (address)"),
        ("use cats.internal:8443 instead", "The service responded with NOT_FOUND: use (address) instead"),
        ("see https://cats.internal/x", "The service responded with NOT_FOUND: see (address)"),
        ("line\none\ttwo", "The service responded with NOT_FOUND: line one two"),
        ("x" * 300, "The service responded with NOT_FOUND: " + "x" * 200 + "…"),
    ],
)
def test_the_services_message_is_quoted_without_addresses(details: str, quoted: str) -> None:
    assert cause(status(StatusCode.NOT_FOUND, details)).detail == quoted
