"""A running vault, and the files that one needs."""

import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from devstack import tokens
from devstack.authority import Authority
from tests.devstack.processes import Running

VAULT = "devstack.vault"
API = {"api-version": "7.6"}


@dataclass(frozen=True)
class Files:
    """What a vault is started with, in one folder."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> "Files":
        files = cls(folder)
        authority = Authority.create()
        leaf = authority.issue()
        files.ca.write_bytes(authority.pem)
        files.certificate.write_bytes(leaf.chain)
        files.key.write_bytes(leaf.key)
        files.signing_key.write_bytes(bytes(range(32)))
        return files

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def certificate(self) -> Path:
        return self.folder / "leaf-chain.pem"

    @property
    def key(self) -> Path:
        return self.folder / "leaf.key"

    @property
    def signing_key(self) -> Path:
        return self.folder / "signing.key"

    def arguments(self, secrets: Path, port: int = 0) -> list[str | Path]:
        tls: list[str | Path] = ["--certificate", self.certificate, "--key", self.key]
        return ["--folder", secrets, "--port", str(port), *tls, "--signing-key", self.signing_key]

    def token(self) -> str:
        key = self.signing_key.read_bytes()
        return tokens.issue(key, resource="https://vault.azure.net", now=time.time()).value

    def client(self, address: str, token: str | None = None) -> httpx.Client:
        """A plain HTTP client of a vault, with a valid token and an API version."""
        return httpx.Client(
            base_url=address,
            verify=ssl.create_default_context(cafile=str(self.ca)),
            headers={"Authorization": f"Bearer {token or self.token()}"},
            params=API,
        )


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files.make(tmp_path_factory.mktemp("vault-files"))


@pytest.fixture(scope="session")
def vault(files: Files, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One vault for all tests that only add secrets of their own."""
    folder = tmp_path_factory.mktemp("vault")
    with Running(VAULT, *files.arguments(folder / "secrets"), log=folder / "log") as running:
        yield running


@pytest.fixture
def http(files: Files, vault: Running) -> Iterator[httpx.Client]:
    with files.client(vault.address) as client:
        yield client
