"""The files that the local vault and the local control plane are started with, and HTTP clients that fit them."""

import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from secrets import token_bytes
from typing import Any, Self

import httpx

from devstack import tokens
from devstack.authority import Authority


@dataclass(frozen=True)
class ServerFiles:
    """A server's certificate and signing key in one folder, and the authority that issued the certificate."""

    folder: Path
    authority: Authority

    @classmethod
    def make(cls, folder: Path) -> Self:
        files = cls(folder, Authority.create())
        leaf = files.authority.issue()
        files.ca.write_bytes(files.authority.pem)
        (folder / "leaf.pem").write_bytes(leaf.chain)
        (folder / "leaf.key").write_bytes(leaf.key)
        (folder / "signing.key").write_bytes(token_bytes(32))
        return files

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    def arguments(self, state: Path, *more: str | Path, port: int = 0) -> list[str | Path]:
        return [
            *("--folder", state, "--port", str(port), "--signing-key", self.folder / "signing.key"),
            *("--certificate", self.folder / "leaf.pem", "--key", self.folder / "leaf.key", *more),
        ]

    def token(self, resource: str, **claims: Any) -> str:
        key = claims.pop("key", (self.folder / "signing.key").read_bytes())
        return tokens.issue(key, resource=resource, now=claims.pop("now", time.time()), **claims).value

    def client(self, address: str, resource: str, **options: Any) -> httpx.Client:
        """An HTTP client with a valid token."""
        return httpx.Client(
            base_url=address,
            verify=ssl.create_default_context(cafile=str(self.ca)),
            headers={"Authorization": f"Bearer {self.token(resource)}"},
            trust_env=False,
            timeout=20,
            **options,
        )
