"""A real Triton with TLS: client certificates, certificates renewed under load, and a server that is killed."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from devstack.authority import Authority, Issued
from shared.credentials.cache import CredentialCache, CredentialReader
from shared.credentials.secrets import Secret
from shared.errors import ClientCertificateRefused, ServiceUnreachable
from shared.gateway import _client_certificate
from shared.scoring.probe import probe
from shared.settings import Auth, InputForm, Preprocessing, Protocol, ServiceSettings
from shared.telemetry import RequestContext
from shared.upstream.admission import Admission
from shared.upstream.client import ServiceClient
from shared.upstream.codecs.open_inference import OpenInferenceCodec
from shared.upstream.discovery import Discovery
from shared.upstream.service import Upstream
from tests.support.devstack.processes import ServerProcess, running_processes, unused_port, wait_until_async

MODEL = "nhwc-uint8"
SETTINGS = ServiceSettings(
    "cats",
    "localhost",
    protocol=Protocol.OPEN_INFERENCE,
    model=MODEL,
    input_name="",
    output_name="",
    preprocessing=Preprocessing(size=0, resize=0),
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

    def __init__(self, address: str, secrets: dict[str, str], threads: ThreadPoolExecutor, **settings: str) -> None:
        own = replace(SETTINGS, port=int(address.rpartition(":")[2]), **settings)  # type: ignore[arg-type] # texts
        reader = CredentialReader(
            own, lambda name: Secret(secrets[name], "1", 0), threads, read_identity=_client_certificate
        )
        client = ServiceClient(own, CredentialCache(reader, refresh_seconds=0.2))
        self.upstream = Upstream(own, client, OpenInferenceCodec(own), Admission(64, 10))
        self.discovery = Discovery(own, client, self.upstream.codec)

    async def infer(self) -> int:
        """Score a picture; the number of scores."""
        context = RequestContext("r", time.monotonic() + 8)
        codec = await self.discovery.codec(context)
        return codec.scores(await self.upstream.client.call(*probe(codec), context)).size

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
    arguments = ("--certificate", "chain.pem", "--key", "key.pem", "--clients", "clients.pem", "--models", MODEL)
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


def server(folder: Path, issued: Issued, port: int, name: str) -> ServerProcess:
    """A server with a certificate on a port, which several may share."""
    (folder / f"{name}.pem").write_bytes(issued.chain)
    (folder / f"{name}.key").write_bytes(issued.key)
    arguments = ("--certificate", folder / f"{name}.pem", "--key", folder / f"{name}.key", "--models", MODEL)
    return ServerProcess("devstack.triton", "--port", str(port), "--share-port", *arguments, log=folder / f"{name}.log")


def kill(running: ServerProcess, certificate: Path) -> None:
    """End the server with this certificate at once; the process that started it then ends too."""
    [killed] = [pid for pid, command in running_processes(certificate).items() if "bin/tritonserver" in command]
    os.kill(killed, signal.SIGKILL)
    running.stop(signal.SIGTERM)


@pytest.mark.usefixtures("triton_environment")
async def test_a_server_s_certificate_changes_under_load_and_it_is_killed(
    tmp_path: Path, threads: ThreadPoolExecutor
) -> None:
    authority, port = Authority.create(), unused_port()
    old, new = authority.issue(), authority.issue()
    secrets = {"pins": old.certificate.decode()}
    scored, stop = 0, asyncio.Event()
    client = Client(f"localhost:{port}", secrets, threads, client_certificate_secret="")

    async def load() -> None:
        nonlocal scored
        while not stop.is_set():
            assert await client.infer() == 1000
            scored += 1

    def scores(more: int) -> Callable[[], bool]:
        wanted = scored + more
        return lambda: scored >= wanted

    async with asyncio.TaskGroup() as callers:  # none of which may fail
        with server(tmp_path, old, port, "old") as first:
            for _ in range(4):
                callers.create_task(load())
            await wait_until_async(scores(8), "scores of the first certificate")
            secrets["pins"] += new.certificate.decode()
            # The rolling update of an orchestrator: the next server is ready before the one before it ends.
            second = await asyncio.to_thread(server(tmp_path, new, port, "new").__enter__)
            # The program's own sign of readiness is a connection, which the first server accepts.
            await wait_until_async(lambda: "Started GRPCInferenceService" in second.log, "the second server")
            # At once: after SIGTERM Triton answers for seconds that it has no such model.
            await asyncio.to_thread(kill, first, tmp_path / "old.pem")
            await wait_until_async(scores(8), "scores of the second certificate")
            secrets["pins"] = new.certificate.decode()
            await wait_until_async(scores(8), "scores with the second pin alone")
        stop.set()

    await asyncio.to_thread(kill, second, tmp_path / "new.pem")
    with pytest.raises(ServiceUnreachable):
        await client.infer()
    with server(tmp_path, new, port, "again"):
        scores_of_one = 0
        async with asyncio.timeout(30):
            while not scores_of_one:
                with suppress(ServiceUnreachable):  # a request waits for two seconds
                    scores_of_one = await client.infer()
        assert scores_of_one == 1000
    await client.upstream.client.close()
