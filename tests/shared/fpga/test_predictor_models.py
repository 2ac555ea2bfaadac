"""What a service tells of its model comes by the same trust as its scores; refusals keep what they are about."""

import datetime as dt
import time

import pytest

from devstack.authority import Issued
from devstack.fpga import Keys
from protos.serving_pb2 import (
    GetModelMetadataRequest,
    GetModelMetadataResponse,
    GetModelStatusRequest,
    GetModelStatusResponse,
    ModelSpec,
)
from shared.errors import ServiceRejected
from shared.fpga.predictor import Predictor
from shared.settings import ServiceSettings
from shared.telemetry import Call
from shared.trust.certificates import read_pins
from shared.trust.credentials import CredentialCache, Credentials
from tests.shared.fpga.conftest import KEYS, StartService


def call() -> Call:
    return Call("request", time.monotonic() + 5)


def spec(version: int) -> ModelSpec:
    named = ModelSpec()
    named.version.value = version
    return named


async def test_a_refused_key_is_followed_by_the_other_one_here_too(start: StartService, issued: Issued) -> None:
    service = await start()
    service.set_keys(Keys("exchanged", KEYS.secondary))

    async def read() -> Credentials:
        pins = read_pins(issued.certificate.decode(), "pins", dt.datetime.now(dt.UTC))
        return Credentials((KEYS.primary, KEYS.secondary), pins, 0.0)

    predictor = Predictor(
        ServiceSettings("cats", "localhost", service.port), CredentialCache(read, refresh_seconds=1000)
    )
    try:
        status = await predictor.model_status(GetModelStatusRequest().SerializeToString(), call())
        metadata = await predictor.model_metadata(
            GetModelMetadataRequest(metadata_field=["signature_def"]).SerializeToString(), call()
        )
        with pytest.raises(ServiceRejected) as caught:
            await predictor.model_status(GetModelStatusRequest(model_spec=spec(9)).SerializeToString(), call())
    finally:
        await predictor.close()

    assert [one.version for one in GetModelStatusResponse.FromString(status).model_version_status] == [1]
    assert list(GetModelMetadataResponse.FromString(metadata).metadata) == ["signature_def"]
    assert [seen.key for seen in service.recorder.calls] == ["wrong", "secondary", "secondary", "secondary"]
    assert caught.value.code == "NOT_FOUND"
