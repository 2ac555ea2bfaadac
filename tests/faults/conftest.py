"""The laboratory's fixtures: a vault for the session, services and the app for each test."""

import os
import secrets
from collections.abc import AsyncIterator, Iterator

import pytest

from devstack.authority import Authority, Issued
from devstack.vault import VaultStore
from shared import gateway
from tests.devstack.processes import Running
from tests.faults.lab import IDENTITY_HEADER, Lab, Vault
from tests.shared.fpga.conftest import KEYS, authority, issued, start

__all__ = ["authority", "issued", "start"]  # fixtures, shared with the tests of the channels


@pytest.fixture(scope="session")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    folder = tmp_path_factory.mktemp("laboratory")
    trusted = Authority.create()
    trusted.save(folder)
    leaf = trusted.issue()
    (folder / "leaf.pem").write_bytes(leaf.chain)
    (folder / "leaf.key").write_bytes(leaf.key)
    key = secrets.token_bytes(32)
    (folder / "signing.key").write_bytes(key)
    VaultStore(folder / "secrets")
    identity = Running(
        "devstack.identity",
        *("--port", "0", "--signing-key", folder / "signing.key", "--header", IDENTITY_HEADER),
        log=folder / "identity.log",
    )
    served = Running(
        "devstack.vault",
        *("--folder", folder / "secrets", "--port", "0", "--signing-key", folder / "signing.key"),
        *("--certificate", folder / "leaf.pem", "--key", folder / "leaf.key"),
        log=folder / "vault.log",
    )
    with identity, served:
        yield Vault(served.address, identity.address, folder / "ca.pem", key)


@pytest.fixture
async def lab(
    vault: Vault, authority: Authority, issued: Issued, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Lab]:
    """The app with a service ``cats``, whose secrets are in the vault; nothing serves it yet."""
    for name in list(os.environ):
        if name.startswith(("SERVICE", "KEY_VAULT", "IDENTITY_")):
            monkeypatch.delenv(name)

    made = Lab(vault, authority, monkeypatch.setenv)
    made.configure(
        IDENTITY_ENDPOINT=vault.identity,
        IDENTITY_HEADER=IDENTITY_HEADER,
        KEY_VAULT_URL=vault.address,
        KEY_VAULT_CA_FILE=str(vault.ca),
        SERVICES="cats",
        SERVICE__CATS__ADDRESS="localhost",
    )
    vault.set("cats-primary-key", KEYS.primary)
    vault.set("cats-secondary-key", KEYS.secondary)
    vault.set("cats-pins", issued.certificate.decode())
    yield made
    await gateway.forget()
    vault.fault()
