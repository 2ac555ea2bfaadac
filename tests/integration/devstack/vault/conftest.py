"""One running vault for all tests that only add secrets of their own."""

from collections.abc import Iterator

import httpx
import pytest

from tests.support.key_vault import RESOURCE, LocalVault, running_vault

API = {"api-version": "7.6"}


@pytest.fixture(scope="session")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalVault]:
    with running_vault(tmp_path_factory.mktemp("vault")) as running:
        yield running


@pytest.fixture
def http(vault: LocalVault) -> Iterator[httpx.Client]:
    with vault.files.client(vault.address, RESOURCE, params=API) as client:
        yield client
