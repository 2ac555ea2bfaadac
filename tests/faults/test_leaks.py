"""Whatever goes wrong, nothing secret comes out: not in an answer, not in a log.

A stack of its own is put through every kind of trouble; then all that it said, to clients and to its logs, is searched
for the secrets that it made.
"""

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex, token_urlsafe

import httpx
import pytest
from PIL import Image, PngImagePlugin

from tests.conftest import ROOT, read_until_ready
from tests.secrecy import collect
from tests.vaults import Vault

MARKER = "a-marker-that-only-an-upload-has"


class Said:
    """A running stack, and everything that it says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.answers: list[str] = []
        self._log = folder / "terminal.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "devstack", "up", "--ports-from", "0", "--state", str(folder)],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, "PYTHONIOENCODING": "utf-8", "CREDENTIALS_REFRESH_SECONDS": "1"},
            )
        assert self.process.stdout
        self.printed, self.addresses = read_until_ready(self.process.stdout, self._log)

    def post(self, content: bytes, kind: str = "image/png", path: str = "/api/score", **headers: str) -> int:
        given = {"Content-Type": kind} | {name.replace("_", "-"): value for name, value in headers.items()}
        url = self.addresses["Score"].removesuffix("/api/score") + path
        answer = httpx.post(url, content=content, headers=given, timeout=30, trust_env=False)
        self.answers.append(f"{answer.headers} {answer.text}")
        return answer.status_code

    def ready(self) -> None:
        answer = httpx.get(self.addresses["Health"], timeout=30, trust_env=False)
        self.answers.append(f"{answer.headers} {answer.text}")

    def vault(self) -> Vault:
        state = self.folder / "state"
        return Vault(
            self.addresses["Key Vault"],
            self.addresses["Managed identity"],
            state / "ca.pem",
            (state / "signing.key").read_bytes(),
        )

    def stop(self) -> str:
        """All that was said."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.stdout
        rest = self.process.stdout.read()
        self.process.wait(30)
        self.process.stdout.close()
        logs = [file.read_text(errors="replace") for file in (self.folder / "logs").glob("*.log")]
        return "\n".join([self.printed, rest, self._log.read_text(errors="replace"), *logs, *self.answers])


@pytest.fixture
def said(tmp_path: Path) -> Iterator[Said]:
    running = Said(tmp_path)
    yield running
    if running.process.poll() is None:
        running.stop()


def services(folder: Path) -> list[dict[str, str]]:
    """The services that the control plane keeps."""
    file = folder / "state" / "control" / "services" / "control.json"
    kept: list[dict[str, str]] = json.loads(file.read_text())["services"]
    return kept


def picture() -> bytes:
    """A picture with a marker in it that no log should ever hold."""
    note = PngImagePlugin.PngInfo()
    note.add_text("Comment", MARKER)
    out = io.BytesIO()
    Image.effect_noise((64, 64), 80).convert("RGB").save(out, "PNG", pnginfo=note)
    return out.getvalue()


def test_nothing_secret_comes_out_whatever_goes_wrong(said: Said) -> None:
    vault, good = said.vault(), picture()
    [service] = services(said.folder)
    assert said.post(good) == 200
    for content, kind in [
        (good[:200], "image/png"),
        (MARKER.encode(), "image/png"),
        (MARKER.encode(), "application/json"),
        (MARKER.encode(), "multipart/form-data; boundary=x"),
        (b'{"images": [{"b64": "' + MARKER.encode() + b'"}]}', "application/json"),
        (b"", "image/png"),
    ]:
        assert 400 <= said.post(content, kind) < 500
    assert said.post(good, path="/api/services/nobody/score") == 404

    # Both keys are wrong, then the vault is in trouble, then the pins are no certificates.
    vault.set("imagenet-primary-key", token_urlsafe(24))
    vault.set("imagenet-secondary-key", token_urlsafe(24))
    _until(said, 502)
    vault.set("imagenet-primary-key", service["primary_key"])
    _until(said, 200)
    for fault in ({"mode": "throttle", "retry_after": 1}, {"mode": "forbid"}, {"mode": "error"}):
        vault.fault(**fault)
        for _ in range(3):
            said.post(good)
            said.ready()
    vault.fault()
    vault.set("imagenet-pins", token_hex(24))
    said.ready()

    everything = said.stop()

    assert "keys-refused" in everything
    secrets = collect(said.folder)
    assert len(secrets.origins) >= 10
    assert {origin for _, origin in secrets.find(everything.encode())} == set()
    assert MARKER not in everything
    assert "Traceback" not in everything
    # A token of the identity endpoint, or an address behind the gateway, in what clients get.
    answers = "\n".join(said.answers)
    assert "eyJ" not in everything
    for name in ("FPGA service (gRPC, TLS)", "Key Vault", "Managed identity"):
        assert said.addresses[name].rpartition("/")[2] not in answers


def _until(said: Said, status: int) -> None:
    for _ in range(200):
        if said.post(picture()) == status:
            return
    raise AssertionError(f"the gateway never answered {status}: {said.answers[-1]}")
