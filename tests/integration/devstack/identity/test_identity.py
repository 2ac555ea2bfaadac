"""``python -m devstack.identity``: through the unmodified credential, over HTTP, and as a process."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from azure.identity import ManagedIdentityCredential
from azure.identity.aio import ManagedIdentityCredential as AsyncManagedIdentityCredential

from devstack import tokens
from tests.support.devstack.processes import ServerProcess, wait_until

MODULE = "devstack.identity"
VAULT = "https://vault.azure.net"
QUERY = {"api-version": "2019-08-01", "resource": VAULT}
type Holder = Callable[[str], tokens.Identity]
HEADER = {"X-IDENTITY-HEADER": "secret"}


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    key = tmp_path_factory.mktemp("keys") / "signing.key"
    key.write_bytes(bytes(range(32)))
    return key


@pytest.fixture(scope="module")
def endpoint(key: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    log = tmp_path_factory.mktemp("identity") / "log"
    arguments = ("--port", "0", "--signing-key", key, "--lifetime", "7300")
    environment = {**os.environ, "IDENTITY_HEADER": "secret"}
    with ServerProcess(MODULE, *arguments, log=log, environment=environment) as running:
        yield running


@pytest.fixture
def holder(endpoint: ServerProcess, key: Path, monkeypatch: pytest.MonkeyPatch) -> Holder:
    """Returns the identity that a token was issued to."""
    monkeypatch.setenv("IDENTITY_ENDPOINT", endpoint.address)
    monkeypatch.setenv("IDENTITY_HEADER", "secret")
    return lambda token: tokens.verify(token, key.read_bytes(), audiences=[VAULT], now=time.time())


async def test_the_credential_gets_a_token_and_refreshes_it_at_half_its_life(holder: Holder) -> None:
    now = time.time()
    with ManagedIdentityCredential() as credential:
        token = credential.get_token_info(f"{VAULT}/.default")
    async with AsyncManagedIdentityCredential() as asynchronous:
        other = await asynchronous.get_token_info(f"{VAULT}/.default")

    assert holder(token.token) == holder(other.token) == tokens.SYSTEM_ASSIGNED
    assert token.expires_on == pytest.approx(now + 7300, abs=30)
    assert token.refresh_on == pytest.approx(now + 3650, abs=30)


def test_the_credential_can_name_a_user_assigned_identity(holder: Holder, endpoint: ServerProcess) -> None:
    with ManagedIdentityCredential(client_id="the-app") as credential:
        assert holder(credential.get_token(VAULT).token).client_id == "the-app"
    with ManagedIdentityCredential(identity_config={"object_id": "the-object"}) as credential:
        assert holder(credential.get_token(VAULT).token).object_id == "the-object"
    answer = httpx.get(endpoint.address, params={**QUERY, "mi_res_id": "/ids/Blue"}, headers=HEADER)
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json().keys() == {"access_token", "expires_on", "resource", "token_type", "client_id"}
    # The line of a request follows its answer.
    wait_until(lambda: endpoint.log.endswith(" identity GET /msi/token 200\n"), "the request's line")
    assert not any(secret in endpoint.log for secret in ("secret", answer.json()["access_token"]))


@pytest.mark.parametrize(
    ("header", "query", "status", "message"),
    [
        ("wrong", QUERY, 401, "The X-IDENTITY-HEADER is missing or wrong"),
        ("secret", {"api-version": "2019-08-01"}, 400, "The query has no resource"),
        ("secret", {"resource": VAULT}, 400, "The api-version must be 2019-08-01, not None"),
        ("secret", {**QUERY, "client_id": "a", "mi_res_id": "b"}, 400, "The query selects an identity twice: "),
    ],
)
def test_a_refusal_has_the_form_of_app_service(
    endpoint: ServerProcess, header: str, query: dict[str, str], status: int, message: str
) -> None:
    answer = httpx.get(endpoint.address, params=query, headers={"X-IDENTITY-HEADER": header})

    assert answer.status_code == answer.json()["statusCode"] == status
    assert answer.json()["message"].startswith(message)
    assert answer.json().keys() == {"statusCode", "message", "correlationId"}
    post = httpx.post(endpoint.address, params=QUERY, headers=HEADER)
    assert (post.status_code, post.json()["message"]) == (405, "The only route is GET /msi/token.")
