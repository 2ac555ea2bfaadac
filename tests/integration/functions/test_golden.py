"""Golden photographs before the real local service: the route, the background check, and the client's command."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import azure.functions as func
import pytest
from scoring_client.__main__ import main

from devstack import golden as golden_photographs
from devstack.fpga import Endpoint, Model, ModelEngine, Service
from functions import golden, health
from shared import gateway
from shared.scoring.golden import watch
from shared.scoring.types import Upload
from shared.telemetry import RequestContext
from shared.upstream.codecs import Selector
from tests.support.app import Response, call_function, score, serve, until
from tests.support.clients.gateway_server import Request, Server
from tests.support.clients.gateway_server import Response as HttpResponse
from tests.support.documented_errors import matches_example
from tests.support.inference_service import StartService

type Set = Callable[..., None]

DEFAULT = "CHANNEL_MEAN=127,127,127 and CHANNEL_SCALE=128,128,128"


@pytest.fixture(scope="module")
def engine() -> Any:
    engine = ModelEngine()
    yield engine
    engine.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return golden_photographs.prepare(tmp_path / "golden")


@pytest.fixture
async def service(
    start: StartService, engine: ModelEngine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Service]:
    """The real model; the services ``cats``, which takes files, and ``pixels`` have the same golden photographs."""
    service = await start(engine=engine, tls=False)
    serve(service.port, monkeypatch, cats="encoded", pixels="tensor")
    for name in ("CATS", "PIXELS"):
        monkeypatch.setenv(f"SERVICE__{name}__GOLDEN", str(folder))
    yield service
    await gateway.forget()


async def check(service: str) -> Response:
    request = func.HttpRequest("POST", "http://localhost/api/golden", params={"service": service}, body=b"")
    return await call_function(golden.golden_check, request)


async def readiness(function: Any = health.ready) -> Response:
    return await call_function(function, func.HttpRequest("GET", "http://localhost/api/health", body=b""))


async def until_checked(service: str, result: str) -> dict[str, Any]:
    """The details of the service's health, once its photographs have that result."""
    details: dict[str, Any] = {}

    async def checked() -> bool:
        details.update((await readiness(health.service_health)).json["services"][service])
        return bool(details["golden"]["result"] == result)

    await until(checked, 20)
    return details


@pytest.fixture
async def command(service: Service, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[..., Any]]:  # noqa: ARG001
    """Runs the client's command in a thread; its requests reach the functions over HTTP."""
    loop, server = asyncio.get_running_loop(), Server()

    async def answer(request: Request) -> Response:
        if request.path.startswith("/api/golden"):
            return await check(request.path.partition("?service=")[2])
        name = request.path.removeprefix("/api/services/").partition("/")[0]
        return await score(request.body, "image/png", service=name, query={"top": "1"})

    def respond(request: Request) -> HttpResponse:
        found = asyncio.run_coroutine_threadsafe(answer(request), loop).result(60)
        return HttpResponse(found.status, found.body)

    server.respond = respond
    monkeypatch.setenv("SCORING_URL", server.url)
    yield lambda *arguments: asyncio.to_thread(main, ["golden", *arguments])
    await asyncio.to_thread(server.stop)


async def test_the_command_finds_and_names_a_wrong_setting(
    command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SERVICE__PIXELS__CHANNEL_ORDER", "BGR")

    assert await command("check", "--service", "pixels") == 1

    first, *deviations, cause = capsys.readouterr().out.splitlines()
    assert first == "pixels: golden: 0 of 4 match (model version 1)"
    assert "  coffee.png: 'espresso' (class 967) has " in deviations[0]
    assert cause == "matches with CHANNEL_ORDER=RGB"

    monkeypatch.setenv("SERVICE__PIXELS__CHANNEL_ORDER", "RGB")
    await gateway.forget()
    assert await command("check", "--service", "pixels") == 0
    assert capsys.readouterr().out == "pixels: golden: 4 of 4 match (model version 1)\n"


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize(
    ("wrong", "causes"),
    [
        # Two normalisations differ by less than the tolerance.
        ({"CHANNEL_MEAN": "imagenet"}, [DEFAULT, "CHANNEL_MEAN=tensorflow and CHANNEL_SCALE=tensorflow"]),
        ({"CHANNEL_MEAN": "unit", "CHANNEL_ORDER": "BGR"}, [f"CHANNEL_ORDER=RGB, {DEFAULT}"]),
        ({"IMAGE_RESIZE": "400"}, ["IMAGE_RESIZE=256"]),
        ({"OUTPUT_FORM": "logits"}, ["ACTIVATION=none"]),
        ({"LABELS": "imagenet-background"}, ["LABELS=imagenet"]),
    ],
)
async def test_the_route_finds_wrong_settings(
    wrong: dict[str, str], causes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in wrong.items():
        monkeypatch.setenv(f"SERVICE__PIXELS__{key}", value)

    report = (await check("pixels")).json

    assert not report["matches"]
    assert set(causes) <= set(report["causes"]["matches_with"])


@pytest.mark.usefixtures("service")
async def test_files_that_the_service_decodes_are_compared_and_not_explained(folder: Path) -> None:
    assert (await check("cats")).json["golden"] == "4 of 4"
    expected = json.loads((folder / "expected.json").read_text())
    expected["photographs"]["coffee.png"]["score"] = 0.1
    (folder / "expected.json").write_text(json.dumps(expected))

    report = (await check("cats")).json

    assert report["golden"] == "3 of 4"
    assert report["photographs"][0]["deviation"] == "'espresso' (class 967) has 0.9511; 0.1000 ± 0.02 is expected"
    assert "The service decodes the files itself" in report["causes"]["not_tried"]


@pytest.mark.usefixtures("service")
async def test_a_discovered_service_is_checked_and_explained_too(monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in {"PROTOCOL": "open-inference", "MODEL": "imagenet-pixels", "INPUT_FORM": ""}.items():
        monkeypatch.setenv(f"SERVICE__PIXELS__{key}", value)
    assert (await check("pixels")).json["golden"] == "4 of 4"
    await gateway.forget()
    monkeypatch.setenv("SERVICE__PIXELS__CHANNEL_ORDER", "BGR")

    report = (await check("pixels")).json

    assert (report["model_version"], report["causes"]["matches_with"]) == ("1", ["CHANNEL_ORDER=RGB"])


async def test_recorded_photographs_match_raw_outputs_too(
    command: Callable[..., Any], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await command("record", "--service", "pixels", str(folder)) == 2
    assert "add --overwrite to replace it" in capsys.readouterr().err
    assert await command("record", "--service", "pixels", "--overwrite", str(folder)) == 0
    document = json.loads((folder / "expected.json").read_text())
    assert document["photographs"]["coffee.png"]["label"] == "espresso"
    photograph = Upload("coffee.png", (folder / "coffee.png").read_bytes())
    context = RequestContext("test", time.monotonic() + 10)
    (output,) = await gateway.gateway().member("pixels").scorer.outputs([photograph], Selector(), context)
    document["photographs"]["coffee.png"] = {"outputs": {"output_alias": output.values.tolist()}}
    (folder / "expected.json").write_text(json.dumps(document))

    assert (await check("pixels")).json["golden"] == "4 of 4"


async def test_the_first_use_and_a_new_version_start_a_check(
    service: Service, engine: ModelEngine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "BETWEEN_SECONDS", 0.1)
    coffee = (folder / "coffee.png").read_bytes()
    await score(coffee, "image/png", service="cats")
    details = await until_checked("cats", "4 of 4")
    assert details["golden"] == {"result": "4 of 4", "model_version": "1"}
    assert (await readiness()).json["services"]["cats"] == {"status": "ready", "golden": "4 of 4"}

    # Another version, with photographs that no longer match, at the same port; and away for a moment.
    (folder / "coffee.png").write_bytes((folder / "rocket.jpg").read_bytes())
    await service.stop(0)
    model, endpoint = Model("imagenet", 2, engine.output_shape), Endpoint("127.0.0.1", service.port)
    another = Service(model, engine, endpoint=endpoint)
    await another.start()
    try:
        await score(coffee, "image/png", service="cats")
        details = await until_checked("cats", "3 of 4")
        assert details["status"] == "ready"
        assert details["golden"]["model_version"] == "2"
        assert details["golden"]["first_deviation"].startswith("coffee.png: 'espresso' (class 967) has ")
    finally:
        await another.stop(0)


@pytest.mark.usefixtures("service")
async def test_enforced_photographs_decide_about_readiness_and_traffic(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVICES", "cats, pixels, both")
    monkeypatch.setenv("SERVICE__BOTH__TRAFFIC", "cats:50,pixels:50")
    monkeypatch.setenv("SERVICE__PIXELS__CHANNEL_MEAN", "imagenet")
    monkeypatch.setenv("SERVICE__PIXELS__GOLDEN_ENFORCE", "true")
    monkeypatch.setenv("SERVICE__CATS__GOLDEN_ENFORCE", "true")

    first = await readiness(health.service_health)  # which starts the checks
    assert (first.status, first.json["services"]["cats"]["golden"]) == (503, {"result": "checking"})
    assert (await until_checked("cats", "4 of 4"))["status"] == "ready"

    async def pixels_checked() -> bool:
        status = gateway.gateway().member("pixels").golden
        assert status is not None
        return str(status.status) != "checking"

    await until(pixels_checked, 20)
    found = await gateway.gateway().health()
    assert (found["pixels"].ready, found["cats"].ready) == (False, True)
    assert found["pixels"].problem is None

    # Half of the requests would be for the other one.
    answers = [await score((folder / "coffee.png").read_bytes(), "image/png", service="both") for _ in range(16)]
    assert [(answer.status, answer.json["service"]) for answer in answers] == [(200, "cats")] * 16
    details = (await readiness(health.service_health)).json["services"]["both"]
    assert details["members"]["pixels"]["state"] == "not-ready"
    assert details["members"]["pixels"]["why"].startswith("golden: ")


@pytest.mark.usefixtures("service")
async def test_a_missing_folder_warns_and_requests_go_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SERVICE__CATS__GOLDEN", "no/such/folder")

    scored = await score((folder / "coffee.png").read_bytes(), "image/png", service="cats")
    details = await until_checked("cats", "not checked")

    assert scored.status == 200
    assert details["status"] == "ready"
    text = "SERVICE__CATS__GOLDEN is 'no/such/folder', which is not a folder"
    assert details["golden"]["problem"]["detail"].startswith(text)
    assert any(text in record.message for record in caplog.records)
    assert (await check("cats")).problem == "misconfigured"


@pytest.mark.usefixtures("service")
async def test_a_service_without_photographs_has_none_to_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SERVICE__CATS__GOLDEN")

    assert matches_example("no-golden-photographs", (await check("cats")).json)
    assert (await readiness()).json["services"]["cats"] == {"status": "ready"}
