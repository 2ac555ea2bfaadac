"""A Key Vault and an identity endpoint for tests: real processes, with secrets to set and faults to switch."""

import secrets
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from devstack import tokens
from devstack.authority import Authority
from tests.devstack.processes import Running

IDENTITY_HEADER = "laboratory"


@dataclass(frozen=True)
class Vault:
    """The running Key Vault and identity endpoint."""

    address: str
    identity: str
    ca: Path
    signing_key: bytes

    def set(self, name: str, value: str, *, enabled: bool = True) -> None:
        body = {"value": value, "attributes": {"enabled": enabled}}
        self._send("PUT", f"/secrets/{name}?api-version=7.4", body)

    def fault(self, **fault: object) -> None:
        """Break it, or make it whole where nothing is said."""
        self._send("PUT" if fault else "DELETE", "/_devstack/faults", fault or None)

    def _send(self, method: str, path: str, body: object) -> None:
        token = tokens.issue(self.signing_key, resource="https://vault.azure.net", now=time.time()).value
        trusted = ssl.create_default_context(cafile=str(self.ca))
        with httpx.Client(verify=trusted, trust_env=False) as client:
            answer = client.request(
                method, self.address + path, json=body, headers={"Authorization": f"Bearer {token}"}
            )
        assert answer.is_success, answer.text


@contextmanager
def running_vault(folder: Path) -> Iterator[Vault]:
    """Both processes, with their state in an empty folder."""
    trusted = Authority.create()
    trusted.save(folder)
    leaf = trusted.issue()
    (folder / "leaf.pem").write_bytes(leaf.chain)
    (folder / "leaf.key").write_bytes(leaf.key)
    key = secrets.token_bytes(32)
    (folder / "signing.key").write_bytes(key)
    identity = Running(
        "devstack.identity",
        *("--port", "0", "--signing-key", folder / "signing.key", "--header", IDENTITY_HEADER),
        log=folder / "identity.log",
    )
    vault = Running(
        "devstack.vault",
        *("--folder", folder / "secrets", "--port", "0", "--signing-key", folder / "signing.key"),
        *("--certificate", folder / "leaf.pem", "--key", folder / "leaf.key"),
        log=folder / "vault.log",
    )
    with identity, vault:
        yield Vault(vault.address, identity.address, folder / "ca.pem", key)
