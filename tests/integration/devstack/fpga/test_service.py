"""The FPGA service over gRPC: answers, statuses, limits, health, keys, certificates, faults, start and stop."""

import asyncio
import hashlib
import ssl
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from devstack.authority import Authority, Issued, fingerprint
from devstack.fpga import (
    Faults,
    FaultSwitch,
    KeyPair,
    Keys,
    Recorder,
    SimulatedEngine,
)
from protos import health_pb2, serving_pb2, tensor_pb2
from tests.support.devstack.fpga import (
    CHECK,
    METADATA,
    PREDICT,
    STATUS,
    WATCH,
    Client,
    Connect,
    failure,
    files,
    fill,
    handshake,
    picture,
    pixels,
    predict_after_reconnect,
    request,
    scores,
    shape,
)
from tests.support.devstack.processes import wait_until_async
from tests.support.inference_service import KEYS, StartService

EVERY_METHOD = [PREDICT, METADATA, STATUS, CHECK]

INVALID_INPUTS = [
    fill(0, (1, 28, 28, 1)),
    fill(0, (0, 224, 224, 3)),
    fill(0, (10**9, 224, 224, 3)),
    tensor_pb2.TensorProto(dtype=tensor_pb2.DT_DOUBLE, tensor_shape=shape(1)),
    tensor_pb2.TensorProto(dtype=tensor_pb2.DT_FLOAT, tensor_shape=shape(1, 224, 224, 3), tensor_content=bytes(8)),
    tensor_pb2.TensorProto(dtype=tensor_pb2.DT_STRING, tensor_shape=shape(2), string_val=[picture()]),
    files(picture(), b"GIF89a"),
]
HEALTH = health_pb2.HealthCheckResponse


async def test_an_answer_names_the_model_and_has_the_engines_scores(start: StartService, connect: Connect) -> None:
    values = np.random.default_rng(1).normal(size=(2, 224, 224, 3)).astype(np.float32)
    engine = SimulatedEngine(0)
    client = connect(await start(engine=engine))

    of_pixels, of_files = await client.predict(request(pixels(values))), await client.predict(request(files(picture())))

    np.testing.assert_array_equal(scores(of_pixels), await engine.score(values))
    assert scores(of_files).shape == (1, 1000)
    assert set(of_files.outputs) == {"output_alias"}
    assert of_files.outputs["output_alias"].tensor_content == b""
    assert (of_files.model_spec.name, of_files.model_spec.version.value) == ("imagenet", 1)
    engine.close()


@pytest.mark.parametrize(
    ("message", "code"),
    [
        *((request(tensor), grpc.StatusCode.INVALID_ARGUMENT) for tensor in INVALID_INPUTS),
        (serving_pb2.PredictRequest(inputs={"image": fill(0)}), grpc.StatusCode.INVALID_ARGUMENT),
        (request(output_filter=["other"]), grpc.StatusCode.INVALID_ARGUMENT),
        (request(model_spec={"name": "other"}), grpc.StatusCode.NOT_FOUND),
        (request(model_spec={"version": {"value": 4}}), grpc.StatusCode.NOT_FOUND),
        (request(model_spec={"signature_name": "other"}), grpc.StatusCode.FAILED_PRECONDITION),
        (b"\xff\xff\xff", grpc.StatusCode.INVALID_ARGUMENT),
        # Eight images as floats are more than 4 MiB.
        (request(pixels(np.zeros((8, 224, 224, 3)))), grpc.StatusCode.RESOURCE_EXHAUSTED),
    ],
)
async def test_an_invalid_request_is_answered_with_its_cause(
    start: StartService, connect: Connect, message: serving_pb2.PredictRequest | bytes, code: grpc.StatusCode
) -> None:
    client = connect(await start())
    data = message if isinstance(message, bytes) else message.SerializeToString()
    error = await failure(client.raw(PREDICT, data))
    assert error.code() is code
    assert error.details()
    await client.predict(request(model_spec={"name": "imagenet", "signature_name": "encoded_images"}))


async def check(client: Client, name: str = "") -> Any:
    return (await client.call(CHECK, health_pb2.HealthCheckRequest(service=name), HEALTH)).status


async def status(client: Client) -> Any:
    answer = await client.call(STATUS, serving_pb2.GetModelStatusRequest(), serving_pb2.GetModelStatusResponse)
    return [version.state for version in answer.model_version_status]


async def test_metadata_status_and_health(start: StartService, connect: Connect) -> None:
    service = await start()
    client = connect(service)
    query = serving_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    metadata = await client.call(METADATA, query, serving_pb2.GetModelMetadataResponse)

    signatures = serving_pb2.SignatureDefMap()
    assert metadata.metadata["signature_def"].Unpack(signatures)
    inputs = {name: each.inputs["images"] for name, each in signatures.signature_def.items()}
    assert {name: [dim.size for dim in info.tensor_shape.dim] for name, info in inputs.items()} == {
        "serving_default": [-1, 224, 224, 3],
        "encoded_images": [-1],
    }
    assert await status(client) == [30]
    assert await check(client) == await check(client, "tensorflow.serving.PredictionService") == HEALTH.SERVING
    assert (await failure(check(client, "other"))).code() is grpc.StatusCode.NOT_FOUND
    assert (await failure(client.raw(METADATA, b""))).code() is grpc.StatusCode.INVALID_ARGUMENT
    service.set_faults(Faults(not_serving=True))
    assert (await check(client), await status(client)) == (HEALTH.NOT_SERVING, [40])


async def test_a_watch_reports_each_change_and_the_end(start: StartService, connect: Connect) -> None:
    service = await start()
    client = connect(service)
    watch = client.stream(WATCH, health_pb2.HealthCheckRequest(), HEALTH)
    unknown = client.stream(WATCH, health_pb2.HealthCheckRequest(service="other"), HEALTH)
    assert (await unknown.read()).status == HEALTH.SERVICE_UNKNOWN
    unknown.cancel()
    reported = [(await watch.read()).status]
    for serving in (False, True):
        service.set_serving(serving=serving)
        reported.append((await watch.read()).status)
    stopping = asyncio.create_task(service.stop())
    reported.append((await watch.read()).status)
    assert reported == [HEALTH.SERVING, HEALTH.NOT_SERVING, HEALTH.SERVING, HEALTH.NOT_SERVING]
    assert await watch.read() is grpc.aio.EOF
    await stopping


@pytest.mark.parametrize("method", EVERY_METHOD)
@pytest.mark.parametrize("key", [None, "", f"Bearer {KEYS.primary}", KEYS.primary.upper()])
async def test_over_tls_every_method_needs_a_key(
    start: StartService, connect: Connect, method: str, key: str | None
) -> None:
    client = connect(await start(), key)
    watch = client.stream(WATCH, health_pb2.HealthCheckRequest(), HEALTH)
    for call in (client.raw(method, b""), watch.read()):
        error = await failure(call)
        assert error.code() is grpc.StatusCode.UNAUTHENTICATED
        assert KEYS.primary not in str(error.details())


async def test_exchanged_keys_apply_to_open_connections(start: StartService, connect: Connect, tmp_path: Path) -> None:
    service = await start(recorder=Recorder(tmp_path / "calls.jsonl"))
    client, message = connect(service, KEYS.secondary), request()
    await client.predict(message, deadline=7, traceparent="00-aa-bb-01")
    service.set_keys(Keys(KEYS.primary, "the-third"))
    assert (await failure(client.predict())).code() is grpc.StatusCode.UNAUTHENTICATED
    client.key = "the-third"
    await client.predict()
    # Everything that arrives is recorded, except for the key.
    first = service.recorder.calls[0]
    assert (first.method, first.request_bytes) == (PREDICT, message.ByteSize())
    assert first.metadata["traceparent"] == "00-aa-bb-01"
    assert first.timeout is not None
    assert 0 < first.timeout <= 7
    assert not any(key in (tmp_path / "calls.jsonl").read_text() for key in (KEYS.secondary, "the-third"))
    service.recorder.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_the_certificate_is_served_over_tls_12_and_13_with_http2(
    start: StartService, authority: Authority, issued: Issued, version: ssl.TLSVersion
) -> None:
    context = ssl.create_default_context(cadata=authority.pem.decode())
    context.minimum_version = context.maximum_version = version
    certificate, negotiated, protocol = await asyncio.to_thread(handshake, (await start()).port, context)
    assert hashlib.sha256(certificate).hexdigest() == fingerprint(issued.certificate)
    assert (negotiated, protocol) == (version.name.replace("v1_", "v1."), "h2")


async def test_an_exchanged_certificate_is_served_to_new_connections_only(
    start: StartService, connect: Connect, authority: Authority
) -> None:
    service = await start()
    client = connect(service)
    await client.predict()
    for _ in range(2):
        renewed = authority.issue()
        service.set_certificate(KeyPair(renewed.chain, renewed.key))
        await client.predict()
        context = ssl.create_default_context(cadata=authority.pem.decode())
        served, _, _ = await asyncio.to_thread(handshake, service.port, context)
        assert hashlib.sha256(served).hexdigest() == fingerprint(renewed.certificate)
    await connect(service).predict()
    peers = [call.peer for call in service.recorder.calls]
    assert len(set(peers[:3])) == 1, "the open connection was opened again"
    assert peers[3] != peers[0]


async def test_injected_failures_delays_and_answers(start: StartService, connect: Connect) -> None:
    service = await start()
    client = connect(service)
    service.set_faults(Faults(fail_next=1, fail_with="RESOURCE_EXHAUSTED"))
    assert (await failure(client.predict())).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    await client.predict()
    service.set_faults(Faults(answer="missing_output"))
    assert dict((await client.predict()).outputs) == {}
    service.set_faults(Faults(answer="wrong_shape"))
    assert scores(await client.predict()).shape == (9,)
    service.set_faults(Faults(answer="nan", delay_ms=1))
    assert np.isnan(scores(await client.predict())).all()
    service.set_faults(Faults(hang=True))
    assert (await failure(client.predict(deadline=0.2))).code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_dropped_connections_end_their_calls_and_reconnect(start: StartService, connect: Connect) -> None:
    service = await start()
    client = connect(service)
    service.set_faults(Faults(drop_next=1))
    error = await failure(client.predict())
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert "Socket closed" in str(error.details())
    assert scores(await predict_after_reconnect(client)).shape == (1, 10)
    dropped, after = (call.peer for call in service.recorder.calls)
    assert dropped != after


@pytest.mark.parametrize(("fault", "grace"), [(Faults(delay_ms=100), 5), (Faults(hang=True), 0)])
async def test_a_stop_waits_for_running_calls_but_not_for_ever(
    start: StartService, connect: Connect, fault: Faults, grace: float
) -> None:
    service = await start(faults=FaultSwitch(fault))
    call = asyncio.create_task(connect(service).predict())
    await wait_until_async(lambda: service.recorder.calls, "the call arrives")
    await service.stop(grace)
    if grace:
        assert scores(await call).shape == (1, 10)
        return
    error = await failure(call)
    assert (error.code(), error.details()) == (grpc.StatusCode.UNAVAILABLE, "the service is stopping")
