"""Failed calls, each told by its cause; the failures are real ones, of real handshakes."""

import asyncio
import datetime as dt
import socket
import time

import pytest
from grpc import StatusCode
from grpc.aio import AioRpcError, Metadata

from devstack.authority import Authority, Issued
from shared import errors
from shared.errors import GatewayError
from shared.fpga.causes import cause, is_about_trust
from shared.fpga.channels import ChannelSlot, Endpoint
from shared.settings import ServiceSettings
from shared.telemetry import Call
from shared.trust.certificates import Pins, read_pins
from tests.shared.fpga.conftest import StartService

NOW = dt.datetime.now(dt.UTC)
DAY = dt.timedelta(days=1)


def pins(certificate: bytes) -> Pins:
    return read_pins(certificate.decode(), "pins", NOW)


async def failure(port: int, trusted: Pins) -> AioRpcError:
    """How a call fails."""
    slot = ChannelSlot(Endpoint.of(ServiceSettings("cats", "localhost", port)))
    try:
        with slot.lease(trusted) as channel, pytest.raises(AioRpcError) as caught:
            await channel.predict(b"", "key", Call("request", time.monotonic() + 5))
    finally:
        await slot.close()
    return caught.value


def status(code: StatusCode, details: str) -> AioRpcError:
    return AioRpcError(code, Metadata(), Metadata(), details)


async def test_a_certificate_that_no_pin_covers(start: StartService) -> None:
    service = await start()

    error = await failure(service.port, pins(Authority.create().pem))

    assert isinstance(cause(error), errors.ServiceUntrusted)
    assert is_about_trust(error)


async def test_a_self_signed_certificate_that_is_not_pinned(start: StartService) -> None:
    stranger = Authority.create("cats")
    issued = stranger.issue(["cats"])
    service = await start(issued)

    error = await failure(service.port, pins(Authority.create("cats").pem))

    assert isinstance(cause(error), errors.ServiceUntrusted)


async def test_an_expired_certificate(start: StartService, authority: Authority) -> None:
    service = await start(authority.issue(not_before=NOW - 2 * DAY, valid_for=DAY))

    error = await failure(service.port, pins(authority.pem))

    assert isinstance(cause(error), errors.ServiceCertificateExpired)
    assert is_about_trust(error)


async def test_a_certificate_that_is_not_valid_yet(start: StartService, authority: Authority) -> None:
    service = await start(authority.issue(not_before=NOW + DAY))

    error = cause(await failure(service.port, pins(authority.pem)))

    assert isinstance(error, errors.ServiceCertificateExpired)
    assert "not valid yet" in error.detail


async def test_a_certificate_for_another_name(start: StartService, authority: Authority) -> None:
    service = await start(authority.issue(["cats.example.com"]))

    error = await failure(service.port, pins(authority.pem))

    assert isinstance(cause(error), errors.ServiceNameMismatch)
    assert is_about_trust(error)


async def test_plaintext_where_tls_was_expected(start: StartService, authority: Authority) -> None:
    service = await start(tls=False)

    error = await failure(service.port, pins(authority.pem))

    assert isinstance(cause(error), errors.ServiceWithoutTls)
    assert not is_about_trust(error)


async def test_something_else_at_the_port(authority: Authority) -> None:
    async def answer_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer_http, "127.0.0.1", 0) as server:
        error = await failure(server.sockets[0].getsockname()[1], pins(authority.pem))

    assert isinstance(cause(error), errors.ServiceWithoutTls)


async def test_nothing_at_the_port(authority: Authority) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    error = cause(await failure(port, pins(authority.pem)))

    assert isinstance(error, errors.ServiceUnreachable)
    assert error.retry_after == 1
    assert str(port) not in error.detail


async def test_a_wrong_key(start: StartService, issued: Issued) -> None:
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
def test_every_status_has_its_error(code: StatusCode, kind: type[GatewayError]) -> None:
    assert type(cause(status(code, ""))) is kind


@pytest.mark.parametrize(
    ("details", "quoted"),
    [
        ("no such model: 'x'", "The service answered NOT_FOUND: no such model: 'x'"),
        ("", "The service answered NOT_FOUND: it gave no reason."),
        ("peer ipv4:10.1.2.3:443 says no", "The service answered NOT_FOUND: peer (address) says no"),
        ("at 10.1.2.3 or [::1]:80", "The service answered NOT_FOUND: at (address) or (address)"),
        ("ask cats.internal:8443 instead", "The service answered NOT_FOUND: ask (address) instead"),
        ("see https://cats.internal/x", "The service answered NOT_FOUND: see (address)"),
        ("line\none\ttwo", "The service answered NOT_FOUND: line one two"),
        ("x" * 300, "The service answered NOT_FOUND: " + "x" * 200 + "…"),
    ],
)
def test_the_services_words_are_quoted_without_addresses(details: str, quoted: str) -> None:
    assert cause(status(StatusCode.NOT_FOUND, details)).detail == quoted
