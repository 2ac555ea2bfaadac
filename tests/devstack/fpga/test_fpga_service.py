"""What the service answers over a real connection."""

import asyncio
from pathlib import Path

import grpc
import numpy as np
import pytest

from devstack.fpga import (
    Faults,
    FaultSwitch,
    Recorder,
    SimulatedEngine,
)
from devstack.fpga.requests import Batch
from protos import health_pb2, serving_pb2
from tests.devstack.fpga.conftest import KEYS, Connect, StartService
from tests.devstack.fpga.wire import (
    CHECK,
    METADATA,
    PREDICT,
    STATUS,
    WATCH,
    files,
    fill,
    picture,
    pixels,
    refused,
    request,
    scores,
)

# Requests and answers


async def test_an_answer_names_the_model_and_holds_the_scores(start: StartService, connect: Connect) -> None:
    response = await connect(await start()).predict(request(files(picture(1), picture(2))))
    assert set(response.outputs) == {"output_alias"}
    assert scores(response).shape == (2, 1000)
    assert response.outputs["output_alias"].tensor_content == b""
    assert (response.model_spec.name, response.model_spec.version.value) == ("imagenet", 1)


async def test_pixels_are_scored_as_the_engine_scores_them(start: StartService, connect: Connect) -> None:
    values = np.random.default_rng(1).normal(size=(2, 224, 224, 3)).astype(np.float32)
    engine = SimulatedEngine(0)
    response = await connect(await start(engine)).predict(request(pixels(values)))
    np.testing.assert_array_equal(scores(response), await engine.score(values))
    engine.close()


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (request(fill(0, (1, 28, 28, 1))), grpc.StatusCode.INVALID_ARGUMENT),
        (request(output_filter=["other"]), grpc.StatusCode.INVALID_ARGUMENT),
        (request(model_spec={"name": "other"}), grpc.StatusCode.NOT_FOUND),
        (request(model_spec={"signature_name": "other"}), grpc.StatusCode.FAILED_PRECONDITION),
    ],
)
async def test_a_request_that_does_not_fit_is_answered_with_its_cause(
    start: StartService, connect: Connect, message: serving_pb2.PredictRequest, code: grpc.StatusCode
) -> None:
    async with refused() as outcome:
        await connect(await start()).predict(message)
    assert outcome.code == code
    assert outcome.details


async def test_bytes_that_are_no_message_do_not_disturb_the_service(start: StartService, connect: Connect) -> None:
    client = connect(await start())
    async with refused() as outcome:
        await client.raw(PREDICT, b"\xff\xff\xff")
    assert outcome.code == grpc.StatusCode.INVALID_ARGUMENT
    await client.predict()


async def test_a_method_that_does_not_exist_is_unimplemented(start: StartService, connect: Connect) -> None:
    async with refused() as outcome:
        await connect(await start()).raw("/tensorflow.serving.PredictionService/Classify", b"")
    assert outcome.code == grpc.StatusCode.UNIMPLEMENTED


async def test_metadata_and_status_are_offered(start: StartService, connect: Connect) -> None:
    client = connect(await start())
    metadata = await client.call(
        METADATA,
        serving_pb2.GetModelMetadataRequest(metadata_field=["signature_def"]),
        serving_pb2.GetModelMetadataResponse,
    )
    assert list(metadata.metadata) == ["signature_def"]
    status = await client.call(
        STATUS,
        serving_pb2.GetModelStatusRequest(model_spec={"name": "imagenet"}),
        serving_pb2.GetModelStatusResponse,
    )
    assert [version.state for version in status.model_version_status] == [30]


async def test_six_images_as_floats_pass_and_eight_do_not(start: StartService, connect: Connect) -> None:
    client = connect(await start())
    assert scores(await client.predict(request(pixels(np.zeros((6, 224, 224, 3)))))).shape == (6, 1000)
    async with refused() as outcome:
        await client.predict(request(pixels(np.zeros((8, 224, 224, 3)))))
    assert outcome.code == grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_the_limit_can_be_set_and_holds_for_answers_too(start: StartService, connect: Connect) -> None:
    client = connect(await start(limit=20_000))
    small = fill(0, (4, 224, 224, 3))
    assert scores(await client.predict(request(small))).shape == (4, 1000)
    async with refused() as outcome:
        await client.predict(request(fill(0, (6, 224, 224, 3))))
    assert outcome.code == grpc.StatusCode.RESOURCE_EXHAUSTED
    async with refused() as outcome:
        await client.predict(request(files(picture() + bytes(20_000))))
    assert outcome.code == grpc.StatusCode.RESOURCE_EXHAUSTED


class BrokenEngine:
    output_shape: tuple[int, ...] = (1000,)

    async def score(self, batch: Batch) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        raise RuntimeError(f"the secret of {len(batch)} images")

    def close(self) -> None:
        pass


async def test_a_failure_inside_is_logged_and_not_told(
    start: StartService, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    async with refused() as outcome:
        await connect(await start(BrokenEngine())).predict()
    assert (outcome.code, outcome.details) == (
        grpc.StatusCode.INTERNAL,
        "the service failed; its log tells why",
    )
    assert "the secret of 1 images" in caplog.text


# Health


async def test_health_is_checked_by_name(start: StartService, connect: Connect) -> None:
    client = connect(await start())
    for name in ("", "tensorflow.serving.PredictionService"):
        answer = await client.call(CHECK, health_pb2.HealthCheckRequest(service=name), health_pb2.HealthCheckResponse)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    async with refused() as outcome:
        await client.call(CHECK, health_pb2.HealthCheckRequest(service="other"), health_pb2.HealthCheckResponse)
    assert outcome.code == grpc.StatusCode.NOT_FOUND


async def test_a_watcher_hears_of_each_change_and_of_the_end(start: StartService, connect: Connect) -> None:
    service = await start()
    watch = connect(service).stream(WATCH, health_pb2.HealthCheckRequest(), health_pb2.HealthCheckResponse)
    heard = [(await watch.read()).status]
    for serving in (False, True):
        service.set_serving(serving=serving)
        heard.append((await watch.read()).status)
    stopping = asyncio.create_task(service.stop())
    heard.append((await watch.read()).status)
    assert heard == [1, 2, 1, 2]
    assert await watch.read() is grpc.aio.EOF
    await stopping


async def test_a_watcher_of_an_unknown_service_is_told_so(start: StartService, connect: Connect) -> None:
    watch = connect(await start()).stream(
        WATCH, health_pb2.HealthCheckRequest(service="other"), health_pb2.HealthCheckResponse
    )
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    watch.cancel()


async def test_an_unwell_service_says_so_in_health_and_status(start: StartService, connect: Connect) -> None:
    service = await start(faults=FaultSwitch(Faults(not_serving=True)))
    client = connect(service)
    health = await client.call(CHECK, health_pb2.HealthCheckRequest(), health_pb2.HealthCheckResponse)
    status = await client.call(STATUS, serving_pb2.GetModelStatusRequest(), serving_pb2.GetModelStatusResponse)
    assert health.status == health_pb2.HealthCheckResponse.NOT_SERVING
    assert [version.state for version in status.model_version_status] == [40]


# What travels


async def test_what_arrives_is_recorded_but_for_the_key(start: StartService, connect: Connect, tmp_path: Path) -> None:
    file = tmp_path / "calls.jsonl"
    service = await start(recorder=Recorder(file))
    message = request()
    await connect(service, KEYS.secondary).predict(message, deadline=7, traceparent="00-aa-bb-01")
    (call,) = service.recorder.calls
    assert (call.method, call.key, call.request_bytes) == (PREDICT, "secondary", message.ByteSize())
    assert call.metadata["traceparent"] == "00-aa-bb-01"
    assert "authorization" not in call.metadata
    assert call.timeout is not None
    assert 0 < call.timeout <= 7
    assert KEYS.secondary not in file.read_text()
    service.recorder.close()


async def test_a_call_without_a_deadline_is_recorded_as_one(start: StartService, connect: Connect) -> None:
    service = await start(tls=False)
    await connect(service, None, tls=False).raw(CHECK, b"", deadline=None)
    assert [(call.timeout, call.key) for call in service.recorder.calls] == [(None, "none")]
