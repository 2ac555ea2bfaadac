"""A service that spreads its requests over two others, at every endpoint, and while one of them dies and returns."""

import asyncio
import base64
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass

import azure.functions as func
import pytest

from devstack.fpga import Service
from functions import health
from functions import score as scoring
from shared import gateway
from shared.traffic import decide
from tests.support.app import PICTURE, Response, call_function, score, serve, until
from tests.support.inference_service import StartService
from tests.support.protocol_client import ProtocolClient, error_message

ROWS = {"instances": [{"b64": base64.b64encode(PICTURE).decode()}]}
INFER = {
    "inputs": [
        {
            "name": "images",
            "shape": [1],
            "datatype": "BYTES",
            "data": [base64.b64encode(PICTURE).decode()],
            "parameters": {"content_type": "base64"},
        }
    ]
}


@dataclass
class Rollout:
    """The split ``cats`` over ``blue`` and ``green``."""

    blue: Service
    green: Service
    client: ProtocolClient


@pytest.fixture
async def rollout(start: StartService, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rollout]:
    blue, green = await start(tls=False), await start(tls=False)
    serve(blue.port, monkeypatch, blue="encoded", green="encoded")
    monkeypatch.setenv("SERVICE__GREEN__PORT", str(green.port))
    monkeypatch.setenv("SERVICE__GREEN__LABELS", "imagenet-background")
    for name in ("BLUE", "GREEN"):
        monkeypatch.setenv(f"SERVICE__{name}__MODEL", "imagenet")
    monkeypatch.setenv("SERVICES", "cats, blue, green")
    monkeypatch.setenv("SERVICE__CATS__TRAFFIC", "blue:50,green:50")
    yield Rollout(blue, green, ProtocolClient(blue))
    await gateway.forget()


async def get(function: object) -> Response:
    return await call_function(function, func.HttpRequest("GET", "http://localhost/", body=b""))


async def share(name: str) -> dict[str, object]:
    members: dict[str, dict[str, object]] = (await get(health.service_health)).json["services"]["cats"]["members"]
    return members[name]


def member(response: Response) -> str:
    return response.headers.get("scoring-service", "")


@pytest.mark.usefixtures("rollout")
async def test_every_endpoint_serves_a_split_and_names_the_member(rollout: Rollout) -> None:
    seen = set[str]()
    for number in range(12):
        key = {"Traffic-Key": f"user-{number}"}
        answers = [
            await score(PICTURE, "image/jpeg", headers=key),
            await score(PICTURE, "image/jpeg", service="cats", headers=key),
            await rollout.client.post("/v1/models/cats:predict", ROWS, Traffic_Key=f"user-{number}"),
            await rollout.client.post("/v2/models/cats/infer", INFER, Traffic_Key=f"user-{number}"),
            await rollout.client.get("/v1/models/cats", Traffic_Key=f"user-{number}"),
            await rollout.client.get("/v2/models/cats", Traffic_Key=f"user-{number}"),
            # By the model that all members have.
            await rollout.client.post("/v2/models/imagenet/infer", INFER, Traffic_Key=f"user-{number}"),
        ]
        assert [answer.status for answer in answers] == [200] * 7, [answer.body for answer in answers]
        [name] = {member(answer) for answer in answers}
        assert answers[0].json["service"] == name
        best = answers[0].json["predictions"][0]["labels"][0]
        direct = await score(PICTURE, "image/jpeg", service=name)
        assert direct.json["predictions"][0]["labels"][0] == best, "the member's labels"
        assert member(direct) == ""
        seen.add(name)
    assert seen == {"blue", "green"}
    assert (await rollout.client.get("/v2/models/cats/ready")).json == {"name": "cats", "ready": True}
    listed = {one["name"]: one for one in (await get(scoring.services)).json["services"]}
    assert listed["cats"] == {
        "name": "cats",
        "model": "imagenet",
        "default": True,
        "accepts": "encoded",
        "returns": "classes",
        "status": "ready",
        "traffic": {"blue": 50, "green": 50},
    }


@pytest.mark.usefixtures("rollout")
async def test_a_key_that_is_too_long_is_refused_without_being_repeated() -> None:
    response = await score(PICTURE, "image/jpeg", headers={"Traffic-Key": "secret" * 50})

    assert response.problem == "invalid-parameter"
    assert "secret" not in response.json["detail"]


async def test_an_error_names_the_member(rollout: Rollout) -> None:
    await rollout.blue.stop(0)
    await rollout.green.stop(0)

    response = await score(PICTURE, "image/jpeg")
    assert response.problem == "service-unreachable"
    assert response.json["service"] == member(response) in {"blue", "green"}
    late = await rollout.client.post("/v1/models/cats:predict", ROWS)
    error_message(late, 503)
    assert member(late) in {"blue", "green"}
    not_ready = await get(health.service_health)
    assert (not_ready.status, not_ready.json["services"]["cats"]["status"]) == (503, "not-ready")
    assert (await rollout.client.get("/v2/models/cats/ready")).status == 503


async def test_no_request_fails_but_those_in_flight_while_a_member_dies_and_returns(
    rollout: Rollout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decide, "RAMP_SECONDS", 4.0)
    ended, stopping = list[tuple[float, Response]](), asyncio.Event()

    async def load(worker: int) -> None:
        number = 0
        while not stopping.is_set():
            started, number = time.monotonic(), number + 1
            response = await score(PICTURE, "image/jpeg", headers={"Traffic-Key": f"{worker}-{number}"})
            ended.append((started, response))

    async def served_by(name: str, count: int = 30) -> None:
        before = Counter(member(response) for _, response in ended)[name]

        async def enough() -> bool:
            return Counter(member(response) for _, response in ended)[name] >= before + count

        await until(enough, 20)

    async def state_is(*states: str) -> None:
        async def reached() -> bool:
            return (await share("green"))["state"] in states

        await until(reached, 20)

    workers = [asyncio.create_task(load(worker)) for worker in range(8)]
    await served_by("green")
    await rollout.green.stop(0)
    await until(disconnected, 5)
    dead = time.monotonic()
    await state_is("not-ready")
    assert (await share("green"))["share"] == 0
    assert (await get(health.ready)).status == 200, "one member is enough"
    await served_by("blue", 100)
    await rollout.green.start()
    back = time.monotonic()
    await state_is("returning")
    first = (await share("green"))["share"]
    await served_by("green", 5)
    await state_is("ready")
    stopping.set()
    await asyncio.gather(*workers)

    failed = [(started, response) for started, response in ended if response.status != 200]
    assert all(started <= dead for started, _ in failed), [response.body for _, response in failed]
    assert len(failed) <= len(workers)
    between = Counter(member(response) for started, response in ended if dead < started < back)
    assert set(between) == {"blue"}
    assert isinstance(first, float)
    assert 0 < first < 0.4, "its share comes back slowly"
    assert (await share("green"))["share"] == 0.5


async def disconnected() -> bool:
    return gateway.gateway().member("green").upstream.client.channel_state != "ready"
