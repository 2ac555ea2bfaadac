"""Key Vault's refusals by their codes, and redirects: with the real SDK and scripted responses."""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devstack.authority import Authority
from shared import errors
from shared.credentials import key_vault
from shared.credentials.cache import READ_SECONDS
from shared.credentials.key_vault import KeyVault
from shared.errors import GatewayError
from shared.settings import IdentityKind, ServiceSettings, VaultSettings
from tests.support.clients.gateway_server import Response as Reply
from tests.support.clients.gateway_server import Server
from tests.support.control_planes import DROP, Json, Response, Script
from tests.support.devstack.processes import ServerProcess
from tests.support.key_vault import IDENTITY_HEADER

CHALLENGE = Response(
    {"error": {"code": "Unauthorized", "message": "AKV10000: Request is missing a Bearer or PoP token."}},
    401,
    {"WWW-Authenticate": 'Bearer authorization="https://login.windows.net/t", resource="https://vault.azure.net"'},
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scripted")
    authority = Authority.create()
    leaf = authority.issue()
    (folder / "ca.pem").write_bytes(authority.pem)
    (folder / "leaf.pem").write_bytes(leaf.chain)
    (folder / "leaf.key").write_bytes(leaf.key)
    (folder / "signing.key").write_bytes(bytes(32))
    return folder


@pytest.fixture(scope="module")
def identity(folder: Path) -> Iterator[str]:
    arguments = ("--port", "0", "--signing-key", folder / "signing.key")
    environment = {**os.environ, "IDENTITY_HEADER": IDENTITY_HEADER}
    with ServerProcess(
        "devstack.identity", *arguments, log=folder / "identity.log", environment=environment
    ) as process:
        yield process.address


@pytest.fixture
def script(folder: Path) -> Iterator[Script]:
    with Script(folder / "leaf.pem", folder / "leaf.key") as script:
        yield script


@pytest.fixture
def elsewhere(folder: Path) -> Iterator[Script]:
    """Another server, which must not receive requests."""
    with Script(folder / "leaf.pem", folder / "leaf.key") as script:
        yield script
        assert script.requests == []


@pytest.fixture
def vault(script: Script, folder: Path, identity: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[KeyVault]:
    monkeypatch.setenv("IDENTITY_ENDPOINT", identity)
    monkeypatch.setenv("IDENTITY_HEADER", IDENTITY_HEADER)
    vault = KeyVault(VaultSettings(script.url, ca_file=str(folder / "ca.pem")))
    yield vault
    vault.close()


def refused(code: str, message: str, inner: str = "") -> Json:
    return {"error": {"code": code, "message": message, **({"innererror": {"code": inner}} if inner else {})}}


CASES: dict[str, tuple[int, Json, type[GatewayError]]] = {
    "firewall": (
        403,
        refused(
            "Forbidden", "Client address is not authorized and caller is not a trusted service.", "ForbiddenByFirewall"
        ),
        errors.VaultFirewalled,
    ),
    "private": (
        403,
        refused("Forbidden", "Public network access is disabled.", "ForbiddenByConnection"),
        errors.VaultPrivate,
    ),
    "policy": (
        403,
        refused("Forbidden", "does not have secrets get permission", "ForbiddenByPolicy"),
        errors.VaultForbidden,
    ),
    "roles": (403, refused("Forbidden", "Caller is not authorized", "ForbiddenByRbac"), errors.VaultForbidden),
    "tenant": (
        401,
        refused("Unauthorized", "AKV10032: Invalid issuer. Expected one of https://sts.windows.net/a/, found b."),
        errors.WrongTenant,
    ),
    "token": (401, refused("Unauthorized", "[TokenExpired] Error validating token: 'S2S12086'."), errors.TokenExpired),
    "vault": (404, refused("VaultNotFound", "The vault was not found."), errors.VaultNotFound),
}


@pytest.mark.parametrize("case", CASES)
def test_each_refusal_has_its_cause_and_remedy(script: Script, vault: KeyVault, case: str) -> None:
    status, document, kind = CASES[case]
    script.responses = [CHALLENGE, Response(document, status)]

    with pytest.raises(GatewayError) as caught:
        vault.read("cats-key")

    assert type(caught.value) is kind
    assert "sts.windows.net" not in caught.value.detail
    assert kind is errors.VaultForbidden or kind.remedy not in (
        errors.VaultForbidden.remedy,
        errors.VaultUnreachable.remedy,
    )
    assert kind.slug in {"vault-forbidden", "vault-unreachable"}


# A proxy's page, and JSON that is not a secret.
@pytest.mark.parametrize("content", [b"<html>Sign in</html>", b"[]", b"null", b'"text"', b"\xff"])
def test_a_response_that_is_not_key_vault_s_is_an_error(script: Script, vault: KeyVault, content: bytes) -> None:
    script.responses = [CHALLENGE, Response(content, 200, {"Content-Type": "text/html"})]

    with pytest.raises(GatewayError) as caught:
        vault.read("cats-key")

    assert isinstance(caught.value, errors.VaultUnreachable | errors.SecretMissing)
    assert "Sign in" not in caught.value.detail


def test_a_read_whose_connection_breaks_is_repeated_once(script: Script, vault: KeyVault) -> None:
    """As a server closes an idle connection while a request is on its way."""
    found = Response({"value": "the key", "id": f"{script.url}/secrets/cats-key/1", "attributes": {"enabled": True}})
    script.responses = [CHALLENGE, found, DROP, found]

    assert vault.read("cats-key") == vault.read("cats-key")

    script.responses = [DROP, DROP]
    with pytest.raises(errors.VaultUnreachable, match="did not respond"):
        vault.read("cats-key")
    script.responses = [DROP]
    with pytest.raises(errors.VaultUnreachable, match="did not respond"):
        vault.write("cats-key", "another key")
    assert script.responses == []


@pytest.mark.parametrize("kind", list(IdentityKind))
def test_an_identity_endpoint_that_hangs_is_not_waited_for(
    script: Script, folder: Path, kind: IdentityKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK itself would wait for five minutes."""
    monkeypatch.setitem(key_vault._TIMEOUTS, "read_timeout", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", IDENTITY_HEADER)
        monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")
        script.responses = [CHALLENGE] * 3
        vault = KeyVault(VaultSettings(script.url, kind, ca_file=str(folder / "ca.pem")))

        with pytest.raises(errors.IdentityUnavailable):
            vault.read("pins")
        vault.close()


@pytest.mark.usefixtures("vault")  # for its identity
def test_a_vault_that_hangs_is_not_waited_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(key_vault._TIMEOUTS, "read_timeout", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        vault = KeyVault(VaultSettings(url, ca_file=str(folder / "ca.pem")))

        with pytest.raises(errors.VaultUnreachable, match="did not respond"):
            vault.read("pins")
        vault.close()


def test_every_request_for_a_credential_is_bounded_well_within_a_request_s_deadline() -> None:
    assert sum(key_vault._TIMEOUTS.values()) <= READ_SECONDS <= ServiceSettings.deadline_seconds / 2


@pytest.mark.usefixtures("vault")  # for its identity
def test_a_vault_whose_name_does_not_resolve_is_not_found(folder: Path) -> None:
    absent = KeyVault(VaultSettings("https://no-such-vault.invalid", ca_file=str(folder / "ca.pem")))

    with pytest.raises(errors.VaultNotFound):
        absent.read("cats-key")
    absent.close()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "call", [lambda vault: vault.write("pins", "a value"), lambda vault: vault.read("pins")], ids=["write", "read"]
)
def test_no_redirect_takes_a_secret_or_a_token_elsewhere(
    script: Script, elsewhere: Script, vault: KeyVault, status: int, call: Callable[[KeyVault], object]
) -> None:
    script.responses = [CHALLENGE, Response({}, status, {"Location": f"{elsewhere.url}/secrets/pins"})]

    with pytest.raises(errors.VaultUnreachable, match=f"status {status}"):
        call(vault)

    # A challenge may be redirected, too: before there is a token.
    script.responses = [Response({}, status, {"Location": f"{elsewhere.url}/secrets/pins"})]
    with pytest.raises(errors.VaultUnreachable, match=f"status {status}"):
        call(vault)


@pytest.mark.parametrize("kind", list(IdentityKind))
@pytest.mark.parametrize("status", [302, 307])
def test_no_redirect_takes_the_identity_header_elsewhere(
    script: Script, folder: Path, status: int, kind: IdentityKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint, other = Server(), Server()
    endpoint.respond = lambda _request: Reply(status, headers={"Location": f"{other.url}/msi/token"})
    other.respond = lambda _request: Reply(200)
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{endpoint.url}/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", IDENTITY_HEADER)
    if kind is IdentityKind.DEFAULT:
        # The chain's member that has the header; the others would look for a person's sign-in.
        monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")
    script.responses = [CHALLENGE]
    vault = KeyVault(VaultSettings(script.url, kind, ca_file=str(folder / "ca.pem")))

    with pytest.raises(errors.IdentityUnavailable):
        vault.read("pins")

    assert endpoint.requests
    assert not other.requests
    vault.close()
    endpoint.stop()
    other.stop()
