"""The unmodified Key Vault SDK with a managed-identity credential, against the local vault and endpoint over TLS."""

import datetime as dt
import secrets
from collections.abc import Callable, Iterator
from functools import partial

import httpx
import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.identity import ManagedIdentityCredential
from azure.keyvault.secrets import ApiVersion, SecretClient

from tests.support.key_vault import IDENTITY_HEADER, LocalVault


@pytest.fixture
def connect(vault: LocalVault, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., SecretClient]]:
    """Makes clients of the vault."""
    monkeypatch.setenv("IDENTITY_ENDPOINT", vault.identity)
    monkeypatch.setenv("IDENTITY_HEADER", IDENTITY_HEADER)
    options = {"connection_verify": str(vault.ca), "verify_challenge_resource": False}
    with ManagedIdentityCredential() as credential:
        yield partial(SecretClient, vault.address, credential, **options)


@pytest.fixture
def client(connect: Callable[..., SecretClient]) -> Iterator[SecretClient]:
    with connect() as client:
        yield client


@pytest.fixture
def name() -> str:
    return f"sdk-{secrets.token_hex(4)}"


def test_a_secret_comes_back_as_it_was_set(client: SecretClient, name: str) -> None:
    expires = dt.datetime(2100, 1, 1, tzinfo=dt.UTC)

    stored = client.set_secret(name, "välue\n", content_type="text/plain", tags={"a": "1"}, expires_on=expires)

    found = client.get_secret(name)
    properties = found.properties
    assert (found.name, found.value, properties.version) == (name, "välue\n", stored.properties.version)
    assert (properties.content_type, properties.tags, properties.expires_on) == ("text/plain", {"a": "1"}, expires)
    assert (properties.enabled, properties.recoverable_days) == (True, 90)


@pytest.mark.parametrize("version", list(ApiVersion))
def test_lists_are_followed_over_all_their_pages(
    connect: Callable[..., SecretClient], name: str, version: ApiVersion
) -> None:
    """In every API version of the SDK."""
    names = {f"{name}-{number}" for number in range(5)}
    with connect(api_version=version) as client:
        for each in names:
            client.set_secret(each, "value")
        listed = [properties.name for properties in client.list_properties_of_secrets()]
        pages = [len(list(page)) for page in client.list_properties_of_secrets(max_page_size=4).by_page()]

    assert names <= set(listed)
    assert len(listed) == len(set(listed)) == sum(pages)
    assert set(pages[:-1]) == {4}


def test_a_disabled_secret_is_a_forbidden_with_its_own_code(client: SecretClient, name: str) -> None:
    client.set_secret(name, "value")
    assert client.update_secret_properties(name, enabled=False).enabled is False

    with pytest.raises(HttpResponseError) as refused:
        client.get_secret(name)

    assert (type(refused.value), refused.value.status_code) == (HttpResponseError, 403)
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
    assert len(list(client.list_properties_of_secret_versions(name))) == 2
    backup = client.backup_secret(name)
    with pytest.raises(ResourceExistsError):
        client.restore_secret_backup(backup)
    client.begin_delete_secret(name).wait()
    client.purge_deleted_secret(name)

    client.restore_secret_backup(backup)

    assert client.get_secret(name).value == "two"
    assert client.get_secret(name, old).value == "one"


# Errors.


def test_throttling_is_retried_unless_the_client_has_no_retries(
    client: SecretClient, http: httpx.Client, name: str
) -> None:
    client.set_secret(name, "value")
    fault = {"mode": "throttle", "retry_after": 0, "count": 2, "secrets": [name]}
    http.put("/_devstack/faults", json=fault).raise_for_status()

    assert client.get_secret(name).value == "value"

    assert http.get("/_devstack/faults").json() == {}
    http.put("/_devstack/faults", json={**fault, "count": 1}).raise_for_status()
    with pytest.raises(HttpResponseError, match="too many requests were received") as throttled:
        client.get_secret(name, retry_total=0)
    assert throttled.value.status_code == 429
    assert throttled.value.error
    assert throttled.value.error.code == "Throttled"
