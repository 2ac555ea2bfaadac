"""``python -m devstack.identity`` as a process: over HTTP, through the unmodified credential, start and end."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from azure.identity import ManagedIdentityCredential
from azure.identity.aio import ManagedIdentityCredential as AsyncManagedIdentityCredential

from devstack import tokens
from tests.devstack.alive import eventually
from tests.devstack.processes import Running, fails_to_start

MODULE = "devstack.identity"
SCOPE = "https://vault.azure.net/.default"
QUERY = {"api-version": "2019-08-01", "resource": "https://vault.azure.net"}
HEADER = {"X-IDENTITY-HEADER": "secret"}


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    key = tmp_path_factory.mktemp("keys") / "signing.key"
    key.write_bytes(bytes(range(32)))
    return key


@pytest.fixture(scope="module")
def endpoint(key: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    log = tmp_path_factory.mktemp("identity") / "log"
    arguments: list[str | Path] = ["--port", "0", "--signing-key", key, "--header", "secret", "--lifetime", "7300"]
    with Running(MODULE, *arguments, log=log) as running:
        yield running


@pytest.fixture
def identity_environment(endpoint: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDENTITY_ENDPOINT", endpoint.address)
    monkeypatch.setenv("IDENTITY_HEADER", "secret")


def holder(key: Path, token: str) -> tokens.Identity:
    return tokens.verify(token, key.read_bytes(), audience="https://vault.azure.net", now=time.time())


@pytest.mark.usefixtures("identity_environment")
def test_the_credential_gets_a_token_and_refreshes_it_at_half_its_life(key: Path) -> None:
    with ManagedIdentityCredential() as credential:
        now = time.time()
        token = credential.get_token_info(SCOPE)

    assert holder(key, token.token) == tokens.SYSTEM_ASSIGNED
    assert token.expires_on == pytest.approx(now + 7300, abs=30)
    assert token.refresh_on == pytest.approx(now + 3650, abs=30)


@pytest.mark.usefixtures("identity_environment")
async def test_the_async_credential_does_the_same(key: Path) -> None:
    async with AsyncManagedIdentityCredential() as credential:
        token = await credential.get_token_info(SCOPE)

    assert holder(key, token.token) == tokens.SYSTEM_ASSIGNED
    assert token.expires_on == pytest.approx(time.time() + 7300, abs=30)


@pytest.mark.usefixtures("identity_environment")
def test_the_credential_can_name_a_user_assigned_identity(key: Path) -> None:
    with ManagedIdentityCredential(client_id="the-app") as credential:
        assert holder(key, credential.get_token(SCOPE).token).client_id == "the-app"
    with ManagedIdentityCredential(identity_config={"object_id": "the-object"}) as credential:
        assert holder(key, credential.get_token(SCOPE).token).object_id == "the-object"


def test_a_refusal_has_the_shape_of_app_services_errors(endpoint: Running) -> None:
    answer = httpx.get(endpoint.address, params=QUERY, headers={"X-IDENTITY-HEADER": "wrong"})

    body = answer.json()
    assert answer.status_code == body["statusCode"] == 401
    assert body["message"].startswith("The X-IDENTITY-HEADER is missing or wrong")
    assert body.keys() == {"statusCode", "message", "correlationId"}


def test_only_get_of_the_one_path_is_served(endpoint: Running) -> None:
    post = httpx.post(endpoint.address, params=QUERY, headers=HEADER)
    elsewhere = httpx.get(endpoint.address.replace("/msi/token", "/metadata"), params=QUERY, headers=HEADER)

    assert (post.status_code, elsewhere.status_code) == (405, 404)
    assert post.json()["message"] == "Tokens are served by GET /msi/token and nothing else."
    assert "GET" in post.headers["Allow"]


def test_a_token_is_not_to_be_cached(endpoint: Running) -> None:
    assert httpx.get(endpoint.address, params=QUERY, headers=HEADER).headers["Cache-Control"] == "no-store"


def test_the_log_shows_neither_header_nor_token(endpoint: Running) -> None:
    token = httpx.get(endpoint.address, params=QUERY, headers=HEADER).json()["access_token"]

    # A line follows its answer.
    eventually(lambda: endpoint.log.endswith(" identity GET /msi/token 200\n"), "the request's line")
    assert token not in endpoint.log
    assert "secret" not in endpoint.log


# Start and end.


def test_the_header_may_come_from_the_environment(key: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "IDENTITY_HEADER": "from-the-environment"}
    arguments: list[str | Path] = ["--port", "0", "--signing-key", key]
    with Running(MODULE, *arguments, log=tmp_path / "log", environment=environment) as endpoint:
        header = {"X-IDENTITY-HEADER": "from-the-environment"}
        assert httpx.get(endpoint.address, params=QUERY, headers=header).status_code == 200
        assert endpoint.stop(signal.SIGTERM) == (0, "")


def test_a_missing_header_is_refused(key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IDENTITY_HEADER", raising=False)

    line = fails_to_start(MODULE, "--port", "0", "--signing-key", key)

    assert line == "no identity header: pass --header VALUE, or set IDENTITY_HEADER"


def test_a_busy_port_is_named(key: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        line = fails_to_start(MODULE, "--port", str(port), "--signing-key", key, "--header", "secret")

    assert line == (f"port {port} on 127.0.0.1 is in use: stop the program that holds it, or pass another --port")


def test_a_missing_signing_key_is_named(tmp_path: Path) -> None:
    line = fails_to_start(MODULE, "--port", "0", "--signing-key", tmp_path / "gone", "--header", "secret")

    assert line.startswith(f"cannot read the signing key {tmp_path}/gone: No such file or directory; make one")
