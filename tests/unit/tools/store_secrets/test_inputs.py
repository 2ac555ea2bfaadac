"""The secrets that are given: their forms, and their order; no value is repeated in an error."""

import datetime as dt
from pathlib import Path

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from devstack.authority import Authority, Issued
from shared.errors import GatewayError
from shared.settings import Auth, ServiceSettings, Trust
from tools.store_secrets import arguments, inputs

SERVICE = ServiceSettings(
    "cats",
    address="localhost",
    pins_secret="cats-pins",
    primary_key_secret="cats-primary-key",
    secondary_key_secret="cats-secondary-key",
    client_certificate_secret="cats-client",
    certificate_secret="cats-certificate",
    control_plane_name="cats",
)


@pytest.fixture
def client() -> Issued:
    return Authority.create("clients").issue(purpose=ExtendedKeyUsageOID.CLIENT_AUTH)


def given(*options: str | Path, service: ServiceSettings = SERVICE) -> dict[str, str]:
    return inputs.given(
        arguments.parse(["cats", *map(str, options)]), service, ask=lambda prompt: f" {prompt[:3]}-key "
    )


def refused(*options: str | Path, service: ServiceSettings = SERVICE) -> str:
    with pytest.raises(GatewayError) as caught:
        given(*options, service=service)
    assert "PRIVATE KEY" not in caught.value.detail
    return caught.value.detail


def test_keys_are_asked_for_and_the_primary_is_stored_last() -> None:
    assert list(given("--ask-keys").items()) == [("cats-secondary-key", "sec-key"), ("cats-primary-key", "pri-key")]


def test_a_client_certificate_comes_with_its_own_key(tmp_path: Path, client: Issued) -> None:
    other = Authority.create().issue()
    (tmp_path / "client.pem").write_bytes(client.key + client.chain)
    (tmp_path / "none.pem").write_bytes(client.chain)
    (tmp_path / "other.pem").write_bytes(other.key + client.certificate)

    assert given("--client-certificate", tmp_path / "client.pem")["cats-client"] == (client.key + client.chain).decode()
    assert "contains no private key" in refused("--client-certificate", tmp_path / "none.pem")
    assert "private key is not the certificate's" in refused("--client-certificate", tmp_path / "other.pem")


def test_a_certificate_to_rotate_to_must_fit_the_service(tmp_path: Path) -> None:
    authority = Authority.create()
    for name, issued in {
        "good": authority.issue(),
        "name": authority.issue(["else.example.com"]),
        "expired": authority.issue(valid_for=-dt.timedelta(days=1)),
    }.items():
        (tmp_path / name).write_bytes(issued.key + issued.chain)

    assert given("--certificate", tmp_path / "good").keys() == {"cats-certificate"}
    assert "does not cover localhost" in refused("--certificate", tmp_path / "name")
    assert "it expired on" in refused("--certificate", tmp_path / "expired")


def test_what_cannot_be_used_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b" \n")
    (tmp_path / "large").write_bytes(b"x" * 25_001)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "cut").write_bytes(Authority.create().pem[:200])
    public = ServiceSettings("cats", trust=Trust.PUBLIC, auth=Auth.NONE)

    assert "is empty" in refused("--primary-key", tmp_path / "empty")
    assert "larger than Key Vault's 25 kB" in refused("--primary-key", tmp_path / "large")
    assert "is not text" in refused("--primary-key", tmp_path / "binary")
    assert "its END line is missing" in refused("--pins", tmp_path / "cut")
    assert "use no pins" in refused("--pin", "00" * 32, service=public)
    assert "use no keys" in refused("--ask-keys", service=public)
    assert "use no client certificate" in refused("--client-certificate", tmp_path / "empty", service=public)
