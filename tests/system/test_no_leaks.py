"""No secret is in a response or in a log after errors of all kinds.

The test provokes the errors in a separate stack, and then searches its responses and logs for the stack's secrets.
"""

import io
import signal
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex, token_urlsafe

import httpx
import pytest
from PIL import Image, PngImagePlugin

from devstack.state import PINS, PRIMARY_KEY, SECONDARY_KEY
from tests.support.devstack.processes import wait_until
from tests.support.devstack.running_services import RunningServices
from tests.support.devstack.stack_process import SIMULATED, StackProcess
from tests.support.secrecy import collect

MARKER = "a-marker-in-uploads"


class Recorder:
    """Sends requests to a stack's gateway, and records its responses."""

    def __init__(self, stack: StackProcess) -> None:
        self.responses: list[str] = []
        self._stack = stack

    def post(self, content: bytes, kind: str = "image/png", path: str = "/api/score") -> int:
        response = httpx.post(
            self._stack.url + path, content=content, headers={"Content-Type": kind}, timeout=30, trust_env=False
        )
        self.responses.append(f"{response.headers} {response.text}")
        return response.status_code

    def ready(self) -> None:
        response = httpx.get(self._stack.addresses()["Health"], timeout=30, trust_env=False)
        self.responses.append(f"{response.headers} {response.text}")

    def until(self, status: int) -> None:
        """Send requests until one has this status."""
        wait_until(lambda: self.post(picture()) == status, f"a response with {status}")


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[StackProcess]:
    environment = {"CREDENTIALS_REFRESH_SECONDS": "1"}
    with StackProcess(tmp_path / "stack", *SIMULATED, environment=environment) as running:
        yield running.until_serving()


def picture() -> bytes:
    """An image with a marker, which must not be logged."""
    comment = PngImagePlugin.PngInfo()
    comment.add_text("Comment", MARKER)
    out = io.BytesIO()
    Image.effect_noise((64, 64), 80).convert("RGB").save(out, "PNG", pnginfo=comment)
    return out.getvalue()


def test_errors_of_all_kinds_leak_no_secret(stack: StackProcess) -> None:
    services, recorder, good = RunningServices(stack), Recorder(stack), picture()
    vault = services.vault
    assert recorder.post(good) == 200
    for content, kind in [
        (good[:200], "image/png"),
        (MARKER.encode(), "image/png"),
        (MARKER.encode(), "application/json"),
        (MARKER.encode(), "multipart/form-data; boundary=x"),
        (b'{"images": [{"b64": "' + MARKER.encode() + b'"}]}', "application/json"),
        (b"", "image/png"),
    ]:
        assert 400 <= recorder.post(content, kind) < 500
    assert recorder.post(good, path="/api/services/unknown/score") == 404

    # Both keys are wrong; then the vault fails; then the pins are not certificates.
    vault.set(PRIMARY_KEY, token_urlsafe(24))
    vault.set(SECONDARY_KEY, token_urlsafe(24))
    recorder.until(502)
    vault.set(PRIMARY_KEY, services.deployed["primary_key"])
    recorder.until(200)
    for fault in ({"mode": "throttle", "retry_after": 1}, {"mode": "forbid"}, {"mode": "error"}):
        vault.fault(**fault)
        for _ in range(3):
            recorder.post(good)
            recorder.ready()
    vault.fault()
    vault.set(PINS, token_hex(24))
    recorder.ready()

    assert stack.signal(signal.SIGINT).wait_for_end() == 0

    logs = (file.read_text(errors="replace") for file in (stack.folder / "logs").glob("*.log"))
    responses = "\n".join(recorder.responses)
    output = "\n".join([stack.out, stack.err, *logs, responses])
    assert "keys-refused" in output
    secrets = collect(stack.folder)
    assert len(secrets.origins) >= 10
    assert {origin for _, origin in secrets.find(output.encode())} == set()
    assert MARKER not in output
    assert "Traceback" not in output
    # No output has a token of the identity endpoint, and no response an internal address.
    assert "eyJ" not in output
    for name in ("FPGA service (gRPC, TLS)", "Key Vault", "Managed identity"):
        assert stack.addresses()[name].removesuffix("/msi/token").rpartition("/")[2] not in responses
