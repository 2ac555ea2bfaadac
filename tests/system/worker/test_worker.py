"""The package of `make dist` runs in a worker process as in Azure: a placeholder that became the app, fed over gRPC."""

import asyncio
import io
import os
import signal
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from devstack.authority import fingerprint
from devstack.photos import photo
from devstack.state import CERTIFICATE, SERVICE
from tests.conftest import ROOT
from tests.support.app import until
from tests.support.devstack.processes import ServerProcess, is_running, running_processes, wait_until
from tests.support.devstack.running_services import RunningServices
from tests.support.devstack.stack_process import StackProcess
from tools import dist

IMAGE = {"Content-Type": "image/png"}
EVENTS = "/runtime/webhooks/EventGrid?functionName=vault_event"


@pytest.fixture
def client(up: StackProcess) -> Any:
    with httpx.Client(base_url=up.url, timeout=60, trust_env=False) as gateway:
        yield gateway


def worker_pid(up: StackProcess) -> int:
    """The worker's process, a child of the host's."""
    host = up.pid("devstack.host")
    children = {int(pid) for pid in Path(f"/proc/{host}/task/{host}/children").read_text().split()}
    return next(iter(children & set(running_processes("-m functions_worker"))), 0)


def top(response: httpx.Response) -> str:
    """The best label of a response."""
    assert response.status_code == 200, response.text
    best = response.json()["predictions"][0]["labels"][0]
    assert best["score"] == pytest.approx(0.95, abs=0.02)
    label: str = best["label"]
    return label


def test_every_trigger_of_the_package_works_in_the_process_that_was_a_placeholder(
    up: StackProcess, client: httpx.Client
) -> None:
    coffee, espresso = photo("coffee").read_bytes(), "espresso"

    # HTTP: forwarded and decoded images, both protocols, pages, health.
    assert top(client.post("/api/score?top=1", content=coffee, headers=IMAGE)) == espresso
    assert top(client.post("/api/services/imagenet-tensor/score", content=coffee, headers=IMAGE)) == espresso
    assert top(client.post("/api/services/imagenet-open/score", content=coffee, headers=IMAGE)) == espresso
    assert client.get("/v1/models/imagenet").json()["model_version_status"][0]["state"] == "AVAILABLE"
    assert client.get("/v2/health/ready").status_code == 200
    assert client.get("/api/health/ready").json()["status"] == "ready"
    assert client.get("/").text == (ROOT / "web" / "index.html").read_text()
    assert client.post("/api/score", headers=IMAGE).headers["Content-Type"] == "application/problem+json"
    # The other triggers: warm-up before the first request, Event Grid, the timer.
    event = {"id": "1", "topic": "vault", "subject": "s", "eventType": "Microsoft.KeyVault.SecretNewVersionCreated",
             "eventTime": "2026-01-01T00:00:00Z", "dataVersion": "1", "data": {"ObjectName": CERTIFICATE}}  # fmt: skip
    assert client.post(EVENTS, json=[event], headers={"aeg-event-type": "Notification"}).status_code == 202
    assert "Executed 'Functions.warm_up' (Succeeded" in up.err
    assert "Executed 'Functions.vault_event' (Succeeded" in up.err

    def phase() -> str:
        return str(client.get("/api/rotation").json()["services"][SERVICE]["phase"])

    wait_until(lambda: phase() == "steady", "the timer verifies the first certificate")
    # The host drops what is logged outside of an invocation, and the rotation works in threads of its own.
    assert "INFO scoring_gateway: rotation of imagenet: " in up.err
    # The process began as a placeholder without settings, and imports the worker's grpc and protobuf beside the app's.
    pid = worker_pid(up)
    began = Path(f"/proc/{pid}/environ").read_bytes()
    assert b"WEBSITE_PLACEHOLDER_MODE=1" in began
    assert not any(name in began for name in (b"SERVICES=", b"KEY_VAULT_URL=", b"IDENTITY_HEADER="))
    mapped = Path(f"/proc/{pid}/maps").read_text()
    app = Path(f"/proc/{pid}/cwd").readlink() / dist.SITE_PACKAGES
    for module in ("grpc/_cython/cygrpc", "google/_upb/_message"):
        assert f"{app}/{module}" in mapped
        assert f"{ROOT}/.devstack/worker/python/3.13/LINUX/X64/{module}" in mapped
    # Nothing of this project's folder or virtual environment is in it.
    assert f"{ROOT}/.venv/" not in mapped


def test_a_body_of_20_mb_arrives(client: httpx.Client) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (2580, 2580, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=0)
    assert len(file.getvalue()) > 19_900_000

    response = client.post("/api/services/imagenet-tensor/score", content=file.getvalue(), headers=IMAGE)

    assert response.status_code == 200, response.text
    larger = client.post("/api/score", content=bytes(25_000_000), headers=IMAGE)
    assert larger.json()["type"] == "urn:problem-type:scoring-gateway:image-too-large"


async def test_64_requests_at_once_succeed_while_the_certificate_rotates(up: StackProcess) -> None:
    services = RunningServices(up)
    issued = services.vault.files.authority.issue()
    coffee = photo("coffee").read_bytes()
    problems: list[str] = []
    rounds: list[int] = []

    async with httpx.AsyncClient(base_url=up.url, timeout=60, trust_env=False, limits=httpx.Limits()) as client:

        async def is_rotated() -> bool:
            responses = await asyncio.gather(
                *(client.post("/api/score?top=1", content=coffee, headers=IMAGE) for _ in range(64))
            )
            problems.extend(response.text for response in responses if response.status_code != 200)
            rounds.append(len(responses))
            state = (await client.get("/api/rotation")).json()["services"][SERVICE]
            return bool(state["phase"] == "steady" and state["served"]["fingerprint"] == wanted)

        wanted = fingerprint(issued.certificate)
        await asyncio.to_thread(services.vault.set, CERTIFICATE, (issued.key + issued.chain).decode())
        await until(is_rotated, 40, pause=0)

    assert problems == []
    assert len(rounds) >= 2


def test_what_is_logged_outside_of_an_invocation_is_written_by_the_next(up: StackProcess, client: httpx.Client) -> None:
    """A refresh that fails once the request that began it is answered: the host drops what is logged then."""
    vault = RunningServices(up).vault
    vault.fault(mode="hang", secrets=["imagenet-primary-key"])
    try:

        def is_written() -> bool:
            top(client.post("/api/score", content=photo("coffee").read_bytes(), headers=IMAGE))
            return "WARNING scoring_gateway: credentials could not be read" in up.err

        wait_until(is_written, "the failed refresh is in the log")
    finally:
        vault.fault()
    [line] = [one for one in up.err.splitlines() if "credentials could not be read" in one][:1]
    assert "outside of a request at 20" in line


def test_invocations_whose_clients_left_and_those_of_a_killed_worker_disturb_no_other(
    up: StackProcess, client: httpx.Client
) -> None:
    coffee = photo("coffee").read_bytes()
    with RunningServices(up).control() as plane:
        plane.admin(SERVICE, {"faults": {"delay_ms": 3000}})
        for _ in range(20):
            with pytest.raises(httpx.ReadTimeout):
                client.post("/api/score", content=coffee, headers=IMAGE, timeout=httpx.Timeout(30, read=0.02))

        killed = worker_pid(up)

        async def lose() -> list[httpx.Response]:
            async with httpx.AsyncClient(base_url=up.url, timeout=60, trust_env=False) as several:
                sent = [several.post("/api/score", content=coffee, headers=IMAGE) for _ in range(8)]
                pending = asyncio.gather(*sent)
                await asyncio.sleep(0.5)
                os.kill(killed, signal.SIGKILL)
                return await pending

        lost = asyncio.run(lose())
        plane.admin(SERVICE, {"faults": {}})

    assert [(response.status_code, response.content) for response in lost] == [(500, b"")] * 8
    # Waits for the next worker, which starts as the app at once.
    assert top(client.post("/api/score", content=coffee, headers=IMAGE)) == "espresso"
    pid = worker_pid(up)
    assert pid != killed
    assert not is_running(killed)
    assert b"WEBSITE_PLACEHOLDER_MODE=0" in Path(f"/proc/{pid}/environ").read_bytes()
    assert f"The worker (pid {killed}) ended (killed by SIGKILL): starting another" in up.err
    assert "Traceback" not in up.err


def test_invalid_settings_are_reported_in_every_response(up: StackProcess, tmp_path: Path) -> None:
    package = Path(f"/proc/{worker_pid(up)}/cwd").readlink()
    settings = {"SERVICES": "cats", "KEY_VAULT_URL": "https://vault"}
    arguments = ("--app", package, "--port", "0", "--state", tmp_path, "--worker-process")

    with ServerProcess(
        "devstack.host", *arguments, log=tmp_path / "log", environment={**os.environ, **settings}
    ) as host:
        score = httpx.post(f"{host.address}/api/score", content=b"x", headers=IMAGE)
        ready = httpx.get(f"{host.address}/api/health/ready")
        live = httpx.get(f"{host.address}/api/health/live")

    for response in (score, ready):
        assert response.status_code == 500
        assert response.json()["type"] == "urn:problem-type:scoring-gateway:misconfigured"
    assert score.json()["settings"] == ["SERVICE__CATS__ADDRESS"]
    assert "SERVICE__CATS" not in ready.text  # the request has no key
    assert live.status_code == 200
