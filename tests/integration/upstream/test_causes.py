"""Causes of failed calls, with real handshakes."""

import asyncio
import datetime as dt
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
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


def common_name(name: str) -> Issued:
    """A self-signed certificate that has its name as the common name alone."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = x509.CertificateBuilder(subject, subject, key.public_key(), 1, NOW - DAY, NOW + DAY)
    leaf = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return Issued(leaf, key.private_bytes(*form), leaf)


def tls_server(
    issued: Issued, folder: Path, protocols: list[str], maximum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> ssl.SSLContext:
    (folder / "chain.pem").write_bytes(issued.chain)
    (folder / "leaf.key").write_bytes(issued.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "chain.pem", folder / "leaf.key")
    context.maximum_version = maximum
    if protocols:
        context.set_alpn_protocols(protocols)
    return context


async def read_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        await reader.read()
    writer.close()


def with_wrong_signature(data: bytes) -> bytes:
    """TLS 1.2 records, with another last byte in the signature of ServerKeyExchange (RFC 5246, section 7.4.3)."""
    changed, record = bytearray(data), 0
    while record + 5 <= len(data):
        length = int.from_bytes(data[record + 3 : record + 5])
        message = record + 5
        while data[record] == 22 and message < record + 5 + length:
            end = message + 4 + int.from_bytes(data[message + 1 : message + 4])
            if data[message] == 12 and end <= len(data):
                changed[end - 1] ^= 1
            message = end
        record += 5 + length
    return bytes(changed)


@asynccontextmanager
async def tampered_handshakes(context: ssl.SSLContext) -> AsyncIterator[int]:
    """The port of a TLS server whose signatures are wrong, as without the private key."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", port_of(server))

        async def forward() -> None:
            while data := await reader.read(65536):
                server_writer.write(data)
            server_writer.close()

        forwarding = asyncio.create_task(forward())
        with suppress(OSError):
            while data := await server_reader.read(65536):
                writer.write(with_wrong_signature(data))
        writer.close()
        forwarding.cancel()
        await asyncio.wait({forwarding})
        server_writer.close()

    async with (
        await asyncio.start_server(read_all, "127.0.0.1", 0, ssl=context) as server,
        await asyncio.start_server(connected, "127.0.0.1", 0) as between,
    ):
        yield port_of(between)


def port_of(server: asyncio.Server) -> int:
    return int(server.sockets[0].getsockname()[1])


async def failure(port: int, trusted: Pins, address: str = "localhost") -> AioRpcError:
    """The error of a failing call."""
    slot = ChannelSlot(Target.of(ServiceSettings("cats", address, port)))
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


async def test_a_certificate_with_a_common_name_alone_does_not_refuse_keys(start: StartService) -> None:
    named = common_name("127.0.0.1")
    service = await start(named)

    error = cause(await failure(service.port, pins(named.certificate), "127.0.0.1"))

    assert isinstance(error, errors.ServiceNameMismatch)
    assert "no subjectAltName for the address" in error.detail
    assert not service.recorder.calls


async def test_a_certificate_without_its_key_is_not_trusted(
    issued: Issued, authority: Authority, tmp_path: Path
) -> None:
    """Whoever presents a pinned certificate, and cannot sign with its key."""
    async with tampered_handshakes(tls_server(issued, tmp_path, ["h2"], ssl.TLSVersion.TLSv1_2)) as port:
        error = cause(await failure(port, pins(authority.pem), "127.0.0.1"))

    assert isinstance(error, errors.ServiceUntrusted)
    assert "does not prove" in error.detail


@pytest.mark.parametrize("protocols", [[], ["http/1.1"]])
async def test_a_server_without_http2(
    issued: Issued, authority: Authority, tmp_path: Path, protocols: list[str]
) -> None:
    context = tls_server(issued, tmp_path, protocols)
    async with await asyncio.start_server(read_all, "127.0.0.1", 0, ssl=context) as server:
        error = cause(await failure(server.sockets[0].getsockname()[1], pins(authority.pem), "127.0.0.1"))

    assert isinstance(error, errors.ServiceWithoutHttp2)


async def test_a_name_that_does_not_resolve(authority: Authority) -> None:
    error = cause(await failure(443, pins(authority.pem), "no-such-service.invalid"))

    assert isinstance(error, errors.ServiceNameUnresolved)
    assert error.retry_after == 1


@pytest.mark.parametrize("code", [StatusCode.PERMISSION_DENIED, StatusCode.UNAUTHENTICATED, StatusCode.UNAVAILABLE])
def test_a_response_of_a_proxy_is_not_the_services(code: StatusCode) -> None:
    error = cause(status(code, "Received http2 header with status: 403"))

    assert isinstance(error, errors.ProxyRefused)
    assert error.detail == "A server on the way responded with HTTP 403."


def test_permission_denied_speaks_of_the_key_that_was_tried() -> None:
    detail = cause(status(StatusCode.PERMISSION_DENIED, "quota of this key")).detail

    assert detail == "The service responded with PERMISSION_DENIED to the key that was tried: quota of this key."


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
        ("x" * 300, "The service responded with NOT_FOUND: " + "x" * 199 + "…"),
    ],
)
def test_the_services_message_is_quoted_without_addresses(details: str, quoted: str) -> None:
    assert cause(status(StatusCode.NOT_FOUND, details)).detail == quoted
