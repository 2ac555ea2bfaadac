"""The unmodified Key Vault SDK and managed-identity credential, against the local vault and endpoint over TLS."""

import datetime as dt
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
    ServiceRequestError,
)
from azure.identity import ManagedIdentityCredential
from azure.identity.aio import ManagedIdentityCredential as AsyncManagedIdentityCredential
from azure.keyvault.secrets import ApiVersion, SecretClient
from azure.keyvault.secrets.aio import SecretClient as AsyncSecretClient

from tests.devstack.processes import Running
from tests.devstack.vault.conftest import Files

HEADER = "the-identity-header"


@pytest.fixture(scope="module")
def endpoint(files: Files, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    log = tmp_path_factory.mktemp("identity") / "log"
    arguments: list[str | Path] = ["--port", "0", "--signing-key", files.signing_key, "--header", HEADER]
    with Running("devstack.identity", *arguments, log=log) as running:
        yield running


def point_at(endpoint: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDENTITY_ENDPOINT", endpoint.address)
    monkeypatch.setenv("IDENTITY_HEADER", HEADER)


@pytest.fixture
def credential(endpoint: Running, monkeypatch: pytest.MonkeyPatch) -> Iterator[ManagedIdentityCredential]:
    point_at(endpoint, monkeypatch)
    with ManagedIdentityCredential() as credential:
        yield credential


@pytest.fixture
def options(files: Files) -> dict[str, Any]:
    return {"connection_verify": str(files.ca), "verify_challenge_resource": False}


@pytest.fixture
def client(vault: Running, credential: ManagedIdentityCredential, options: dict[str, Any]) -> Iterator[SecretClient]:
    with SecretClient(vault.address, credential, **options) as client:
        yield client


@pytest.fixture
async def async_client(
    vault: Running, endpoint: Running, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> AsyncIterator[AsyncSecretClient]:
    point_at(endpoint, monkeypatch)
    async with (
        AsyncManagedIdentityCredential() as credential,
        AsyncSecretClient(vault.address, credential, **options) as client,
    ):
        yield client


@pytest.fixture
def name() -> str:
    return f"sdk-{secrets.token_hex(4)}"


def test_a_secret_comes_back_as_it_was_set(client: SecretClient, name: str) -> None:
    expires = dt.datetime(2100, 1, 1, tzinfo=dt.UTC)

    stored = client.set_secret(name, "välue\n", content_type="text/plain", tags={"a": "1"}, expires_on=expires)

    found = client.get_secret(name)
    assert found.value == "välue\n"
    assert found.properties.content_type == "text/plain"
    assert found.properties.tags == {"a": "1"}
    assert found.properties.expires_on == expires
    assert found.properties.enabled
    assert found.properties.recoverable_days == 90
    assert (found.name, found.properties.version) == (name, stored.properties.version)


def test_each_version_can_be_read_and_the_latest_is_the_default(client: SecretClient, name: str) -> None:
    versions = [client.set_secret(name, value).properties.version for value in ("one", "two", "three")]

    assert [client.get_secret(name, version).value for version in versions] == ["one", "two", "three"]
    assert client.get_secret(name).value == "three"
    listed = [properties.version for properties in client.list_properties_of_secret_versions(name)]
    assert set(listed) == set(versions)


def test_lists_are_followed_over_all_their_pages(client: SecretClient, name: str) -> None:
    names = {f"{name}-{number}" for number in range(9)}
    for each in names:
        client.set_secret(each, "value")

    listed = [properties.name for properties in client.list_properties_of_secrets()]
    pages = [len(list(page)) for page in client.list_properties_of_secrets(max_page_size=4).by_page()]

    assert names <= set(listed)
    assert len(listed) == len(set(listed)) == sum(pages)
    assert set(pages[:-1]) == {4}


@pytest.mark.parametrize("version", list(ApiVersion))
def test_every_api_version_of_the_sdk_works(
    vault: Running,
    credential: ManagedIdentityCredential,
    options: dict[str, Any],
    name: str,
    version: ApiVersion,
) -> None:
    with SecretClient(vault.address, credential, api_version=version, **options) as client:
        client.set_secret(name, "value")

        assert client.get_secret(name).value == "value"


def test_a_disabled_secret_is_a_forbidden_that_says_so(client: SecretClient, name: str) -> None:
    client.set_secret(name, "value")
    assert client.update_secret_properties(name, enabled=False).enabled is False

    with pytest.raises(HttpResponseError) as refused:
        client.get_secret(name)

    assert type(refused.value) is HttpResponseError
    assert refused.value.status_code == 403
    assert refused.value.error
    assert refused.value.error.innererror == {"code": "SecretDisabled"}
    assert name in {properties.name for properties in client.list_properties_of_secrets()}
    client.update_secret_properties(name, enabled=True, content_type="text/plain")
    assert client.get_secret(name).properties.content_type == "text/plain"


def test_a_secret_is_deleted_recovered_and_purged(client: SecretClient, name: str) -> None:
    client.set_secret(name, "value")

    deleted = client.begin_delete_secret(name)
    deleted.wait()
    assert deleted.result().scheduled_purge_date
    with pytest.raises(ResourceNotFoundError):
        client.get_secret(name)
    with pytest.raises(ResourceExistsError, match="deleted but recoverable"):
        client.set_secret(name, "other")
    assert name in {secret.name for secret in client.list_deleted_secrets()}

    client.begin_recover_deleted_secret(name).wait()
    assert client.get_secret(name).value == "value"

    client.begin_delete_secret(name).wait()
    client.purge_deleted_secret(name)
    with pytest.raises(ResourceNotFoundError, match="Deleted Secret not found"):
        client.get_deleted_secret(name)


def test_a_backup_is_restored_with_its_versions(client: SecretClient, name: str) -> None:
    old = client.set_secret(name, "one").properties.version
    client.set_secret(name, "two")
    backup = client.backup_secret(name)
    client.begin_delete_secret(name).wait()
    client.purge_deleted_secret(name)

    client.restore_secret_backup(backup)

    assert client.get_secret(name).value == "two"
    assert client.get_secret(name, old).value == "one"


async def test_the_async_client_does_the_same(async_client: AsyncSecretClient, name: str) -> None:
    await async_client.set_secret(name, "one")
    await async_client.set_secret(name, "two")

    assert (await async_client.get_secret(name)).value == "two"
    assert len([each async for each in async_client.list_properties_of_secret_versions(name)]) == 2
    await async_client.delete_secret(name)
    with pytest.raises(ResourceNotFoundError):
        await async_client.get_secret(name)
    await async_client.recover_deleted_secret(name)
    assert (await async_client.get_secret(name)).value == "two"


# What goes wrong.


def test_a_throttled_client_comes_back_when_it_is_told_to(client: SecretClient, http: httpx.Client, name: str) -> None:
    client.set_secret(name, "value")
    fault = {"mode": "throttle", "retry_after": 0, "count": 2, "secrets": [name]}
    http.put("/_devstack/faults", json=fault).raise_for_status()

    assert client.get_secret(name).value == "value"
    assert http.get("/_devstack/faults").json() == {}


def test_a_client_that_does_not_retry_sees_the_throttling(client: SecretClient, http: httpx.Client, name: str) -> None:
    client.set_secret(name, "value")
    http.put("/_devstack/faults", json={"mode": "throttle", "count": 1, "secrets": [name]}).raise_for_status()

    with pytest.raises(HttpResponseError, match="too many requests were received") as throttled:
        client.get_secret(name, retry_total=0)

    assert throttled.value.status_code == 429
    assert throttled.value.error
    assert throttled.value.error.code == "Throttled"


def test_a_wrong_identity_header_gets_no_token(client: SecretClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDENTITY_HEADER", "wrong")

    with pytest.raises(ClientAuthenticationError, match="X-IDENTITY-HEADER is missing or wrong"):
        client.get_secret("any")


def test_a_token_signed_with_another_key_is_refused(
    vault: Running, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other_key = tmp_path / "other.key"
    other_key.write_bytes(bytes(32))
    arguments: list[str | Path] = ["--port", "0", "--signing-key", other_key, "--header", HEADER]
    with Running("devstack.identity", *arguments, log=tmp_path / "log") as stranger:
        point_at(stranger, monkeypatch)
        with (
            ManagedIdentityCredential() as credential,
            SecretClient(vault.address, credential, **options) as client,
            pytest.raises(ClientAuthenticationError, match="AKV10046"),
        ):
            client.get_secret("any")


def test_a_client_that_does_not_trust_the_authority_does_not_connect(
    vault: Running, credential: ManagedIdentityCredential
) -> None:
    with (
        SecretClient(vault.address, credential, verify_challenge_resource=False, retry_total=0) as client,
        pytest.raises(ServiceRequestError, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        client.get_secret("any")
