"""A real Triton with mutual TLS: a client certificate that it trusts, another, and one renewed under load."""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from devstack.authority import Authority
from shared.credentials.cache import CredentialCache, CredentialReader
from shared.credentials.secrets import Secret
from shared.errors import ClientCertificateRefused
from shared.gateway import _client_certificate
from shared.settings import Auth, InputForm, Protocol, ServiceSettings
from shared.telemetry import RequestContext
from shared.upstream.admission import Admission
from shared.upstream.client import ServiceClient
from shared.upstream.codecs.open_inference import OpenInferenceCodec
from shared.upstream.service import Upstream
from tests.support.devstack.processes import ServerProcess

SETTINGS = ServiceSettings(
    "cats",
    "localhost",
    protocol=Protocol.OPEN_INFERENCE,
    model="nhwc-uint8",
    input_form=InputForm.DISCOVERED,
    auth=Auth.NONE,
    pins_secret="pins",
    client_certificate_secret="client",
)


def certificate(authority: Authority) -> str:
    issued = authority.issue(["gateway"], purpose=ExtendedKeyUsageOID.CLIENT_AUTH)
    return (issued.key + issued.chain).decode()


class Client:
    """A client of the server with secrets that may be replaced."""

    def __init__(self, address: str, secrets: dict[str, str], threads: ThreadPoolExecutor) -> None:
        own = ServiceSettings(**{**SETTINGS.__dict__, "port": int(address.rpartition(":")[2])})
        reader = CredentialReader(
            own, lambda name: Secret(secrets[name], "1", 0), threads, read_identity=_client_certificate
        )
        client = ServiceClient(own, CredentialCache(reader, refresh_seconds=0.2))
        self.upstream = Upstream(own, client, OpenInferenceCodec(own), Admission(64, 10))

    async def ready(self) -> bytes:
        method, request = self.upstream.codec.readiness()[0]
        return await self.upstream.client.call(method, request, RequestContext("r", time.monotonic() + 8))


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as executor:
        yield executor


@pytest.mark.usefixtures("triton_environment")
async def test_client_certificates(tmp_path: Path, threads: ThreadPoolExecutor) -> None:
    authority, clients = Authority.create(), Authority.create("clients")
    issued = authority.issue()
    files = {"chain.pem": issued.chain, "key.pem": issued.key, "clients.pem": clients.pem}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    arguments = ("--certificate", "chain.pem", "--key", "key.pem", "--clients", "clients.pem")
    paths = [tmp_path / one if one.endswith(".pem") else one for one in arguments]
    secrets = {"pins": issued.certificate.decode(), "client": certificate(clients)}
    with ServerProcess("devstack.triton", *paths, log=tmp_path / "log") as server:
        trusted = Client(server.address, secrets, threads)
        assert await trusted.ready() == b"\x08\x01"

        before = trusted.upstream.client._slot._live
        secrets["client"] = certificate(clients)
        async with asyncio.timeout(15):
            while trusted.upstream.client._slot._live is before:
                assert await asyncio.gather(*(trusted.ready() for _ in range(4))) == [b"\x08\x01"] * 4
        await trusted.upstream.client.close()

        other = Client(server.address, {**secrets, "client": certificate(authority)}, threads)
        with pytest.raises(ClientCertificateRefused):
            await other.ready()
        await other.upstream.client.close()
