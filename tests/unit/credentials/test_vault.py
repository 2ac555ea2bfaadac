"""Secrets are read early for a first request, and only for that."""

import asyncio
import threading

import pytest

from shared.credentials import vault as module
from shared.credentials.secrets import Secret
from shared.credentials.vault import Vault
from shared.errors import SecretMissing, VaultUnreachable


class Store:
    """Key Vault: one secret, and the names that were asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.was_asked = threading.Event()

    def read(self, name: str) -> Secret:
        self.asked.append(name)
        self.was_asked.set()
        if name != "cats-key":
            raise SecretMissing(f"Key Vault has no secret {name!r}.", secret=name)
        return Secret(f"value {len(self.asked)}", "version", 0.0)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    store = Store()
    monkeypatch.setattr(Vault, "client", lambda _: store)
    return store


async def test_what_was_read_early_is_used_once(store: Store) -> None:
    vault = Vault(None)

    await vault.begin(["cats-key", "dogs-key"])

    early = vault.read("cats-key")
    with pytest.raises(SecretMissing):
        vault.read("dogs-key")
    assert sorted(store.asked) == ["cats-key", "dogs-key"]
    assert vault.read("cats-key") != early


async def test_what_was_read_long_ago_is_read_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EARLY_SECONDS", 0.0)
    vault = Vault(None)

    await vault.begin(["cats-key"])
    await asyncio.to_thread(store.was_asked.wait)

    assert vault.read("cats-key").value == "value 2"


async def test_a_vault_that_cannot_be_used_fails_at_the_first_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: Vault) -> Store:
        raise VaultUnreachable("Key Vault did not respond.")

    monkeypatch.setattr(Vault, "client", fails)
    vault = Vault(None)

    await vault.begin(["cats-key"])

    with pytest.raises(VaultUnreachable):
        vault.read("cats-key")
