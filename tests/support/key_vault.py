"""A local Key Vault and identity endpoint for tests: real processes, with secrets and injected faults."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.devstack.processes import ServerProcess
from tests.support.devstack.server_files import ServerFiles

IDENTITY_HEADER = "test-environment"
RESOURCE = "https://vault.azure.net"


@dataclass(frozen=True)
class LocalVault:
    """The running Key Vault and identity endpoint, and the files that they were started with."""

    address: str
    identity: str
    files: ServerFiles

    @property
    def ca(self) -> Path:
        return self.files.ca

    def get(self, name: str) -> str:
        """The latest version of a secret."""
        return str(self._send("GET", f"/secrets/{name}/?api-version=7.4")["value"])

    def set(self, name: str, value: str, *, enabled: bool = True) -> None:
        body = {"value": value, "attributes": {"enabled": enabled}}
        self._send("PUT", f"/secrets/{name}?api-version=7.4", body)

    def fault(self, **fault: object) -> None:
        """Inject a fault; without arguments, end all faults."""
        self._send("PUT" if fault else "DELETE", "/_devstack/faults", fault or None)

    def _send(self, method: str, path: str, body: object = None) -> Any:
        with self.files.client(self.address, RESOURCE) as client:
            response = client.request(method, path, json=body)
        assert response.is_success, response.text
        return response.json()


@contextmanager
def running_vault(folder: Path) -> Iterator[LocalVault]:
    """Both processes, with their state in an empty folder."""
    files = ServerFiles.make(folder)
    identity = ServerProcess(
        "devstack.identity",
        *("--port", "0", "--signing-key", folder / "signing.key"),
        log=folder / "identity.log",
        environment={**os.environ, "IDENTITY_HEADER": IDENTITY_HEADER},
    )
    vault = ServerProcess("devstack.vault", *files.arguments(folder / "secrets"), log=folder / "vault.log")
    with identity, vault:
        yield LocalVault(vault.address, identity.address, files)
