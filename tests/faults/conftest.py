"""The laboratory's fixtures: a vault for the session, services and the app for each test."""

import os
from collections.abc import AsyncIterator, Iterator

import pytest

from devstack.authority import Authority, Issued
from shared import gateway
from tests.faults.lab import Lab
from tests.shared.fpga.conftest import KEYS, authority, issued, start
from tests.vaults import IDENTITY_HEADER, Vault, running_vault

__all__ = ["authority", "issued", "start"]  # fixtures, shared with the tests of the channels


@pytest.fixture(scope="session")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    with running_vault(tmp_path_factory.mktemp("laboratory")) as running:
        yield running


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
    # The secondary first: of two the later is tried first, of the same second the primary.
    vault.set("cats-secondary-key", KEYS.secondary)
    vault.set("cats-primary-key", KEYS.primary)
    vault.set("cats-pins", issued.certificate.decode())
    yield made
    await gateway.forget()
    vault.fault()
