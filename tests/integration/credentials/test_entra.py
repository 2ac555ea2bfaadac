"""AUTH=entra: tokens of the app's identity, by Azure's SDK from the local identity endpoint, renewed in time."""

import asyncio
import os
import time
from pathlib import Path

import jwt
import pytest

from devstack import tokens
from devstack.authority import Authority
from devstack.fpga import KeyRing, Keys
from devstack.fpga.access import KeyName
from shared import gateway
from tests.support.app import PICTURE, clear_settings, score
from tests.support.devstack.processes import ServerProcess
from tests.support.inference_service import StartService
from tests.support.key_vault import IDENTITY_HEADER

AUDIENCE = "api://scoring"
# The SDK keeps a token until five minutes before its end: so it asks for another after two seconds.
LIFETIME = 302


class Tokens(KeyRing):
    """Accepts tokens for the audience that have not ended; ``left`` has the seconds that each still had, by token."""

    def __init__(self, key: bytes) -> None:
        super().__init__(Keys("unused", "unused-too"))
        self._signing_key = key
        self.left: dict[str, float] = {}
        self.refused = 0

    def match(self, key: str) -> KeyName | None:
        token, now = key.removeprefix("Bearer "), time.time()
        try:
            tokens.verify(token, self._signing_key, audiences=[AUDIENCE], now=now)
        except tokens.TokenRefused:
            self.refused += 1
            return None
        self.left[token] = jwt.decode(token, options={"verify_signature": False})["exp"] - now
        return "primary"


async def test_a_token_is_renewed_before_it_ends(
    start: StartService, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "signing.key").write_bytes(key := os.urandom(32))
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    ring = Tokens(key)
    service = await start(keys=ring)
    clear_settings(monkeypatch)
    settings = {"ADDRESS": "localhost", "PORT": str(service.port), "TRUST": "public"}
    settings |= {"TRUST_FILE": str(tmp_path / "ca.pem"), "AUTH": "entra", "AUTH_SCOPE": f"{AUDIENCE}/.default"}
    for name, value in settings.items():
        monkeypatch.setenv(f"SERVICE__CATS__{name}", value)
    monkeypatch.setenv("SERVICES", "cats")
    # No secret is read: the vault need not be there.
    monkeypatch.setenv("KEY_VAULT_URL", "https://nowhere.vault.azure.net")
    monkeypatch.setenv("CREDENTIALS_REFRESH_SECONDS", "1")
    monkeypatch.setenv("IDENTITY_HEADER", IDENTITY_HEADER)
    arguments = ("--port", "0", "--lifetime", str(LIFETIME), "--signing-key", tmp_path / "signing.key")
    environment = {**os.environ, "IDENTITY_HEADER": IDENTITY_HEADER}
    with ServerProcess("devstack.identity", *arguments, log=tmp_path / "log", environment=environment) as identity:
        monkeypatch.setenv("IDENTITY_ENDPOINT", identity.address)
        async with asyncio.timeout(20):
            while len(ring.left) < 2:
                response = await score(PICTURE, "image/jpeg")
                assert response.status == 200, response.body
                await asyncio.sleep(0.05)
    await gateway.forget()

    first, _ = ring.left.values()
    assert first > LIFETIME - 10
    assert not ring.refused
