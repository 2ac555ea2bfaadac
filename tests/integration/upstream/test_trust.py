"""What connections trust, present and carry: public authorities, client certificates, bearer tokens, metadata."""

import asyncio
import datetime as dt
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from devstack.authority import Authority, Issued
from devstack.fpga import Identity, KeyPair, KeyRing, Keys, Service
from shared import errors
from shared.credentials.cache import CredentialCache, CredentialReader
from shared.credentials.secrets import Secret
from shared.gateway import _client_certificate
from shared.settings import Auth, ServiceSettings, Trust
from shared.telemetry import RequestContext
from shared.upstream.client import ServiceClient
from shared.upstream.codecs import Selector
from shared.upstream.codecs.tensorflow import PREDICT, TensorFlowCodec
from tests.support.inference_service import KEYS, StartService

SETTINGS = ServiceSettings(
    "cats", "localhost", primary_key_secret="primary", secondary_key_secret="secondary", pins_secret="pins"
)
REQUEST = TensorFlowCodec(SETTINGS).requests(Selector()).encoded([b"\xff\xd8\xff an image"])

CLIENT_AUTH = ExtendedKeyUsageOID.CLIENT_AUTH

Connect = Callable[..., ServiceClient]


@pytest.fixture
def secrets(issued: Issued) -> dict[str, str]:
    return {"primary": KEYS.primary, "secondary": KEYS.secondary, "pins": issued.certificate.decode()}


@pytest.fixture
async def connect(secrets: dict[str, str]) -> AsyncIterator[Connect]:
    clients: list[ServiceClient] = []
    with ThreadPoolExecutor(6) as threads:

        def read(name: str) -> Secret:
            return Secret(secrets[name], "1", 0)

        def client(service: Service, *, token: Callable[[], str] | None = None, **settings: Any) -> ServiceClient:
            own = replace(SETTINGS, port=service.port, **settings)
            reader = CredentialReader(own, read, threads, read_identity=_client_certificate, read_token=token)
            clients.append(ServiceClient(own, CredentialCache(reader, refresh_seconds=0.2)))
            return clients[-1]

        yield client
        for one in clients:
            await one.close()


async def infer(client: ServiceClient, seconds: float = 5) -> bytes:
    return await client.call(PREDICT, REQUEST, RequestContext("request", time.monotonic() + seconds))


def identity(certificate: Issued, clients: Authority) -> Identity:
    return Identity(KeyPair(certificate.chain, certificate.key), clients=clients.pem)


async def test_a_named_authority_is_trusted_without_pins(
    service: Service, connect: Connect, secrets: dict[str, str], authority: Authority, tmp_path: Path
) -> None:
    file = tmp_path / "authority.pem"
    file.write_bytes(b"A company's authority\n" + authority.pem)
    del secrets["pins"]

    assert await infer(connect(service, trust=Trust.PUBLIC, trust_file=str(file)))


async def test_the_operating_system_s_authorities_do_not_trust_a_private_one(
    service: Service, connect: Connect
) -> None:
    with pytest.raises(errors.ServiceUntrusted):
        await infer(connect(service, trust=Trust.PUBLIC))
    # The pin beside them does.
    assert await infer(connect(service, trust=Trust.BOTH))
    assert [call.key for call in service.recorder.calls] == ["primary"]


async def test_a_client_certificate_is_presented(
    start: StartService, connect: Connect, secrets: dict[str, str], issued: Issued
) -> None:
    clients = Authority.create("clients")
    service = await start(identity=identity(issued, clients))
    own = clients.issue(["gateway"], purpose=CLIENT_AUTH)
    secrets["client"] = (own.key + own.chain).decode()

    assert await infer(connect(service, client_certificate_secret="client"))


async def test_a_client_certificate_that_the_service_does_not_trust_is_named(
    start: StartService, connect: Connect, secrets: dict[str, str], issued: Issued, authority: Authority
) -> None:
    service = await start(identity=identity(issued, Authority.create("clients")))
    own = authority.issue(["gateway"], purpose=CLIENT_AUTH)
    secrets["client"] = (own.key + own.chain).decode()

    with pytest.raises(errors.ClientCertificateRefused):
        await infer(connect(service, client_certificate_secret="client"))
    with pytest.raises(errors.ServiceUnreachable):
        await infer(connect(service))


async def test_a_renewed_client_certificate_is_taken_into_use_without_losing_a_call(
    start: StartService, connect: Connect, secrets: dict[str, str], issued: Issued, caplog: pytest.LogCaptureFixture
) -> None:
    clients = Authority.create("clients")
    service = await start(identity=identity(issued, clients))
    first = clients.issue(["gateway"], purpose=CLIENT_AUTH, valid_for=dt.timedelta(days=7))
    secrets["client"] = (first.key + first.chain).decode()
    client = connect(service, client_certificate_secret="client")
    await infer(client)
    assert "the client certificate in secret 'client' expires on" in caplog.text
    before = {call.peer for call in service.recorder.calls}

    second = clients.issue(["gateway"], purpose=CLIENT_AUTH)
    secrets["client"] = (second.key + second.chain).decode()
    async with asyncio.timeout(10):
        while {call.peer for call in service.recorder.calls} == before:
            await asyncio.gather(*(infer(client) for _ in range(4)))


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("not a certificate", "it is neither PEM nor PKCS#12 without a password"),
        ("other key", "the private key is not the certificate's"),
    ],
)
async def test_a_client_certificate_that_cannot_be_used_is_an_error(
    service: Service, connect: Connect, secrets: dict[str, str], authority: Authority, value: str, why: str
) -> None:
    mixed = authority.issue(["a"]).key + authority.issue(["b"]).chain
    secrets["client"] = mixed.decode() if value == "other key" else value

    with pytest.raises(errors.InvalidKey) as caught:
        await infer(connect(service, client_certificate_secret="client"))

    assert caught.value.detail == f"The client certificate in secret 'client' cannot be used: {why}."


@pytest.mark.parametrize(
    ("settings", "keys", "used"),
    [
        ({"auth": Auth.BEARER}, Keys("Bearer the-primary-key", "Bearer x"), "primary"),
        ({"auth": Auth.BEARER}, Keys("Bearer x", "Bearer the-secondary-key"), "secondary"),
        ({"auth": Auth.ENTRA, "auth_scope": "api://x/.default"}, Keys("Bearer a-token", "x"), "primary"),
    ],
)
async def test_keys_and_tokens_are_sent_as_bearers(
    start: StartService, connect: Connect, settings: Mapping[str, Any], keys: Keys, used: str
) -> None:
    service = await start(keys=KeyRing(keys))

    assert await infer(connect(service, token=lambda: "a-token", **settings))

    assert service.recorder.calls[-1].key == used


async def test_without_authorization_no_key_is_read_or_sent(
    service: Service, connect: Connect, secrets: dict[str, str]
) -> None:
    del secrets["primary"], secrets["secondary"]

    with pytest.raises(errors.KeysRefused):
        await infer(connect(service, auth=Auth.NONE))

    assert {call.key for call in service.recorder.calls} == {"none"}


async def test_fixed_metadata_and_another_name_for_the_key(service: Service, connect: Connect) -> None:
    client = connect(service, auth_metadata="x-api-key", call_metadata=(("seldon-model", "resnet"),))

    with pytest.raises(errors.KeysRefused):  # this service reads its key elsewhere
        await infer(client)

    sent = service.recorder.calls[0].metadata
    assert sent["seldon-model"] == "resnet"
    assert sent["x-api-key"] in {KEYS.primary, KEYS.secondary}


async def test_the_authority_must_be_a_name_in_the_certificate(
    start: StartService, connect: Connect, secrets: dict[str, str], authority: Authority
) -> None:
    issued = authority.issue(["localhost", "resnet.example.com"])
    service = await start(issued)
    secrets["pins"] = authority.pem.decode()

    assert await infer(connect(service, authority="resnet.example.com"))
    with pytest.raises(errors.ServiceNameMismatch):
        await infer(connect(service, authority="other.example.com"))
