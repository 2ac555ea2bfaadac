"""The app's functions with real services, with and without Key Vault."""

from collections.abc import AsyncIterator, Iterator

import pytest

from devstack.authority import Authority, Issued
from shared import gateway
from tests.support.app import App, clear_settings, serve
from tests.support.inference_service import KEYS, StartService
from tests.support.key_vault import IDENTITY_HEADER, LocalVault, running_vault
from tests.support.protocol_client import ProtocolClient

# The services of the protocol endpoints, and the forms of their inputs.
MODELS = {"cats": "encoded", "pixels": "tensor"}


@pytest.fixture
async def endpoints(start: StartService, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ProtocolClient]:
    """The protocol endpoints of a gateway; the service ``cats`` accepts files, and ``pixels`` tensors."""
    service = await start(tls=False)
    serve(service.port, monkeypatch, **MODELS)
    yield ProtocolClient(service)
    await gateway.forget()


@pytest.fixture(scope="session")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalVault]:
    with running_vault(tmp_path_factory.mktemp("vault")) as running:
        yield running


@pytest.fixture
async def app(
    vault: LocalVault, authority: Authority, issued: Issued, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[App]:
    """The app with a service ``cats``, whose secrets are in the vault; no inference service is running yet."""
    clear_settings(monkeypatch)
    app = App(vault, authority, monkeypatch.setenv)
    app.configure(
        IDENTITY_ENDPOINT=vault.identity,
        IDENTITY_HEADER=IDENTITY_HEADER,
        KEY_VAULT_URL=vault.address,
        KEY_VAULT_CA_FILE=str(vault.ca),
        SERVICES="cats",
        SERVICE__CATS__ADDRESS="localhost",
    )
    # The secondary first: the key stored last is tried first; within the same second, the primary is.
    vault.set("cats-secondary-key", KEYS.secondary)
    vault.set("cats-primary-key", KEYS.primary)
    vault.set("cats-pins", issued.certificate.decode())
    yield app
    await gateway.forget()
    vault.fault()
