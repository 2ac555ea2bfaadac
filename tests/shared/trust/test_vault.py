"""Key Vault's refusals, each told by its cause: the real SDK, a real vault, a real identity endpoint."""

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devstack.authority import Authority
from shared import errors
from shared.errors import GatewayError
from shared.settings import VaultSettings
from shared.trust.vault import Vault
from tests.vaults import IDENTITY_HEADER, running_vault
from tests.vaults import Vault as RunningVault


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningVault]:
    with running_vault(tmp_path_factory.mktemp("vault")) as made:
        made.set("cats-key", "the old value")
        made.set("cats-key", "the value")
        made.set("sleeping", "x", enabled=False)
        yield made


@pytest.fixture
def connect(running: RunningVault, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Vault]]:
    """Makes the gateway's reader of the vault; arguments change where it looks."""
    made: list[Vault] = []

    def vault(
        url: str = running.address,
        identity: str = running.identity,
        header: str = IDENTITY_HEADER,
        ca: Path = running.ca,
    ) -> Vault:
        monkeypatch.setenv("IDENTITY_ENDPOINT", identity)
        monkeypatch.setenv("IDENTITY_HEADER", header)
        made.append(Vault(VaultSettings(url, ca_file=str(ca))))
        return made[-1]

    yield vault
    for one in made:
        one.close()
    running.fault()


def unused() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def refusal(vault: Vault, name: str = "cats-key") -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        vault.read(name)
    # What a client or a log may see holds neither an address nor anything of a token.
    assert "127.0.0.1" not in caught.value.detail
    assert "eyJ" not in caught.value.detail
    return caught.value


def test_the_latest_version_is_read(connect: Callable[..., Vault]) -> None:
    vault = connect()

    assert [vault.read("cats-key").value for _ in range(3)] == ["the value"] * 3


def test_a_missing_secret(connect: Callable[..., Vault]) -> None:
    error = refusal(connect(), "dogs-key")

    assert isinstance(error, errors.SecretMissing)
    assert error.members == {"secret": "dogs-key"}


def test_a_disabled_secret(connect: Callable[..., Vault]) -> None:
    assert isinstance(refusal(connect(), "sleeping"), errors.SecretDisabled)


def test_a_vault_that_throttles_says_when_to_come_back(running: RunningVault, connect: Callable[..., Vault]) -> None:
    running.fault(mode="throttle", retry_after=7)

    error = refusal(connect())

    assert isinstance(error, errors.VaultThrottled)
    assert error.retry_after == 7


def test_a_vault_that_forbids(running: RunningVault, connect: Callable[..., Vault]) -> None:
    running.fault(mode="forbid")

    assert isinstance(refusal(connect()), errors.VaultForbidden)


def test_a_vault_that_fails(running: RunningVault, connect: Callable[..., Vault]) -> None:
    running.fault(mode="error")

    error = refusal(connect())

    assert isinstance(error, errors.VaultUnreachable)
    assert error.detail == "Key Vault answered with status 500."


def test_a_vault_that_is_away(connect: Callable[..., Vault]) -> None:
    assert isinstance(refusal(connect(f"https://localhost:{unused()}")), errors.VaultUnreachable)


def test_a_vault_with_a_certificate_of_a_stranger(connect: Callable[..., Vault], tmp_path: Path) -> None:
    Authority.create().save(tmp_path)

    assert isinstance(refusal(connect(ca=tmp_path / "ca.pem")), errors.VaultUnreachable)


def test_an_identity_endpoint_that_is_away(connect: Callable[..., Vault]) -> None:
    error = refusal(connect(identity=f"http://127.0.0.1:{unused()}/msi/token"))

    assert isinstance(error, errors.IdentityUnavailable)


def test_an_identity_endpoint_that_refuses(connect: Callable[..., Vault]) -> None:
    assert isinstance(refusal(connect(header="wrong")), errors.IdentityUnavailable)


def test_no_identity_at_all(running: RunningVault, monkeypatch: pytest.MonkeyPatch) -> None:
    # Away from Azure, with nothing set, the SDK looks for a virtual machine's endpoint; name an unused one.
    monkeypatch.delenv("IDENTITY_ENDPOINT", raising=False)
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", f"http://127.0.0.1:{unused()}")
    vault = Vault(VaultSettings(running.address, ca_file=str(running.ca)))

    assert isinstance(refusal(vault), errors.IdentityUnavailable)
    vault.close()


def test_a_version_is_written_and_read(connect: Callable[..., Vault]) -> None:
    vault = connect()

    first = vault.write("written", "one", content_type="text/plain")
    second = vault.write("written", "two", expires=2_000_000_000.0)

    assert vault.read("written").value == "two"
    assert vault.read("written", first.id).value == "one"
    assert second.expires == 2_000_000_000.0
    assert {version.id for version in vault.versions("written")} == {first.id, second.id}


def test_the_latest_version_that_is_enabled(connect: Callable[..., Vault]) -> None:
    vault = connect()
    first = vault.write("enabled", "one")
    time.sleep(1.1)  # the versions' order is that of whole seconds
    second = vault.write("enabled", "two")

    assert vault.read_enabled("enabled").version == second.id
    vault.disable("enabled", second.id)
    assert vault.read_enabled("enabled").version == first.id
    assert [version.enabled for version in vault.versions("enabled")] == [False, True]


def test_no_version_that_is_enabled(connect: Callable[..., Vault]) -> None:
    with pytest.raises(errors.SecretDisabled, match="All versions"):
        connect().read_enabled("sleeping")
