"""Whatever the inference service answers, the gateway responds with labels or a problem document: no internal errors.

``make fuzz`` sends ten thousand answers.
"""

import asyncio
from collections.abc import Callable, Iterator

import azure.functions as func
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions import health
from protos.health_pb2 import HealthCheckResponse
from protos.serving_pb2 import GetModelMetadataResponse, GetModelStatusResponse, PredictResponse, SignatureDefMap
from protos.tensor_pb2 import DT_FLOAT, TensorProto, TensorShapeProto
from shared import gateway
from shared.upstream.codecs.health import HEALTH
from shared.upstream.codecs.tensorflow import METADATA, PREDICT, STATUS
from tests.support.app import PICTURE, Response, call_function, score, serve
from tests.support.hostile_service import HostileService, Refusal, hostile_service
from tests.support.protocol_client import ProtocolClient
from tests.system.fuzz.test_fuzz import corrupted, fuzz

type Answered = Callable[[bytes], list[Response]]


def _valid() -> list[bytes]:
    dims = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1), TensorShapeProto.Dim(size=10)])
    values = np.linspace(0, 1, 10, dtype="<f4")
    listed = TensorProto(dtype=DT_FLOAT, tensor_shape=dims, float_val=values.tolist())
    packed = TensorProto(dtype=DT_FLOAT, tensor_shape=dims, tensor_content=values.tobytes())
    status = GetModelStatusResponse()
    status.model_version_status.add(version=1, state=30).status.error_message = "text"
    definitions = SignatureDefMap()
    definitions.signature_def["serving_default"].outputs["output_alias"].tensor_shape.CopyFrom(dims)
    metadata = GetModelMetadataResponse()
    metadata.metadata["signature_def"].Pack(definitions)
    return [
        *(PredictResponse(outputs={"output_alias": one}).SerializeToString() for one in (listed, packed)),
        *(
            message.SerializeToString()
            for message in (HealthCheckResponse(status=HealthCheckResponse.SERVING), status, metadata)
        ),
    ]


@pytest.fixture(scope="module")
def answered() -> Iterator[Answered]:
    """The responses of the gateway's routes while the service answers every call with the same bytes."""
    with asyncio.Runner() as runner, pytest.MonkeyPatch.context() as variables:
        answers: dict[str, bytes | Refusal] = {}
        running = hostile_service(answers)
        service: HostileService = runner.run(running.__aenter__())
        serve(service.port, variables, cats="encoded")

        async def responses(answer: bytes) -> list[Response]:
            answers.update(dict.fromkeys((PREDICT, STATUS, METADATA, HEALTH), answer))
            client = ProtocolClient(service)  # type: ignore[arg-type] # it is not called itself
            request = func.HttpRequest("GET", "http://localhost/api/health/services", body=b"")
            return [
                await score(PICTURE, "image/jpeg", query={"top": "0"}),
                await call_function(health.service_health, request),
                *[
                    await client.get(path)
                    for path in ("/v1/models/cats", "/v1/models/cats/metadata", "/v2/models/cats")
                ],
            ]

        yield lambda answer: runner.run(responses(answer))
        runner.run(gateway.forget())
        runner.run(running.__aexit__(None, None, None))


@fuzz(0.3)
@given(answer=corrupted(st.sampled_from(_valid())) | st.binary(max_size=100))
def test_answers_of_the_service(answered: Answered, answer: bytes) -> None:
    for response in answered(answer):
        assert response.status in {200, 502, 503}, response.body
        assert b"internal-error" not in response.body
        assert len(response.body) < 10_000
