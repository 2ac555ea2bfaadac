"""Reading and writing secrets, and the causes of failures, with the real SDK and a local Key Vault and identity."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devstack.authority import Authority
from shared import errors
from shared.credentials.key_vault import KeyVault
from shared.errors import GatewayError
from shared.settings import VaultSettings
from tests.support.devstack.processes import unused_port
from tests.support.key_vault import IDENTITY_HEADER, LocalVault, running_vault


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalVault]:
    with running_vault(tmp_path_factory.mktemp("vault")) as vault:
        vault.set("cats-key", "the old value")
        vault.set("cats-key", "the value")
        vault.set("disabled", "x", enabled=False)
        yield vault


@pytest.fixture
def connect(running: LocalVault, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., KeyVault]]:
    """Creates the gateway's clients of the vault."""
    clients: list[KeyVault] = []

    def vault(
        url: str = running.address,
        identity: str = running.identity,
        header: str = IDENTITY_HEADER,
        ca: Path = running.ca,
    ) -> KeyVault:
        monkeypatch.setenv("IDENTITY_ENDPOINT", identity)
        monkeypatch.setenv("IDENTITY_HEADER", header)
        clients.append(KeyVault(VaultSettings(url, ca_file=str(ca))))
        return clients[-1]

    yield vault
    for one in clients:
        one.close()
    running.fault()


def failure(vault: KeyVault, name: str = "cats-key") -> GatewayError:
    """The error of a failing read; its detail, which is sent and logged, has neither an address nor a token."""
    with pytest.raises(GatewayError) as caught:
        vault.read(name)
    assert "127.0.0.1" not in caught.value.detail
    assert "eyJ" not in caught.value.detail
    return caught.value


def test_the_latest_version_is_read(connect: Callable[..., KeyVault]) -> None:
    vault = connect()

    assert [vault.read("cats-key").value for _ in range(3)] == ["the value"] * 3


def test_a_missing_secret_is_named(connect: Callable[..., KeyVault]) -> None:
    error = failure(connect(), "dogs-key")

    assert isinstance(error, errors.SecretMissing)
    assert error.members == {"secret": "dogs-key"}


def test_a_disabled_secret_is_an_error(connect: Callable[..., KeyVault]) -> None:
    assert isinstance(failure(connect(), "disabled"), errors.SecretDisabled)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"mode": "throttle", "retry_after": 7}, errors.VaultThrottled("responded with 429", retry_after=7)),
        ({"mode": "forbid"}, errors.VaultForbidden("does not allow the gateway to use secret 'cats-key'")),
        ({"mode": "error"}, errors.VaultUnreachable("responded with status 500", retry_after=5)),
    ],
)
def test_an_error_status_of_the_vault_is_an_error(
    running: LocalVault, connect: Callable[..., KeyVault], fault: dict[str, object], expected: GatewayError
) -> None:
    running.fault(**fault)

    error = failure(connect())

    assert (type(error), error.retry_after) == (type(expected), expected.retry_after)
    assert expected.detail in error.detail


def test_an_unreachable_vault_is_an_error(connect: Callable[..., KeyVault]) -> None:
    assert isinstance(failure(connect(f"https://localhost:{unused_port()}")), errors.VaultUnreachable)


def test_an_untrusted_vault_is_an_error(connect: Callable[..., KeyVault], tmp_path: Path) -> None:
    Authority.create().save(tmp_path)

    error = failure(connect(ca=tmp_path / "ca.pem"))

    assert isinstance(error, errors.VaultUntrusted)
    assert error.slug == "vault-unreachable"
    assert "KEY_VAULT_CA_FILE" in (error.remedy or "")


def test_an_unreachable_or_refusing_identity_endpoint_is_an_error(connect: Callable[..., KeyVault]) -> None:
    unreachable = connect(identity=f"http://127.0.0.1:{unused_port()}/msi/token")
    assert isinstance(failure(unreachable), errors.IdentityUnavailable)
    assert isinstance(failure(connect(header="wrong")), errors.IdentityUnavailable)


def test_a_missing_identity_is_an_error(running: LocalVault, monkeypatch: pytest.MonkeyPatch) -> None:
    # Outside Azure and without settings, the SDK uses a virtual machine's endpoint; name an unused one.
    monkeypatch.delenv("IDENTITY_ENDPOINT", raising=False)
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", f"http://127.0.0.1:{unused_port()}")
    vault = KeyVault(VaultSettings(running.address, ca_file=str(running.ca)))

    assert isinstance(failure(vault), errors.IdentityUnavailable)
    vault.close()


def test_a_version_is_written_and_read(connect: Callable[..., KeyVault]) -> None:
    vault = connect()

    first = vault.write("written", "one", content_type="text/plain")
    second = vault.write("written", "two", expires=2_000_000_000.0)

    assert vault.read("written").value == "two"
    assert vault.read("written", first.id).value == "one"
    assert second.expires == 2_000_000_000.0
    assert {version.id for version in vault.versions("written")} == {first.id, second.id}


def test_the_latest_enabled_version_is_read(connect: Callable[..., KeyVault]) -> None:
    vault = connect()
    first = vault.write("enabled", "one")
    time.sleep(1.1)  # versions are ordered by whole seconds
    second = vault.write("enabled", "two")

    assert vault.read_enabled("enabled").version == second.id
    vault.renew("enabled", second.id, enabled=False)
    assert vault.read_enabled("enabled").version == first.id
    assert [version.enabled for version in vault.versions("enabled")] == [False, True]


def test_a_secret_without_an_enabled_version_is_an_error(connect: Callable[..., KeyVault]) -> None:
    with pytest.raises(errors.SecretDisabled, match="All versions"):
        connect().read_enabled("disabled")
