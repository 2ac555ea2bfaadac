"""Published clients call servers made with our generated code, and our generated clients call published servers."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from google.protobuf.message import Message

from protos import health_pb2, health_pb2_grpc, serving_pb2, serving_pb2_grpc, tensor_pb2
from tests.protos import echo_service
from tests.protos.conftest import Published

# Generated without annotations, and so called as code of any type.
SERVING_CODE: Any = serving_pb2_grpc
HEALTH_CODE: Any = health_pb2_grpc

PREDICTION = "tensorflow.serving.PredictionService"
MODEL = "tensorflow.serving.ModelService"
HEALTH = "grpc.health.v1.Health"

PREDICT = {
    "model_spec": {"name": "resnet50", "version": "3", "signature_name": "serving_default"},
    "inputs": {
        # The two forms that the inference service takes: files of images, and pixels.
        "images": {"dtype": 7, "tensor_shape": {"dim": [{"size": "2"}]}, "string_val": ["/9j/4AA=", "iVBORw=="]},
        "pixels": {
            "dtype": 1,
            "tensor_shape": {"dim": [{"size": "1"}, {"size": "2"}]},
            "float_val": [0.25, -1.5],
        },
    },
    "output_filter": ["images", "pixels"],
}
PREDICTED = {"model_spec": PREDICT["model_spec"], "outputs": PREDICT["inputs"]}

METADATA = {
    "model_spec": {"name": "resnet50", "version_label": "stable", "signature_name": "classify"},
    "metadata_field": ["signature_def"],
}
SIGNATURE = {
    "method_name": "classify",
    "inputs": {
        "images": {
            "name": "images:0",
            "dtype": 1,
            "tensor_shape": {"dim": [{"size": "-1"}, {"size": "224"}, {"size": "224"}, {"size": "3"}]},
        }
    },
}
METADATA_ANSWER = {
    "model_spec": METADATA["model_spec"],
    "metadata": {
        "signature_def": {
            "@type": "type.googleapis.com/tensorflow.serving.SignatureDefMap",
            "signature_def": {"serving_default": SIGNATURE},
        }
    },
}

STATUS = {"model_spec": {"name": "resnet50", "version": "3"}}
STATUSES = {
    "model_version_status": [
        {"version": "3", "state": echo_service.AVAILABLE},
        {"version": "4", "status": {"error_code": 8, "error_message": "no memory left"}},
    ]
}

every_call = pytest.mark.parametrize(
    ("service", "method", "request_type", "asked", "answered"),
    [
        (PREDICTION, "Predict", serving_pb2.PredictRequest, PREDICT, PREDICTED),
        (PREDICTION, "GetModelMetadata", serving_pb2.GetModelMetadataRequest, METADATA, METADATA_ANSWER),
        (MODEL, "GetModelStatus", serving_pb2.GetModelStatusRequest, STATUS, STATUSES),
    ],
    ids=["Predict", "GetModelMetadata", "GetModelStatus"],
)


class OurHealth(health_pb2_grpc.HealthServicer):
    """Answers by the service's name: ``up`` serves, all others do not."""

    def Check(  # noqa: N802  the generated name
        self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        if not request.service:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
        status = "SERVING" if request.service == "up" else "NOT_SERVING"
        return health_pb2.HealthCheckResponse(status=status)

    def Watch(  # noqa: N802  the generated name
        self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext
    ) -> Iterator[health_pb2.HealthCheckResponse]:
        yield self.Check(request, context)


@pytest.fixture
def our_server() -> Iterator[str]:
    """The address of a server of all our services, built on our generated code."""
    server = echo_service.Server()
    prediction = echo_service.servicer(SERVING_CODE.PredictionServiceServicer)
    model = echo_service.servicer(SERVING_CODE.ModelServiceServicer)
    SERVING_CODE.add_PredictionServiceServicer_to_server(prediction, server.grpc)
    SERVING_CODE.add_ModelServiceServicer_to_server(model, server.grpc)
    HEALTH_CODE.add_HealthServicer_to_server(OurHealth(), server.grpc)
    server.grpc.start()
    yield server.address
    server.stop()


@pytest.fixture
def tensorflow_channel(published_tensorflow: Published) -> Iterator[grpc.Channel]:
    """A channel to a server built on TensorFlow Serving's generated code."""
    with grpc.insecure_channel(published_tensorflow.ask("serve")) as channel:
        yield channel
    published_tensorflow.ask("stop")


@pytest.fixture
def health_channel(published_health: Published) -> Iterator[grpc.Channel]:
    """A channel to the published server for health checking, where ``up`` serves and ``down`` does not."""
    with grpc.insecure_channel(published_health.ask("serve")) as channel:
        yield channel
    published_health.ask("stop")


def content(message: Message) -> Any:
    return json_format.MessageToDict(message, preserving_proto_field_name=True, use_integers_for_enums=True)


@every_call
def test_a_published_client_is_served_by_our_server(
    service: str,
    method: str,
    request_type: type[Message],
    asked: dict[str, Any],
    answered: dict[str, Any],
    our_server: str,
    published_tensorflow: Published,
) -> None:
    assert json_format.ParseDict(asked, request_type()).ByteSize() > 0

    answer = published_tensorflow.ask("call", address=our_server, service=service, method=method, content=asked)

    assert answer == answered


@every_call
def test_our_client_is_served_by_a_published_server(
    service: str,
    method: str,
    request_type: type[Message],
    asked: dict[str, Any],
    answered: dict[str, Any],
    tensorflow_channel: grpc.Channel,
) -> None:
    stub = getattr(SERVING_CODE, f"{service.rpartition('.')[2]}Stub")(tensorflow_channel)

    answer = getattr(stub, method)(json_format.ParseDict(asked, request_type()), timeout=10)

    assert content(answer) == answered


def test_a_batch_of_pixels_in_one_block_crosses_unchanged(tensorflow_channel: grpc.Channel) -> None:
    # What the gateway sends most: one image of 224x224 pixels as 32-bit floats, 588 KiB.
    pixels = bytes(range(256)) * (224 * 224 * 3 * 4 // 256)
    request = serving_pb2.PredictRequest()
    request.inputs["images"].CopyFrom(tensor_pb2.TensorProto(dtype="DT_FLOAT", tensor_content=pixels))

    answer = SERVING_CODE.PredictionServiceStub(tensorflow_channel).Predict(request, timeout=10)

    assert answer.outputs["images"].tensor_content == pixels


def test_a_published_client_learns_which_calls_our_server_lacks(
    our_server: str, published_tensorflow: Published
) -> None:
    answer = published_tensorflow.ask("call", address=our_server, service=PREDICTION, method="Classify", content={})

    assert answer == {"refused": "UNIMPLEMENTED"}


@pytest.mark.parametrize("method", ["Check", "Watch"])
@pytest.mark.parametrize(
    ("service", "answered"),
    [("up", {"status": 1}), ("down", {"status": 2}), ("", {"refused": "NOT_FOUND"})],
    ids=["up", "down", "unknown"],
)
def test_a_published_health_probe_is_answered_by_our_server(
    method: str, service: str, answered: dict[str, Any], our_server: str, published_health: Published
) -> None:
    answer = published_health.ask(
        "call", address=our_server, service=HEALTH, method=method, content={"service": service}
    )

    assert answer == answered


@pytest.mark.parametrize(
    ("service", "status"),
    [("up", health_pb2.HealthCheckResponse.SERVING), ("down", health_pb2.HealthCheckResponse.NOT_SERVING)],
)
def test_our_health_probe_is_answered_by_the_published_server(
    service: str, status: health_pb2.HealthCheckResponse.ServingStatus, health_channel: grpc.Channel
) -> None:
    stub = HEALTH_CODE.HealthStub(health_channel)
    request = health_pb2.HealthCheckRequest(service=service)

    watched = stub.Watch(request, timeout=10)

    assert stub.Check(request, timeout=10).status == status
    assert next(watched).status == status
    watched.cancel()


def test_a_service_that_the_published_health_server_does_not_know(health_channel: grpc.Channel) -> None:
    stub = HEALTH_CODE.HealthStub(health_channel)
    request = health_pb2.HealthCheckRequest(service="elsewhere")

    watched = stub.Watch(request, timeout=10)

    assert next(watched).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    watched.cancel()
    with pytest.raises(grpc.RpcError) as refused:
        stub.Check(request, timeout=10)
    assert refused.value.code() == grpc.StatusCode.NOT_FOUND
