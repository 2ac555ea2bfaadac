"""The discovery of what a model takes: shared, remembered, and repeated when the model has changed."""

import asyncio
import time
from dataclasses import replace

import pytest

from protos.open_inference_pb2 import ModelMetadataResponse
from shared.errors import Misconfigured, ServiceRejected, ServiceUnreachable
from shared.settings import Datatype, InputForm, Preprocessing, Protocol, ServiceSettings
from shared.telemetry import RequestContext
from shared.upstream import discovery as module
from shared.upstream.client import ServiceClient
from shared.upstream.codecs.open_inference import CONFIG, METADATA, OpenInferenceCodec
from shared.upstream.discovery import Discovery

SETTINGS = ServiceSettings(
    "cats",
    "x",
    protocol=Protocol.OPEN_INFERENCE,
    model="m",
    input_form=InputForm.DISCOVERED,
    input_name="",
    output_name="",
    preprocessing=Preprocessing(size=0, resize=0),
)


class Server(ServiceClient):
    """Reports the metadata of a model with one input; without a ``datatype`` it does not offer that."""

    def __init__(self, datatype: str) -> None:
        self.datatype = datatype
        self.error: Exception | None = None
        self.asked = 0

    async def call(self, method: str, *_: object, **__: object) -> bytes:
        await asyncio.sleep(0)
        if method == CONFIG or not self.datatype:
            raise ServiceRejected("no such method", "UNIMPLEMENTED")
        assert method == METADATA
        self.asked += 1
        if self.error is not None:
            raise self.error
        tensor = ModelMetadataResponse.TensorMetadata
        shape = [-1] if self.datatype == "BYTES" else [-1, 32, 32, 3]
        return ModelMetadataResponse(
            inputs=[tensor(name="image", datatype=self.datatype, shape=shape)],
            outputs=[tensor(name="scores", datatype="FP32", shape=[-1, 10])],
        ).SerializeToString()


def discovery(server: Server, settings: ServiceSettings = SETTINGS) -> Discovery:
    return Discovery(settings, server, OpenInferenceCodec(settings))


def context() -> RequestContext:
    return RequestContext("request", time.monotonic() + 5)


async def test_requests_share_one_read() -> None:
    server = Server("BYTES")
    found = discovery(server)

    codecs = await asyncio.gather(*(found.codec(context()) for _ in range(20)))

    assert server.asked == 1
    assert {id(codec) for codec in codecs} == {id(found.latest)}


async def test_a_rejected_request_shows_that_the_model_takes_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0)
    server = Server("BYTES")
    found = discovery(server)
    old = await found.codec(context())

    assert await found.changed(old, context()) is None
    server.datatype = "UINT8"
    new = await found.changed(old, context())

    assert new is not None
    assert new.model is not None
    assert new.model.datatype is Datatype.UINT8
    assert await found.changed(old, context()) is new
    assert await found.codec(context()) is new


async def test_rejected_requests_do_not_ask_again_and_again() -> None:
    server = Server("BYTES")
    found = discovery(server)
    codec = await found.codec(context())

    for _ in range(50):
        assert await found.changed(codec, context()) is None

    assert server.asked == 1


async def test_versions_that_answer_in_turn_are_described_with_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server("UINT8")
    found = discovery(server)
    await found.codec(context())

    for version in ("1", "2", "1", "2"):
        found.answered(version)
        await asyncio.sleep(0.01)

    assert server.asked == 1
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0)
    found.answered("2")
    await asyncio.sleep(0.01)
    assert server.asked == 2


async def test_a_version_that_could_not_be_described_is_asked_about_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0)
    server = Server("BYTES")
    found = discovery(server)
    await found.codec(context())
    found.answered("1")
    server.error = ServiceUnreachable("restarting")
    found.answered("2")
    await asyncio.sleep(0.01)
    server.error, server.datatype = None, "UINT8"

    found.answered("2")
    await asyncio.sleep(0.01)

    codec = await found.codec(context())
    assert codec.model is not None
    assert codec.model.datatype is Datatype.UINT8


async def test_another_version_is_described_in_the_background(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0)
    server = Server("BYTES")
    found = discovery(server)
    await found.codec(context())
    for version in ("1", "1"):
        found.answered(version)
    assert server.asked == 1
    server.datatype = "UINT8"

    found.answered("2")
    await asyncio.sleep(0.01)

    codec = await found.codec(context())
    assert codec.model is not None
    assert codec.model.datatype is Datatype.UINT8


async def test_a_failure_is_remembered_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server("BYTES")
    server.error = ServiceUnreachable("gone")
    found = discovery(server)

    for _ in range(5):
        with pytest.raises(ServiceUnreachable):
            await found.codec(context())
    assert server.asked == 1

    monkeypatch.setattr(module, "FAILED_SECONDS", 0)
    server.error = None
    await found.codec(context())


async def test_a_service_without_metadata_needs_settings_for_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FAILED_SECONDS", 0)
    with pytest.raises(Misconfigured, match="set SERVICE__CATS__INPUT_NAME, SERVICE__CATS__OUTPUT_NAME"):
        await discovery(Server("")).codec(context())

    complete = replace(
        SETTINGS, input_name="a", output_name="b", input_type=Datatype.BYTES, input_form=InputForm.ENCODED
    )
    assert (await discovery(Server(""), complete).codec(context())).model is not None
