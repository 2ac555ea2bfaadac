"""The Open Inference Protocol's codec: requests as the generated code reads them, raw and typed answers."""

from typing import Any

import numpy as np
import pytest

from protos.open_inference_pb2 import (
    InferTensorContents,
    ModelConfig,
    ModelConfigResponse,
    ModelInferRequest,
    ModelInferResponse,
    ModelMetadataRequest,
    ModelMetadataResponse,
    ModelReadyRequest,
    ModelReadyResponse,
)
from shared.errors import InvalidTensor, ServiceAnswerInvalid, ServiceAnswerNotFinite, UnknownVersion
from shared.settings import Datatype, InputForm, Layout, Preprocessing, Protocol, ServiceSettings
from shared.upstream.codecs import ModelInterface, Selector, TensorMetadata
from shared.upstream.codecs.health import HEALTH
from shared.upstream.codecs.open_inference import READY, OpenInferenceCodec

SETTINGS = ServiceSettings(
    "cats", "x", protocol=Protocol.OPEN_INFERENCE, model="m", input_form=InputForm.DISCOVERED, model_version="7"
)
FILES = ModelInterface("image", Datatype.BYTES, "scores", Preprocessing(), file_shape=(1,))
PIXELS = ModelInterface("image", Datatype.UINT8, "scores", Preprocessing(size=2), layout=Layout.NCHW)
VALUES = np.random.default_rng(3).random((1, 40), np.float32)


def codec(model: ModelInterface = FILES) -> OpenInferenceCodec:
    return OpenInferenceCodec(SETTINGS, model)


def answer(values: np.ndarray[Any, Any] = VALUES, datatype: str = "FP32", *, raw: bool = True, **names: Any) -> bytes:
    """A response with another output before the wanted one."""
    message = ModelInferResponse(model_name="m", model_version=names.get("version", ""))
    message.outputs.add(name="other", datatype="INT64", shape=[1])
    message.outputs.add(name="scores", datatype=datatype, shape=values.shape)
    if raw:
        message.raw_output_contents.extend([b"12345678", values.tobytes()])
    else:
        message.outputs[0].contents.int64_contents.append(5)
        field = {"FP32": "fp32_contents", "FP64": "fp64_contents"}[datatype]
        message.outputs[1].contents.CopyFrom(InferTensorContents(**{field: values.ravel().tolist()}))
    return message.SerializeToString()


@pytest.mark.parametrize(("batched", "shape"), [(True, [2, 1]), (False, [1])])
def test_files_are_sent_as_raw_elements_with_their_lengths(batched: bool, shape: list[int]) -> None:
    requests = codec(FILES._replace(batched=batched)).requests(Selector())

    request = ModelInferRequest.FromString(requests.encoded([b"abc", b"d" * 300]))

    assert (request.model_name, request.model_version) == ("m", "7")
    [tensor] = request.inputs
    assert (tensor.name, tensor.datatype, list(tensor.shape)) == ("image", "BYTES", shape)
    assert [output.name for output in request.outputs] == ["scores"]
    assert list(request.raw_input_contents) == [b"\3\0\0\0abc\x2c\1\0\0" + b"d" * 300]


def test_numbers_are_sent_as_they_are() -> None:
    content = bytes(range(12))

    request = ModelInferRequest.FromString(
        codec(PIXELS).requests(Selector()).numbers(Datatype.UINT8, (1, 3, 2, 2), memoryview(content))
    )

    [tensor] = request.inputs
    assert (tensor.datatype, list(tensor.shape)) == ("UINT8", [1, 3, 2, 2])
    assert list(request.raw_input_contents) == [content]


@pytest.mark.parametrize("size", [0, 100, 200_000, 3_000_000])
def test_an_image_that_fits_the_room_fits_the_message(size: int) -> None:
    requests = codec().requests(Selector())
    limit = len(requests.encoded([bytes(size)])) + 40

    assert size <= requests.room(limit)
    assert len(requests.encoded([bytes(requests.room(limit))])) <= limit


def test_a_requested_version_is_sent_and_labels_and_signatures_are_refused() -> None:
    request = ModelInferRequest.FromString(codec().requests(Selector(version=9)).encoded([b""]))

    assert request.model_version == "9"
    with pytest.raises(UnknownVersion):
        codec().requests(Selector(label="stable"))
    with pytest.raises(InvalidTensor):
        codec().requests(Selector(signature="other"))
    assert codec().requests(Selector(signature="serving_default"))


@pytest.mark.parametrize("datatype", ["FP32", "FP64", "FP16"])
def test_raw_answers_are_read(datatype: str) -> None:
    values = VALUES.astype({"FP32": "<f4", "FP64": "<f8", "FP16": "<f2"}[datatype])
    reader = codec()

    for _ in range(2):  # the second by its layout
        output = reader.output(answer(values, datatype, version="3"), 1)
        assert np.array_equal(output.values, values.astype(np.float32))
        assert output.version == "3"


@pytest.mark.parametrize("datatype", ["FP32", "FP64"])
def test_typed_answers_are_read(datatype: str) -> None:
    output = codec().classified(answer(VALUES, datatype, raw=False))

    assert np.array_equal(output.values, VALUES[0])
    assert output.version is None


def test_the_answer_of_a_model_without_batches_gets_the_dimension() -> None:
    one = FILES._replace(batched=False)

    assert np.array_equal(codec(one).scores(answer(VALUES[0])), VALUES[0])


@pytest.mark.parametrize(
    ("response", "detail"),
    [
        (answer(VALUES, "INT8"), "The output's datatype is INT8; one of FP32, FP64, FP16 is needed."),
        (answer(VALUES, "FP64"), r"The output's shape \[1, 40\] does not fit its 160 bytes"),
        (answer(np.zeros((1, 0), np.float32)), "The output is empty"),
        (answer(VALUES.reshape(4, 10)), r"The output's shape is \[4, 10\]; \[1, classes\] is needed"),
        (b"\xff", "The response is not a ModelInferResponse."),
        (b"", "The response has no output 'scores'; it has: none."),
        (
            ModelInferResponse(
                outputs=[ModelInferResponse.InferOutputTensor(name="scores", datatype="FP32", shape=[-1, -1])],
                raw_output_contents=[b"1234"],
            ).SerializeToString(),
            "does not fit its 4 bytes",
        ),
        (
            ModelInferResponse(
                outputs=[ModelInferResponse.InferOutputTensor(name="scores", datatype="FP32", shape=[1, 1])],
                raw_output_contents=[b"1234", b"1234"],
            ).SerializeToString(),
            "1 outputs and 2 contents",
        ),
    ],
)
def test_other_answers_are_invalid(response: bytes, detail: str) -> None:
    with pytest.raises(ServiceAnswerInvalid, match=detail):
        codec().scores(response)


def test_values_that_are_not_finite_are_invalid() -> None:
    with pytest.raises(ServiceAnswerNotFinite):
        codec().scores(answer(np.full((1, 40), 1e300), "FP64"))


def test_the_metadata_and_triton_s_limit_of_batches_are_read() -> None:
    metadata = ModelMetadataResponse(
        name="m",
        versions=["1", "v1.0"],
        inputs=[ModelMetadataResponse.TensorMetadata(name="image", datatype="UINT8", shape=[-1, 8, 8, 3])],
        outputs=[ModelMetadataResponse.TensorMetadata(name="scores", datatype="FP32", shape=[-1, 40])],
    ).SerializeToString()
    config = ModelConfigResponse(config=ModelConfig(max_batch_size=8)).SerializeToString()

    found = codec().described([metadata, config])

    assert found.inputs == (TensorMetadata("image", "UINT8", (-1, 8, 8, 3)),)
    assert found.max_batch == 8
    assert codec().described([metadata, None]).max_batch is None
    assert [one.version for one in codec().versions(metadata)] == ["1", "v1.0"]
    assert codec().signatures(metadata).output_shape("", "scores") == [-1, 40]
    question, _ = codec().describe()
    assert ModelMetadataRequest.FromString(question.request) == ModelMetadataRequest(name="m", version="7")


def test_readiness_is_the_model_s_own_before_that_of_the_server() -> None:
    ready, health = codec().readiness()

    assert (ready.method, health.method) == (READY, HEALTH)
    assert ModelReadyRequest.FromString(ready.request) == ModelReadyRequest(name="m", version="7")
    assert codec().reported_status(READY, ModelReadyResponse(ready=True).SerializeToString()) == "serving"
    assert codec().reported_status(READY, b"") == "not_serving"
    assert codec().reported_status(HEALTH, b"\x08\x01") == "serving"
